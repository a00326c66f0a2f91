package phase

import (
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
)

func TestFirstDifference(t *testing.T) {
	a := unit.Desired{Cluster: "a", PodCIDR: "10.0.0.0/16"}
	b := a
	b.PodCIDR = "10.1.0.0/16"
	if got := firstDifference(a, b); got != "of another podCIDR" {
		t.Errorf("got %q", got)
	}
	if got := firstDifference(a, a); got != "the same" {
		t.Errorf("got %q", got)
	}
}

// TestUnready: what is said of a machine that is not as it should be.
func TestUnready(t *testing.T) {
	now := time.Now()
	fresh := func(units ...agent.UnitStatus) enrolled {
		return enrolled{machine: provider.Machine{Name: "m", State: provider.Running}, version: 2,
			boot:   agent.Boot{Revision: "r"},
			status: agent.Status{Seen: now, Desired: 2, Revision: "r", Units: units}}
	}
	off, silent, behind, revision, idle := fresh(), fresh(), fresh(), fresh(), fresh()
	idle.want = unit.Desired{Self: "m", Machines: []unit.Machine{{Name: "m", Role: v1alpha1.RoleLB}}} // a hub machine has no units
	off.machine.State = provider.Stopped
	silent.status.Seen = now.Add(-3 * time.Minute)
	behind.status.Desired = 1
	revision.status.Revision = "old"
	predecessor := fresh(agent.UnitStatus{Name: "u", State: agent.UnitReady})
	predecessor.want.Issuers = map[unit.CA]string{unit.CAKubernetes: "0f"}
	predecessor.status.Certificates = []agent.CertificateStatus{{CA: unit.CAKubernetes, Name: "kubelet", Issuer: "0e"}}
	for name, c := range map[string]struct {
		e    enrolled
		want string
	}{
		"by another key":   {predecessor, "not by the key that signs now"},
		"off":              {off, "powered off"},
		"silent":           {silent, "not reported"},
		"behind":           {behind, "newest desired state"},
		"other revision":   {revision, "newest desired state"},
		"no unit":          {idle, "no unit runs"},
		"failed":           {fresh(agent.UnitStatus{Name: "u", State: agent.UnitFailed, Reason: "exit"}), "is failed exit"},
		"other definition": {fresh(agent.UnitStatus{Name: "u", State: agent.UnitReady, Digest: "old"}), "another definition"},
	} {
		t.Run(name, func(t *testing.T) {
			drift := unready(c.e, now)
			if len(drift) != 1 || !strings.Contains(drift[0].Cause, c.want) {
				t.Errorf("got %v, want %q", drift, c.want)
			}
		})
	}
}
