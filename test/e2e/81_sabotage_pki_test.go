package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

func init() {
	sabotages = append(sabotages,
		sabotage{"pki-init-token", "the kubelet's PKI role signs any name", vaultSabotage("", "patch", "%/pki/kubernetes/roles/kubelet", "allow_any_name=true")},
		sabotage{"vault-closed", "a machine's policy grants sudo",
			vaultSabotage(`path "sys/leases/lookup/*" { capabilities = ["list", "sudo"] }`, "policy", "write", "%-lb", "-")},
		sabotage{"pki-vault-only", "a port shows a certificate made by hand", handIssued("1")},
		sabotage{"pki-short-lived", "a port shows a certificate of ten years", handIssued("3650")},
		sabotage{"pki-three-cas", "the overlay's etcd trusts the CA of Kubernetes' etcd, too", editUnit(v1alpha1.RoleEtcd, "etcd-overlay",
			"cat "+unit.CAFile(unit.CAEtcdKubernetes)+" >> "+unit.CAFile(unit.CAEtcdOverlay), overlayAnswers)},
		sabotage{"pki-three-cas", "a worker trusts another CA", func(t *testing.T, _ *claim.Target) {
			t.Cleanup(func() { ashlar(t, "up") })
			ashlar(t, "exec", "worker-0", "--", "sh", "-c", "cat "+unit.CAFile(unit.CAEtcdOverlay)+" >> "+unit.CAFile(unit.CAKubernetes))
		}},
		sabotage{"pki-rolling", "a rotation skips the end: the predecessor is still in Vault", func(t *testing.T, target *claim.Target) {
			t.Cleanup(func() { editVault(t, target, "", "delete", "%/pki/front-proxy/issuer/left-over") })
			editVault(t, target, "", "write", "%/pki/front-proxy/root/rotate/internal", "common_name=% front-proxy", "issuer_name=left-over", "key_type=ec")
		}},
		sabotage{"pki-rolling", "a rotation skips a machine: it still trusts another", func(t *testing.T, _ *claim.Target) {
			t.Cleanup(func() { ashlar(t, "up") })
			ashlar(t, "exec", "worker-0", "--", "sh", "-c", "cat "+unit.CAFile(unit.CAKubernetes)+" >> "+unit.CAFile(unit.CAEtcdOverlay))
		}},
		sabotage{"pki-rolling", "a certificate is not of the key that signs", handIssued("1")},
		sabotage{"pki-audit", "one of the two audit devices is off", vaultSabotage("", "audit", "disable", "audit-2")},
		sabotage{"pki-audit", "an audit device writes secrets in clear", func(t *testing.T, target *claim.Target) {
			t.Cleanup(func() { ashlar(t, "up") })
			editVault(t, target, "", "audit", "disable", "audit-2")
			editVault(t, target, "", "audit", "enable", "-path=audit-2", "file", "file_path=/var/log/vault/audit-2.log", "log_raw=true")
		}},
		sabotage{"pki-audit", "somebody with a root token issued a certificate", issuedByRoot},
		sabotage{"pki-revocation", "API servers do not hear what was revoked", deaf(v1alpha1.RoleControlPlane, "kube-apiserver")},
		sabotage{"pki-revocation", "etcd does not hear what was revoked", deaf(v1alpha1.RoleEtcd, "etcd-k8s")},
	)
}

// issuedByRoot has Vault issue a certificate as no unit would, which is mended by revoking what the audit flags.
func issuedByRoot(t *testing.T, target *claim.Target) {
	t.Cleanup(func() {
		out, code := try("-f", file, "pki", "audit", "-o", "json")
		if code != 2 {
			t.Errorf("pki audit: exit %d", code)
		}
		var events []struct{ Serial, Flag string }
		if err := json.Unmarshal([]byte(out), &events); err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Flag != "" {
				ashlar(t, "pki", "revoke", "--serial", e.Serial, "--reason", e.Flag)
			}
		}
	})
	editVault(t, target, "", "write", "-field=serial_number", "%/pki/kubernetes/issue/kube-scheduler", "common_name=system:kube-scheduler")
}

