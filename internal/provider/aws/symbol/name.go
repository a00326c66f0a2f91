package symbol

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// scopeOf is the instance of a module that has a path like module.a["x"].module.b.
func (s *scope) scopeOf(path string) (*scope, error) {
	if path == s.path {
		return s, nil
	}
	rest := strings.TrimPrefix(strings.TrimPrefix(path, s.path), ".")
	name, key, _ := firstStep(rest)
	c, err := s.child(name, key)
	if err != nil {
		return nil, err
	}
	return c.scopeOf(path)
}

// firstStep takes module.a["x"] off a path.
func firstStep(path string) (name string, key any, rest string) {
	path = strings.TrimPrefix(path, "module.")
	end := strings.IndexAny(path, ".[")
	if end < 0 {
		return path, nil, ""
	}
	name, rest = path[:end], path[end:]
	if rest[0] == '.' {
		return name, nil, rest
	}
	if strings.HasPrefix(rest, `["`) {
		end = strings.Index(rest, `"]`) + 1
		return name, rest[2 : end-1], rest[end+1:]
	}
	var n int
	_, _ = fmt.Sscanf(rest, "[%d]", &n)
	return name, n, rest[strings.Index(rest, "]")+1:]
}

// name gives what is unknown of an instance its names, from the root of the modules.
func (s *scope) name(i *instance) error {
	if i.named {
		return nil
	}
	of, err := s.scopeOf(i.Module)
	if err != nil {
		return err
	}
	if of.source.resources[i.block()] == nil {
		return fmt.Errorf("the plan has %s, and the modules have not: it was made from others", i.Address)
	}
	of.named(i)
	return of.agrees(i)
}

// named gives what is unknown of an instance in this module its names.
func (s *scope) named(i *instance) {
	if i.named {
		return
	}
	i.named = true
	b := s.source.resources[i.block()]
	if b == nil {
		return
	}
	i.Written = map[string]bool{}
	for name := range b.Body.Attributes {
		i.Written[name] = true
	}
	for _, block := range b.Body.Blocks {
		i.Written[block.Type] = true
		if block.Type == "dynamic" {
			i.Written[block.Labels[0]] = true
		}
	}
	here := s.repetition(b, i.Key)
	change := s.changes[i.Address]
	if change == nil {
		return
	}
	unknown, _ := change.AfterUnknown.(map[string]any)
	for _, name := range sortedKeys(unknown) {
		if !some(unknown[name]) {
			continue
		}
		planned := merge(i.Values[name], unknown[name], Symbol(i.Address, name))
		switch a := b.Body.Attributes[name]; {
		case a != nil:
			i.Values[name] = plain(s.evaluate(a.Expr, here))
		case configured(b.Body, name):
			i.Values[name] = s.blocks(b.Body, name, here, planned)
		default:
			i.Values[name] = planned
		}
	}
}

// some says whether anything within is true.
func some(unknown any) bool {
	switch u := unknown.(type) {
	case bool:
		return u
	case map[string]any:
		for _, v := range u {
			if some(v) {
				return true
			}
		}
	case []any:
		for _, v := range u {
			if some(v) {
				return true
			}
		}
	}
	return false
}

// merge puts names where a value is unknown.
func merge(value, unknown any, symbol string) any {
	switch u := unknown.(type) {
	case bool:
		if u {
			return symbol
		}
	case map[string]any:
		in, _ := value.(map[string]any)
		out := map[string]any{}
		for k, v := range in {
			out[k] = v
		}
		for k, v := range u {
			if some(v) {
				out[k] = merge(in[k], v, symbol+"."+k)
			}
		}
		return out
	case []any:
		in, _ := value.([]any)
		out := append([]any{}, in...)
		for n, v := range u {
			if n >= len(out) {
				out = append(out, nil)
			}
			if some(v) {
				out[n] = merge(out[n], v, fmt.Sprintf("%s.%d", symbol, n))
			}
		}
		return out
	}
	return value
}

// configured says whether a body has blocks of a type, or may have.
func configured(b *hclsyntax.Body, kind string) bool {
	for _, block := range b.Blocks {
		if block.Type == kind || block.Type == "dynamic" && block.Labels[0] == kind {
			return true
		}
	}
	return false
}

