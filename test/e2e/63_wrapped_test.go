package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"ashlar.dev/ashlar/internal/intruder"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// TestWrappedIssuance: who has a certificate signed with a wrapped answer keeps it out of Vault's log. It is found and
// flagged all the same, and can be revoked.
func TestWrappedIssuance(t *testing.T) {
	target := target(t)
	m := target.Desired.WithRole("vault")[0]
	token := strings.TrimSpace(ashlar(t, "exec", "worker-0", "--", "cat", unit.VaultTokenFile))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	client := clientFrom(target, "worker-0", unit.CAVault, m.Name, nil, true)
	send := intruder.Over(client, fmt.Sprintf("%s:%d", m.Address, unit.PortVault))
	status, answer, err := send(t.Context(), "PUT", vault.PKIPath(target.Desired.Cluster, unit.CAKubernetes)+"/sign/kubelet", token, true, map[string]any{
		"csr":         string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})),
		"common_name": "system:node:worker-0", "exclude_cn_from_sans": true,
	})
	if err != nil || status != 200 {
		t.Fatalf("sign: %d %s %v", status, answer, err)
	}

	wrapped := func() (serial, flag string) {
		out, _ := try("-f", file, "pki", "audit", "--machine", "worker-0", "-o", "json")
		var events []struct {
			Serial, Flag string
			Wrapped      bool
		}
		if err := json.Unmarshal([]byte(out), &events); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for _, e := range events {
			if e.Wrapped {
				serial, flag = e.Serial, e.Flag
			}
		}
		return serial, flag
	}
	serial, flag := wrapped()
	if serial == "" || flag == "" {
		t.Fatalf("found serial %q, flag %q", serial, flag)
	}
	t.Logf("%s: %s", serial, flag)
	ashlar(t, "pki", "revoke", "--serial", serial, "--reason", "was wrapped")
	if _, flag := wrapped(); flag != "" {
		t.Errorf("after it was revoked: %s", flag)
	}
}
