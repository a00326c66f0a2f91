package schema

import (
	"fmt"
	"strings"

	"github.com/zclconf/go-cty/cty"
)

// ParseType reads a type as aws.json writes it: set(object({name=string, values=list(string)})).
func ParseType(text string) (cty.Type, error) {
	p := typeParser{rest: text}
	t, err := p.parse()
	if err == nil && p.rest != "" {
		err = fmt.Errorf("%q follows a type", p.rest)
	}
	return t, err
}

type typeParser struct{ rest string }

func (p *typeParser) parse() (cty.Type, error) {
	word := p.word()
	switch word {
	case "string":
		return cty.String, nil
	case "number":
		return cty.Number, nil
	case "bool":
		return cty.Bool, nil
	case "object":
		return p.object()
	}
	if !p.skip("(") {
		return cty.NilType, fmt.Errorf("%q is no type", word)
	}
	element, err := p.parse()
	if err != nil || !p.skip(")") {
		return cty.NilType, fmt.Errorf("the elements of %s are not understood: %w", word, err)
	}
	switch word {
	case "list":
		return cty.List(element), nil
	case "set":
		return cty.Set(element), nil
	case "map":
		return cty.Map(element), nil
	}
	return cty.NilType, fmt.Errorf("%q is no collection", word)
}

func (p *typeParser) object() (cty.Type, error) {
	fields := map[string]cty.Type{}
	if !p.skip("({") {
		return cty.NilType, fmt.Errorf("%q does not begin an object", p.rest)
	}
	for !p.skip("})") {
		name := p.word()
		if !p.skip("=") {
			return cty.NilType, fmt.Errorf("%q follows the name of a field", p.rest)
		}
		t, err := p.parse()
		if err != nil {
			return cty.NilType, fmt.Errorf("%s: %w", name, err)
		}
		fields[name] = t
		p.skip(", ")
	}
	return cty.Object(fields), nil
}

func (p *typeParser) word() string {
	end := strings.IndexFunc(p.rest, func(r rune) bool { return strings.ContainsRune("(){}=, ", r) })
	if end < 0 {
		end = len(p.rest)
	}
	word := p.rest[:end]
	p.rest = p.rest[end:]
	return word
}

func (p *typeParser) skip(s string) bool {
	rest, found := strings.CutPrefix(p.rest, s)
	p.rest = rest
	return found
}