// deaf stops the agents of a role, which would hand on what was revoked.
func deaf(role v1alpha1.Role, unit string) func(*testing.T, *claim.Target) {
	signal := func(name string) string {
		return `pid=$(sed 's/.*"pid":\([0-9]*\).*/\1/' /run/ashlar/units/` + unit + `.json); kill -` + name + ` $(cut -d ' ' -f 4 /proc/$pid/stat)`
	}
	return func(t *testing.T, target *claim.Target) {
		t.Cleanup(func() {
			onRole(t, target, role, signal("CONT"))
			ashlar(t, "up")
		})
		onRole(t, target, role, signal("STOP"))
	}
}

// vaultSabotage changes Vault's layout; `up` mends it.
func vaultSabotage(stdin string, args ...string) func(*testing.T, *claim.Target) {
	return func(t *testing.T, target *claim.Target) {
		t.Cleanup(func() { ashlar(t, "up") })
		editVault(t, target, stdin, args...)
	}
}

// editVault changes Vault's layout with a root token from the unseal keys. % is the cluster's name.
func editVault(t *testing.T, target *claim.Target, stdin string, args ...string) {
	t.Helper()
	if err := runVault(t, target, stdin, args...); err != nil {
		t.Fatal(err)
	}
}

// runVault is editVault for what may fail.
func runVault(t *testing.T, target *claim.Target, stdin string, args ...string) error {
	t.Helper()
	ctx := context.WithoutCancel(t.Context()) // which is over when a test cleans up
	c := open(t)
	keys, err := vault.ReadKeys(filepath.Join(c.Dir, "operator", "unseal-keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	var first provider.Machine
	for _, m := range target.Machines {
		if m.Role == "vault" {
			first = m
			break
		}
	}
	client, err := target.VaultAt(ctx, first)
	if err != nil {
		t.Fatal(err)
	}
	command := []string{unit.Bin + "/vault"}
	for _, a := range args {
		command = append(command, strings.ReplaceAll(a, "%", target.Desired.Cluster))
	}
	return client.WithRoot(ctx, keys, func(root *vault.Client) error {
		var out bytes.Buffer
		err := target.Provider.Exec(ctx, first.Name, provider.Exec{
			Args: command, Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &out,
			Env: []string{"HOME=/root", "VAULT_ADDR=https://127.0.0.1:8200", "VAULT_TLS_SERVER_NAME=localhost", "VAULT_SKIP_VERIFY=true", "VAULT_TOKEN=" + root.Token()},
		})
		t.Log(out.String())
		return err
	})
}

// handIssued serves a certificate that nobody but openssl made.
func handIssued(days string) func(*testing.T, *claim.Target) {
	return func(t *testing.T, target *claim.Target) {
		const machine, address = "worker-0", "127.0.0.1:4433"
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() {
			done <- target.Provider.Exec(ctx, machine, provider.Exec{Args: []string{"/bin/sh", "-c",
				"cd /tmp && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=worker-0 -days " + days +
					" -keyout hand.key -out hand.crt 2>/dev/null && exec openssl s_server -quiet -accept " + address + " -cert hand.crt -key hand.key"}})
		}()
		t.Cleanup(func() {
			stop()
			<-done //nolint:errcheck // it was stopped
		})
		eventually(t, 5*time.Second, func() error {
			conn, err := target.Provider.Dial(ctx, machine, "tcp", address)
			if err == nil {
				_ = conn.Close()
			}
			return err
		})
	}
}

// overlayAnswers waits until the overlay's etcd is ready.
func overlayAnswers(t *testing.T) {
	t.Helper()
	eventually(t, 30*time.Second, func() error {
		out, code := try("-f", file, "exec", "etcd-0", "--", "bash", "-c",
			fmt.Sprintf("exec 3<>/dev/tcp/127.0.0.1/%d", unit.EtcdClusters[2].ClientPort))
		if code != 0 {
			return errorString(out)
		}
		return nil
	})
}
