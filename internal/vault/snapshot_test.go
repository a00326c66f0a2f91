package vault

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/unit"
)

// TestSnapshot restores what a Vault held into an empty one with other keys, and into itself.
func TestSnapshot(t *testing.T) {
	c := startCluster(t)
	a := c.enrol("worker-0", fromA)
	if _, err := a.WriteDocument(c.ctx, "worker-0", Status, 0, map[string]string{"said": "before"}); err != nil {
		t.Fatal(err)
	}
	before := c.signed(a)
	var taken bytes.Buffer
	c.asRoot(func(root *Client) error { return root.SaveSnapshot(c.ctx, &taken) })
	t.Logf("%d bytes", taken.Len())

	// What comes after it.
	if _, err := a.WriteDocument(c.ctx, "worker-0", Status, 1, map[string]string{"said": "after"}); err != nil {
		t.Fatal(err)
	}
	after := c.signed(a)
	late := c.enrol("worker-1", fromB)

	check := func(t *testing.T, c *cluster) {
		t.Helper()
		var said map[string]string
		c.asRoot(func(root *Client) error {
			if err := root.RevokeTokens(c.ctx); err != nil {
				return err
			}
			if version, err := root.ReadDocument(c.ctx, "worker-0", Status, &said); err != nil || version != 1 || said["said"] != "before" {
				t.Errorf("status, version %d: %v %v", version, said, err)
			}
			known, err := root.Issued(c.ctx, unit.CAKubernetes)
			if err != nil {
				return err
			}
			if !slices.Contains(known, before) || slices.Contains(known, after) {
				t.Errorf("it knows %v; issued before %s, after %s", known, before, after)
			}
			// The token that the snapshot was taken with came back with it.
			have, err := Observe(c.ctx, root, c.want)
			if err != nil {
				return err
			}
			if drift := Diff(c.want, have); len(drift) != 1 || drift[0].have.Kind != KindRootToken {
				t.Errorf("what differs is not just one root token: %v", drift)
			}
			if err := Apply(c.ctx, root, Diff(c.want, have)); err != nil {
				return err
			}
			cred, err := root.IssueOperatorCredential(c.ctx)
			if err != nil {
				return err
			}
			c.operator, _, err = c.anonymous.LoginAppRole(c.ctx, cred.RoleID, cred.SecretID)
			return err
		})
		for name, old := range map[string]*Client{"before": a, "after": late} {
			if _, err := c.client(fromA, "").WithToken(old.Token()).RenewSelf(c.ctx); !errors.Is(err, ErrDenied) {
				t.Errorf("a token of %s the backup: %v", name, err)
			}
		}
		again := c.enrol("worker-0", fromA)
		// Serial numbers are random, not counted: none of what was issued after the backup comes back.
		seen := map[string]bool{before: true, after: true}
		for range 20 {
			serial := c.signed(again)
			if seen[serial] {
				t.Errorf("serial %s is used twice", serial)
			}
			if n := len(strings.Split(serial, ":")); n < 19 {
				t.Errorf("serial %s has %d bytes: is it random?", serial, n)
			}
			seen[serial] = true
		}
		if drift := c.drift(); len(drift) > 0 {
			t.Errorf("the layout differs: %v", drift)
		}
	}

	t.Run("into an empty one", func(t *testing.T) {
		s := startServer(t, "vault-0")
		other := &cluster{server: s, ctx: c.ctx, input: c.input, want: c.want, keys: c.keys, anonymous: s.client(fromOperator, "")}
		began := time.Now()
		forgotten, root, err := other.anonymous.InitialiseToReplace(c.ctx)
		s.must(err)
		s.must(other.anonymous.Unseal(c.ctx, forgotten))
		s.must(other.anonymous.WaitActive(c.ctx))
		s.must(other.anonymous.WithToken(root).RestoreSnapshot(c.ctx, bytes.NewReader(taken.Bytes())))
		if status, err := other.anonymous.Status(c.ctx); err != nil || !status.Sealed {
			t.Errorf("with other keys it should be sealed: %+v %v", status, err)
		}
		if err := other.anonymous.Unseal(c.ctx, c.keys); err != nil {
			t.Fatal(err)
		}
		s.must(other.anonymous.WaitActive(c.ctx))
		t.Logf("took %s", time.Since(began))
		check(t, other)
		if err := other.anonymous.WithToken(root).get(c.ctx, "auth/token/lookup-self", &struct{}{}); !errors.Is(err, ErrDenied) {
			t.Errorf("the forgotten root token: %v", err)
		}
	})
	t.Run("into itself", func(t *testing.T) {
		c := c.within(t)
		began := time.Now()
		root, err := c.anonymous.RootToReplace(c.ctx, c.keys)
		c.must(err)
		c.must(root.RestoreSnapshot(c.ctx, bytes.NewReader(taken.Bytes())))
		c.must(c.anonymous.Unseal(c.ctx, c.keys))
		c.must(c.anonymous.WaitActive(c.ctx))
		t.Logf("took %s", time.Since(began))
		check(t, c)
	})
	t.Run("a damaged one", func(t *testing.T) {
		c := c.within(t)
		root, err := c.anonymous.RootToReplace(c.ctx, c.keys)
		c.must(err)
		if err := root.RestoreSnapshot(c.ctx, bytes.NewReader(taken.Bytes()[:taken.Len()/2])); err == nil {
			t.Error("half of a snapshot was taken")
		}
		c.must(root.RevokeSelf(c.ctx))
	})
}

// within is the same for a part of a test.
func (c *cluster) within(t *testing.T) *cluster {
	d, s := *c, *c.server
	s.t, d.server = t, &s
	return &d
}

// signed has a kubelet's certificate signed and returns its serial number.
func (c *cluster) signed(machine *Client) string {
	c.t.Helper()
	csr, _ := newCSR(c.t)
	cert, err := machine.Sign(c.ctx, profile(c.t, unit.CAKubernetes, "kubelet").For("worker-0"), csr)
	c.must(err)
	return cert.Serial
}
