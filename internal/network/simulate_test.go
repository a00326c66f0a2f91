package network

import (
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"
)

// The actors of the tests: a web server with a named port, its client, a stranger, and somebody outside.
var (
	web = Peer{Name: "web", Namespace: "shop", Labels: map[string]string{"app": "web"},
		NamespaceLabels: map[string]string{"team": "red"}, Address: netip.MustParseAddr("10.0.0.1"), Ports: map[string]int32{"http": 8080}}
	client = Peer{Name: "client", Namespace: "shop", Labels: map[string]string{"app": "client"},
		NamespaceLabels: map[string]string{"team": "red"}, Address: netip.MustParseAddr("10.0.0.2")}
	stranger = Peer{Name: "stranger", Namespace: "other", Labels: map[string]string{"app": "client"},
		NamespaceLabels: map[string]string{"team": "blue"}, Address: netip.MustParseAddr("10.0.1.3")}
	outside = Peer{Name: "outside", Address: netip.MustParseAddr("192.0.2.7")}
)

func TestAllowed(t *testing.T) {
	http := Port{corev1.ProtocolTCP, 8080}
	for name, c := range map[string]struct {
		policies string // specs in namespace shop, or "namespace: other" first
		from, to Peer
		port     Port
		want     bool
	}{
		"no policy":                           {"", stranger, web, http, true},
		"default deny, inward":                {`{podSelector: {}, policyTypes: [Ingress]}`, client, web, http, false},
		"default deny, inward, leaves egress": {`{podSelector: {}, policyTypes: [Ingress]}`, web, stranger, http, true},
		"default deny, outward":               {`{podSelector: {}, policyTypes: [Egress]}`, web, outside, http, false},
		"types default to ingress":            {`{podSelector: {}}`, client, web, http, false},
		"types default to ingress alone":      {`{podSelector: {}}`, web, stranger, http, true},
		"egress rules imply the type":         {`{podSelector: {}, egress: [{ports: [{port: 53}]}]}`, web, outside, http, false},
		"a rule without peers is for all":     {`{podSelector: {}, ingress: [{ports: [{port: 8080}]}]}`, outside, web, http, true},
		"an empty rule is for all":            {`{podSelector: {}, ingress: [{}]}`, stranger, web, http, true},
		"another pod is selected":             {`{podSelector: {matchLabels: {app: db}}}`, client, web, http, true},
		"a pod of the namespace":              {`{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]}`, client, web, http, true},
		"its label in another namespace":      {`{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]}`, stranger, web, http, false},
		"a namespace":                         {`{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: blue}}}]}]}`, stranger, web, http, true},
		"another namespace":                   {`{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: blue}}}]}]}`, client, web, http, false},
		"every namespace is no outsider":      {`{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}`, outside, web, http, false},
		"both selectors of one peer":          {`{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: blue}}, podSelector: {matchLabels: {app: web}}}]}]}`, stranger, web, http, false},
		"two peers, either":                   {`{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: blue}}}, {podSelector: {matchLabels: {app: web}}}]}]}`, stranger, web, http, true},
		"two policies, either":                {`{podSelector: {}, policyTypes: [Ingress]}` + "\n---\n" + `{podSelector: {matchLabels: {app: web}}, ingress: [{}]}`, stranger, web, http, true},
		"both ends must agree":                {`{podSelector: {matchLabels: {app: client}}, policyTypes: [Egress]}` + "\n---\n" + `{podSelector: {matchLabels: {app: web}}, ingress: [{}]}`, client, web, http, false},
		"another protocol":                    {`{podSelector: {}, ingress: [{ports: [{port: 8080, protocol: UDP}]}]}`, client, web, http, false},
		"a protocol alone":                    {`{podSelector: {}, ingress: [{ports: [{protocol: TCP}]}]}`, client, web, http, true},
		"a named port":                        {`{podSelector: {}, ingress: [{ports: [{port: http}]}]}`, client, web, http, true},
		"a named port that the pod lacks":     {`{podSelector: {}, ingress: [{ports: [{port: metrics}]}]}`, client, web, http, false},
		"a named port is the target's":        {`{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: http}]}]}`, client, web, http, true},
		"a range of ports":                    {`{podSelector: {}, ingress: [{ports: [{port: 8000, endPort: 8080}]}]}`, client, web, http, true},
		"just outside of it":                  {`{podSelector: {}, ingress: [{ports: [{port: 8000, endPort: 8079}]}]}`, client, web, http, false},
		"a block of addresses":                {`{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 192.0.2.0/24}}]}]}`, web, outside, http, true},
		"with a hole":                         {`{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.0/28]}}]}]}`, web, outside, http, false},
		"beside the hole":                     {`{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.8/29]}}]}]}`, web, outside, http, true},
		"another block":                       {`{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 198.51.100.0/24}}]}]}`, web, outside, http, false},
		"a policy of another namespace":       {`namespace: other` + "\n---\n" + `{podSelector: {}, policyTypes: [Ingress, Egress]}`, client, web, http, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, why, err := Allowed(policies(t, c.policies), c.from, c.to, c.port)
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("allowed: %v (%s), want %v", got, why, c.want)
			}
			if why == "" {
				t.Error("it does not say why")
			}
		})
	}
}

