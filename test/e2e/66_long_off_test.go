package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// TestLongOff: a cluster that was switched off for longer than all of its credentials live comes back with `up` alone. What
// is on its disks then is made beforehand: certificates that Vault really issued, and that have expired; tokens that Vault
// does not know any more.
func TestLongOff(t *testing.T) {
	t.Cleanup(func() {
		ashlar(t, "up")
		kubectl(t, "delete", "configmap", "long-before")
	})
	kubectl(t, "create", "configmap", "long-before", "--from-literal=said=here")
	target := target(t)
	var expired map[string][]provider.File
	var last time.Time
	asVaultRoot(t, target, func(run func(stdin string, args ...string) string) {
		expired, last = shortLived(t, target, run)
		// The machines are off before their agents notice.
		for _, m := range target.Machines {
			if m.Role != v1alpha1.RoleVault {
				off(t, target, m.Name)
			}
		}
		for _, m := range target.Machines {
			// Vault's own still runs. The control plane was heard of just now, and its token is dead all the same.
			if m.Role != v1alpha1.RoleControlPlane && m.Role != v1alpha1.RoleVault {
				longSilent(t, target, run, m.Name)
			}
		}
		run("", "lease", "revoke", "-prefix", "-sync", "auth/"+vault.AuthPath(target.Desired.Cluster)+"/login")
	})
	for _, m := range target.Machines {
		off(t, target, m.Name)
		if err := target.Provider.Write(t.Context(), m.Name, expired[m.Name]); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 30*time.Second, func() error {
		if time.Now().Before(last) {
			return errors.New("the last certificate has not expired")
		}
		return nil
	})
	began := time.Now()
	ashlar(t, "up")
	t.Logf("up took %s", time.Since(began).Round(100*time.Millisecond))
	if got := kubectl(t, "get", "configmap", "long-before", "-o", "jsonpath={.data.said}"); got != "here" {
		t.Errorf("the ConfigMap says %q", got)
	}
	settled(t)
	pod(t)
	for _, c := range claim.All() {
		if strings.HasPrefix(c.ID, "pki-") {
			if r := verify(t, c); r.Verdict != claim.Holds {
				t.Errorf("%s: %s", r.ID, r.Reason)
			}
		}
	}
}

// longSilent has a machine's last word be a month old.
func longSilent(t *testing.T, target *claim.Target, run func(stdin string, args ...string) string, machine string) {
	t.Helper()
	var status map[string]any
	version, err := target.Vault.ReadDocument(t.Context(), machine, vault.Status, &status)
	if err != nil {
		t.Fatal(err)
	}
	status["seen"] = time.Now().Add(-30 * 24 * time.Hour).UTC()
	document := map[string]any{"document": body(t, status)}
	run(body(t, map[string]any{"data": document, "options": map[string]any{"cas": version}}), "write", vault.DocumentPath(target.Desired.Cluster, machine, vault.Status), "-")
}

func off(t *testing.T, target *claim.Target, machine string) {
	t.Helper()
	if err := target.Provider.PowerOff(t.Context(), machine); err != nil {
		t.Fatal(err)
	}
}

// shortLived has Vault issue what every machine has, to live for a second, and returns it by machine, and when the last
// of it expires.
func shortLived(t *testing.T, target *claim.Target, run func(stdin string, args ...string) string) (map[string][]provider.File, time.Time) {
	t.Helper()
	files := map[string][]provider.File{}
	var last time.Time
	for _, m := range target.Machines {
		for _, p := range unit.ProfilesOf(m.Role) {
			p := p.For(m.Name)
			mount := vault.PKIPath(target.Desired.Cluster, p.CA)
			key, csr := keyAndRequest(t)
			run(body(t, map[string]any{"allow_any_name": true, "enforce_hostnames": false, "key_type": "ec", "organization": p.Organizations,
				"client_flag": p.Client, "server_flag": p.Server, "ttl": "1s", "max_ttl": "1s"}), "write", mount+"/roles/short", "-")
			cert := run(body(t, map[string]any{"csr": csr, "common_name": p.CommonName, "exclude_cn_from_sans": true, "alt_names": strings.Join(p.DNSNames, ","), "ttl": "1s"}),
				"write", "-field=certificate", mount+"/sign/short", "-")
			block, _ := pem.Decode([]byte(cert))
			if block == nil {
				t.Fatalf("Vault's answer is no certificate: %s", cert)
			}
			leaf, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			last = leaf.NotAfter
			files[m.Name] = append(files[m.Name], provider.File{Path: p.KeyFile(), Mode: 0o600, Content: []byte(key)},
				provider.File{Path: p.CertFile(), Mode: 0o644, Content: []byte(cert)})
		}
	}
	for _, ca := range unit.CAs {
		run("", "delete", vault.PKIPath(target.Desired.Cluster, ca)+"/roles/short")
	}
	return files, last
}

func body(t *testing.T, fields map[string]any) string {
	t.Helper()
	b, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func keyAndRequest(t *testing.T) (key, csr string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request}))
}

// asVaultRoot gives f a way to run Vault's own client with a root token, on Vault's machine.
func asVaultRoot(t *testing.T, target *claim.Target, f func(run func(stdin string, args ...string) string)) {
	t.Helper()
	keys, err := vault.ReadKeys(open(t).Dir + "/operator/unseal-keys.json")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(target.Machines, func(m provider.Machine) bool { return m.Role == v1alpha1.RoleVault })
	first := target.Machines[i].Name
	client, err := target.VaultAt(t.Context(), target.Machines[i])
	if err != nil {
		t.Fatal(err)
	}
	err = client.WithRoot(t.Context(), keys, func(root *vault.Client) error {
		f(func(stdin string, args ...string) string {
			var out, said bytes.Buffer
			err := target.Provider.Exec(t.Context(), first, provider.Exec{
				Args: append([]string{unit.Bin + "/vault"}, args...), Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &said,
				Env: []string{"VAULT_ADDR=https://localhost:8200", "VAULT_CACERT=" + unit.CAFile(unit.CAVault), "VAULT_TOKEN=" + root.Token(), "HOME=/tmp"}})
			if err != nil {
				t.Fatalf("vault %v: %v\n%s", args, err, said.String())
			}
			return out.String()
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
