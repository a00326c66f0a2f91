package phase

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/backup"
	"ashlar.dev/ashlar/internal/vault"
)

// declaredCluster is one of which nothing is there yet.
func declaredCluster(t *testing.T, name string) *Cluster {
	t.Helper()
	spec, err := v1alpha1.Decode([]byte(`apiVersion: ashlar.dev/v1alpha1
kind: Cluster
metadata: {name: `+name+`}
spec:
  provider: {local: {}}
  pools:
  - {name: control-plane, role: control-plane, count: 1}
  - {name: worker, role: worker, count: 1}
`), "cluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return &Cluster{Spec: spec, Dir: t.TempDir()}
}

func manifestOf(t *testing.T, c *Cluster, id string, keys vault.Keys) backup.Manifest {
	t.Helper()
	of := c.wantIdentity()
	of.ID = id
	b, err := json.MarshalIndent(of, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return backup.Manifest{Cluster: of.Name, ID: id, Identity: b, UnsealKeys: digestOf(keys)}
}

// refusedAs says whether an error is the user's to mend, and says so.
func refusedAs(t *testing.T, err error, why string) {
	t.Helper()
	var input InputError
	if !errors.As(err, &input) || !strings.Contains(err.Error(), why) {
		t.Errorf("it says %v, want %q", err, why)
	}
}

func TestSameCluster(t *testing.T) {
	c := declaredCluster(t, "demo")
	m := manifestOf(t, c, "one", vault.Keys{})
	if err := c.sameCluster(m); err != nil {
		t.Errorf("before there is one: %v", err)
	}
	c.ID = "one"
	if err := c.sameCluster(m); err != nil {
		t.Errorf("its own: %v", err)
	}
	c.ID = "two"
	refusedAs(t, c.sameCluster(m), "another cluster of this name")
	refusedAs(t, declaredCluster(t, "other").sameCluster(m), "another cluster")
	moved := declaredCluster(t, "demo")
	moved.Spec.Spec.Network.PodCIDR = "10.1.0.0/16"
	refusedAs(t, moved.sameCluster(m), "another cluster")
}

func TestRestoreKeys(t *testing.T) {
	c := declaredCluster(t, "demo")
	keys := vault.Keys{Shares: []string{"c2VjcmV0"}, Threshold: 1}
	m := manifestOf(t, c, "one", keys)
	if strings.Contains(m.UnsealKeys, keys.Shares[0]) {
		t.Error("the digest shows the key")
	}
	_, err := c.restoreKeys(m, RestoreOptions{})
	refusedAs(t, err, "--unseal-keys")
	copied, other := filepath.Join(t.TempDir(), "copy"), filepath.Join(t.TempDir(), "other")
	if err := errors.Join(keys.Store(copied), vault.Keys{Shares: []string{"b3RoZXI="}, Threshold: 1}.Store(other)); err != nil {
		t.Fatal(err)
	}
	if got, err := c.restoreKeys(m, RestoreOptions{UnsealKeys: copied}); err != nil || got.Shares[0] != keys.Shares[0] {
		t.Errorf("a copy: %v", err)
	}
	_, err = c.restoreKeys(m, RestoreOptions{UnsealKeys: other})
	refusedAs(t, err, "do not open the Vault of this backup")
	if err != nil && strings.Contains(err.Error(), "b3RoZXI=") {
		t.Error("the error shows a key")
	}
}

// TestUnfinishedRestore: nothing else goes on until a restore has come to its end, and the next one does all that it was to do.
func TestUnfinishedRestore(t *testing.T) {
	c := declaredCluster(t, "demo")
	if err := c.unfinishedRestore(); err != nil {
		t.Fatal(err)
	}
	keys := vault.Keys{Shares: []string{"c2VjcmV0"}, Threshold: 1}
	archive := &backup.Archive{Manifest: manifestOf(t, c, "one", keys)}
	if err := c.beginRestore(archive, RestoreOptions{Etcd: true}, keys); err != nil {
		t.Fatal(err)
	}
	refusedAs(t, c.unfinishedRestore(), "run `ashlar restore` again")
	if c.ID != "one" {
		t.Errorf("the cluster is %q", c.ID)
	}
	again := &Cluster{Spec: c.Spec, Dir: c.Dir}
	if err := again.loadIdentity(); err != nil || again.ID != "one" {
		t.Errorf("another command finds cluster %q: %v", again.ID, err)
	}
	o := RestoreOptions{Vault: true}
	if _, err := again.mayRestore(t.Context(), archive, &o); err != nil || !o.Etcd || !o.Vault || !o.Replace {
		t.Errorf("the next one restores %+v: %v", o, err)
	}
	if info, err := os.Stat(c.keysFile()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the keys: %v %v", info, err)
	}
}

// TestMark: what a restore demands of machines goes away with it, but for how old certificates may be.
func TestMark(t *testing.T) {
	var none *restoring
	b := agent.Boot{Hold: []string{"x"}, Rejoin: true}
	none.mark(&b, v1alpha1.RoleEtcd)
	if len(b.Hold) != 1 || !b.Rejoin || none.strange() {
		t.Errorf("without a restore: %+v", b)
	}
	r := &restoring{hold: true}
	r.mark(&b, v1alpha1.RoleEtcd)
	if len(b.Hold) != 5 || b.Rejoin || r.strange() {
		t.Errorf("held: %+v", b)
	}
	r.hold, r.renewBefore = false, time.Unix(1, 0)
	r.mark(&b, v1alpha1.RoleEtcd)
	if len(b.Hold) != 0 || b.RenewBefore != time.Unix(1, 0) || !r.strange() {
		t.Errorf("let go: %+v", b)
	}
}

func TestOnly(t *testing.T) {
	for what, want := range map[string]RestoreOptions{"": {Vault: true, Etcd: true}, "vault": {Vault: true}, "etcd": {Etcd: true}} {
		var o RestoreOptions
		if err := o.Only(what); err != nil || o != want {
			t.Errorf("--only %q: %+v %v", what, o, err)
		}
	}
	var o RestoreOptions
	refusedAs(t, o.Only("etc"), "there is vault and etcd")
}

func TestSilent(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		e    enrolled
		want bool
	}{
		"never heard of":         {enrolled{token: true}, true},
		"heard of just now":      {enrolled{token: true, status: agent.Status{Seen: now.Add(-time.Minute)}}, false},
		"heard of yesterday":     {enrolled{token: true, status: agent.Status{Seen: now.Add(-24 * time.Hour)}}, true},
		"a disk without a token": {enrolled{status: agent.Status{Seen: now.Add(-time.Minute)}}, true},
	} {
		if got := c.e.silent(now, 24*time.Hour); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
