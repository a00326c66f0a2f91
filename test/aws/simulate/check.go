package simulate

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"ashlar.dev/ashlar/test/aws/schema"
)

// checked is a configuration while it is checked. What is not known yet passes.
type checked struct{ *object }

// readOnly returns what is given that only AWS gives. The language leaves it to providers to mind.
func readOnly(b *schema.Block, config cty.Value) (out []error) {
	if !known(config) {
		return nil
	}
	for _, name := range sorted(b.Attributes) {
		if a := b.Attributes[name]; a.Computed && !a.Optional && !config.GetAttr(name).IsNull() {
			out = append(out, fmt.Errorf("Can't configure a value for %q: its value will be decided automatically", name)) //nolint:staticcheck // the SDK's words
		}
	}
	for _, name := range sorted(b.Blocks) {
		n, blocks := b.Blocks[name], config.GetAttr(name)
		switch {
		case !known(blocks):
		case n.Nesting == "single":
			out = append(out, readOnly(n.Block, blocks)...)
		default:
			for _, one := range blocks.AsValueSlice() {
				out = append(out, readOnly(n.Block, one)...)
			}
		}
	}
	return out
}

// check returns what of a configuration the provider, or AWS, would refuse although the schema accepts it.
func check(typ string, b *schema.Block, config cty.Value) []error {
	k := kinds[typ]
	c := &checked{object: &object{typ: typ, values: config.AsValueMap()}}
	c.errs = readOnly(b, config)
	for _, group := range k.one {
		if n, sure := c.given(group); sure && n != 1 {
			c.fail("%s: exactly one of %s must be given, not %d", typ, list(group), n)
		}
	}
	for _, group := range k.atMost {
		if n, sure := c.given(group); sure && n > 1 {
			c.fail("%s: at most one of %s may be given", typ, list(group))
		}
	}
	for _, group := range k.together {
		if n, sure := c.given(group); sure && n != 0 && n != len(strings.Fields(group)) {
			c.fail("%s: %s go together", typ, list(group))
		}
	}
	c.tagged()
	if k.check != nil {
		k.check(c)
	}
	return c.errs
}

// given counts the members of a group that are given. What is unknown may turn out to be null, so it only counts if it
// must be one of them.
func (c *checked) given(group string) (n int, sure bool) {
	sure = true
	for name := range strings.FieldsSeq(group) {
		v := c.values[name]
		switch {
		case !v.IsKnown():
			sure = false
		case v.IsNull(), (v.Type().IsListType() || v.Type().IsSetType()) && v.LengthInt() == 0:
		default:
			n++
		}
	}
	return n, sure || n > 1
}

func list(group string) string { return strings.Join(strings.Fields(group), ", ") }

// missing tells that an attribute or block is certainly not given.
func (c *checked) missing(name string) bool {
	n, sure := c.given(name)
	return sure && n == 0
}

// matches checks the form of texts.
func (c *checked) matches(form *regexp.Regexp, names ...string) {
	for _, name := range names {
		if s := c.str(name); s != "" && !form.MatchString(s) {
			c.fail("%s: %s %q must match %s", c.typ, name, s, form)
		}
	}
}

// among checks for one of a few words.
func (c *checked) among(name string, words ...string) {
	s := c.str(name)
	for _, w := range words {
		if s == "" || s == w {
			return
		}
	}
	c.fail("%s: %s must be one of %s, not %q", c.typ, name, strings.Join(words, ", "), s)
}

// policy checks that a text is a policy document of at most so many characters, white space not counted.
func (c *checked) policy(name string, limit int) {
	text := c.str(name)
	if text == "" {
		return
	}
	var p struct {
		Version   string
		Statement json.RawMessage
	}
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		c.fail("%s: MalformedPolicyDocument: %s is no JSON: %v", c.typ, name, err)
		return
	}
	if len(p.Statement) == 0 {
		c.fail("%s: MalformedPolicyDocument: %s has no statement", c.typ, name)
	}
	if n := len(strings.Join(strings.Fields(text), "")); limit > 0 && n > limit {
		c.fail("%s: LimitExceeded: %s has %d characters, more than %d", c.typ, name, n, limit)
	}
}

// tagged checks the characters of tags.
func (c *checked) tagged() {
	tags := c.values["tags"]
	if tags == cty.NilVal || !known(tags) {
		return
	}
	for key, v := range tags.AsValueMap() {
		if !known(v) {
			continue
		}
		if len(key) > 128 || len(v.AsString()) > 256 || strings.HasPrefix(key, "aws:") || !tagText.MatchString(key+v.AsString()) {
			c.fail("%s: InvalidTag: %s = %q", c.typ, key, v.AsString())
		}
	}
}

var tagText = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)

func length(minimum, maximum int, class string) *regexp.Regexp {
	return regexp.MustCompile(fmt.Sprintf("^%s{%d,%d}$", class, minimum, maximum))
}
