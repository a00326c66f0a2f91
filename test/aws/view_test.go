package aws

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"
)

const (
	modules  = "../../terraform/aws"
	examples = "../../internal/provider/aws/testdata" // what Ashlar makes of examples/aws-*.yaml
)

// variables are those of a case, as internal/provider/aws writes them.
type variables map[string]any

func read(t *testing.T, name string) variables {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(examples, name+".tfvars.json"))
	if err != nil {
		t.Fatal(err)
	}
	v := variables{}
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// with returns a copy in which something was changed.
func (v variables) with(change func(variables)) variables {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	out := variables{}
	if err := json.Unmarshal(text, &out); err != nil {
		panic(err)
	}
	change(out)
	return out
}

func (v variables) machine(name string) map[string]any {
	return v["machines"].(map[string]any)[name].(map[string]any)
}

func (v variables) group(name string) map[string]any {
	return v["groups"].(map[string]any)[name].(map[string]any)
}

// view is all resources of a plan, as they would be, or of a state.
type view struct {
	vars      variables
	resources []*tfjson.StateResource
	config    *tfjson.Config // of a plan
}

func look(vars variables, root *tfjson.StateModule) *view {
	v := &view{vars: vars}
	v.add(root)
	return v
}

func (v *view) add(m *tfjson.StateModule) {
	if m == nil {
		return
	}
	for _, r := range m.Resources {
		if r.Mode == tfjson.ManagedResourceMode {
			v.resources = append(v.resources, r)
		}
	}
	for _, c := range m.ChildModules {
		v.add(c)
	}
}

func (v *view) of(types ...string) []*tfjson.StateResource {
	var out []*tfjson.StateResource
	for _, r := range v.resources {
		for _, t := range types {
			if r.Type == t {
				out = append(out, r)
			}
		}
	}
	return out
}

// at is what is at a path of an attribute, through the blocks of one element that HCL makes lists of; nil if there is nothing.
func at(r *tfjson.StateResource, path string) any {
	var here any = r.AttributeValues
	for name := range strings.SplitSeq(path, ".") {
		if list, is := here.([]any); is {
			if len(list) != 1 {
				return nil
			}
			here = list[0]
		}
		object, is := here.(map[string]any)
		if !is {
			return nil
		}
		here = object[name]
	}
	return here
}

// text is at, as it is printed; "" if there is nothing.
func text(r *tfjson.StateResource, path string) string {
	switch v := at(r, path).(type) {
	case nil:
		return ""
	case string:
		return v
	default:
		return fmt.Sprint(v)
	}
}

// list is the elements of a block or a list.
func list(r *tfjson.StateResource, path string) []any {
	l, _ := at(r, path).([]any)
	return l
}

// key is the key of a resource's for_each.
func key(r *tfjson.StateResource) string { return fmt.Sprint(r.Index) }
