package e2e

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/provider"
)

func init() {
	sabotages = append(sabotages,
		sabotage{"api-internal", "the security group lets the internet side in", fabricRule(
			`insert rule inet ashlar forward ip saddr 203.0.113.0/24 tcp dport 6443 accept`)},
		sabotage{"api-internal", "the security group lets etcd machines reach the load balancer", fabricRule(
			`insert rule inet ashlar forward ip saddr @etcd ip daddr @lb tcp dport 6443 accept`)},
		sabotage{"api-internal", "the load balancer of the API has a public address", fabricRule(
			`insert rule inet ashlar prerouting iifname "internet" ip daddr 203.0.113.16 tcp dport 6443 dnat ip to LB
insert rule inet ashlar forward iifname "internet" ct status dnat tcp dport 6443 accept`)},
		sabotage{"exp-planes", "workers reach Vault's raft", fabricRule(
			`insert rule inet ashlar forward ip saddr @worker ip daddr @vault tcp dport 8201 accept`)},
		sabotage{"exp-planes", "the bastion reaches etcd", fabricRule(
			`insert rule inet ashlar forward ip saddr @bastion ip daddr @etcd tcp dport 2379 accept`)},
		sabotage{"exp-planes", "workers reach each other's sshd", fabricRule(
			`insert rule inet ashlar forward ip saddr @worker ip daddr @worker tcp dport 22 accept`)},
		sabotage{"exp-planes", "datagrams of any machine reach the overlay network", fabricRule(
			`insert rule inet ashlar forward udp dport 4789 accept`)},
		sabotage{"exp-nat", "workers leave under an address of their own", fabricRule(
			`insert rule inet ashlar postrouting oifname "internet" ip saddr @worker snat ip to 203.0.113.254`)},
		sabotage{"exp-nat", "etcd machines reach the internet", fabricRule(
			`insert rule inet ashlar forward ip saddr @etcd oifname "internet" accept`)},
		sabotage{"data-at-rest", "the identity provider comes first", editAPI(
			`sed -i '/- identity:/d; s/  providers:/&\n  - identity: {}/' /etc/kubernetes/encryption.yaml`)},
		sabotage{"data-audit", "nothing is recorded", editAPI(
			`printf 'apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None}]\n' > /etc/kubernetes/audit-policy.yaml`)},
		sabotage{"data-audit", "the bodies of Secrets are recorded", editAPI(
			`sed -i 's/^rules:/&\n- {level: RequestResponse, resources: [{group: "", resources: [secrets]}]}/' /etc/kubernetes/audit-policy.yaml`)},
	)
}

// fabricRule adds a rule to the network between machines; `up` mends it. LB stands for the load balancer's address.
func fabricRule(rule string) func(*testing.T, *claim.Target) {
	return func(t *testing.T, target *claim.Target) {
		rule := strings.ReplaceAll(rule, "LB", target.Desired.WithRole(v1alpha1.RoleLB)[0].Address.String())
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
