package oracle

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/traits"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	"k8s.io/apiserver/pkg/apis/apiserver/load"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"
	authorizationcel "k8s.io/apiserver/pkg/authorization/cel"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

// rendered are the two files of an API server.
func rendered(t testing.TB, authentication v1alpha1.Authentication, mode v1alpha1.AuthorizationMode, revoked ...unit.Revocation) (authn, authz string) {
	t.Helper()
	// The certificate of a CA; upstream wants a real one.
	const ca = `-----BEGIN CERTIFICATE-----
MIIBczCCARmgAwIBAgIBATAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDEwR0ZXN0MB4X
-----END CERTIFICATE-----
`
	d := unit.Desired{Cluster: "demo", Self: "control-plane-0", PodCIDR: "10.244.0.0/16", ServiceCIDR: "10.96.0.0/16", ClusterDomain: "cluster.local",
		Authentication: authentication, Authorization: v1alpha1.Authorization{Mode: mode, ServiceAccounts: v1alpha1.SeedClasses()}, CAs: map[unit.CA]string{}, Revoked: revoked}
	for _, c := range unit.CAs {
		d.CAs[c] = ca
	}
	for i, role := range v1alpha1.Roles {
		d.Machines = append(d.Machines, unit.Machine{Name: string(role) + "-0", Role: role, Address: netip.AddrFrom4([4]byte{10, 90, 0, byte(10 + i)})})
	}
	for _, u := range unit.For(d) {
		for _, f := range u.Files {
			switch f.Path {
			case unit.AuthenticationFile:
				authn = f.Content
			case unit.AuthorizationFile:
				authz = f.Content
			}
		}
	}
	return authn, authz
}

func decodeAuthentication(t *testing.T, text string) *apiserver.AuthenticationConfiguration {
	t.Helper()
	scheme := runtime.NewScheme()
	install.Install(scheme)
	o, _, err := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDecoder().Decode([]byte(text), nil, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return o.(*apiserver.AuthenticationConfiguration)
}

// What API servers are given, they take.
func TestConfigurations(t *testing.T) {
	declared := v1alpha1.Authentication{OIDC: []v1alpha1.OIDCIssuer{
		{Issuer: "https://login.example.com", Audiences: []string{"a", "b"}, Username: `"corp-" + claims.sub`, Groups: "claims.roles",
			Rules: []v1alpha1.ClaimRule{{Expression: "claims.amr == 'mfa'", Message: "two \"factors\" are needed"}}},
		{Issuer: "https://other.example.com", Audiences: []string{"a"}, Username: "claims.sub"},
	}}
	for _, mode := range v1alpha1.AuthorizationModes {
		authn, authz := rendered(t, declared, mode)
		for _, e := range validation.ValidateAuthenticationConfiguration(authenticationcel.NewDefaultCompiler(), decodeAuthentication(t, authn), nil) {
			if !strings.Contains(e.Field, "certificateAuthority") { // the test's is none
				t.Errorf("authentication: %v", e)
			}
		}
		c, err := load.LoadFromData([]byte(authz))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range validation.ValidateAuthorizationConfiguration(authorizationcel.NewDefaultCompiler(), nil, c,
			sets.New("Node", "RBAC", "Webhook"), sets.New("Webhook")) {
			if !strings.Contains(e.Field, "kubeConfigFile") { // it is on machines
				t.Errorf("authorization in mode %s: %v", mode, e)
			}
		}
		var types []string
		for _, a := range c.Authorizers {
			types = append(types, string(a.Type))
		}
		want := map[v1alpha1.AuthorizationMode]string{"RBAC": "Node RBAC", "ABAC": "Node Webhook RBAC", "Shadow": "Node RBAC Webhook"}[mode]
		if got := strings.Join(types, " "); got != want {
			t.Errorf("mode %s asks %s", mode, got)
		}
	}
}

// Who somebody is by what Vault says of them, as Kubernetes reads it.
func TestVaultClaims(t *testing.T) {
	authn, _ := rendered(t, v1alpha1.Authentication{}, v1alpha1.ModeRBAC)
	jwt := decodeAuthentication(t, authn).JWT[0]
	evaluate := func(expression authenticationcel.ExpressionAccessor, claims map[string]any) any {
		t.Helper()
		compiled, err := authenticationcel.NewDefaultCompiler().CompileClaimsExpression(expression)
		if err != nil {
			t.Fatal(err)
		}
		got, err := authenticationcel.NewClaimsMapper([]authenticationcel.CompilationResult{compiled}).EvalClaimMapping(t.Context(),
			types.DefaultTypeAdapter.NativeToValue(claims).(traits.Mapper))
		if err != nil {
			t.Fatalf("%v: %v", claims, err)
		}
		return got.EvalResult.Value()
	}
	text := func(v any) string {
		if list, ok := v.(traits.Lister); ok {
			v = list.Value()
		}
		var out []string
		switch v := v.(type) {
		case string:
			return v
		default:
			list, ok := types.DefaultTypeAdapter.NativeToValue(v).(traits.Lister)
			if !ok {
				t.Fatalf("%T is neither a text nor a list", v)
			}
			for i := list.Iterator(); i.HasNext() == types.True; {
				out = append(out, i.Next().Value().(string))
			}
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	padded := []any{"ops", "admins", "", ""}
	for name, c := range map[string]struct {
		claims       map[string]any
		user, groups string
	}{
		"by password":     {map[string]any{"user": "alice", "groups": []any{"dev", "ops"}, "declared_groups": "", "provider_user": "", "provider_groups": []any{"", ""}}, "alice", "dev ops"},
		"in no group":     {map[string]any{"user": "alice", "groups": nil, "declared_groups": "", "provider_user": "", "provider_groups": []any{}}, "alice", ""},
		"a robot":         {map[string]any{"user": "ci", "groups": nil, "declared_groups": "a,b", "provider_user": "", "provider_groups": []any{}}, "ci", "a b"},
		"by the provider": {map[string]any{"user": "", "groups": nil, "declared_groups": "", "provider_user": "alice", "provider_groups": padded}, "provider:alice", "provider:admins provider:ops"},
		"nobody":          {map[string]any{"user": "", "groups": nil, "declared_groups": "", "provider_user": "", "provider_groups": padded}, "provider:", "provider:admins provider:ops"},
	} {
		if got := text(evaluate(&authenticationcel.ClaimMappingExpression{Expression: jwt.ClaimMappings.Username.Expression}, c.claims)); got != c.user {
			t.Errorf("%s: user %q, want %q", name, got, c.user)
		}
		if got := text(evaluate(&authenticationcel.ClaimMappingExpression{Expression: jwt.ClaimMappings.Groups.Expression}, c.claims)); got != c.groups {
			t.Errorf("%s: groups %q, want %q", name, got, c.groups)
		}
	}
	if !strings.Contains(jwt.UserValidationRules[0].Expression, "'"+unit.ProviderPrefix+"'") {
		t.Error("nobody is somebody")
	}
}
