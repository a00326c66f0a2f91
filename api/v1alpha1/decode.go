package v1alpha1

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Decode reads a cluster file: strictly, with defaults filled in, and valid. Its error is an Errors with all that
// is wrong at once; filename is only for those messages.
func Decode(r []byte, filename string) (*Cluster, error) {
	c, errs := decode(r)
	if len(errs) == 0 {
		return c, nil
	}
	for i := range errs {
		errs[i].File = filename
	}
	slices.SortStableFunc(errs, func(a, b Error) int { return cmp.Compare(a.Line, b.Line) })
	return nil, errs
}

func decode(r []byte) (*Cluster, Errors) {
	root, errs := parse(r)
	if len(errs) > 0 {
		return nil, errs
	}
	c := new(Cluster)
	b := binder{lines: map[string]int{"": root.Line}, broken: map[string]bool{}}
	b.bind(root, "", reflect.ValueOf(c).Elem())

	declared := len(c.Spec.Pools)
	Default(c)
	for _, e := range validate(c, len(c.Spec.Pools)-declared) {
		if !b.explains(e.Path) {
			e.Line = b.line(e.Path)
			b.errs = append(b.errs, e)
		}
	}
	return c, b.errs
}

// binder moves a tree of YAML into Go values by their json tags. sigs.k8s.io/yaml does that too, but stops at the
// first error and has forgotten the lines by then.
type binder struct {
	lines  map[string]int  // of each field that is set, by path
	broken map[string]bool // paths with an error: what validation says about them would only repeat it
	errs   Errors
}

func (b *binder) fail(n *yaml.Node, path, format string, args ...any) {
	b.broken[path] = true
	b.errs = append(b.errs, Error{Line: n.Line, Path: path, Message: fmt.Sprintf(format, args...)})
}

// explains says whether a path, or what it is part of, already has an error.
func (b *binder) explains(path string) bool {
	for ; path != ""; path = parent(path) {
		if b.broken[path] {
			return true
		}
	}
	return b.broken[""]
}

// line returns the line of a field, or of the nearest thing around it that the file has.
func (b *binder) line(path string) int {
	for ; path != ""; path = parent(path) {
		if line := b.lines[path]; line > 0 {
			return line
		}
	}
	return b.lines[""]
}

func parent(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}

var (
	durationType = reflect.TypeFor[metav1.Duration]()
	timeType     = reflect.TypeFor[metav1.Time]()
)

// isObject tells structs that are mappings from those that are written as one value.
func isObject(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t != durationType && t != timeType
}

func (b *binder) bind(n *yaml.Node, path string, v reflect.Value) {
	switch {
	case v.Kind() == reflect.Pointer: // first, so that a bad value is there all the same
		v.Set(reflect.New(v.Type().Elem()))
		b.bind(n, path, v.Elem())
	case special(n):
		b.fail(n, path, "has a YAML anchor, alias or tag; write the value itself")
	case n.ShortTag() == "!!null" && isObject(v.Type()):
		b.fail(n, path, "has no value; write {} for its defaults, or remove the key")
	case n.ShortTag() == "!!null":
		b.fail(n, path, "has no value; give it one, or remove the key")
	case v.Type() == durationType:
		b.duration(n, path, v)
	case v.Type() == timeType:
		b.time(n, path, v)
	case v.Kind() == reflect.Struct:
		b.mapping(n, path, v)
	case v.Kind() == reflect.Slice:
		b.list(n, path, v)
	case v.Kind() == reflect.Map:
		b.texts(n, path, v)
	case v.Kind() == reflect.Int:
		b.integer(n, path, v)
	case v.Kind() == reflect.Bool:
		b.truth(n, path, v)
	case v.Kind() == reflect.String:
		b.text(n, path, v)
	default:
		panic("v1alpha1: a field has a type that bind does not know: " + v.Type().String()) // a mistake in types.go
	}
}

// special nodes mean something else than what is written there; a cluster file has no use for them.
func special(n *yaml.Node) bool {
	return n.Kind == yaml.AliasNode || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0
}

func (b *binder) mapping(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		b.fail(n, path, "must be a mapping of keys to values, not %s", describe(n))
		return
	}
	fields := map[string]reflect.StructField{}
	for f := range v.Type().Fields() {
		fields[jsonName(f)] = f
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || special(key) {
			b.fail(key, path, "has a key that is not plain text")
			continue
		}
		at := join(path, key.Value)
		field, known := fields[key.Value]
		if first, again := seen[key.Value]; again {
			b.fail(key, at, "is already set in line %d", first)
			continue
		}
		seen[key.Value] = key.Line
		if !known {
			b.unknown(key, path, slices.Sorted(maps.Keys(fields)))
			continue
		}
		b.lines[at] = key.Line
		b.bind(value, at, v.FieldByIndex(field.Index))
	}
}

