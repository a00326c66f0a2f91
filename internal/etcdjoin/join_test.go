package etcdjoin

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDecide(t *testing.T) {
	url := func(name string) []string { return []string{"https://" + name + ":2380"} }
	m := func(id uint64, name, host string, started bool) Member { return Member{id, name, url(host), started} }
	zero, two := m(1, "etcd-0", "etcd-0", true), m(3, "etcd-2", "etcd-2", true)
	lost, late, added := m(2, "etcd-1", "etcd-1", true), m(2, "etcd-1", "etcd-1", false), m(4, "", "etcd-1", false)
	const all = "etcd-0=https://etcd-0:2380,etcd-1=https://etcd-1:2380,etcd-2=https://etcd-2:2380"
	for name, c := range map[string]struct {
		members []Member
		want    Plan
	}{
		"nobody answers":                     {nil, Plan{}},
		"the others have begun":              {[]Member{zero, late, two}, Plan{}},
		"its data is lost":                   {[]Member{zero, lost, two}, Plan{true, all, 2, true}},
		"it was added again, and then ended": {[]Member{zero, two, added}, Plan{true, all, 0, false}},
		"it was removed, and then ended":     {[]Member{zero, two}, Plan{true, all, 0, true}},
	} {
		if d := cmp.Diff(c.want, Decide("etcd-1", "https://etcd-1:2380", c.members)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}
