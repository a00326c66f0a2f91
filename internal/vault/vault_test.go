package vault

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/unit"
)

func TestLayoutIsAppliedAndStays(t *testing.T) {
	c := startCluster(t)
	for _, d := range c.drift() {
		t.Errorf("after Apply: %s", d)
	}
	began := time.Now()
	have, err := Observe(c.ctx, c.operator, c.want)
	c.must(err)
	if took := time.Since(began); took > 500*time.Millisecond {
		t.Errorf("observing an unchanged layout took %s", took)
	}
	if len(have.Objects) != len(c.want.Objects) {
		t.Errorf("%d objects observed, %d wanted", len(have.Objects), len(c.want.Objects))
	}
	// A field that Vault knows and the layout does not could be changed without anybody noticing.
	for _, h := range have.Objects {
		for field := range h.Fields {
			if _, ok := c.want.find(h.Kind, h.Path).Fields[field]; !ok {
				t.Errorf("%s has a field %q, which the layout does not decide", h.name(), field)
			}
		}
	}
}

// TestDriftIsNamedAndRepaired changes Vault by hand, all at once, and wants each change named and undone.
func TestDriftIsNamedAndRepaired(t *testing.T) {
	c := startCluster(t)
	mount := "demo/pki/kubernetes"
	edits := []struct {
		method, path string
		body         Fields
		names        string // part of the drift
	}{
		{"PUT", "sys/policies/acl/demo-worker", Fields{"policy": `path "demo/*" { capabilities = ["read"] }`}, "policy sys/policies/acl/demo-worker: policy differs: line 1"},
		{"DELETE", "sys/policies/acl/demo-lb", nil, "policy sys/policies/acl/demo-lb: missing"},
		{"PUT", "sys/policies/acl/demo-evil", Fields{"policy": `path "*" { capabilities = ["sudo"] }`}, "policy sys/policies/acl/demo-evil: should not be there"},
		{"PATCH", mount + "/roles/kubelet", Fields{"allow_any_name": true}, "PKI role " + mount + "/roles/kubelet: allow_any_name is true, should be false"},
		{"PATCH", mount + "/roles/kube-proxy", Fields{"cn_validations": []string{"disabled"}}, `cn_validations is ["disabled"]`},
		{"PUT", mount + "/roles/evil", Fields{"allow_any_name": true}, "PKI role " + mount + "/roles/evil: should not be there"},
		{"PUT", mount + "/config/cluster", Fields{"path": "https://vault-0:8200/v1/" + mount}, ""}, // see below
		{"PUT", mount + "/config/acme", Fields{"enabled": true}, "config/acme: enabled is true, should be false"},
		{"PUT", "sys/mounts/" + mount + "/tune", Fields{"max_lease_ttl": "48h"}, "mount sys/mounts/" + mount + ": max_lease_ttl is 172800"},
		{"PUT", "sys/mounts/demo/evil", Fields{"type": "kv"}, "mount sys/mounts/demo/evil: should not be there"},
		{"PUT", "demo/machines/config", Fields{"cas_required": false}, "setting demo/machines/config: cas_required is false"},
		{"DELETE", "sys/audit/audit-1", nil, "audit device sys/audit/audit-1: missing"},
		{"PUT", "auth/demo/approle/role/worker-0", Fields{"secret_id_num_uses": 0, "token_bound_cidrs": []string{}}, "secret_id_num_uses is 0, should be 1"},
		{"PUT", "auth/demo/approle/role/etcd-0/role-id", Fields{"role_id": "other"}, `role_id is "other"`},
		{"PUT", "auth/demo/approle/role/evil", Fields{"token_policies": "demo-worker"}, "AppRole role auth/demo/approle/role/evil: should not be there"},
		{"PUT", "identity/entity/name/demo-worker-1", Fields{"metadata": Fields{"machine": "worker-0"}, "policies": "demo-operator"}, "entity identity/entity/name/demo-worker-1: metadata is"},
		{"DELETE", "identity/entity/name/demo-lb-0", nil, "entity identity/entity/name/demo-lb-0: missing"},
		{"PUT", "identity/entity/name/demo-evil", Fields{}, "entity identity/entity/name/demo-evil: should not be there"},
		{"PUT", "demo/transit/keys/etcd/config", Fields{"deletion_allowed": true}, "transit key demo/transit/keys/etcd: deletion_allowed is true"},
		{"PUT", "demo/transit/keys/evil", Fields{}, "transit key demo/transit/keys/evil: should not be there"},
		{"PUT", "demo/machines/data/gone-0/status", Fields{"data": Fields{"x": 1}, "options": Fields{"cas": 0}}, "documents demo/machines/metadata/gone-0/status: should not be there"},
	}
	c.asRoot(func(root *Client) error {
		for _, e := range edits {
			if e.method == "PATCH" { // change one field, keep the rest
				f := maps.Clone(c.want.find(KindPKIRole, e.path).Fields)
				maps.Copy(f, e.body)
				e.method, e.body = "PUT", f
			}
			if _, err := root.do(c.ctx, e.method, e.path, e.body); err != nil {
				return err
			}
		}
		return nil
	})
	// A run that was killed between making a root token and revoking it.
	survivor, err := c.anonymous.generateRoot(c.ctx, c.keys)
	c.must(err)
	edits[6].names = "still lives → revoke it" // config/cluster only prepares the edit after it
	drifts := c.drift()
	for _, e := range edits {
		if !slices.ContainsFunc(drifts, func(d Drift) bool { return strings.Contains(d.String(), e.names) }) {
			t.Errorf("not named: %q", e.names)
		}
	}
	if len(drifts) != len(edits) {
		t.Errorf("%d changes made, %d named: %v", len(edits), len(drifts), drifts)
	}
	c.asRoot(func(root *Client) error { return Apply(c.ctx, root, drifts) })
	for _, d := range c.drift() {
		t.Errorf("not repaired: %s", d)
	}
	if err := c.anonymous.WithToken(survivor).get(c.ctx, "auth/token/lookup-self", &struct{}{}); !errors.Is(err, ErrDenied) {
		t.Errorf("the surviving root token: %v", err)
	}
}