// texts are labels: a mapping whose keys are the user's.
func (b *binder) texts(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		b.fail(n, path, "must be a mapping of keys to values, not %s", describe(n))
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || special(key) || key.Value == "" {
			b.fail(key, path, "has a key that is not plain text")
			continue
		}
		at := path + "[" + quote(key.Value) + "]"
		if first, again := b.lines[at]; again {
			b.fail(key, at, "is already set in line %d", first)
			continue
		}
		b.lines[at] = key.Line
		switch text := reflect.New(v.Type().Elem()).Elem(); {
		case value.Kind == yaml.ScalarNode && value.ShortTag() == "!!str" && value.Value == "" && !special(value): // a label may be empty
			v.SetMapIndex(reflect.ValueOf(key.Value), text)
		default:
			b.bind(value, at, text)
			v.SetMapIndex(reflect.ValueOf(key.Value), text)
		}
	}
}

func (b *binder) unknown(key *yaml.Node, path string, known []string) {
	hint := "; known here: " + strings.Join(known, ", ")
	if guess := nearest(key.Value, known); guess != "" {
		hint = "; did you mean " + guess + "?"
		b.broken[join(path, guess)] = true // nor say that it is missing
	}
	b.fail(key, join(path, key.Value), "unknown key%s", hint)
}

func (b *binder) list(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		b.fail(n, path, "must be a list, not %s", describe(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		b.lines[at] = item.Line
		b.bind(item, at, v.Index(i))
	}
}

func (b *binder) text(n *yaml.Node, path string, v reflect.Value) {
	switch {
	case n.Kind == yaml.ScalarNode && n.ShortTag() != "!!str":
		b.fail(n, path, "must be text, not %s; put it in quotes if it is meant: %s", describe(n), quote(n.Value))
	case n.Kind != yaml.ScalarNode:
		b.fail(n, path, "must be text, not %s", describe(n))
	case n.Value == "":
		b.fail(n, path, "must not be empty")
	default:
		v.SetString(n.Value)
	}
}

func (b *binder) integer(n *yaml.Node, path string, v reflect.Value) {
	number, err := strconv.Atoi(n.Value)
	switch {
	case n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int":
		b.fail(n, path, "must be a whole number, not %s", describe(n))
	case err != nil || strconv.Itoa(number) != n.Value: // 010 and 0x3 are numbers to YAML, but which?
		b.fail(n, path, "must be a whole number in plain digits, not %s", quote(n.Value))
	default:
		v.SetInt(int64(number))
	}
}

func (b *binder) truth(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
		b.fail(n, path, "must be true or false, not %s", describe(n))
		return
	}
	v.SetBool(strings.EqualFold(n.Value, "true"))
}

func (b *binder) duration(n *yaml.Node, path string, v reflect.Value) {
	const want = "must be a duration such as 90s, 10m or 24h"
	d, err := time.ParseDuration(n.Value)
	switch {
	case n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" && err != nil:
		b.fail(n, path, want+", not %s", describe(n))
	case err != nil:
		b.fail(n, path, want+", not %s", quote(n.Value))
	case d == 0:
		b.fail(n, path, "must be longer than 0")
	default:
		v.Set(reflect.ValueOf(metav1.Duration{Duration: d}))
	}
}

func (b *binder) time(n *yaml.Node, path string, v reflect.Value) {
	const want = "must be a time such as 2027-01-31T00:00:00Z or a date such as 2027-01-31"
	t, err := time.Parse(time.RFC3339, n.Value)
	if err != nil {
		t, err = time.Parse(time.DateOnly, n.Value)
	}
	t = t.UTC()
	switch {
	case n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" && n.ShortTag() != "!!timestamp":
		b.fail(n, path, want+", not %s", describe(n))
	case err != nil || t.Nanosecond() != 0 || t.Year() < 0 || t.Year() > 9999: // what could not be written down again
		b.fail(n, path, want+", not %s", quote(n.Value))
	default:
		v.Set(reflect.ValueOf(metav1.Time{Time: t}))
	}
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!int":
		return "a number"
	case "!!float":
		return "a decimal number"
	case "!!bool":
		return "true or false"
	case "!!timestamp":
		return "a date"
	default:
		return "text"
	}
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,60}$`)

// join adds a key to a path; one that would make the path unreadable is quoted.
func join(path, key string) string {
	if !plainKey.MatchString(key) {
		return path + "[" + quote(key) + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}
