package audit

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

// Known is what may account for a certificate.
type Known struct {
	Machines []unit.Machine
	// Held are the serials that each machine says it obtained, in use or replaced since.
	Held map[string][]string
	// Operator is the operator's name in Vault, OperatorAddress from where it acts.
	Operator, OperatorAddress string
	Now                       time.Time
}

// recent is how young a certificate may be that its machine has not told of yet.
const recent = time.Minute

// Account flags each issuance that no unit accounts for: of a machine that does not know of it, of somebody who is no machine,
// or of a machine that was not where it belongs. What was revoked since or has expired is settled.
func Account(events []Event, k Known) []Event {
	revoked := map[string]bool{}
	for _, e := range events {
		if e.Kind == Revoked && e.Refused == "" {
			revoked[string(e.CA)+" "+PlainSerial(e.Serial)] = true
		}
	}
	out := slices.Clone(events)
	for i, e := range out {
		if e.Hidden() {
			out[i].Flag = "its answer was wrapped, as no agent does, and Vault no longer has the certificate"
		} else if e.Alive(k.Now) && !revoked[string(e.CA)+" "+PlainSerial(e.Serial)] {
			out[i].Flag = k.unaccounted(e)
		}
	}
	return out
}

func (k Known) unaccounted(e Event) string {
	if e.Wrapped {
		return "its answer was wrapped, as no agent does"
	}
	if e.Who == k.Operator && !e.Person {
		return k.operators(e)
	}
	if e.Who == "root" {
		// The one certificate for system:masters is made by a role that exists for that moment.
		if e.Profile == "first-binding" {
			return ""
		}
		return "it was issued by a root token"
	}
	i := slices.IndexFunc(k.Machines, func(m unit.Machine) bool { return m.Name == e.Who })
	switch {
	case e.Person || i < 0:
		return "it was issued to nobody who is a machine of the cluster"
	case k.Machines[i].Address.String() != e.From:
		return "it was issued to a machine from an address that is not its own"
	case !slices.ContainsFunc(unit.ProfilesOf(k.Machines[i].Role), func(p unit.Profile) bool { return p.CA == e.CA && p.Name == e.Profile }):
		return fmt.Sprintf("no unit of a machine of role %s has such a certificate", k.Machines[i].Role)
	case !slices.ContainsFunc(k.Held[e.Who], func(s string) bool { return PlainSerial(s) == PlainSerial(e.Serial) }) && k.Now.Sub(e.Time) > recent:
		return "the machine's agent does not know of it"
	}
	return ""
}

func (k Known) operators(e Event) string {
	mine := slices.ContainsFunc(unit.ProfilesOf(unit.RoleOperator), func(p unit.Profile) bool { return p.CA == e.CA && p.Name == e.Profile })
	if !mine || e.From != k.OperatorAddress {
		return "it was issued to the operator, from another seat or for another's use"
	}
	return ""
}

// Filter chooses events; what is empty chooses all.
type Filter struct {
	Machine, User, Serial string
	Instance              string
	Since                 time.Time
}

// Select returns the events that a filter chooses.
func (f Filter) Select(events []Event) []Event {
	var out []Event
	for _, e := range events {
		about := func(who string, person bool) bool { return e.Who == who && e.Person == person }
		switch {
		case f.Machine != "" && !about(f.Machine, false), f.User != "" && !about(f.User, true),
			f.Serial != "" && !SameSerial(f.Serial, e.Serial), f.Instance != "" && e.Instance != f.Instance, e.Time.Before(f.Since):
			continue
		}
		out = append(out, e)
	}
	return out
}

// SameSerial compares serial numbers, however they are written; as many bytes as `ashlar pki list` shows are enough of the first.
func SameSerial(asked, serial string) bool {
	a, s := PlainSerial(strings.TrimSuffix(asked, "…")), PlainSerial(serial)
	return a != "" && (a == s || strings.HasSuffix(asked, "…") && len(a) >= 6 && strings.HasPrefix(s, a))
}

// Vaults are the machines whose logs there are.
func Vaults(machines []unit.Machine) []string {
	var out []string
	for _, m := range machines {
		if m.Role == v1alpha1.RoleVault {
			out = append(out, m.Name)
		}
	}
	return out
}
