// Package schema is what the AWS provider says that it accepts and returns, for the types that this module uses. The
// data, aws.json, was written by generate.mjs and is the real one: nothing in it is this project's own.
package schema

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/zclconf/go-cty/cty"
)

//go:embed aws.json
var data []byte

// Provider is the provider's own configuration, and its types by name.
type Provider struct {
	Version   string
	From      string
	Config    *Block
	Resources map[string]*Block
	Data      map[string]*Block
}

// Block is what can stand between braces.
type Block struct {
	Attributes map[string]Attribute
	Blocks     map[string]Nested
}

// Attribute is one argument or result.
type Attribute struct {
	Type                         cty.Type
	Required, Optional, Computed bool
}

// Nested is a block within a block.
type Nested struct {
	*Block
	Nesting  string // single, list or set
	Min, Max int    // 0: no bound
}

// Load reads the embedded schema.
func Load() (*Provider, error) {
	var raw struct {
		Version, From   string
		Config          *Block
		Resources, Data map[string]*Block
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("reading schema/aws.json (was it edited by hand?): %w", err)
	}
	return &Provider{Version: raw.Version, From: raw.From, Config: raw.Config, Resources: raw.Resources, Data: raw.Data}, nil
}

// UnmarshalJSON reads a block: strings are attributes, objects are blocks.
func (b *Block) UnmarshalJSON(text []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return err
	}
	b.Attributes, b.Blocks = map[string]Attribute{}, map[string]Nested{}
	for name, member := range members {
		if name == "" { // how the block itself is nested: its parent reads it
			continue
		}
		if member[0] == '"' {
			var said string
			if err := json.Unmarshal(member, &said); err != nil {
				return err
			}
			a, err := attribute(said)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			b.Attributes[name] = a
			continue
		}
		n, err := nested(member)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		b.Blocks[name] = n
	}
	return nil
}

func attribute(said string) (Attribute, error) {
	flags, text, _ := strings.Cut(said, " ")
	t, err := ParseType(text)
	return Attribute{
		Type: t, Required: strings.Contains(flags, "r"), Optional: strings.Contains(flags, "o"), Computed: strings.Contains(flags, "c"),
	}, err
}

func nested(member json.RawMessage) (Nested, error) {
	var all map[string]json.RawMessage
	var bounds string
	if err := json.Unmarshal(member, &all); err != nil {
		return Nested{}, err
	}
	if err := json.Unmarshal(all[""], &bounds); err != nil {
		return Nested{}, err
	}
	words := strings.Fields(bounds)
	n := Nested{Block: &Block{}, Nesting: words[0]}
	for _, w := range words[1:] {
		var err error
		switch key, value, _ := strings.Cut(w, "="); key {
		case "min":
			_, err = fmt.Sscan(value, &n.Min)
		case "max":
			_, err = fmt.Sscan(value, &n.Max)
		default:
			err = fmt.Errorf("unknown bound %q", w)
		}
		if err != nil {
			return n, err
		}
	}
	return n, json.Unmarshal(member, n.Block)
}

// Type is the type of the block's values.
func (b *Block) Type() cty.Type {
	fields := map[string]cty.Type{}
	for name, a := range b.Attributes {
		fields[name] = a.Type
	}
	for name, n := range b.Blocks {
		fields[name] = n.Type()
	}
	return cty.Object(fields)
}

// Type is the type of all blocks of that name together.
func (n Nested) Type() cty.Type {
	switch n.Nesting {
	case "list":
		return cty.List(n.Block.Type())
	case "set":
		return cty.Set(n.Block.Type())
	}
	return n.Block.Type()
}
