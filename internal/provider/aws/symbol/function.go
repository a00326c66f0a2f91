package symbol

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"regexp"
	"strings"

	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// functions are those of the language that say anything about a network. What calls another is unknown.
var functions = map[string]function.Function{
	"abs": stdlib.AbsoluteFunc, "can": tryfunc.CanFunc, "ceil": stdlib.CeilFunc, "chomp": stdlib.ChompFunc, "chunklist": stdlib.ChunklistFunc,
	"coalesce": stdlib.CoalesceFunc, "coalescelist": stdlib.CoalesceListFunc, "compact": stdlib.CompactFunc, "concat": stdlib.ConcatFunc,
	"contains": stdlib.ContainsFunc, "distinct": stdlib.DistinctFunc, "element": stdlib.ElementFunc, "flatten": stdlib.FlattenFunc,
	"floor": stdlib.FloorFunc, "format": stdlib.FormatFunc, "formatlist": stdlib.FormatListFunc, "indent": stdlib.IndentFunc,
	"index": stdlib.IndexFunc, "join": stdlib.JoinFunc, "jsondecode": stdlib.JSONDecodeFunc, "jsonencode": stdlib.JSONEncodeFunc,
	"keys": stdlib.KeysFunc, "lookup": stdlib.LookupFunc, "lower": stdlib.LowerFunc, "max": stdlib.MaxFunc, "merge": stdlib.MergeFunc,
	"min": stdlib.MinFunc, "parseint": stdlib.ParseIntFunc, "range": stdlib.RangeFunc, "regex": stdlib.RegexFunc, "regexall": stdlib.RegexAllFunc,
	"reverse": stdlib.ReverseListFunc, "setintersection": stdlib.SetIntersectionFunc,
	"setproduct": stdlib.SetProductFunc, "setsubtract": stdlib.SetSubtractFunc, "setunion": stdlib.SetUnionFunc, "slice": stdlib.SliceFunc,
	"sort": stdlib.SortFunc, "split": stdlib.SplitFunc, "strrev": stdlib.ReverseFunc, "substr": stdlib.SubstrFunc, "title": stdlib.TitleFunc,
	"trim": stdlib.TrimFunc, "trimprefix": stdlib.TrimPrefixFunc, "trimspace": stdlib.TrimSpaceFunc, "trimsuffix": stdlib.TrimSuffixFunc,
	"try": tryfunc.TryFunc, "upper": stdlib.UpperFunc, "values": stdlib.ValuesFunc, "zipmap": stdlib.ZipmapFunc,
	"tobool": stdlib.MakeToFunc(cty.Bool), "tonumber": stdlib.MakeToFunc(cty.Number), "tostring": stdlib.MakeToFunc(cty.String),
	"tolist": stdlib.MakeToFunc(cty.List(cty.DynamicPseudoType)), "tomap": stdlib.MakeToFunc(cty.Map(cty.DynamicPseudoType)),
	"toset": stdlib.MakeToFunc(cty.Set(cty.DynamicPseudoType)),

	"length": lengthFunc, "replace": texts(replace, 3), "nonsensitive": same, "sensitive": same, "one": oneFunc, "alltrue": truths(true), "anytrue": truths(false),
	"startswith": strings2(strings.HasPrefix), "endswith": strings2(strings.HasSuffix), "strcontains": strings2(strings.Contains),
	"base64encode": texts(func(a ...string) (string, error) { return base64.StdEncoding.EncodeToString([]byte(a[0])), nil }, 1),
	"cidrhost":     cidrHostFunc, "cidrsubnet": cidrSubnetFunc, "cidrsubnets": cidrSubnetsFunc,
	"cidrnetmask": texts(func(a ...string) (string, error) { return netmask(a[0]) }, 1),

	// What these say, a network does not depend on; but they may stand beside what it does.
	"base64gzip": unsaid, "base64sha256": unsaid, "bcrypt": unsaid, "file": unsaid, "filebase64": unsaid, "filebase64sha256": unsaid,
	"filemd5": unsaid, "filesha256": unsaid, "formatdate": unsaid, "md5": unsaid, "plantimestamp": unsaid, "sha1": unsaid, "sha256": unsaid,
	"templatefile": unsaid, "timestamp": unsaid, "urlencode": unsaid, "uuid": unsaid, "yamldecode": unsaid, "yamlencode": unsaid,
}

var unsaid = function.New(&function.Spec{
	VarParam: &function.Parameter{Name: "any", Type: cty.DynamicPseudoType, AllowNull: true, AllowUnknown: true, AllowDynamicType: true},
	Type:     function.StaticReturnType(cty.DynamicPseudoType),
	Impl:     func([]cty.Value, cty.Type) (cty.Value, error) { return cty.DynamicVal, nil },
})

var same = function.New(&function.Spec{Params: anyOne, Type: func(args []cty.Value) (cty.Type, error) { return args[0].Type(), nil },
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) { return args[0], nil }})

// replace takes what is between slashes for a regular expression.
func replace(a ...string) (string, error) {
	if in := a[1]; len(in) > 1 && strings.HasPrefix(in, "/") && strings.HasSuffix(in, "/") {
		x, err := regexp.Compile(in[1 : len(in)-1])
		if err != nil {
			return "", err
		}
		return x.ReplaceAllString(a[0], a[2]), nil
	}
	return strings.ReplaceAll(a[0], a[1], a[2]), nil
}

var anyOne = []function.Parameter{{Name: "value", Type: cty.DynamicPseudoType, AllowDynamicType: true, AllowUnknown: true}}

