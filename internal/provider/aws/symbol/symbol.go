// Package symbol reads a plan of OpenTofu or Terraform as if all of it existed: what will be known only when it has been made (the id of
// a subnet, and so the subnet_id of an instance in it) has a name there, which is the same wherever the same thing is meant. A plan as
// JSON says no more of such a value than that it is unknown, so the modules that the plan was made from are evaluated again, with those
// names; what is known to the plan has to come out as it is there.
package symbol

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// Unknown is the value of what nothing can be said about.
type Unknown struct{}

// Resource is an instance of a resource as it will be.
type Resource struct {
	Address string // module.hub.aws_subnet.private["a"]
	Module  string // module.hub
	Type    string // aws_subnet
	Name    string // private
	Key     any    // "a"; an int with count; or nothing
	Data    bool   // it was only looked up
	// Values are as in JSON. What is not known yet is a Symbol, or Unknown.
	Values map[string]any
	// Written are the attributes and blocks that the modules have; nil if there are none to know it from. All others are what AWS says,
	// which of what changes is what it was.
	Written map[string]bool
}

// Says is whether an attribute is as somebody wrote it, as far as one can know.
func (r *Resource) Says(name string) bool { return r.Written == nil || r.Written[name] }

// Symbol is the name of an attribute that is not known yet.
func Symbol(address, attribute string) string { return address + "#" + attribute }

// IsSymbol says whether a value is such a name.
func IsSymbol(v string) bool { return strings.Contains(v, "#") }

// Plan returns what there will be. Modules has the source of the plan's root module in its root.
func Plan(plan *tfjson.Plan, modules fs.FS) ([]Resource, error) {
	if plan.PlannedValues == nil || plan.PlannedValues.RootModule == nil {
		return nil, fmt.Errorf("this is no plan: it has no planned_values; make one with `tofu plan -out FILE` and `tofu show -json FILE`")
	}
	e := &evaluator{plan: plan, files: modules, modules: map[string]*module{}, instances: map[string][]*instance{}, changes: map[string]*tfjson.Change{}}
	for _, c := range plan.ResourceChanges {
		if c.Change != nil && c.DeposedKey == "" {
			e.changes[c.Address] = c.Change
		}
	}
	if plan.PriorState != nil && plan.PriorState.Values != nil {
		for _, r := range of(plan.PriorState.Values.RootModule) {
			if r.Data {
				e.add(r)
			}
		}
	}
	for _, r := range of(plan.PlannedValues.RootModule) {
		e.add(r)
	}
	root, err := e.root()
	if err != nil {
		return nil, err
	}
	var out []Resource
	for _, path := range sortedKeys(e.instances) {
		for _, i := range e.instances[path] {
			if err := root.name(i); err != nil {
				return nil, err
			}
			out = append(out, i.Resource)
		}
	}
	slices.SortFunc(out, func(a, b Resource) int { return cmp.Compare(a.Address, b.Address) })
	return out, nil
}

// State returns what there is.
func State(state *tfjson.State) ([]Resource, error) {
	if state.Values == nil {
		return nil, fmt.Errorf("this state has nothing in it: there is no network yet")
	}
	out := of(state.Values.RootModule)
	slices.SortFunc(out, func(a, b Resource) int { return cmp.Compare(a.Address, b.Address) })
	return out, nil
}

// of are the resources of a module and of those below it.
func of(m *tfjson.StateModule) []Resource {
	if m == nil {
		return nil
	}
	var out []Resource
	for _, r := range m.Resources {
		values := r.AttributeValues
		if values == nil {
			values = map[string]any{}
		}
		out = append(out, Resource{Address: r.Address, Module: m.Address, Type: r.Type, Name: r.Name, Key: key(r.Index), Data: r.Mode == tfjson.DataResourceMode, Values: values})
	}
	for _, child := range m.ChildModules {
		out = append(out, of(child)...)
	}
	return out
}

// key is an index as it is written.
func key(index any) any {
	switch v := index.(type) {
	case nil, string:
		return v
	}
	var n int
	if _, err := fmt.Sscan(fmt.Sprint(index), &n); err != nil {
		return fmt.Sprint(index)
	}
	return n
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
