package etcdjoin

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"ashlar.dev/ashlar/internal/testserver"
)

// member is one of three real etcds.
type member struct {
	name, client, peer, dir string
	process                 *exec.Cmd
}

func (m *member) start(t *testing.T, initial, state string) {
	t.Helper()
	m.process = exec.Command(testserver.Bin(t, "etcd"), "--name="+m.name, "--data-dir="+m.dir, "--log-level=fatal", "--unsafe-no-fsync",
		"--listen-client-urls="+m.client, "--advertise-client-urls="+m.client, "--listen-peer-urls="+m.peer, "--initial-advertise-peer-urls="+m.peer,
		"--initial-cluster="+initial, "--initial-cluster-state="+state, "--heartbeat-interval=50", "--election-timeout=500")
	if err := m.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.kill)
}

func (m *member) kill() {
	_ = m.process.Process.Kill()
	_ = m.process.Wait()
}

// TestRejoin takes the data of one of three members away: it comes back, and holds what was written meanwhile.
func TestRejoin(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var all []*member
	var initial []string
	for i := range 3 {
		m := &member{name: fmt.Sprint("etcd-", i), client: fmt.Sprintf("http://127.0.0.1:%d", testserver.Port(t)),
			peer: fmt.Sprintf("http://127.0.0.1:%d", testserver.Port(t)), dir: filepath.Join(t.TempDir(), "data")}
		all, initial = append(all, m), append(initial, m.name+"="+m.peer)
	}
	connect := func(endpoints ...string) *clientv3.Client {
		c, err := clientv3.New(clientv3.Config{Context: ctx, Endpoints: endpoints, Logger: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	lost, others := all[1], connect(all[0].client, all[2].client)
	if p := Decide(lost.name, lost.peer, Members(ctx, others)); p.Existing {
		t.Fatalf("before there is a cluster: %+v", p)
	}
	all[0].start(t, strings.Join(initial, ","), "new")
	all[2].start(t, strings.Join(initial, ","), "new")
	testserver.Eventually(t, "two of three", func() bool { _, err := others.Put(ctx, "a", "1"); return err == nil })
	if p := Decide(lost.name, lost.peer, Members(ctx, others)); p.Existing {
		t.Fatalf("it is late: %+v", p)
	}
	lost.start(t, strings.Join(initial, ","), "new")
	own := connect(lost.client)
	has := func(key string) func() bool {
		return func() bool {
			r, err := own.Get(ctx, key, clientv3.WithSerializable())
			return err == nil && len(r.Kvs) == 1
		}
	}
	testserver.Eventually(t, "three of three", has("a"))
	testserver.Eventually(t, "member that says it has started", func() bool { return Decide(lost.name, lost.peer, Members(ctx, others)).Existing })

	lost.kill()
	if err := os.RemoveAll(lost.dir); err != nil {
		t.Fatal(err)
	}
	if _, err := others.Put(ctx, "b", "2"); err != nil {
		t.Fatal(err)
	}
	p := Decide(lost.name, lost.peer, Members(ctx, others))
	if !p.Existing || p.Remove == 0 || !p.Add {
		t.Fatalf("its data is lost: %+v", p)
	}
	if err := Join(ctx, others, p, lost.peer); err != nil {
		t.Fatal(err)
	}
	// Should it end here, the next attempt goes on.
	if p = Decide(lost.name, lost.peer, Members(ctx, others)); !p.Existing || p.Remove != 0 || p.Add {
		t.Fatalf("it was added again: %+v", p)
	}
	lost.start(t, p.Initial, "existing")
	testserver.Eventually(t, "member with what was written meanwhile", has("b"))
	if got := Members(ctx, others); len(got) != 3 {
		t.Errorf("the members are %+v", got)
	}
}
