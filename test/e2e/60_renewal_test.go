package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	corev1 "k8s.io/api/core/v1"

	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/unit"
)

// load writes and reads through the API, one request after another, and counts those that failed.
type load struct {
	requests, failures atomic.Int64
	last               atomic.Pointer[error]
}

// underLoad puts the cluster under load until the returned function is called.
func underLoad(t *testing.T, target *claim.Target) (*load, func()) {
	t.Helper()
	client, err := kubernetes.NewForConfig(target.Admin)
	if err != nil {
		t.Fatal(err)
	}
	l := &load{}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		maps := client.CoreV1().ConfigMaps(metav1.NamespaceDefault)
		made, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "load-"}}, metav1.CreateOptions{})
		if err != nil {
			l.failed(err)
			return
		}
		meta := metav1.ObjectMeta{Name: made.Name}
		defer func() { _ = maps.Delete(context.WithoutCancel(ctx), meta.Name, metav1.DeleteOptions{}) }()
		tick := time.NewTicker(50 * time.Millisecond) // steady, not as fast as it goes: the machine has other work
		defer tick.Stop()
		for n := 0; ctx.Err() == nil; n++ {
			<-tick.C
			_, err := maps.Update(ctx, &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"n": fmt.Sprint(n)}}, metav1.UpdateOptions{})
			var got *corev1.ConfigMap
			if err == nil {
				if got, err = maps.Get(ctx, meta.Name, metav1.GetOptions{}); err == nil && got.Data["n"] != fmt.Sprint(n) {
					err = fmt.Errorf("wrote %d, read %s", n, got.Data["n"])
				}
			}
			l.requests.Add(2)
			if err != nil && ctx.Err() == nil {
				l.failed(err)
			}
		}
	}()
	return l, func() {
		stop()
		<-done
		t.Logf("%d requests, %d failed", l.requests.Load(), l.failures.Load())
		if l.failures.Load() > 0 {
			t.Errorf("%d of %d requests failed; the last: %v", l.failures.Load(), l.requests.Load(), *l.last.Load())
		}
	}
}

func (l *load) failed(err error) {
	l.failures.Add(1)
	l.last.Store(&err)
}

// certificateSerials are those of all certificates, by machine and file, as machines report them.
func certificateSerials(t *testing.T, from string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, m := range status(t, from) {
		for _, c := range m.Status.Certificates {
			out[m.Name+" "+string(c.CA)+"/"+c.Name] = c.Serial
		}
	}
	return out
}

// TestLostCertificates: machines whose certificates are gone get others at once, and nobody who uses the API notices.
func TestLostCertificates(t *testing.T) {
	target := target(t)
	before, units := certificateSerials(t, file), unitsOf(t, "control-plane-0")
	_, stop := underLoad(t, target)
	for _, m := range target.Desired.Machines {
		ashlar(t, "exec", m.Name, "--", "find", unit.PKIDir, "-name", "*.crt", "!", "-name", "ca.crt", "-delete")
	}
	eventually(t, time.Minute, func() error { return allReplaced(before, certificateSerials(t, file)) })
	stop()
	if after := unitsOf(t, "control-plane-0"); !maps.Equal(units, after) {
		t.Errorf("units were restarted: %v, before %v", after, units)
	}
	// Whatever listens shows its new certificate by and by, without a restart.
	vaultOnly := find(t, "pki-vault-only")
	eventually(t, 2*time.Minute, func() error {
		if r := verify(t, vaultOnly); r.Verdict != claim.Holds {
			return errors.New(r.Reason)
		}
		return nil
	})
}

func allReplaced(before, after map[string]string) error {
	for name, serial := range before {
		if after[name] == serial || after[name] == "" {
			return fmt.Errorf("%s was not replaced", name)
		}
	}
	return nil
}

// TestRenewal watches certificates of the shortest life that is allowed be renewed twice, under load: no request
// fails, no unit restarts, nothing is used past its end.
func TestRenewal(t *testing.T) {
	if !slow {
		t.Skip("takes half an hour; ASHLAR_SLOW=1 runs it")
	}
	shared := file
	t.Cleanup(func() { file = shared })
	file = filepath.Join(t.TempDir(), "cluster.yaml")
	short := strings.Replace(clusterFile(name+"-renew"), "spec:", "spec:\n  pki: {leafTTL: 15m}", 1)
	if err := os.WriteFile(file, []byte(short), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ashlar(t, "down") })
	ashlar(t, "up")
	units := map[string]map[string]int{}
	for _, m := range status(t, file) {
		units[m.Name] = unitsOf(t, m.Name)
	}
	_, stop := underLoad(t, target(t))
	shortLived, vaultOnly := find(t, "pki-short-lived"), find(t, "pki-vault-only")
	for generation := range 2 {
		before := certificateSerials(t, file)
		deadline := time.Now().Add(10 * time.Minute)
		for allReplaced(before, certificateSerials(t, file)) != nil && time.Now().Before(deadline) {
			if r := verify(t, shortLived); r.Verdict != claim.Holds {
				t.Errorf("generation %d: %s", generation, r.Reason)
			}
			time.Sleep(10 * time.Second) // between looks; what is waited for is the condition above
		}
		if err := allReplaced(before, certificateSerials(t, file)); err != nil {
			t.Fatalf("generation %d: %v", generation, err)
		}
		t.Logf("generation %d is over", generation)
	}
	stop()
	for machine, was := range units {
		if now := unitsOf(t, machine); !maps.Equal(was, now) {
			t.Errorf("%s: units were restarted: %v, before %v", machine, now, was)
		}
	}
	if r := verify(t, vaultOnly); r.Verdict != claim.Holds {
		t.Error(r.Reason)
	}
}
