package simulate

import (
	"fmt"
	"os"

	"github.com/hashicorp/terraform-plugin-go/tftypes"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// known tells that a value is there and is not to be known later only.
func known(v cty.Value) bool { return v != cty.NilVal && !v.IsNull() && v.IsKnown() }

func fromJSON(text []byte, t cty.Type) (cty.Value, error) { return ctyjson.Unmarshal(text, t) }

// value makes a value of a type from Go's own.
func value(from any, t cty.Type) cty.Value {
	v, err := convert.Convert(plain(from), t)
	if err != nil {
		panic(fmt.Sprintf("simulate: %v is no %s: %v", from, t.FriendlyName(), err)) // a mistake in this package
	}
	return v
}

func plain(from any) cty.Value {
	switch x := from.(type) {
	case nil:
		return cty.NullVal(cty.DynamicPseudoType)
	case cty.Value:
		return x
	case string:
		return cty.StringVal(x)
	case bool:
		return cty.BoolVal(x)
	case int:
		return cty.NumberIntVal(int64(x))
	case []string:
		if len(x) == 0 {
			return cty.ListValEmpty(cty.String)
		}
		var all []cty.Value
		for _, s := range x {
			all = append(all, cty.StringVal(s))
		}
		return cty.ListVal(all)
	case map[string]any:
		all := map[string]cty.Value{}
		for k, v := range x {
			all[k] = plain(v)
		}
		return cty.ObjectVal(all)
	case []map[string]any:
		var all []cty.Value
		for _, v := range x {
			all = append(all, plain(v))
		}
		if len(all) == 0 {
			return cty.EmptyTupleVal
		}
		return cty.TupleVal(all)
	}
	panic(fmt.Sprintf("simulate: %T is not a value", from))
}

// texts are the known strings of a list or set.
func texts(v cty.Value) (out []string) {
	if !known(v) {
		return nil
	}
	for _, e := range v.AsValueSlice() {
		if known(e) {
			out = append(out, e.AsString())
		}
	}
	return out
}

// collection makes a list or set of the same type again.
func collection(t cty.Type, elements []cty.Value) cty.Value {
	switch {
	case t.IsListType() && len(elements) == 0:
		return cty.ListValEmpty(t.ElementType())
	case t.IsListType():
		return cty.ListVal(elements)
	case len(elements) == 0:
		return cty.SetValEmpty(t.ElementType())
	}
	return cty.SetVal(elements)
}

// empty is what AWS says of something that is not there.
func empty(t cty.Type) cty.Value {
	switch {
	case t == cty.String:
		return cty.StringVal("")
	case t == cty.Number:
		return cty.NumberIntVal(0)
	case t == cty.Bool:
		return cty.False
	case t.IsMapType():
		return cty.MapValEmpty(t.ElementType())
	case t.IsListType(), t.IsSetType():
		return collection(t, nil)
	}
	return cty.NullVal(t)
}

func attributePath(p cty.Path) *tftypes.AttributePath {
	out := tftypes.NewAttributePath()
	for _, step := range p {
		switch s := step.(type) {
		case cty.GetAttrStep:
			out = out.WithAttributeName(s.Name)
		case cty.IndexStep:
			i, _ := s.Key.AsBigFloat().Int64()
			out = out.WithElementKeyInt(int(i))
		}
	}
	return out
}

func regionFromEnvironment() string {
	if r := os.Getenv("AWS_REGION"); r != "" {
		return r
	}
	return os.Getenv("AWS_DEFAULT_REGION")
}
