package symbol

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	tfjson "github.com/hashicorp/terraform-json"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// evaluator evaluates a plan's modules. What cannot be evaluated is cty.DynamicVal: unknown, as is all that depends on it.
type evaluator struct {
	plan      *tfjson.Plan
	files     fs.FS
	modules   map[string]*module     // by directory
	instances map[string][]*instance // by module, type and name
	changes   map[string]*tfjson.Change
}

// instance is a resource with what has been worked out of it.
type instance struct {
	Resource
	object cty.Value
	named  bool
}

func (e *evaluator) add(r Resource) {
	at := place(r.Module, r.block())
	e.instances[at] = append(e.instances[at], &instance{Resource: r, object: cty.NilVal})
}

func place(module, block string) string { return module + " " + block }

// block is how a resource is called within its module.
func (r *Resource) block() string {
	if r.Data {
		return "data." + r.Type + "." + r.Name
	}
	return r.Type + "." + r.Name
}

// env is what each, count and the iterators of dynamic blocks are at one place.
type env map[string]cty.Value

// scope is an instance of a module.
type scope struct {
	*evaluator
	path, dir string
	source    *module
	parent    *scope
	call      *hclsyntax.Block
	env       env // of the call
	values    map[string]cty.Value
	children  map[string]*scope
}

func (e *evaluator) root() (*scope, error) {
	m, err := e.module(".")
	if err != nil {
		return nil, err
	}
	return &scope{evaluator: e, dir: ".", source: m, values: map[string]cty.Value{}, children: map[string]*scope{}}, nil
}

func (e *evaluator) module(dir string) (*module, error) {
	if m := e.modules[dir]; m != nil {
		return m, nil
	}
	m, err := parse(e.files, dir)
	if err == nil {
		e.modules[dir] = m
	}
	return m, err
}

// child is an instance of a called module.
func (s *scope) child(name string, key any) (*scope, error) {
	step := "module." + name + bracket(key)
	if c := s.children[step]; c != nil {
		return c, nil
	}
	call := s.source.calls[name]
	if call == nil {
		return nil, fmt.Errorf("the plan has %s, and the modules have not: it was made from others", strings.TrimPrefix(s.path+"."+step, "."))
	}
	dir := source(call, s.dir)
	if dir == "" {
		return nil, fmt.Errorf("%s is a module from elsewhere, whose source is not here", strings.TrimPrefix(s.path+"."+step, "."))
	}
	m, err := s.module(dir)
	if err != nil {
		return nil, err
	}
	c := &scope{evaluator: s.evaluator, path: strings.TrimPrefix(s.path+"."+step, "."), dir: dir, source: m, parent: s, call: call,
		env: s.repetition(call, key), values: map[string]cty.Value{}, children: map[string]*scope{}}
	s.children[step] = c
	return c, nil
}

func bracket(key any) string {
	switch k := key.(type) {
	case nil:
		return ""
	case int:
		return fmt.Sprintf("[%d]", k)
	default:
		return fmt.Sprintf("[%q]", k)
	}
}

// repetition is what each or count is for one of several.
func (s *scope) repetition(b *hclsyntax.Block, key any) env {
	switch k := key.(type) {
	case int:
		return env{"count": cty.ObjectVal(map[string]cty.Value{"index": cty.NumberIntVal(int64(k))})}
	case string:
		value := cty.DynamicVal
		if a := b.Body.Attributes["for_each"]; a != nil {
			value = at(s.evaluate(a.Expr, nil), k)
		}
		return env{"each": cty.ObjectVal(map[string]cty.Value{"key": cty.StringVal(k), "value": value})}
	}
	return nil
}

// at is the element of a map, an object or a set of strings.
func at(all cty.Value, key string) cty.Value {
	switch {
	case !all.IsKnown() || all.IsNull():
	case all.Type().IsObjectType() && all.Type().HasAttribute(key):
		return all.GetAttr(key)
	case all.Type().IsMapType() && all.HasIndex(cty.StringVal(key)).True():
		return all.Index(cty.StringVal(key))
	case all.Type().IsSetType():
		return cty.StringVal(key)
	}
	return cty.DynamicVal
}

