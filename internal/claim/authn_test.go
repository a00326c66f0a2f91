package claim

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ashlar.dev/ashlar/internal/unit"
)

// TestPlanes: every server that authenticates its clients is attacked, none is forgotten.
func TestPlanes(t *testing.T) {
	d := machines("etcd-0", "etcd-1", "lb-0", "control-plane-0", "control-plane-1", "worker-0", "worker-1")
	var got []string
	for _, p := range planes(&Target{Desired: d}) {
		got = append(got, p.name+" at "+p.address+" from "+p.vantage+" by "+string(p.ca))
		if !slices.Contains(p.accepts, p.ca) {
			t.Errorf("%s does not accept its own CA", p.name)
		}
		if p.closes != (p.ca == unit.CAEtcdKubernetes || p.ca == unit.CAEtcdOverlay) {
			t.Errorf("%s: etcd, and nobody else, closes the door to strangers", p.name)
		}
	}
	want := []string{
		"kube-apiserver at 10.90.0.12:6443 from operator by kubernetes",
		"kubelet worker-0 at 10.90.0.15:10250 from control-plane-0 by kubernetes",
		"kubelet worker-1 at 10.90.0.16:10250 from control-plane-0 by kubernetes",
		"etcd-k8s etcd-0 at 10.90.0.10:2379 from control-plane-0 by etcd-k8s",
		"etcd-events etcd-0 at 10.90.0.10:2369 from control-plane-0 by etcd-k8s",
		"etcd-overlay etcd-0 at 10.90.0.10:2359 from control-plane-0 by etcd-overlay",
		"etcd-k8s etcd-1 at 10.90.0.11:2379 from control-plane-0 by etcd-k8s",
		"etcd-events etcd-1 at 10.90.0.11:2369 from control-plane-0 by etcd-k8s",
		"etcd-overlay etcd-1 at 10.90.0.11:2359 from control-plane-0 by etcd-overlay",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("planes (-want +got):\n%s", diff)
	}
}

// TestAuthenticated: a server that is broken, or refuses in a way that is not its own, proves nothing.
func TestAuthenticated(t *testing.T) {
	alert := errors.New("remote error: tls: certificate required")
	for _, c := range []struct {
		name   string
		closes bool
		answer answer
		want   Expectation // empty: an error
	}{
		{"401", false, answer{status: 401}, Refused},
		{"200", false, answer{status: 200}, Allowed},
		{"403: known, though not let do", false, answer{status: 403}, Allowed},
		{"404: known, though nothing is there", false, answer{status: 404}, Allowed},
		{"302: known, and sent elsewhere", false, answer{status: 302}, Allowed},
		{"an alert of who should answer", false, answer{alert: alert}, ""},
		{"500", false, answer{status: 500}, ""},
		{"503", false, answer{status: 503}, ""},
		{"nothing", false, answer{}, ""},
		{"an alert", true, answer{alert: alert}, Refused},
		{"200 of who should have closed", true, answer{status: 200}, Allowed},
		{"401 of who should have closed", true, answer{status: 401}, Allowed},
		{"500 of who should have closed", true, answer{status: 500}, ""},
		{"nothing of who should have closed", true, answer{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := authenticated(c.closes, c.answer); got != c.want || (err != nil) != (c.want == "") {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestSaid(t *testing.T) {
	for want, a := range map[string]answer{
		"403 Forbidden":                 {status: 403},
		"remote error: tls: unknown CA": {alert: errors.New(`Get "https://10.90.0.10:2379/version": remote error: tls: unknown CA`)},
		"tls: something else":           {alert: errors.New("tls: something else")},
	} {
		if got := a.said(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
