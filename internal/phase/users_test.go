package phase

import (
	"testing"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/userns"
)

func TestUserNamespaces(t *testing.T) {
	is := func(role v1alpha1.Role, state provider.State, u *userns.Ability) enrolled {
		return enrolled{machine: provider.Machine{Role: role, State: state}, status: agent.Status{UserNamespaces: u}}
	}
	able, not := &userns.Ability{Able: true}, &userns.Ability{Why: "old"}
	worker, run, off := v1alpha1.RoleWorker, provider.Running, provider.Stopped
	revoked := is(worker, run, not)
	revoked.out = true
	for name, c := range map[string]struct {
		all           []enrolled
		able, waiting bool
	}{
		"none":                {nil, false, false},
		"all":                 {[]enrolled{is(worker, run, able), is(worker, run, able)}, true, false},
		"one cannot":          {[]enrolled{is(worker, run, able), is(worker, run, not)}, false, false},
		"one has yet to say":  {[]enrolled{is(worker, run, able), is(worker, run, nil)}, true, true},
		"nobody has said":     {[]enrolled{is(worker, run, nil)}, false, true},
		"one is off":          {[]enrolled{is(worker, run, able), is(worker, off, nil)}, true, false},
		"one off cannot":      {[]enrolled{is(worker, run, able), is(worker, off, not)}, false, false},
		"one is revoked":      {[]enrolled{is(worker, run, able), revoked}, true, false},
		"others do not count": {[]enrolled{is(worker, run, able), is(v1alpha1.RoleEtcd, run, nil)}, true, false},
	} {
		if gotAble, gotWaiting := userNamespaces(c.all); gotAble != c.able || gotWaiting != c.waiting {
			t.Errorf("%s: able %t, waiting %t; want %t, %t", name, gotAble, gotWaiting, c.able, c.waiting)
		}
	}
}