func policies(t *testing.T, text string) []networkingv1.NetworkPolicy {
	t.Helper()
	namespace := "shop"
	var out []networkingv1.NetworkPolicy
	for doc := range strings.SplitSeq(text, "\n---\n") {
		if n, ok := strings.CutPrefix(doc, "namespace: "); ok {
			namespace = n
			continue
		}
		if doc == "" {
			continue
		}
		p := networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: namespace}}
		if err := yaml.UnmarshalStrict([]byte(doc), &p.Spec); err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// TestMalformed: what cannot be understood is an error, never a decision.
func TestMalformed(t *testing.T) {
	for _, spec := range []string{
		`{podSelector: {matchExpressions: [{key: a, operator: Near, values: [b]}]}}`,
		`{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: nowhere}}]}]}`,
		`{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [nowhere]}}]}]}`,
	} {
		_, _, err := Allowed(policies(t, spec), client, web, Port{corev1.ProtocolTCP, 80})
		if err == nil || !strings.Contains(err.Error(), "shop/p") {
			t.Errorf("%s: %v", spec, err)
		}
	}
}

// TestPolicies holds what is true of any set of policies.
func TestPolicies(t *testing.T) {
	pool := policies(t, strings.Join([]string{
		`{podSelector: {}, policyTypes: [Ingress]}`, `{podSelector: {}, policyTypes: [Egress]}`,
		`{podSelector: {matchLabels: {app: web}}, ingress: [{}]}`,
		`{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}`,
		`{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}], ports: [{port: 80, endPort: 90}]}]}`,
		`{podSelector: {matchLabels: {app: client}}, egress: [{to: [{podSelector: {matchLabels: {app: web}}}]}]}`,
		`{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}`,
	}, "\n---\n"))
	peers := []Peer{web, client, stranger, outside}
	rapid.Check(t, func(t *rapid.T) {
		some := rapid.SliceOf(rapid.SampledFrom(pool)).Draw(t, "policies")
		from, to := rapid.SampledFrom(peers).Draw(t, "from"), rapid.SampledFrom(peers).Draw(t, "to")
		port := Port{corev1.ProtocolTCP, rapid.Int32Range(1, 65535).Draw(t, "port")}
		before, _, err := Allowed(some, from, to, port)
		if err != nil {
			t.Fatal(err)
		}
		// Their order does not matter.
		shuffled := rapid.Permutation(some).Draw(t, "order")
		if after, _, _ := Allowed(shuffled, from, to, port); after != before {
			t.Errorf("in another order: %v", after)
		}
		// A pod that is selected already only gains by another policy.
		deny := policiesDenyingAll()
		isolated, _, _ := Allowed(append(deny, some...), from, to, port)
		more, _, _ := Allowed(append(append(deny, some...), rapid.SampledFrom(pool).Draw(t, "another")), from, to, port)
		if isolated && !more {
			t.Error("another policy took something away from an isolated pod")
		}
		// Isolation never opens anything.
		if isolated && !before {
			t.Error("default deny opened something")
		}
	})
}

func policiesDenyingAll() []networkingv1.NetworkPolicy {
	return []networkingv1.NetworkPolicy{{
		ObjectMeta: metav1.ObjectMeta{Name: "deny", Namespace: "shop"},
		Spec:       networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}},
	}}
}
