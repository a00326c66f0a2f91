package vault

import (
	"errors"
	"slices"
	"testing"
	"time"

	"ashlar.dev/ashlar/test/awsapi"
)

// TestInstancesEnd takes back what instances have, as `up` does with those that are gone, and `pki revoke` with one that is not.
func TestInstancesEnd(t *testing.T) {
	c := startAWSCluster(t)
	etcd := testInput("").Machines[1].Address.String()
	worker := AWSPoolPath("demo")
	a, nameA, err := c.login(fromA, worker, "worker", c.launch("i-0a", "worker"))
	c.must(err)
	b, nameB, err := c.login(fromB, worker, "worker", c.launch("i-0b", "worker"))
	c.must(err)
	first, _, err := c.login(etcd, AWSMachinePath("demo"), "etcd-0", c.launch("i-0c", "etcd-0"))
	c.must(err)
	second, _, err := c.login(etcd, AWSMachinePath("demo"), "etcd-0", c.launch("i-0d", "etcd-0"))
	c.must(err)

	have, err := c.operator.Instances(c.ctx)
	c.must(err)
	var names []string
	for _, i := range have {
		names = append(names, i.ID+" "+i.Name(region))
		if time.Since(i.Since) > time.Minute || time.Since(i.Since) < 0 {
			t.Errorf("%s logged in at %s", i.ID, i.Since)
		}
	}
	slices.Sort(names)
	if want := []string{"i-0a " + nameA, "i-0b " + nameB, "i-0c etcd-0", "i-0d etcd-0"}; !slices.Equal(names, want) {
		t.Errorf("have logged in: %v, want %v", names, want)
	}

	refused := func(who string, client *Client) {
		t.Helper()
		if _, err := client.RenewSelf(c.ctx); !errors.Is(err, ErrDenied) {
			t.Errorf("%s: %v", who, err)
		}
	}
	served := func(who string, client *Client) {
		t.Helper()
		if _, err := client.RenewSelf(c.ctx); err != nil {
			t.Errorf("%s: %v", who, err)
		}
	}
	for _, id := range []string{"i-0a", "i-0c"} {
		if n, err := c.operator.EndInstance(c.ctx, id); n != 1 || err != nil {
			t.Errorf("end %s: %d, %v", id, n, err)
		}
	}
	refused("an instance that was ended", a)
	refused("an instance that has a successor", first)
	served("another of its pool", b)
	served("the successor", second)

	// Forgotten, it logs in once more, and not twice.
	running := c.launch("i-0a", "worker")
	c.must(c.operator.ForgetInstance(c.ctx, Instance{ID: "i-0a", Of: "worker", Member: true}))
	if _, _, err := c.login(fromA, worker, "worker", running); err != nil {
		t.Errorf("an instance that was forgotten: %v", err)
	}
	if _, _, err := c.login(fromA, worker, "worker", running); !errors.Is(err, ErrSecondLogin) {
		t.Errorf("and once more: %v", err)
	}

	if n, err := c.operator.ShutOutMachine(c.ctx, nameB); n != 1 || err != nil {
		t.Errorf("shut out: %d, %v", n, err)
	}
	refused("a member that is shut out", b)
	c.must(c.operator.ForgetInstance(c.ctx, Instance{ID: "i-0b", Of: "worker", Member: true}))
	if _, _, err := c.login(fromB, worker, "worker", c.launch("i-0b", "worker")); !errors.Is(err, ErrDenied) {
		t.Errorf("a member that is shut out logs in again: %v", err)
	}
	served("the successor, still", second)
	_, err = second.WriteDocument(c.ctx, "etcd-0", Status, 0, map[string]string{"of": "etcd-0"})
	c.must(err)
	c.must(c.operator.ForgetStatus(c.ctx, "etcd-0"))
	var gone map[string]string
	if version, err := c.operator.ReadDocument(c.ctx, "etcd-0", Status, &gone); version != 0 || err != nil {
		t.Errorf("its status is still there: %v %v", gone, err)
	}
	c.change("i-0d", func(i *awsapi.Instance) { i.State = "terminated" })
	if _, err := second.RenewSelf(c.ctx); err == nil {
		t.Error("a terminated instance renews its token")
	}
}