func TestEntityHasNoOtherWayIn(t *testing.T) {
	c := startCluster(t)
	c.asRoot(func(root *Client) error {
		var e entity
		var auths map[string]struct{ Accessor string }
		return errors.Join(
			root.put(c.ctx, "sys/auth/userpass", Fields{"type": "userpass"}, nil),
			root.get(c.ctx, "sys/auth", &auths),
			root.get(c.ctx, "identity/entity/name/demo-worker-0", &e),
			root.put(c.ctx, "identity/entity-alias", Fields{"name": "eve", "canonical_id": e.ID, "mount_accessor": auths["userpass/"].Accessor}, nil),
			root.put(c.ctx, "identity/group", Fields{"name": "friends", "policies": "demo-operator", "member_entity_ids": e.ID}, nil),
		)
	})
	drifts := c.drift()
	if len(drifts) != 1 || !strings.Contains(drifts[0].Cause, "eve") || !strings.Contains(drifts[0].Cause, "groups") {
		t.Errorf("named: %v", drifts)
	}
	c.asRoot(func(root *Client) error { return Apply(c.ctx, root, drifts) })
	if d := c.drift(); len(d) > 0 {
		t.Errorf("not repaired: %v", d)
	}
}

func TestRemovedMachineIsShutOut(t *testing.T) {
	c := startCluster(t)
	worker := c.enrol("worker-1", fromB)
	_, err := worker.WriteDocument(c.ctx, "worker-1", Status, 0, map[string]string{"phase": "ready"})
	c.must(err)
	if d := c.drift(); len(d) > 0 {
		t.Errorf("a machine at work is drift: %v", d)
	}
	c.input.Machines = slices.DeleteFunc(c.input.Machines, func(m unit.Machine) bool { return m.Name == "worker-1" })
	c.want = Layout(c.input)
	drifts := c.drift()
	if len(drifts) != 6 {
		t.Errorf("want role, entity and status named, and the three SSH roles that are for it: %v", drifts)
	}
	c.asRoot(func(root *Client) error { return Apply(c.ctx, root, drifts) })
	if _, err := worker.ReadDocument(c.ctx, "worker-1", Desired, &struct{}{}); !errors.Is(err, ErrDenied) {
		t.Errorf("a removed machine's token: %v", err)
	}
	if d := c.drift(); len(d) > 0 {
		t.Errorf("left: %v", d)
	}
}

