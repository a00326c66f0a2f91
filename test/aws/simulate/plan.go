package simulate

import (
	"maps"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"ashlar.dev/ashlar/test/aws/schema"
)

// plan says what an object would be after a change, and which of its changes can only be had by making another.
func (s *Server) plan(typ string, b *schema.Block, prior, proposed, config cty.Value) (cty.Value, []cty.Path) {
	k := kinds[typ]
	p := planner{kind: k, creating: prior.IsNull()}
	after := p.block("", b, prior, proposed, config)
	s.known(b, after, config)
	if p.creating && k.ahead != nil {
		k.ahead(&object{s: s, typ: typ, block: b, values: after, prior: prior, fresh: true})
	}
	planned := cty.ObjectVal(after)
	if p.creating || planned.RawEquals(prior) {
		return planned, nil
	}
	if change := k.changing; change != "" {
		for name := range strings.FieldsSeq(change) {
			if config.GetAttr(name).IsNull() {
				after[name] = cty.UnknownVal(b.Attributes[name].Type)
			}
		}
		planned = cty.ObjectVal(after)
	}
	patterns := k.replace
	for flag, more := range k.alsoIf {
		if v := after[flag]; known(v) && v.True() {
			patterns += " " + more
		}
	}
	var replace []cty.Path
	for path := range strings.FieldsSeq(patterns) {
		replace = append(replace, changed(nil, strings.Split(path, "."), prior, planned)...)
	}
	return planned, replace
}

// known fills in what the provider knows by itself while it plans.
func (s *Server) known(b *schema.Block, after map[string]cty.Value, config cty.Value) {
	if a, there := b.Attributes["region"]; there && a.Optional && config.GetAttr("region").IsNull() {
		after["region"] = cty.StringVal(s.region)
	}
	if _, there := b.Attributes["tags_all"]; there {
		after["tags_all"] = s.allTags(config.GetAttr("tags"))
	}
}

// allTags are an object's own tags and the provider's default ones.
func (s *Server) allTags(own cty.Value) cty.Value {
	if !own.IsKnown() {
		return own
	}
	all := maps.Clone(s.tags)
	if !own.IsNull() {
		maps.Copy(all, own.AsValueMap())
	}
	if len(all) == 0 {
		return cty.MapValEmpty(cty.String)
	}
	return cty.MapVal(all)
}

type planner struct {
	kind     kind
	creating bool
}

// block plans one block. prior is null if it is new.
func (p planner) block(path string, b *schema.Block, prior, proposed, config cty.Value) map[string]cty.Value {
	after := proposed.AsValueMap()
	fresh := prior.IsNull()
	for name, a := range b.Attributes {
		if !after[name].IsNull() {
			continue
		}
		byDefault, has := p.kind.defaults[path+name]
		switch {
		case has:
			after[name] = value(byDefault, a.Type)
		case a.Computed && fresh:
			after[name] = cty.UnknownVal(a.Type)
		}
	}
	for name, n := range b.Blocks {
		after[name] = p.nested(path+name+".", n, attr(prior, name), after[name], attr(config, name))
	}
	return after
}

// nested plans all blocks of one name.
func (p planner) nested(path string, n schema.Nested, prior, proposed, config cty.Value) cty.Value {
	if n.Nesting == "single" || !proposed.IsKnown() {
		return proposed
	}
	if config.IsNull() { // which element of a set was configured how is not known: what is proposed is close
		config = proposed
	}
	if config.IsKnown() && config.LengthInt() == 0 && p.kind.isLate(strings.TrimSuffix(path, ".")) {
		if p.creating {
			return cty.UnknownVal(n.Type())
		}
		return prior
	}
	var elements []cty.Value
	before := map[int]cty.Value{}
	if known(prior) {
		for i, e := range prior.AsValueSlice() {
			before[i] = e
		}
	}
	var given []cty.Value
	if config.IsKnown() {
		given = config.AsValueSlice()
	}
	for i, e := range proposed.AsValueSlice() {
		was, said := cty.NullVal(n.Block.Type()), cty.NullVal(n.Block.Type())
		if n.Nesting == "list" {
			if b, there := before[i]; there {
				was = b
			}
			if i < len(given) {
				said = given[i]
			}
		} else if known(prior) && prior.HasElement(e).True() { // of a set, only what is the same is the same one
			was = e
		}
		if !e.IsKnown() {
			elements = append(elements, e)
			continue
		}
		elements = append(elements, cty.ObjectVal(p.block(path, n.Block, was, e, said)))
	}
	return collection(n.Type(), elements)
}

// attr is a member of a block, or null if there is no such block.
func attr(v cty.Value, name string) cty.Value {
	if v.IsNull() {
		return cty.NullVal(v.Type().AttributeType(name))
	}
	return v.GetAttr(name)
}

// changed returns the paths below at, of those that a pattern like ebs_block_device.encrypted means, that differ.
func changed(at cty.Path, pattern []string, before, after cty.Value) []cty.Path {
	if len(pattern) == 0 {
		if before.RawEquals(after) || missing(before) && missing(after) {
			return nil
		}
		return []cty.Path{at}
	}
	if !known(before) || !known(after) {
		return nil // the block as a whole came or went, which is for a pattern of its own
	}
	switch t := before.Type(); {
	case t.IsObjectType():
		return changed(at.GetAttr(pattern[0]), pattern[1:], before.GetAttr(pattern[0]), after.GetAttr(pattern[0]))
	case t.IsSetType(): // its elements have no names: the set is what changed
		if !before.RawEquals(after) {
			return []cty.Path{at}
		}
		return nil
	}
	var out []cty.Path
	was, is := before.AsValueSlice(), after.AsValueSlice()
	for i := range min(len(was), len(is)) {
		out = append(out, changed(at.IndexInt(i), pattern, was[i], is[i])...)
	}
	return out
}

// missing tells that a value says nothing: null, or as AWS would say it.
func missing(v cty.Value) bool {
	return v.IsNull() || v.IsKnown() && v.RawEquals(empty(v.Type()))
}
