package cli

import (
	"io"
	"testing"

	"ashlar.dev/ashlar/internal/authz"
	"ashlar.dev/ashlar/internal/contain"
	"ashlar.dev/ashlar/internal/isolation"
	"ashlar.dev/ashlar/internal/phase"
)

func TestExplanationTable(t *testing.T) {
	e := &phase.Explanation{
		Pod: "shop/web", Node: "worker-0", Class: "gpu", Because: "its label ashlar.dev/class",
		Uses: []phase.Use{
			{Role: "who made it", Who: authz.Subject{User: "alice", Groups: []string{"dev", "system:authenticated"}}},
			{Role: "its ServiceAccount", Who: authz.Subject{User: "system:serviceaccount:shop:web", Groups: []string{"system:serviceaccounts"}}, Allowed: true, Reason: "RBAC: by a RoleBinding"}},
		Holders: []authz.Holder{{Principal: authz.Principal{User: "bob"}}, {Principal: authz.Principal{Group: "ops"}}, {Principal: authz.Principal{User: "bob"}}},
		Refuses: []isolation.Violation{{Control: "Host Namespaces", Field: "spec.hostPID", Value: "true"}},
		Kernel:  contain.Kernel{Release: "6.12.0", Cgroups: 2, SELinux: contain.Enforcing},
		Facts: []contain.Fact{
			{Container: "main", What: "system calls", Says: "RuntimeDefault", Kernel: "filter"},
			{Container: "main", Process: "77 sh", What: "system calls", Says: "RuntimeDefault", Kernel: "disabled", Differs: "no filter is in force"}},
	}
	const head = `pod shop/web on worker-0 is of class gpu: its label ashlar.dev/class
  who made it, alice (dev): may not use it
  its ServiceAccount, system:serviceaccount:shop:web: may use it: RBAC: by a RoleBinding
  who may use it here: user bob, group ops
  the class does not allow Host Namespaces: spec.hostPID is true

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
	everybody := []authz.Holder{{Principal: authz.Principal{Group: "system:authenticated"}}}
	expect(t, func(w io.Writer) error { return usesTable(w, e.Uses[1:], everybody) },
		`  its ServiceAccount, system:serviceaccount:shop:web: may use it: RBAC: by a RoleBinding
  who made it: no audit log of the API servers has that any more
  who may use it here: everybody
`)
}

func TestForesightTable(t *testing.T) {
	found := []phase.Foresight{
		{Object: "Pod shop/web", Class: "restricted", Because: "no label ashlar.dev/class says otherwise", Answer: "no host namespaces",
			Uses: []phase.Use{{Role: "who would make it", Who: authz.Subject{User: "alice"}, Allowed: true, Reason: "everybody may use restricted"}},
			Options: []phase.Option{
				{Class: "restricted", Refuses: []isolation.Violation{{Control: "Host Namespaces", Field: "spec.hostPID", Value: "true"}, {Control: "Seccomp", Field: "spec.x", Value: "unset"}},
					Holders: []authz.Holder{{Principal: authz.Principal{Group: "system:authenticated"}}}},
				{Class: "privileged", Holders: []authz.Holder{{Principal: authz.Principal{Group: "ops"}}}}, {Class: "gpu"}}},
		{Object: "Job shop/nightly", Class: "gpu", Because: "its label ashlar.dev/class", Accepted: true},
	}
	expect(t, func(w io.Writer) error { return foresightTable(w, found) },
		`Pod shop/web is of class restricted: no label ashlar.dev/class says otherwise
  refused: no host namespaces
  who would make it, alice: may use it: everybody may use restricted

CLASS        ALLOWS IT   WHO MAY USE IT THERE   WHAT IT REFUSES
restricted   no          everybody              Host Namespaces: spec.hostPID is true; Seccomp: spec.x is unset
privileged   yes         group ops
gpu          yes         nobody

Job shop/nightly is of class gpu: its label ashlar.dev/class
  accepted
`)
}
