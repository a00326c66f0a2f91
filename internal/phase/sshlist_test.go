package phase

import (
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/unit"
)

func TestReportSSH(t *testing.T) {
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE0ZjuRk4uGqMyODKBUWz8/FjzVeWHYuFhVmoQXN5xsB\n"
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	machine := func(name string, renew, until time.Duration) MachineReport {
		return MachineReport{Name: name, Status: agent.Status{HostKey: &agent.HostKeyStatus{Serial: "7", Renew: now.Add(renew), NotAfter: now.Add(until)}}}
	}
	got := reportSSH(&unit.SSH{UserCA: key, HostCA: key + key}, []MachineReport{machine("a", time.Hour, 10*time.Hour), machine("b", -time.Hour, time.Minute),
		machine("c", -2*time.Hour, -time.Hour), {Name: "d"}}, now)
	want := []CertificateState{Valid, Valid, Valid, Valid, Overdue, Expired}
	if len(got) != len(want) {
		t.Fatalf("%d: %+v", len(got), got)
	}
	for i, r := range got {
		if r.State != want[i] || (r.Machine == "") != r.NotAfter.IsZero() || r.CA != "ssh-host" && i != 2 {
			t.Errorf("%d is %+v", i, r)
		}
	}
	if got := reportSSH(nil, []MachineReport{machine("a", time.Hour, time.Hour)}, now); got != nil {
		t.Errorf("without a bastion: %+v", got)
	}
}
