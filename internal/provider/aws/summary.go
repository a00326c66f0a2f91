package aws

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"ashlar.dev/ashlar/internal/provider"
)

// Change is one thing that a plan would do, for people to read.
type Change struct {
	// Object is the name of a machine, group/<pool>, service/<name>, key/<name>, bucket/<name>, network, or the address of what is none of these.
	Object string
	Cause  string
	Action string
	// Loses says what does not come back; it has to be asked for.
	Loses string
}

func (c Change) drift() provider.Drift {
	d := provider.Drift{Machine: c.Object, Cause: c.Cause, Action: c.Action}
	if c.Loses != "" {
		d.Action += "; THIS LOSES " + c.Loses
	}
	if c.Object == network {
		d.Machine = ""
	}
	return d
}

const network = "network"

// Summarise says in Ashlar's own words what a plan would do: all of it, nothing for what stays as it is.
func Summarise(plan *tfjson.Plan) []Change {
	s := summary{owners: ownersOf(plan), drift: map[string]*tfjson.ResourceChange{}, fresh: map[string]bool{}}
	for _, d := range plan.ResourceDrift {
		s.drift[d.Address] = d
	}
	changes := slices.Clone(plan.ResourceChanges)
	slices.SortStableFunc(changes, func(a, b *tfjson.ResourceChange) int { return cmp.Compare(a.Address, b.Address) })
	for _, r := range changes {
		if r.Type == "aws_security_group" && r.Change.Actions.Create() {
			s.fresh[fmt.Sprint(r.Index)] = true
		}
	}
	for _, r := range changes {
		s.add(r)
	}
	out := append(s.collected(), s.changes...)
	slices.SortStableFunc(out, func(a, b Change) int { return cmp.Compare(rank(a.Object), rank(b.Object)) })
	if len(out) == 0 && anyOutput(plan) {
		out = append(out, Change{Object: network, Cause: "what is written down of it differs from what there is", Action: "write it down"})
	}
	return out
}

// rank puts what all else stands on first.
func rank(object string) int {
	for i, prefix := range []string{network, "key/", "bucket/"} {
		if strings.HasPrefix(object, prefix) {
			return i
		}
	}
	return 3
}

func anyOutput(plan *tfjson.Plan) bool {
	for _, c := range plan.OutputChanges {
		if !c.Actions.NoOp() {
			return true
		}
	}
	return false
}

type summary struct {
	owners  owners
	drift   map[string]*tfjson.ResourceChange // by address: what was changed outside
	fresh   map[string]bool                   // roles whose security group is only made now
	changes []Change
	parts   []part // what is made or removed as a whole
}

// part is one resource of what is made or removed.
type part struct {
	object, verb, what string
	gone               bool // somebody removed it
	loses              string
}

func (s *summary) add(r *tfjson.ResourceChange) {
	actions := r.Change.Actions
	if actions.NoOp() || actions.Read() {
		return
	}
	object := s.owners.of(r)
	what := describe(r)
	drift := s.drift[r.Address]
	if rule, is := ruleOf(r); is && !actions.Replace() && !actions.Update() && !s.fresh[rule.from] && !s.fresh[rule.to] {
		s.rule(rule, actions.Create(), drift != nil)
		return
	}
	switch {
	case actions.Create():
		s.parts = append(s.parts, part{object, "create", what, drift != nil, ""})
	case actions.Delete():
		s.parts = append(s.parts, part{object, "remove", what, false, s.loses(r)})
	case actions.Replace():
		s.changes = append(s.changes, Change{Object: object, Cause: because(r, drift, what), Action: "replace the " + what, Loses: s.loses(r)})
	case actions.Update():
		s.changes = append(s.changes, Change{Object: object, Cause: because(r, drift, what), Action: "change it"})
	case actions.Forget():
		s.changes = append(s.changes, Change{Object: object, Cause: "the " + what + " is none of the cluster's any more", Action: "leave it as it is"})
	default:
		s.changes = append(s.changes, Change{Object: object, Cause: "the " + what + " differs", Action: fmt.Sprint(actions)})
	}
}

// rule of a network that is there otherwise, once for both of its ends.
func (s *summary) rule(r rule, open, drifted bool) {
	c := Change{Object: network, Cause: r.String() + " is open, and no rule says so", Action: "close it"}
	if open {
		c = Change{Object: network, Cause: r.String() + " is not open", Action: "open it"}
		if drifted {
			c.Cause = "somebody closed " + r.String()
		}
	}
	if !slices.Contains(s.changes, c) {
		s.changes = append(s.changes, c)
	}
}

// collected says once of each object what is made of it, and what is removed.
func (s *summary) collected() []Change {
	var out []Change
	for _, verb := range []string{"remove", "create"} {
		var objects []string
		of := map[string][]part{}
		for _, p := range s.parts {
			if p.verb == verb {
				if of[p.object] == nil {
					objects = append(objects, p.object)
				}
				of[p.object] = append(of[p.object], p)
			}
		}
		for _, object := range objects {
			out = append(out, s.whole(object, verb, of[object]))
		}
	}
	return out
}

func (s *summary) whole(object, verb string, parts []part) Change {
	var names, gone, loses []string
	for _, p := range parts {
		names = append(names, p.what)
		if p.gone {
			gone = append(gone, p.what)
		}
		if p.loses != "" && !slices.Contains(loses, p.loses) {
			loses = append(loses, p.loses)
		}
	}
	c := Change{Object: object, Action: verb + " " + counted(names), Loses: strings.Join(loses, "; ")}
	switch {
	case verb == "remove":
		c.Cause = "the file does not have it any more"
	case len(gone) > 0:
		c.Cause = "somebody removed the " + counted(gone)
	case s.owners.there[object]:
		c.Cause = "a part of it does not exist"
	default:
		c.Cause = "it does not exist"
	}
	return c
}

// counted lists things, those of the same name once.
func counted(names []string) string {
	var order []string
	n := map[string]int{}
	for _, name := range names {
		if n[name] == 0 {
			order = append(order, name)
		}
		n[name]++
	}
	for i, name := range order {
		if n[name] > 1 {
			order[i] = fmt.Sprintf("%s (%d)", name, n[name])
		}
	}
	return strings.Join(order, ", ")
}

// loses says what does not come back with what is removed.
func (s *summary) loses(r *tfjson.ResourceChange) string {
	k := kindOf(r.Type)
	switch role := s.owners.role(r); {
	case k.loses != "":
		return k.loses
	case (r.Type == "aws_instance" || r.Type == "aws_network_interface") && (role == "vault" || role == "etcd"):
		return "a member of " + role + ", until it has joined anew"
	}
	return ""
}

// refused are the changes that lose something, and are not asked for.
func refused(changes []Change, asked []string) error {
	var lines, names []string
	for _, c := range changes {
		if c.Loses != "" && !slices.Contains(asked, c.Object) {
			lines = append(lines, fmt.Sprintf("%s: %s → %s", c.Object, c.Cause, c.drift().Action))
			if !slices.Contains(names, c.Object) {
				names = append(names, c.Object)
			}
		}
	}
	if lines == nil {
		return nil
	}
	return fmt.Errorf("nothing was changed, since it would lose what does not come back:\n  %s\nif that is meant: ashlar up --replace %s",
		strings.Join(lines, "\n  "), strings.Join(names, ","))
}
