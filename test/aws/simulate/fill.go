package simulate

import (
	"fmt"
	"hash/fnv"
	"regexp"
	"strconv"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"ashlar.dev/ashlar/test/aws/schema"
)

// object is an object while it is being made: what was planned, of which the unknown is made up.
type object struct {
	s      *Server
	typ    string
	block  *schema.Block
	values map[string]cty.Value
	prior  cty.Value
	fresh  bool
	errs   []error
}

// apply makes, changes or removes an object.
func (s *Server) apply(typ string, b *schema.Block, prior, planned, _ cty.Value) (cty.Value, error) {
	k := kinds[typ]
	if planned.IsNull() {
		o := &object{s: s, typ: typ, block: b, values: prior.AsValueMap()}
		if err := s.unused(typ, o); err != nil {
			return planned, err
		}
		return planned, s.world.remove(typ, o.str("id"), o.str("name"))
	}
	o := &object{s: s, typ: typ, block: b, values: planned.AsValueMap(), prior: prior, fresh: prior.IsNull()}
	if err := s.refersTo(typ, b, o); err != nil {
		return planned, err
	}
	o.name()
	if o.fresh && k.id != late {
		o.set("id", o.form(k.id))
	}
	if k.arn != "" {
		o.set("arn", "arn:aws:"+o.form(k.arn))
	}
	if k.made != nil {
		k.made(o)
	}
	if len(o.errs) > 0 {
		return planned, o.errs[0]
	}
	made := o.rest()
	if made.GetAttr("id").AsString() == "" {
		return planned, fmt.Errorf("simulate: %s was given no id", typ) // a mistake in the tables
	}
	return made, s.world.put(typ, made.GetAttr("id").AsString(), made)
}

// str is an attribute's text, or nothing.
func (o *object) str(name string) string {
	v, there := o.values[name]
	switch {
	case !there || !known(v):
		return ""
	case v.Type() == cty.String:
		return v.AsString()
	case v.Type() == cty.Bool:
		return strconv.FormatBool(v.True())
	case v.Type() == cty.Number:
		return v.AsBigFloat().Text('f', -1)
	}
	return ""
}

func (o *object) yes(name string) bool { return o.str(name) == "true" }

// set makes up an attribute, unless the plan said it.
func (o *object) set(name string, v any) {
	old, there := o.values[name]
	if !there || old.IsKnown() {
		return
	}
	o.values[name] = value(v, old.Type())
}

// setBlock makes up a block that was not given.
func (o *object) setBlock(name string, fields map[string]any) {
	if v := o.values[name]; v.IsKnown() {
		return
	}
	t := o.block.Blocks[name].Block.Type()
	all := map[string]cty.Value{}
	for f, ft := range t.AttributeTypes() {
		if given, there := fields[f]; there {
			all[f] = value(given, ft)
		} else {
			all[f] = empty(ft)
		}
	}
	o.values[name] = collection(o.block.Blocks[name].Type(), []cty.Value{cty.ObjectVal(all)})
}

// first is an attribute of the first block of that name.
func (o *object) first(block, name string) string {
	v := o.values[block]
	if !known(v) || v.LengthInt() == 0 {
		return ""
	}
	e := &object{values: v.AsValueSlice()[0].AsValueMap()}
	return e.str(name)
}

func (o *object) fail(format string, args ...any) {
	o.errs = append(o.errs, fmt.Errorf(format, args...))
}

var place = regexp.MustCompile(`\{(\w+)\}`)

// form fills in a pattern: {17} is so many digits made up, {region} and {account} the provider's, others attributes.
func (o *object) form(pattern string) string {
	if pattern == "" {
		pattern = "{17}"
	}
	return place.ReplaceAllStringFunc(pattern, func(p string) string {
		switch name := p[1 : len(p)-1]; name {
		case "account":
			return o.s.account
		case "region":
			if r := o.str("region"); r != "" {
				return r
			}
			return o.s.region
		case "uuid":
			h := o.s.world.fresh(o.typ, o.seed(), 32)
			return strings.Join([]string{h[:8], h[8:12], "4" + h[13:16], "8" + h[17:20], h[20:]}, "-") // version 4
		default:
			if digits, err := strconv.Atoi(name); err == nil {
				return o.s.world.fresh(o.typ, o.seed(), digits)
			}
			return o.str(name)
		}
	})
}

// seed tells objects of a type apart by what is known of them.
func (o *object) seed() string {
	var b strings.Builder
	for _, name := range sorted(o.values) {
		if v := o.values[name]; v.IsWhollyKnown() && !v.IsNull() {
			fmt.Fprintf(&b, "%s=%#v\n", name, v)
		}
	}
	return b.String()
}

// number makes up a number below n that stays the same for the same object.
func (o *object) number(what string, n uint32) int {
	h := fnv.New32a()
	fmt.Fprint(h, o.typ, what, o.str("id"))
	return int(h.Sum32() % n)
}

// name makes up the name of what is given only the beginning of one, or none.
func (o *object) name() {
	for _, n := range []string{"name", "bucket"} {
		if v, there := o.values[n]; !there || v.IsKnown() {
			continue
		}
		prefix := o.str(n + "_prefix")
		if prefix == "" {
			prefix = "terraform-"
		}
		o.set(n, prefix+o.form("{26}"))
	}
	o.set("name_prefix", "")
	o.set("bucket_prefix", "")
}

// rest makes up what nothing special is known of.
func (o *object) rest() cty.Value {
	return o.fill("", o.block, cty.ObjectVal(o.values))
}

func (o *object) fill(path string, b *schema.Block, v cty.Value) cty.Value {
	values := v.AsValueMap()
	for name, a := range b.Attributes {
		if values[name].IsWhollyKnown() {
			continue
		}
		switch name {
		case "owner_id", "owning_account":
			values[name] = cty.StringVal(o.s.account)
		case "volume_id":
			values[name] = cty.StringVal("vol-" + o.s.world.fresh("aws_ebs_volume", o.str("id")+path, 17))
		default:
			values[name] = empty(a.Type)
		}
	}
	for name, n := range b.Blocks {
		nested := values[name]
		switch {
		case !nested.IsKnown():
			values[name] = empty(n.Type())
		case n.Nesting == "single" || nested.LengthInt() == 0:
		default:
			var elements []cty.Value
			for _, e := range nested.AsValueSlice() {
				elements = append(elements, o.fill(path+name+".", n.Block, e))
			}
			values[name] = collection(n.Type(), elements)
		}
	}
	return cty.ObjectVal(values)
}
