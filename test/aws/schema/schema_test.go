package schema

import (
	"testing"

	"github.com/zclconf/go-cty/cty"
)

func TestLoad(t *testing.T) {
	p, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range p.Resources {
		if _, err := b.Proto(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, b := range p.Data {
		if _, err := b.Proto(); err != nil {
			t.Errorf("data %s: %v", name, err)
		}
	}
	subnet := p.Resources["aws_subnet"]
	if a := subnet.Attributes["vpc_id"]; !a.Required || a.Computed || a.Type != cty.String {
		t.Errorf("aws_subnet.vpc_id: %+v", a)
	}
	root := p.Resources["aws_instance"].Blocks["root_block_device"]
	if root.Nesting != "list" || root.Max != 1 || !root.Attributes["volume_id"].Computed {
		t.Errorf("aws_instance.root_block_device: %+v", root)
	}
	rules := p.Resources["aws_security_group"].Attributes["ingress"]
	if !rules.Type.IsSetType() || !rules.Type.ElementType().HasAttribute("cidr_blocks") {
		t.Errorf("aws_security_group.ingress: %#v", rules.Type)
	}
}

func TestParseType(t *testing.T) {
	for _, bad := range []string{"", "strings", "list(string", "list(string)x", "object({a})", "tuple(string)"} {
		if got, err := ParseType(bad); err == nil {
			t.Errorf("ParseType(%q) = %#v, want an error", bad, got)
		}
	}
}