// evaluate is the value of an expression.
func (s *scope) evaluate(x hcl.Expression, here env) cty.Value {
	ctx := &hcl.EvalContext{Variables: map[string]cty.Value{}, Functions: functions}
	under := map[string]map[string]cty.Value{}
	put := func(root, name string, v cty.Value) {
		if under[root] == nil {
			under[root] = map[string]cty.Value{}
		}
		under[root][name] = v
	}
	data := map[string]map[string]cty.Value{}
	for _, t := range x.Variables() {
		root := t.RootName()
		if v, ok := here[root]; ok {
			ctx.Variables[root] = v
			continue
		}
		name := attribute(t, 1)
		switch root {
		case "var":
			put(root, name, s.once("var."+name, func() cty.Value { return s.variable(name) }))
		case "local":
			put(root, name, s.once("local."+name, func() cty.Value { return s.local(name) }))
		case "module":
			put(root, name, s.once("module."+name, func() cty.Value { return s.outputs(name) }))
		case "path":
			put(root, name, cty.StringVal("."))
		case "terraform", "tofu":
			put(root, name, cty.StringVal("default"))
		case "data":
			if data[name] == nil {
				data[name] = map[string]cty.Value{}
			}
			data[name][attribute(t, 2)] = s.resource("data." + name + "." + attribute(t, 2))
		default:
			put(root, name, s.resource(root+"."+name))
		}
	}
	for kind, named := range data {
		put("data", kind, cty.ObjectVal(named))
	}
	for root, named := range under {
		ctx.Variables[root] = cty.ObjectVal(named)
	}
	v, diags := x.Value(ctx)
	if diags.HasErrors() {
		return cty.DynamicVal
	}
	unmarked, _ := v.UnmarkDeep()
	return unmarked
}

func attribute(t hcl.Traversal, i int) string {
	if len(t) > i {
		if a, ok := t[i].(hcl.TraverseAttr); ok {
			return a.Name
		}
	}
	return ""
}

// once evaluates what is evaluated once. What depends on itself is unknown.
func (s *scope) once(what string, f func() cty.Value) cty.Value {
	if v, ok := s.values[what]; ok {
		return v
	}
	s.values[what] = cty.DynamicVal
	s.values[what] = f()
	return s.values[what]
}

func (s *scope) local(name string) cty.Value {
	if x := s.source.locals[name]; x != nil {
		return s.evaluate(x, nil)
	}
	return cty.DynamicVal
}

// variable is what the caller, or the plan, gives; or else its default.
func (s *scope) variable(name string) cty.Value {
	b := s.source.variables[name]
	if b == nil {
		return cty.DynamicVal
	}
	v := cty.NilVal
	if s.parent != nil {
		if a := s.call.Body.Attributes[name]; a != nil {
			v = s.parent.evaluate(a.Expr, s.env)
		}
	} else if given := s.plan.Variables[name]; given != nil {
		v = valueOf(given.Value)
	}
	if standard := b.Body.Attributes["default"]; v == cty.NilVal && standard != nil {
		v = s.evaluate(standard.Expr, nil)
	}
	if v == cty.NilVal {
		return cty.DynamicVal
	}
	if a := b.Body.Attributes["type"]; a != nil {
		kind, defaults, diags := typeexpr.TypeConstraintWithDefaults(a.Expr)
		if diags.HasErrors() {
			return cty.DynamicVal
		}
		if defaults != nil && !v.IsNull() {
			v = defaults.Apply(v)
		}
		converted, err := convert.Convert(v, kind)
		if err != nil {
			return cty.DynamicVal
		}
		v = converted
	}
	return v
}

// outputs are those of a called module; of one with several instances, by key.
func (s *scope) outputs(name string) cty.Value {
	call := s.source.calls[name]
	if call == nil {
		return cty.DynamicVal
	}
	return s.repeated(call, func(key any) cty.Value {
		c, err := s.child(name, key)
		if err != nil {
			return cty.DynamicVal
		}
		all := map[string]cty.Value{}
		for name, x := range c.source.outputs {
			all[name] = c.once("output."+name, func() cty.Value { return c.evaluate(x, nil) })
		}
		return cty.ObjectVal(all)
	})
}

// repeated makes what a name means of a block with count or for_each, from each of its instances.
func (s *scope) repeated(b *hclsyntax.Block, one func(key any) cty.Value) cty.Value {
	if a := b.Body.Attributes["count"]; a != nil {
		n, err := convert.Convert(s.evaluate(a.Expr, nil), cty.Number)
		if err != nil || n.IsNull() || !n.IsKnown() {
			return cty.DynamicVal
		}
		count, _ := n.AsBigFloat().Int64()
		var all []cty.Value
		for i := range int(count) {
			all = append(all, one(i))
		}
		return cty.TupleVal(all)
	}
	a := b.Body.Attributes["for_each"]
	if a == nil {
		return one(nil)
	}
	each := s.evaluate(a.Expr, nil)
	if each.IsNull() || !each.IsKnown() || !each.CanIterateElements() {
		return cty.DynamicVal
	}
	all := map[string]cty.Value{}
	for it := each.ElementIterator(); it.Next(); {
		k, v := it.Element()
		if each.Type().IsSetType() {
			k = v
		}
		if !k.IsKnown() || k.Type() != cty.String {
			return cty.DynamicVal
		}
		all[k.AsString()] = one(k.AsString())
	}
	return cty.ObjectVal(all)
}
