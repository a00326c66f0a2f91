package e2e

import (
	"bytes"
	"os/exec"
	"testing"

	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/provider"
)

func init() {
	sabotages = append(sabotages,
		sabotage{"api-internal", "the security group lets the internet side in", fabricRule(
			`insert rule inet ashlar forward ip saddr 203.0.113.0/24 tcp dport 6443 accept`)},
		sabotage{"api-internal", "the security group lets etcd machines reach the load balancer", fabricRule(
			`insert rule inet ashlar forward ip saddr @etcd ip daddr @lb tcp dport 6443 accept`)},
		sabotage{"data-at-rest", "the identity provider comes first", editAPI(
			`sed -i '/- identity:/d; s/  providers:/&\n  - identity: {}/' /etc/kubernetes/encryption.yaml`)},
		sabotage{"data-audit", "nothing is recorded", editAPI(
			`printf 'apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None}]\n' > /etc/kubernetes/audit-policy.yaml`)},
		sabotage{"data-audit", "the bodies of Secrets are recorded", editAPI(
			`sed -i 's/^rules:/&\n- {level: RequestResponse, resources: [{group: "", resources: [secrets]}]}/' /etc/kubernetes/audit-policy.yaml`)},
	)
}

// fabricRule adds a rule to the network between machines; `up` mends it.
func fabricRule(rule string) func(*testing.T, *claim.Target) {
	return func(t *testing.T, _ *claim.Target) {
		t.Cleanup(func() { ashlar(t, "up") })
		var out bytes.Buffer
		err := open(t).RunInside(provider.FromOperator, func() error {
			nft := exec.CommandContext(t.Context(), "nft", "-f", "-")
			nft.Stdin, nft.Stdout, nft.Stderr = bytes.NewReader([]byte(rule)), &out, &out
			return nft.Run()
		})
		if err != nil {
			t.Fatalf("nft %s: %v: %s", rule, err, out.String())
		}
	}
}
