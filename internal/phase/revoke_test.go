package phase

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/audit"
	"ashlar.dev/ashlar/internal/unit"
)

func TestRevocationsAreOfWhatIsStillGood(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	soon, past := now.Add(time.Hour), now
	events := []audit.Event{
		{Kind: audit.Issued, Who: "worker-0", CA: unit.CAKubernetes, Serial: "01", SHA256: "aa", Name: "a", NotAfter: &soon},
		{Kind: audit.Issued, Who: "worker-0", CA: unit.CAKubernetes, Serial: "02", NotAfter: &past},
		{Kind: audit.Issued, Who: "worker-0", CA: unit.CAKubernetes, Serial: "03", NotAfter: &soon, Refused: "no"},
		{Kind: audit.Revoked, Who: "operator", CA: unit.CAKubernetes, Serial: "04", NotAfter: &soon},
	}
	own := netip.MustParsePrefix("10.90.0.14/32")
	want := unit.Revocation{CA: unit.CAKubernetes, Serial: "01", SHA256: "aa", Name: "a", Of: "worker-0", Reason: "lost", At: now, Until: soon, Sever: own}
	if got := revocations(events, Revocation{Reason: "lost"}, own, now); !slices.Equal(got, []unit.Revocation{want}) {
		t.Errorf("got %+v", got)
	}
	want.Sever = netip.MustParsePrefix("0.0.0.0/0")
	if got := revocations(events, Revocation{Reason: "lost", SeverAll: true}, own, now); !slices.Equal(got, []unit.Revocation{want}) {
		t.Errorf("everywhere: got %+v", got)
	}
}

func TestLists(t *testing.T) {
	one, other := unit.Revocation{CA: unit.CAKubernetes, Serial: "01"}, unit.Revocation{CA: unit.CAEtcdOverlay, Serial: "01"}
	again, user := one, unit.Revocation{User: "alice"}
	again.Reason = "again"
	if got := addRevocations([]unit.Revocation{one}, []unit.Revocation{other, again, user}); !slices.Equal(got, []unit.Revocation{other, again, user}) {
		t.Errorf("revoked: %+v", got)
	}
	list := shut(shut(nil, unit.ShutOut{Name: "a"}), unit.ShutOut{Name: "a", Reason: "again"})
	if len(list) != 1 || list[0].Reason != "again" || len(letIn(list, "a")) != 0 {
		t.Errorf("shut out: %+v", list)
	}
}

// A machine that is revoked is not waited for; certificates that are, are marked and come early.
func TestRevokedIsSaid(t *testing.T) {
	gone := enrolled{out: true}
	if drift := unready(gone, time.Now()); len(drift) > 0 {
		t.Errorf("a revoked machine is waited for: %v", drift)
	}
	if got := census([]enrolled{{}, gone}); got != "1 machines, and 1 revoked that are not waited for" {
		t.Errorf("got %q", got)
	}
	all := []CertificateReport{{State: Valid, CA: unit.CAKubernetes, Serial: "02", Name: "x"}, {State: Valid, CA: unit.CAEtcdOverlay, Serial: "01"}, {State: Valid, CA: unit.CAKubernetes, Serial: "01", Name: "y"}}
	markRevoked(all, unit.Revoked{Credentials: []unit.Revocation{{CA: unit.CAKubernetes, Serial: "01"}, {User: "alice"}}})
	sortCertificates(all)
	if all[0].State != Revoked || all[0].Name != "y" || all[1].State != Valid || all[2].State != Valid {
		t.Errorf("got %+v", all)
	}
}

func TestLastOfItsRole(t *testing.T) {
	machines := []v1alpha1.Machine{{Name: "w", Role: v1alpha1.RoleWorker}, {Name: "e-0", Role: v1alpha1.RoleEtcd}, {Name: "e-1", Role: v1alpha1.RoleEtcd}, {Name: "c", Role: v1alpha1.RoleControlPlane}}
	for _, m := range machines {
		if got := lastOfItsRole(m.Name, m.Role, machines); (got != nil) != (m.Name == "c") {
			t.Errorf("%s: %v", m.Name, got)
		}
	}
}
