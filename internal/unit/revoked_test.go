package unit_test

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func certificateOf(ca unit.CA, serial, of string) unit.Revocation {
	return unit.Revocation{CA: ca, Serial: serial, SHA256: strings.Repeat("ab", 32), Of: of, At: noon, Until: noon.Add(time.Hour)}
}

// Each machine hears what it is asked about, and what is its own.
func TestRevokedFor(t *testing.T) {
	kubelet, client, user := certificateOf(unit.CAKubernetes, "01", "worker-0"), certificateOf(unit.CAEtcdKubernetes, "02", "control-plane-0"), unit.Revocation{User: "alice", At: noon}
	kubelet.Sever = netip.MustParsePrefix("10.90.0.14/32")
	r := unit.Revoked{Credentials: []unit.Revocation{kubelet, client, user}}
	for _, c := range []struct {
		role    v1alpha1.Role
		machine string
		want    []unit.Revocation
	}{
		{v1alpha1.RoleControlPlane, "control-plane-1", []unit.Revocation{kubelet, user}},
		{v1alpha1.RoleControlPlane, "control-plane-0", []unit.Revocation{kubelet, client, user}},
		{v1alpha1.RoleEtcd, "etcd-0", []unit.Revocation{client}},
		{v1alpha1.RoleLB, "lb-0", []unit.Revocation{kubelet}},
		{v1alpha1.RoleWorker, "worker-0", []unit.Revocation{kubelet}},
		{v1alpha1.RoleWorker, "worker-1", nil},
		{v1alpha1.RoleVault, "vault-0", nil},
	} {
		if got := r.For(c.role, c.machine); !slices.Equal(got, c.want) {
			t.Errorf("%s hears %v, want %v", c.machine, got, c.want)
		}
	}
}

// etcd's list has the serials of its own CA, is the same each time, and its first entry restarts nothing.
func TestRevocationList(t *testing.T) {
	d := on(small, "etcd-0")
	empty := unit.For(d)
	d.Revoked = []unit.Revocation{certificateOf(unit.CAEtcdKubernetes, "0a:bc", "control-plane-0"), certificateOf(unit.CAEtcdOverlay, "07", "worker-0"),
		certificateOf(unit.CAEtcdKubernetes, "not a serial", "x")}
	for i, u := range unit.For(d) {
		for _, f := range u.Files {
			if !strings.HasSuffix(f.Path, ".crl") {
				continue
			}
			list, err := x509.ParseRevocationList([]byte(f.Content))
			if err != nil {
				t.Fatal(err)
			}
			want := "abc"
			if strings.Contains(f.Path, string(unit.CAEtcdOverlay)) {
				want = "7"
			}
			if len(list.RevokedCertificateEntries) != 1 || list.RevokedCertificateEntries[0].SerialNumber.Text(16) != want {
				t.Errorf("%s of %s lists %v, want %s", f.Path, u.Name, list.RevokedCertificateEntries, want)
			}
			again, _ := find(unit.For(d), u.Name)
			if !slices.ContainsFunc(again.Files, func(g unit.File) bool { return bytes.Equal([]byte(g.Content), []byte(f.Content)) }) {
				t.Errorf("%s differs each time", f.Path)
			}
		}
		if u.Digest() != empty[i].Digest() {
			t.Errorf("%s is restarted for a revocation", u.Name)
		}
	}
}

// API servers have the first word refuse what was revoked, and are not restarted for it. Without a revocation nobody is asked.
func TestDenyRevoked(t *testing.T) {
	d := on(ha, "control-plane-0")
	before, _ := find(unit.For(d), "kube-apiserver")
	if strings.Contains(file(before, authorizationYAML).Content, "revoked") {
		t.Error("an authorizer for nothing")
	}
	d.Revoked = []unit.Revocation{certificateOf(unit.CAKubernetes, "01", "worker-0"), {User: `provider:o'"hara`, At: noon}}
	after, _ := find(unit.For(d), "kube-apiserver")
	if before.Digest() != after.Digest() {
		t.Error("a revocation restarts the API server")
	}
	var c struct {
		Authorizers []struct {
			Name    string
			Webhook struct {
				FailurePolicy   string
				MatchConditions []struct{ Expression string }
			}
		}
	}
	if err := decode(file(after, authorizationYAML), &c); err != nil {
		t.Fatal(err)
	}
	first := c.Authorizers[0]
	if first.Name != "revoked" || first.Webhook.FailurePolicy != "Deny" || len(first.Webhook.MatchConditions) != 1 {
		t.Fatalf("the first authorizer is %+v", first)
	}
	for _, part := range []string{`"X509SHA256=` + strings.Repeat("ab", 32) + `"`, `request.user in ["provider:o'\"hara"]`} {
		if got := first.Webhook.MatchConditions[0].Expression; !strings.Contains(got, part) {
			t.Errorf("the condition is %s, which does not have %s", got, part)
		}
	}
	// More than CEL would read are looked up by the webhook.
	d.Revoked = slices.Repeat(d.Revoked, 5000)
	many, _ := find(unit.For(d), "kube-apiserver")
	if n := len(file(many, authorizationYAML).Content); n > 200_000 {
		t.Errorf("the configuration has %d characters", n)
	}
}

// Connections end from where the newest revocation says, and the command runs once for each.
func TestSever(t *testing.T) {
	d := on(small, "etcd-0")
	if _, is := find(unit.For(d), "sever"); is {
		t.Error("connections end without a revocation")
	}
	old, young := certificateOf(unit.CAEtcdOverlay, "01", "worker-0"), certificateOf(unit.CAEtcdOverlay, "02", "worker-1")
	old.Sever, young.Sever, young.At = netip.MustParsePrefix("10.90.0.14/32"), netip.MustParsePrefix("10.90.0.15/32"), noon.Add(time.Minute)
	d.Revoked = []unit.Revocation{old}
	first, _ := find(unit.For(d), "sever")
	d.Revoked = []unit.Revocation{young, old}
	second, _ := find(unit.For(d), "sever")
	filter := second.Args[len(second.Args)-1]
	if !second.Once || !strings.Contains(filter, "dst 10.90.0.15/32") || strings.Contains(filter, "10.90.0.14") ||
		!strings.Contains(filter, fmt.Sprintf("sport = :%d", unit.EtcdClusters[2].ClientPort)) {
		t.Errorf("it runs %v", second.Args)
	}
	if first.Digest() == second.Digest() {
		t.Error("a second revocation severs nothing")
	}
	d.Revoked[0].Sever = netip.Prefix{}
	if _, is := find(unit.For(d), "sever"); is {
		t.Error("what was severed before is severed again")
	}
}
