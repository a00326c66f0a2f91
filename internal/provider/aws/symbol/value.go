package symbol

import (
	"encoding/json"
	"fmt"
	"math/big"

	"github.com/zclconf/go-cty/cty"
)

// valueOf is a value of JSON.
func valueOf(v any) cty.Value {
	switch v := v.(type) {
	case nil:
		return cty.NullVal(cty.DynamicPseudoType)
	case Unknown:
		return cty.DynamicVal
	case string:
		return cty.StringVal(v)
	case bool:
		return cty.BoolVal(v)
	case json.Number, float64, int:
		f, _, err := big.ParseFloat(fmt.Sprint(v), 10, 512, big.ToNearestEven)
		if err != nil {
			return cty.DynamicVal
		}
		return cty.NumberVal(f)
	case []any:
		var all []cty.Value
		for _, x := range v {
			all = append(all, valueOf(x))
		}
		return cty.TupleVal(all)
	case map[string]any:
		all := map[string]cty.Value{}
		for k, x := range v {
			all[k] = valueOf(x)
		}
		return cty.ObjectVal(all)
	}
	return cty.DynamicVal
}

// plain is a value as in JSON.
func plain(v cty.Value) any {
	switch kind := v.Type(); {
	case !v.IsKnown():
		return Unknown{}
	case v.IsNull():
		return nil
	case kind == cty.String:
		return v.AsString()
	case kind == cty.Bool:
		return v.True()
	case kind == cty.Number:
		return json.Number(v.AsBigFloat().Text('f', -1))
	case kind.IsObjectType() || kind.IsMapType():
		out := map[string]any{}
		for it := v.ElementIterator(); it.Next(); {
			k, x := it.Element()
			out[k.AsString()] = plain(x)
		}
		return out
	case kind.IsTupleType() || kind.IsListType() || kind.IsSetType():
		out := []any{}
		for it := v.ElementIterator(); it.Next(); {
			_, x := it.Element()
			out = append(out, plain(x))
		}
		return out
	}
	return Unknown{}
}
