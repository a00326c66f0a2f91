package phase

import (
	"slices"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/unit"
)

func TestCertificateStates(t *testing.T) {
	born := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	until := born.Add(20 * time.Hour)
	for after, want := range map[time.Duration]CertificateState{0: Valid, 10 * time.Hour: Valid, 11 * time.Hour: Valid,
		11*time.Hour + 1: Overdue, 20*time.Hour - 1: Overdue, 20 * time.Hour: Expired, 1000 * time.Hour: Expired} {
		if got := stateOfLeaf(born.Add(10*time.Hour), until, born.Add(after)); got != want {
			t.Errorf("a leaf after %s is %s, want %s", after, got, want)
		}
	}
	for after, want := range map[time.Duration]CertificateState{0: Valid, 18 * time.Hour: Valid, 18*time.Hour + 1: Ending, 20 * time.Hour: Expired} {
		if got := stateOfCA(born, until, born.Add(after)); got != want {
			t.Errorf("a CA after %s is %s, want %s", after, got, want)
		}
	}
}

func TestReportLeaves(t *testing.T) {
	now := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	m := MachineReport{Name: "worker-0", Status: agent.Status{Certificates: []agent.CertificateStatus{
		{CA: unit.CAKubernetes, Name: "kubelet", Subject: "system:node:worker-0", Serial: "01", NotAfter: now.Add(time.Hour), Renew: now.Add(30 * time.Minute)},
		{CA: unit.CAKubernetes, Name: "kubelet-serving", Serial: "02", NotAfter: now.Add(-time.Second), Renew: now.Add(-time.Hour)},
	}}}
	serving := unit.Certificate{Profile: unit.Profile{CA: unit.CAKubernetes, Name: "kubelet-serving", DNSNames: []string{"worker-0"}}}
	all := reportLeaves(m, []unit.Unit{{Name: "kubelet", Certificates: []unit.Certificate{serving}}}, now)
	all = append(all, CertificateReport{State: Valid, CA: unit.CAKubernetes})
	sortCertificates(all)
	if all[0].Name != "kubelet-serving" || all[0].State != Expired || !slices.Equal(all[0].Units, []string{"kubelet"}) || !slices.Equal(all[0].Names, []string{"worker-0"}) {
		t.Errorf("first comes %+v", all[0])
	}
	if all[1].Name != "" || all[2].Name != "kubelet" {
		t.Errorf("the CA does not come before its leaves: %+v", all)
	}
}