func TestRootTokensAreRevoked(t *testing.T) {
	c := startCluster(t)
	dead := func(what, token string) {
		t.Helper()
		if err := c.anonymous.WithToken(token).get(c.ctx, "auth/token/lookup-self", &struct{}{}); !errors.Is(err, ErrDenied) {
			t.Errorf("%s lives: %v", what, err)
		}
	}
	dead("the first root token", c.root)
	for name, result := range map[string]error{"success": nil, "failure": errors.New("on purpose")} {
		var token string
		err := c.anonymous.WithRoot(c.ctx, c.keys, func(root *Client) error {
			token = root.Token()
			var mounts map[string]any
			c.must(root.get(c.ctx, "sys/mounts", &mounts))
			return result
		})
		if !errors.Is(err, result) {
			t.Errorf("%s: %v", name, err)
		}
		dead("the root token after "+name, token)
	}
	// A run that was killed left its attempt behind.
	c.must(c.anonymous.put(c.ctx, "sys/generate-root/attempt", Fields{}, nil))
	c.asRoot(func(*Client) error { return nil })
	wrong := Keys{Shares: []string{"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}, Threshold: 1}
	if err := c.anonymous.WithRoot(c.ctx, wrong, func(*Client) error { t.Error("opened with a wrong key"); return nil }); err == nil {
		t.Error("a wrong key makes a root token")
	}
}

func TestInitialiseAfterEveryCrash(t *testing.T) {
	c := startCluster(t)
	again := func() error {
		_, root, err := c.anonymous.Initialise(c.ctx, c.file)
		if root != "" {
			t.Error("a second root token")
		}
		return err
	}
	if err := again(); err != nil {
		t.Errorf("with its keys: %v", err)
	}
	if info, err := os.Stat(c.file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("keys: %v, %v", info.Mode(), err)
	}
	c.must(Keys{Intended: true}.write(c.file))
	if err := again(); !errors.Is(err, ErrNeverRecorded) {
		t.Errorf("died before the keys were written: %v", err)
	}
	c.must(os.Remove(c.file))
	if err := again(); !errors.Is(err, ErrForeignKeys) {
		t.Errorf("somebody lost the keys: %v", err)
	}
	c.must(c.keys.write(c.file))

	// A reboot: sealed, then opened with the recorded keys.
	c.must(c.process.Process.Kill())
	_ = c.process.Wait()
	c.start()
	if s, err := c.anonymous.Status(c.ctx); err != nil || !s.Sealed || !s.Initialized {
		t.Errorf("after a restart: %+v, %v", s, err)
	}
	if _, err := c.operator.CAs(c.ctx); !errors.Is(err, ErrSealed) {
		t.Errorf("a sealed Vault answers %v", err)
	}
	keys, err := ReadKeys(c.file)
	c.must(err)
	c.must(c.anonymous.Unseal(c.ctx, keys))
	c.must(c.anonymous.WaitActive(c.ctx))
	if d := c.drift(); len(d) > 0 {
		t.Errorf("after a restart: %v", d)
	}

	empty := startServer(t, "vault-0").client(fromOperator, "")
	if err := empty.Unseal(c.ctx, keys); err == nil {
		t.Error("an empty server was unsealed")
	}
	if _, _, err := empty.Initialise(c.ctx, c.file); !errors.Is(err, ErrForeignKeys) {
		t.Errorf("keys of another Vault would be overwritten: %v", err)
	}
}

func TestKeysAreNotShown(t *testing.T) {
	k := Keys{Shares: []string{"c2VjcmV0"}, Threshold: 1}
	if s := fmt.Sprintf("%v %+v %#v %s", k, k, k, k); strings.Contains(s, "c2VjcmV0") {
		t.Error(s)
	}
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := k.write(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o644); err != nil { //nolint:gosec // on purpose
		t.Fatal(err)
	}
	if _, err := ReadKeys(file); err == nil {
		t.Error("keys that everybody can read are accepted")
	}
}