var lengthFunc = function.New(&function.Spec{Params: anyOne, Type: function.StaticReturnType(cty.Number),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		switch v := args[0]; {
		case !v.IsKnown():
			return cty.UnknownVal(cty.Number), nil
		case v.Type() == cty.String:
			return cty.NumberIntVal(int64(len([]rune(v.AsString())))), nil
		case v.CanIterateElements():
			return cty.NumberIntVal(int64(v.LengthInt())), nil
		}
		return cty.NilVal, errors.New("no length")
	}})

var oneFunc = function.New(&function.Spec{Params: anyOne, Type: function.StaticReturnType(cty.DynamicPseudoType),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		v := args[0]
		switch {
		case !v.IsKnown():
			return cty.DynamicVal, nil
		case !v.CanIterateElements() || v.LengthInt() > 1:
			return cty.NilVal, errors.New("more than one")
		}
		for it := v.ElementIterator(); it.Next(); {
			_, x := it.Element()
			return x, nil
		}
		return cty.NullVal(cty.DynamicPseudoType), nil
	}})

func truths(all bool) function.Function {
	return function.New(&function.Spec{Params: anyOne, Type: function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if !args[0].IsWhollyKnown() || !args[0].CanIterateElements() {
				return cty.UnknownVal(cty.Bool), nil
			}
			for it := args[0].ElementIterator(); it.Next(); {
				if _, x := it.Element(); x.IsNull() || x.Type() != cty.Bool || x.True() != all {
					return cty.BoolVal(!all), nil
				}
			}
			return cty.BoolVal(all), nil
		}})
}

func strings2(f func(a, b string) bool) function.Function {
	return function.New(&function.Spec{Params: []function.Parameter{{Name: "a", Type: cty.String}, {Name: "b", Type: cty.String}},
		Type: function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return cty.BoolVal(f(args[0].AsString(), args[1].AsString())), nil
		}})
}

func texts(f func(...string) (string, error), n int) function.Function {
	spec := &function.Spec{Type: function.StaticReturnType(cty.String), Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		var all []string
		for _, a := range args {
			all = append(all, a.AsString())
		}
		out, err := f(all...)
		return cty.StringVal(out), err
	}}
	for i := range n {
		spec.Params = append(spec.Params, function.Parameter{Name: fmt.Sprint("p", i), Type: cty.String})
	}
	return function.New(spec)
}

var cidrParam = function.Parameter{Name: "prefix", Type: cty.String}

func numberParam(name string) function.Parameter {
	return function.Parameter{Name: name, Type: cty.Number}
}

var cidrHostFunc = function.New(&function.Spec{Params: []function.Parameter{cidrParam, numberParam("host")}, Type: function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		p, err := netip.ParsePrefix(args[0].AsString())
		if err != nil {
			return cty.NilVal, err
		}
		n, _ := args[1].AsBigFloat().Int(nil)
		size := new(big.Int).Lsh(big.NewInt(1), uint(p.Addr().BitLen()-p.Bits()))
		if n.Sign() < 0 {
			n.Add(n, size)
		}
		if n.Sign() < 0 || n.Cmp(size) >= 0 {
			return cty.NilVal, errors.New("no such host")
		}
		return cty.StringVal(plus(p.Masked().Addr(), n).String()), nil
	}})

var cidrSubnetFunc = function.New(&function.Spec{Params: []function.Parameter{cidrParam, numberParam("bits"), numberParam("number")},
	Type: function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		p, err := netip.ParsePrefix(args[0].AsString())
		if err != nil {
			return cty.NilVal, err
		}
		bits, _ := args[1].AsBigFloat().Int64()
		n, _ := args[2].AsBigFloat().Int(nil)
		length := p.Bits() + int(bits)
		if length > p.Addr().BitLen() || n.BitLen() > int(bits) || n.Sign() < 0 {
			return cty.NilVal, errors.New("no such network")
		}
		at := plus(p.Masked().Addr(), n.Lsh(n, uint(p.Addr().BitLen()-length)))
		return cty.StringVal(netip.PrefixFrom(at, length).String()), nil
	}})

var cidrSubnetsFunc = function.New(&function.Spec{Params: []function.Parameter{cidrParam}, VarParam: &function.Parameter{Name: "bits", Type: cty.Number},
	Type: function.StaticReturnType(cty.List(cty.String)),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		p, err := netip.ParsePrefix(args[0].AsString())
		if err != nil {
			return cty.NilVal, err
		}
		var out []cty.Value
		at := new(big.Int) // from the beginning
		for _, a := range args[1:] {
			bits, _ := a.AsBigFloat().Int64()
			host := uint(p.Addr().BitLen() - p.Bits() - int(bits))
			size := new(big.Int).Lsh(big.NewInt(1), host)
			if rest := new(big.Int).Mod(at, size); rest.Sign() > 0 {
				at.Add(at, size).Sub(at, rest)
			}
			out = append(out, cty.StringVal(netip.PrefixFrom(plus(p.Masked().Addr(), at), p.Bits()+int(bits)).String()))
			at.Add(at, size)
		}
		if len(out) == 0 {
			return cty.ListValEmpty(cty.String), nil
		}
		return cty.ListVal(out), nil
	}})

func plus(a netip.Addr, n *big.Int) netip.Addr {
	sum := new(big.Int).Add(new(big.Int).SetBytes(a.AsSlice()), n)
	out, _ := netip.AddrFromSlice(sum.FillBytes(make([]byte, len(a.AsSlice()))))
	return out
}

func netmask(prefix string) (string, error) {
	p, err := netip.ParsePrefix(prefix)
	if err != nil || !p.Addr().Is4() {
		return "", fmt.Errorf("no netmask of %s: %w", prefix, err)
	}
	ones := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 32), new(big.Int).Lsh(big.NewInt(1), uint(32-p.Bits())))
	return plus(netip.IPv4Unspecified(), ones).String(), nil
}
