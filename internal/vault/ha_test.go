package vault

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestThreeServersSurviveTheLossOfTheLeader makes a raft cluster of three, kills the leader, and goes on working.
func TestThreeServersSurviveTheLossOfTheLeader(t *testing.T) {
	c := startCluster(t)
	servers := []*server{c.server, startServer(t, "vault-1"), startServer(t, "vault-2")}
	began := time.Now()
	for _, s := range servers[1:] {
		client := s.client(fromOperator, "")
		c.must(client.RaftJoin(c.ctx, c.address, c.cert))
		c.must(client.Unseal(c.ctx, c.keys))
		c.must(client.RaftJoin(c.ctx, c.address, c.cert))
	}
	t.Logf("two joined and unsealed after %s", time.Since(began))
	voters := func() (n int) {
		var out struct {
			Config struct{ Servers []struct{ Voter bool } }
		}
		c.must(c.operator.get(c.ctx, "sys/storage/raft/configuration", &out))
		for _, s := range out.Config.Servers {
			if s.Voter {
				n++
			}
		}
		return n
	}
	c.eventually("three voters", func() bool { return voters() == 3 })
	t.Logf("three voters after %s", time.Since(began))

	addresses := map[string]string{}
	o := Options{Cluster: "demo", Token: c.operator.Token()}
	for _, s := range servers {
		addresses[s.name+":8200"] = s.address
		o.Addresses = append(o.Addresses, s.name+":8200")
		o.Pins = append(o.Pins, s.pin)
	}
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(fromOperator)}}
	o.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, addresses[address])
	}
	all, err := New(o)
	c.must(err)
	defer all.Close()
	have, err := Observe(c.ctx, all, c.want)
	c.must(err)
	if d := Diff(c.want, have); len(d) > 0 {
		t.Errorf("drift: %v", d)
	}
	c.must(c.process.Process.Kill())
	began = time.Now()
	c.eventually("another leader writes", func() bool {
		_, err := all.WriteDocument(c.ctx, "worker-0", Desired, 0, Fields{"n": 1})
		return err == nil || errors.Is(err, ErrConflict)
	})
	t.Logf("a new leader wrote after %s", time.Since(began))
	c.must(all.WaitActive(c.ctx))
	c.must(all.WithRoot(c.ctx, c.keys, func(root *Client) error { _, err := Observe(c.ctx, root, c.want); return err }))

	// The one that was killed comes back without its data, and asks one that does not lead.
	again := startServer(t, "vault-0")
	c.must(all.WithRoot(c.ctx, c.keys, func(root *Client) error {
		return errors.Join(root.RemovePeer(c.ctx, "vault-0"), root.RemovePeer(c.ctx, "vault-0"))
	}))
	empty := again.client(fromOperator, "")
	for _, s := range servers[1:] {
		if leads, err := s.client(fromOperator, "").Leads(c.ctx); err == nil && !leads {
			c.must(empty.RaftJoin(c.ctx, s.address, s.cert))
		}
	}
	c.must(empty.Unseal(c.ctx, c.keys))
	c.eventually("three voters again", func() bool {
		v, err := all.Voters(c.ctx)
		return err == nil && len(v) == 3
	})
	var document Fields
	c.eventually("it answers", func() bool {
		_, err := empty.WithToken(c.operator.Token()).ReadDocument(c.ctx, "worker-0", Desired, &document)
		return err == nil
	})
	if document["n"] != 1.0 {
		t.Errorf("it says %v", document)
	}
}

func TestOperatorLockedOutIsLetInAgain(t *testing.T) {
	c := startCluster(t)
	c.asRoot(func(root *Client) error {
		return root.put(c.ctx, "sys/policies/acl/demo-operator", Fields{"policy": "# nothing"}, nil)
	})
	if _, err := Observe(c.ctx, c.operator, c.want); !errors.Is(err, ErrDenied) {
		t.Errorf("without a policy: %v", err)
	}
	c.asRoot(func(root *Client) error {
		have, err := Observe(c.ctx, root, c.want)
		c.must(err)
		drifts := Diff(c.want, have)
		if len(drifts) != 1 || !strings.Contains(drifts[0].Object, "demo-operator") {
			t.Errorf("named: %v", drifts)
		}
		return Apply(c.ctx, root, drifts)
	})
	if d := c.drift(); len(d) > 0 {
		t.Errorf("drift: %v", d)
	}
	// A lost credential is replaced, and the lost one is dead.
	var first, next OperatorCredential
	c.asRoot(func(root *Client) (err error) {
		first, err = root.IssueOperatorCredential(c.ctx)
		c.must(err)
		next, err = root.IssueOperatorCredential(c.ctx)
		return err
	})
	if _, _, err := c.anonymous.LoginAppRole(c.ctx, first.RoleID, first.SecretID); err == nil {
		t.Error("the replaced credential works")
	}
	_, _, err := c.client(fromA, "").LoginAppRole(c.ctx, next.RoleID, next.SecretID)
	if err == nil {
		t.Error("the operator's credential works from a machine")
	}
	_, _, err = c.anonymous.LoginAppRole(c.ctx, next.RoleID, next.SecretID)
	c.must(err)
}

// TestUnreachableSaysWhere wants an error that a person can act on, soon.
func TestUnreachableSaysWhere(t *testing.T) {
	closed := freeAddress(t)
	c, err := New(Options{Addresses: []string{closed}, Pins: [][32]byte{{}}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Status(context.Background())
	if err == nil || !strings.Contains(err.Error(), closed) {
		t.Errorf("refused connection: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // test
	silent, err := New(Options{Addresses: []string{l.Addr().String()}, Pins: [][32]byte{{}}, DialTimeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := silent.Status(context.Background()); err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("a silent server: %v after %s", err, time.Since(began))
	}
	if _, err := ReadKeys(filepath.Join(t.TempDir(), "none")); err != nil {
		t.Errorf("no keys yet: %v", err)
	}
}
