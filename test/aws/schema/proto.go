package schema

import (
	"fmt"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
	"github.com/zclconf/go-cty/cty"
)

// Proto says a schema in the words of the plugin protocol.
func (b *Block) Proto() (*tfprotov5.Schema, error) {
	block, err := b.proto()
	return &tfprotov5.Schema{Block: block}, err
}

func (b *Block) proto() (*tfprotov5.SchemaBlock, error) {
	out := &tfprotov5.SchemaBlock{}
	for name, a := range b.Attributes {
		t, err := protoType(a.Type)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out.Attributes = append(out.Attributes, &tfprotov5.SchemaAttribute{
			Name: name, Type: t, Required: a.Required, Optional: a.Optional, Computed: a.Computed,
		})
	}
	for name, n := range b.Blocks {
		block, err := n.proto()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out.BlockTypes = append(out.BlockTypes, &tfprotov5.SchemaNestedBlock{
			TypeName: name, Block: block, Nesting: nestings[n.Nesting], MinItems: int64(n.Min), MaxItems: int64(n.Max),
		})
	}
	return out, nil
}

var nestings = map[string]tfprotov5.SchemaNestedBlockNestingMode{
	"single": tfprotov5.SchemaNestedBlockNestingModeSingle,
	"list":   tfprotov5.SchemaNestedBlockNestingModeList,
	"set":    tfprotov5.SchemaNestedBlockNestingModeSet,
}

func protoType(t cty.Type) (tftypes.Type, error) {
	switch {
	case t == cty.String:
		return tftypes.String, nil
	case t == cty.Number:
		return tftypes.Number, nil
	case t == cty.Bool:
		return tftypes.Bool, nil
	case t.IsObjectType():
		fields := map[string]tftypes.Type{}
		for name, field := range t.AttributeTypes() {
			f, err := protoType(field)
			if err != nil {
				return nil, err
			}
			fields[name] = f
		}
		return tftypes.Object{AttributeTypes: fields}, nil
	case t.IsCollectionType():
		element, err := protoType(t.ElementType())
		if err != nil {
			return nil, err
		}
		switch {
		case t.IsListType():
			return tftypes.List{ElementType: element}, nil
		case t.IsSetType():
			return tftypes.Set{ElementType: element}, nil
		}
		return tftypes.Map{ElementType: element}, nil
	}
	return nil, fmt.Errorf("the protocol has no word for %s", t.FriendlyName())
}
