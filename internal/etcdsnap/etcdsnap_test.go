package etcdsnap

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"ashlar.dev/ashlar/internal/testserver"
	"ashlar.dev/ashlar/internal/unit"
)

func connect(t *testing.T, endpoint string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestRestore takes a snapshot of an etcd, writes on, and starts another etcd by what the snapshot held.
func TestRestore(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client := connect(t, testserver.Etcd(t, "http"))
	big := strings.Repeat("x", 100<<10) // several messages
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	put := func(key, value string) int64 {
		t.Helper()
		r, err := client.Put(ctx, key, value)
		must(err)
		return r.Header.Revision
	}
	put("before", big)
	var sent bytes.Buffer
	must(Save(ctx, client, &sent))
	last := put("after", "lost")

	size, snapshot, err := Receive(bytes.NewReader(sent.Bytes()))
	must(err)
	b, err := io.ReadAll(snapshot)
	must(err)
	if int64(len(b)) != size {
		t.Fatalf("it has %d bytes and says %d", len(b), size)
	}

	dir := filepath.Join(t.TempDir(), "k8s")
	must(os.MkdirAll(filepath.Join(dir, "member"), 0o700)) // what was there
	peer := fmt.Sprintf("http://127.0.0.1:%d", testserver.Port(t))
	command := func(snapshot, into string) []string {
		return []string{testserver.Bin(t, "etcdutl"), "snapshot", "restore", snapshot, "--data-dir=" + into, "--name=t",
			"--initial-cluster=t=" + peer, "--initial-advertise-peer-urls=" + peer, "--bump-revision=1000000000", "--mark-compacted"}
	}
	if err := Restore(ctx, dir, bytes.NewReader(b[:len(b)/2]), command); err == nil {
		t.Error("half of a snapshot was taken")
	}
	if _, err := os.Stat(filepath.Join(dir, "member")); err != nil {
		t.Error("what was there is gone, though nothing came instead")
	}
	must(Restore(ctx, dir, bytes.NewReader(b), command))
	if left, _ := filepath.Glob(dir + ".*"); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
	endpoint := fmt.Sprintf("http://127.0.0.1:%d", testserver.Port(t))
	testserver.Run(t, nil, "etcd", "--name=t", "--data-dir="+dir, "--log-level=fatal", "--listen-client-urls="+endpoint, "--advertise-client-urls="+endpoint,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=t="+peer)
	restored := connect(t, endpoint)
	got, err := restored.Get(ctx, "before")
	must(err)
	if len(got.Kvs) != 1 || string(got.Kvs[0].Value) != big || got.Header.Revision <= last {
		t.Errorf("revision %d (there was %d), %d keys", got.Header.Revision, last, len(got.Kvs))
	}
	if got, err = restored.Get(ctx, "after"); err != nil || len(got.Kvs) != 0 {
		t.Errorf("what was written after it: %v %v", got, err)
	}
	// Who remembers a revision is told to read anew.
	watch := <-restored.Watch(ctx, "before", clientv3.WithRev(last))
	if watch.CompactRevision <= last {
		t.Errorf("a watch from revision %d on gets %+v", last, watch)
	}
}

// TestRevisionBump: whatever was written since an earlier restore of the same snapshot, the next is ahead of it.
func TestRevisionBump(t *testing.T) {
	first := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	if bump := unit.RevisionBump(first); bump < 1_000_000_000 {
		t.Errorf("bump %d is not beyond a cluster's life", bump)
	}
	if a, b := unit.RevisionBump(first), unit.RevisionBump(first.Add(20*time.Second)); b-a != 200_000 {
		t.Errorf("20 seconds put it %d ahead", b-a)
	}
}

func TestReceiveRefuses(t *testing.T) {
	for _, text := range []string{"", "no size", "\n", "{\"size\":-1}\nx", "{}\nx"} {
		if _, _, err := Receive(strings.NewReader(text)); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

// TestCommand: every member of a cluster restores itself, by the same list of members and the same token.
func TestCommand(t *testing.T) {
	d := unit.Desired{Self: "etcd-1", Machines: []unit.Machine{{Name: "etcd-0", Role: "etcd"}, {Name: "etcd-1", Role: "etcd"}, {Name: "worker-0", Role: "worker"}}}
	got := strings.Join(unit.EtcdRestore(d, unit.EtcdClusters[2], "/s", "token", 1000000000, "/d"), " ")
	want := unit.Bin + "/etcdutl snapshot restore /s --data-dir=/d --name=etcd-1 " +
		"--initial-cluster=etcd-0=https://etcd-0:2360,etcd-1=https://etcd-1:2360 --initial-cluster-token=token " +
		"--initial-advertise-peer-urls=https://etcd-1:2360 --bump-revision=1000000000 --mark-compacted"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