// blocks are all of a type, each as a map. Of one alone, what is not written there is as planned.
func (s *scope) blocks(b *hclsyntax.Body, kind string, here env, planned any) any {
	var out []any
	for _, block := range b.Blocks {
		switch {
		case block.Type == kind:
			out = append(out, s.body(block.Body, here))
		case block.Type == "dynamic" && block.Labels[0] == kind:
			all, ok := s.dynamic(block, here)
			if !ok {
				return Unknown{}
			}
			out = append(out, all...)
		}
	}
	if all, ok := planned.([]any); ok && len(all) == 1 && len(out) == 1 {
		if was, ok := all[0].(map[string]any); ok {
			is := out[0].(map[string]any)
			for k, v := range was {
				if _, ok := is[k]; !ok {
					is[k] = v
				}
			}
		}
	}
	return out
}

func (s *scope) body(b *hclsyntax.Body, here env) map[string]any {
	out := map[string]any{}
	for name, a := range b.Attributes {
		out[name] = plain(s.evaluate(a.Expr, here))
	}
	for _, block := range b.Blocks {
		kind := block.Type
		if kind == "dynamic" {
			kind = block.Labels[0]
		}
		if _, done := out[kind]; !done {
			out[kind] = s.blocks(b, kind, here, nil)
		}
	}
	return out
}

func (s *scope) dynamic(b *hclsyntax.Block, here env) ([]any, bool) {
	each := b.Body.Attributes["for_each"]
	if each == nil {
		return nil, false
	}
	all := s.evaluate(each.Expr, here)
	if all.IsNull() || !all.IsKnown() || !all.CanIterateElements() {
		return nil, false
	}
	iterator := b.Labels[0]
	if a := b.Body.Attributes["iterator"]; a != nil {
		for _, t := range a.Expr.Variables() {
			iterator = t.RootName()
		}
	}
	var out []any
	for it := all.ElementIterator(); it.Next(); {
		k, v := it.Element()
		inner := env{iterator: cty.ObjectVal(map[string]cty.Value{"key": k, "value": v})}
		for name, v := range here {
			if _, hidden := inner[name]; !hidden {
				inner[name] = v
			}
		}
		for _, content := range b.Body.Blocks {
			if content.Type == "content" {
				out = append(out, s.body(content.Body, inner))
			}
		}
	}
	return out, true
}

// resource is what a name means in this module.
func (s *scope) resource(block string) cty.Value {
	b := s.source.resources[block]
	if b == nil {
		return cty.DynamicVal
	}
	all := s.instances[place(s.path, block)]
	return s.repeated(b, func(key any) cty.Value {
		for _, i := range all {
			if i.Key == key {
				return s.object(i)
			}
		}
		return cty.DynamicVal
	})
}

func (s *scope) object(i *instance) cty.Value {
	if i.object == cty.NilVal {
		i.object = cty.DynamicVal // what would depend on itself
		s.named(i)
		i.object = valueOf(i.Values)
	}
	return i.object
}

// relevant are attributes that are as written, whatever a provider makes of others.
var relevant = []string{"cidr_block", "cidr_ipv4", "cidr_ipv6", "from_port", "to_port", "port", "ip_protocol", "protocol", "internal", "scheme", "target_type",
	"destination_cidr_block", "destination_ipv6_cidr_block", "map_public_ip_on_launch", "associate_public_ip_address"}

// agrees holds what is known against what the modules say. Where they differ, the plan was made from others.
func (s *scope) agrees(i *instance) error {
	b := s.source.resources[i.block()]
	for _, name := range relevant {
		a, was := b.Body.Attributes[name], i.Values[name]
		if a == nil || was == nil {
			continue
		}
		is := plain(s.evaluate(a.Expr, s.repetition(b, i.Key)))
		if _, unknown := is.(Unknown); !unknown && is != nil && fmt.Sprint(is) != fmt.Sprint(was) {
			return fmt.Errorf("%s has %s %v in the plan, and %v by the modules: it was made from others, or with other variables", i.Address, name, was, is)
		}
	}
	return nil
}
