package cli

import (
	"io"
	"testing"

	"ashlar.dev/ashlar/internal/authz"
	"ashlar.dev/ashlar/internal/contain"
	"ashlar.dev/ashlar/internal/phase"
)

func TestExplanationTable(t *testing.T) {
	e := &phase.Explanation{
		Pod: "shop/web", Node: "worker-0", Class: "gpu", Because: "its label ashlar.dev/class",
		Uses: []phase.Use{
			{Role: "who made it", Who: authz.Subject{User: "alice", Groups: []string{"dev", "system:authenticated"}}},
			{Role: "its ServiceAccount", Who: authz.Subject{User: "system:serviceaccount:shop:web", Groups: []string{"system:serviceaccounts"}}, Allowed: true, Reason: "RBAC: by a RoleBinding"}},
		Holders: []authz.Holder{{Principal: authz.Principal{User: "bob"}}, {Principal: authz.Principal{Group: "ops"}}, {Principal: authz.Principal{User: "bob"}}},
		Kernel:  contain.Kernel{Release: "6.12.0", Cgroups: 2, SELinux: contain.Enforcing},
		Facts: []contain.Fact{
			{Container: "main", What: "system calls", Says: "RuntimeDefault", Kernel: "filter"},
			{Container: "main", Process: "77 sh", What: "system calls", Says: "RuntimeDefault", Kernel: "disabled", Differs: "no filter is in force"}},
	}
	const head = `pod shop/web on worker-0 is of class gpu: its label ashlar.dev/class
  who made it, alice (dev): may not use it
  its ServiceAccount, system:serviceaccount:shop:web: may use it: RBAC: by a RoleBinding
  who may use it here: user bob, group ops

kernel 6.12.0, cgroups of version 2, SELinux enforcing
`
	expect(t, func(w io.Writer) error { return explanationTable(w, e) }, head+
		`CONTAINER             WHAT           THE POD SAYS     THE KERNEL DOES   DIFFERENCE
main                  system calls   RuntimeDefault   filter
main, process 77 sh   system calls   RuntimeDefault   disabled          no filter is in force

the kernel does otherwise than the pod says: 1 of 2
`)
	e.Facts = e.Facts[:1]
	expect(t, func(w io.Writer) error { return explanationTable(w, e) }, head+
		`CONTAINER   WHAT           THE POD SAYS     THE KERNEL DOES
main        system calls   RuntimeDefault   filter

the kernel does what the pod says
`)
	e.Class, e.Uses = "restricted", e.Uses[1:]
	expect(t, func(w io.Writer) error { return usesTable(w, e.Class, e.Uses, e.Holders) },
		`  its ServiceAccount, system:serviceaccount:shop:web: may use it: RBAC: by a RoleBinding
  who made it: no audit log of the API servers has that any more
  who may use it here: everybody
`)
}
