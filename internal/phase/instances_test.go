package phase

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ashlar.dev/ashlar/internal/vault"
)

func TestDeparted(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	ago := func(id, of string, member bool, d time.Duration) vault.Instance {
		return vault.Instance{ID: id, Of: of, Member: member, Since: now.Add(-d)}
	}
	old := ago("i-01", "worker", true, time.Hour)
	replaced := ago("i-02", "etcd-0", false, 24*time.Hour)
	for name, test := range map[string]struct {
		loggedIn []vault.Instance
		live     []string
		want     []vault.Instance
	}{
		"all run":                   {[]vault.Instance{old, replaced}, []string{"i-01", "i-02", "i-03"}, nil},
		"a member is gone":          {[]vault.Instance{old, replaced}, []string{"i-02"}, []vault.Instance{old}},
		"a machine has a successor": {[]vault.Instance{replaced, ago("i-04", "etcd-0", false, time.Hour)}, []string{"i-04"}, []vault.Instance{replaced}},
		"the cloud does not tell of a new one yet": {[]vault.Instance{ago("i-05", "worker", true, settled-time.Second)}, nil, nil},
		"by now it would":                          {[]vault.Instance{ago("i-05", "worker", true, settled)}, nil, []vault.Instance{ago("i-05", "worker", true, settled)}},
		"one that never logged in":                 {nil, nil, nil},
	} {
		if diff := cmp.Diff(test.want, departed(test.loggedIn, test.live, now), cmpEmpty); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestLockedOut lets a machine in again only where nobody else could come in its place: its token has expired, and it is there.
func TestLockedOut(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	etcd := vault.Instance{ID: "i-01", Of: "etcd-0", Since: now.Add(-100 * time.Hour)}
	worker := vault.Instance{ID: "i-02", Of: "worker", Member: true, Since: now.Add(-100 * time.Hour)}
	silent := vault.Instance{ID: "i-01", Of: "etcd-0", Since: now.Add(-time.Hour)}
	fresh := vault.Instance{ID: "i-01", Of: "etcd-0", Since: now.Add(-settled)}
	long, recent := now.Add(-25*time.Hour), now.Add(-24*time.Hour)
	for name, test := range map[string]struct {
		loggedIn []vault.Instance
		live     []string
		seen     time.Time
		want     []vault.Instance
	}{
		"away for longer than its token lives": {[]vault.Instance{etcd}, []string{"i-01"}, long, []vault.Instance{etcd}},
		"never heard of":                       {[]vault.Instance{etcd}, []string{"i-01"}, time.Time{}, []vault.Instance{etcd}},
		"its token may still be good":          {[]vault.Instance{etcd}, []string{"i-01"}, recent, nil},
		"just logged in":                       {[]vault.Instance{fresh}, []string{"i-01"}, time.Time{}, nil},
		"its token never reached it":           {[]vault.Instance{silent}, []string{"i-01"}, long, []vault.Instance{silent}},
		"it has spoken since":                  {[]vault.Instance{silent}, []string{"i-01"}, now.Add(-time.Minute), nil},
		"gone":                                 {[]vault.Instance{etcd}, nil, long, nil},
		"a member":                             {[]vault.Instance{worker}, []string{"i-02"}, time.Time{}, nil},
	} {
		got := lockedOut(test.loggedIn, test.live, map[string]time.Time{"etcd-0": test.seen}, 24*time.Hour, now)
		if diff := cmp.Diff(test.want, got, cmpEmpty); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// cmpEmpty takes none for nil.
var cmpEmpty = cmp.Transformer("count", func(v []vault.Instance) map[vault.Instance]bool {
	out := map[vault.Instance]bool{}
	for _, i := range v {
		out[i] = true
	}
	return out
})
