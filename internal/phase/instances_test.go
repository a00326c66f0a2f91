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

// cmpEmpty takes none for nil.
var cmpEmpty = cmp.Transformer("count", func(v []vault.Instance) map[vault.Instance]bool {
	out := map[vault.Instance]bool{}
	for _, i := range v {
		out[i] = true
	}
	return out
})
