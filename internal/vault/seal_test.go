package vault

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"ashlar.dev/ashlar/test/awsapi"
)

// sealedBy is the part of a server's configuration that unit.For writes on AWS, with an endpoint.
func sealedBy(cloud *awsapi.Cloud) string {
	return fmt.Sprintf("seal \"awskms\" {\n  region     = %q\n  kms_key_id = \"alias/demo-vault\"\n  endpoint   = %q\n}\n", region, cloud.URL())
}

// stop ends a server as a machine's loss of power does.
func (s *server) stop() {
	s.must(s.process.Process.Kill())
	_ = s.process.Wait() // killed
}

// TestVaultOpensByKMS initialises a Vault whose seal is outside, and has it restarted: it opens by itself, unless KMS refuses.
func TestVaultOpensByKMS(t *testing.T) {
	t.Parallel()
	cloud, stop := awsapi.Serve(account, region)
	t.Cleanup(stop)
	s := startServerWith(t, "vault-0", sealedBy(cloud), cloud.Environment())
	c := furnish(t, s, testInput(s.dir)) // initialised with recovery keys, and furnished by a root token
	status, err := c.anonymous.Status(c.ctx)
	if err != nil || !status.RecoverySeal || status.Sealed {
		t.Fatalf("%+v, %v", status, err)
	}
	if cloud.Asked("kms:Encrypt") == 0 {
		t.Error("it was sealed without KMS")
	}
	// The recovery key makes root tokens, as an unseal key does.
	c.asRoot(func(root *Client) error { return root.get(c.ctx, "sys/policies/acl/root", &struct{}{}) })

	before := cloud.Asked("kms:Decrypt")
	s.stop()
	s.start()
	c.anonymous.Close()
	s.must(c.anonymous.WaitActive(c.ctx))
	if cloud.Asked("kms:Decrypt") == before {
		t.Error("it opened without KMS")
	}
	if d := c.drift(); len(d) > 0 {
		t.Errorf("after its restart: %v", d)
	}
	// Initialise and Unseal have nothing to do.
	keys, root, err := c.anonymous.Initialise(c.ctx, filepath.Join(s.dir, "keys.json"))
	if err != nil || root != "" || keys.Shares[0] != c.keys.Shares[0] {
		t.Errorf("initialised again: %v", err)
	}
	s.must(c.anonymous.Unseal(c.ctx, keys))

	s.stop()
	cloud.Change(func(a *awsapi.Cloud) { a.Refused["kms:Decrypt"] = true })
	s.start()
	c.anonymous.Close()
	asked := cloud.Asked("kms:Decrypt")
	s.eventually("it has asked KMS again", func() bool { return cloud.Asked("kms:Decrypt") > asked })
	// What the operator keeps is no unseal key.
	_ = c.anonymous.put(c.ctx, "sys/unseal", map[string]any{"key": c.keys.Shares[0]}, nil)
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if status, err := c.anonymous.Status(c.ctx); err == nil && !status.Sealed {
			t.Fatal("it opens although KMS refuses")
		}
	}
	cloud.Change(func(a *awsapi.Cloud) { a.Refused = map[string]bool{} })
	s.must(c.anonymous.WaitActive(c.ctx))
}

// TestServersJoinByKMS makes a raft cluster whose members open themselves, and kills the leader.
func TestServersJoinByKMS(t *testing.T) {
	t.Parallel()
	cloud, stop := awsapi.Serve(account, region)
	t.Cleanup(stop)
	first := startServerWith(t, "vault-0", sealedBy(cloud), cloud.Environment())
	c := furnish(t, first, testInput(first.dir))
	c.asRoot(func(root *Client) error { return root.PromoteSoon(c.ctx) })
	began := time.Now()
	for _, name := range []string{"vault-1", "vault-2"} {
		s := startServerWith(t, name, sealedBy(cloud), cloud.Environment())
		client := s.client(fromOperator, "")
		c.must(client.RaftJoin(c.ctx, c.address, c.cert))
		c.must(client.Unseal(c.ctx, c.keys))
		c.must(client.RaftJoin(c.ctx, c.address, c.cert)) // nothing happens
	}
	c.eventually("three voters", func() bool {
		v, err := c.operator.Voters(c.ctx)
		return err == nil && len(v) == 3
	})
	t.Logf("three voters after %s", time.Since(began))
	// One that was restarted is a member again, with nobody's help.
	first.stop()
	first.start()
	c.anonymous.Close()
	c.must(c.anonymous.Unseal(c.ctx, c.keys))
	c.eventually("it answers through whoever leads now", func() bool {
		_, err := c.operator.Voters(c.ctx)
		return err == nil
	})
}
