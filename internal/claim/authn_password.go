package claim

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/vault"
)

// wrongPasswords is how many lock a user out.
const wrongPasswords = 5

// probePassword logs in as the canary, uses and misuses what it gets, and has itself locked out.
func probePassword(ctx context.Context, t *Target) ([]Evidence, error) {
	t.canary.Lock()
	defer t.canary.Unlock()
	password := rand.Text()
	if err := t.Vault.SetCanary(ctx, password); err != nil {
		return nil, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = errors.Join(t.Vault.UnlockCanary(ctx), t.Vault.RemoveCanary(ctx))
	}()
	leader, err := t.vaultMachine(ctx)
	if err != nil {
		return nil, err
	}
	door, err := t.VaultAt(ctx, leader)
	if err != nil {
		return nil, err
	}
	defer door.Close()
	session, _, err := door.LoginPerson(ctx, vault.Canary, password)
	login, e := refusal("log in with the password", provider.FromOperator, vault.Canary, Allowed, err)
	if e != nil || !login.Held() {
		return []Evidence{login}, e
	}
	used, err := t.useIdentity(ctx, session, password)
	if err != nil {
		return nil, err
	}
	more, err := t.misuseSession(ctx, session.Token())
	if err != nil {
		return nil, err
	}
	locked, err := lockOut(ctx, door, password)
	return append(append(append([]Evidence{login}, used...), more...), locked...), err
}

// useIdentity shows the API server what Vault says of the canary, and what it must not take.
func (t *Target) useIdentity(ctx context.Context, session *vault.Client, password string) ([]Evidence, error) {
	token, _, err := session.Identity(ctx)
	if err != nil {
		return nil, err
	}
	payload, err := claimsOf(token)
	if err != nil {
		return nil, err
	}
	life := time.Duration(payload.Expires-payload.Issued) * time.Second
	long := Evidence{Attempt: "have a credential that outlives ten minutes", As: vault.Canary, Want: Refused, Got: Refused, Answer: "it lives for " + life.String()}
	if life > vault.IdentityTTL || life <= 0 {
		long.Got = Allowed
	}
	t.awaitKeys(ctx, token)
	out := []Evidence{long}
	for _, a := range []struct {
		what string
		want Expectation
		as   func(*rest.Config)
	}{
		{"be known to the API by its credential", Allowed, func(c *rest.Config) { c.BearerToken = token }},
		{"use a credential whose signature was altered", Refused, func(c *rest.Config) { c.BearerToken = tampered(token) }},
		{"use a credential that says alg: none", Refused, func(c *rest.Config) { c.BearerToken = unsigned(token) }},
		{"show the API the Vault session itself", Refused, func(c *rest.Config) { c.BearerToken = session.Token() }},
		{"show the API user and password", Refused, func(c *rest.Config) { c.Username, c.Password = vault.Canary, password }},
	} {
		config := rest.AnonymousClientConfig(t.Admin)
		a.as(config)
		err := knownAs(ctx, config, vault.Canary)
		e, err := unauthorized(a.what, a.want, err)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// awaitKeys waits until API servers know Vault's keys: one that could not reach Vault when it started looks for them every ten
// seconds. The load balancer gives each of several its turn, so all do that take a credential many times in a row.
func (t *Target) awaitKeys(ctx context.Context, token string) {
	inARow := 1
	if n := len(t.Desired.WithRole(v1alpha1.RoleControlPlane)); n > 1 {
		inARow = 6 * n
	}
	took := 0
	for deadline := time.Now().Add(20 * time.Second); took < inARow && time.Now().Before(deadline) && ctx.Err() == nil; {
		config := rest.AnonymousClientConfig(t.Admin) // a connection of its own
		config.BearerToken = token
		err := knownAs(ctx, config, vault.Canary)
		if took++; apierrors.IsUnauthorized(err) {
			took = 0
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// unauthorized makes evidence of an answer of the API; only its 401 is a refusal.
func unauthorized(what string, want Expectation, err error) (Evidence, error) {
	if err != nil && !apierrors.IsUnauthorized(err) {
		return Evidence{}, fmt.Errorf("%s: %w", what, err)
	}
	return attempt(what, provider.FromOperator, vault.Canary, want, err), nil
}

// knownAs asks the API who it takes the bearer for: that name, and in no group but everybody's.
func knownAs(ctx context.Context, config *rest.Config, want string) error {
	who, err := knownFor(ctx, config)
	if err == nil && (who.Username != want || len(who.Groups) != 1) {
		err = fmt.Errorf("the API takes %s for %s in %v", want, who.Username, who.Groups)
	}
	return err
}

// knownFor asks the API who somebody is, which everybody may.
func knownFor(ctx context.Context, config *rest.Config) (authenticationv1.UserInfo, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return authenticationv1.UserInfo{}, err
	}
	review, err := client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return authenticationv1.UserInfo{}, err
	}
	return review.Status.UserInfo, nil
}

// misuseSession tries at Vault what a user's session is not for.
func (t *Target) misuseSession(ctx context.Context, token string) ([]Evidence, error) {
	c := t.Desired.Cluster
	var out []Evidence
	for _, a := range []struct {
		what, method, path string
	}{
		{"sign an administrator's certificate", http.MethodPut, c + "/pki/kubernetes/sign/admin"},
		{"read the key of ServiceAccount tokens", http.MethodGet, vault.SecretPath(c, vault.ServiceAccountDocument)},
		{"change its own password", http.MethodPut, "auth/" + vault.UsersPath(c) + "/users/" + vault.Canary},
		{"join a group", http.MethodPut, "identity/group/name/ashlar:admins"},
	} {
		status, err := t.vaultAnswer(ctx, provider.FromOperator, token, a.method, a.path, map[string]any{})
		if err != nil {
			return nil, err
		}
		e, err := vaultVerdict(a.what, provider.FromOperator, vault.Canary, Refused, status)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// lockOut guesses until even the right password is refused.
func lockOut(ctx context.Context, door *vault.Client, password string) ([]Evidence, error) {
	var out []Evidence
	try := func(what, password string) error {
		_, _, err := door.LoginPerson(ctx, vault.Canary, password)
		e, err := refusal(what, provider.FromOperator, vault.Canary, Refused, err)
		out = append(out, e)
		return err
	}
	for range wrongPasswords {
		if err := try("log in with a wrong password", rand.Text()); err != nil {
			return nil, err
		}
	}
	return out, try(fmt.Sprintf("log in with the right password after %d wrong ones", wrongPasswords), password)
}
