package simulate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// one answers with the one object of the world that is as asked.
func one(a *answer) error {
	found, err := a.find(a.typ)
	if err != nil {
		return err
	}
	what := strings.TrimPrefix(a.typ, "aws_")
	if len(found) == 0 {
		return fmt.Errorf("no matching %s found", what)
	}
	if len(found) > 1 {
		return fmt.Errorf("multiple objects of type %s matched; use additional constraints to reduce matches to a single one", what)
	}
	for name, v := range found[0].values {
		attr, there := a.block.Attributes[name]
		if !there || !a.values[name].IsNull() {
			continue
		}
		if same, err := convert.Convert(v, attr.Type); err == nil {
			a.values[name] = same
		}
	}
	if a.typ == "aws_kms_alias" {
		a.set("target_key_id", found[0].str("target_key_id"))
	}
	return nil
}

// many answers with the ids of all objects of the world that are as asked.
func many(typ, list string) func(*answer) error {
	return func(a *answer) error {
		found, err := a.find(typ)
		if err != nil {
			return err
		}
		var ids, private []string
		for _, o := range found {
			ids = append(ids, o.str("id"))
			private = append(private, o.str("private_ip"))
		}
		if len(ids) == 0 && typ != "aws_subnet" {
			return fmt.Errorf("no matching %s found", strings.TrimPrefix(typ, "aws_"))
		}
		a.set("id", a.s.region)
		a.set(list, ids)
		a.set("private_ips", private)
		return nil
	}
}

// find returns the objects of the world that are as asked: by arguments, filters and tags.
func (a *answer) find(typ string) ([]*object, error) {
	b := a.s.schema.Resources[typ]
	if b == nil {
		return nil, fmt.Errorf("nothing is simulated that it could find: add %s to test/aws/schema/types.txt", typ)
	}
	all, err := a.s.world.all(typ, b.Type())
	if err != nil {
		return nil, err
	}
	var found []*object
	for _, v := range all {
		o := &object{typ: typ, values: v.AsValueMap()}
		if a.asked(o) {
			found = append(found, o)
		}
	}
	return found, nil
}

func (a *answer) asked(o *object) bool {
	for name, want := range a.config {
		if name == "region" || !known(want) {
			continue
		}
		switch {
		case name == "filter":
			for _, f := range want.AsValueSlice() {
				filter := &object{values: f.AsValueMap()}
				if !a.passes(o, filter.str("name"), texts(filter.values["values"])) {
					return false
				}
			}
		case name == "tags" || name == "instance_tags":
			for key, v := range want.AsValueMap() {
				if !a.passes(o, "tag:"+key, []string{v.AsString()}) {
					return false
				}
			}
		case name == "private_zone" || name == "most_recent" || name == "with_decryption" || want.Type() == cty.Bool:
		case name == "key_id" && o.typ == "aws_kms_key":
			if k := want.AsString(); k != o.str("id") && k != o.str("arn") && !strings.HasPrefix(k, "alias/") {
				return false
			}
		case want.Type() == cty.String && strings.TrimSuffix(o.str(name), ".") != strings.TrimSuffix(want.AsString(), "."):
			return false
		}
	}
	return true
}

// passes tells whether an object has one of some values, or patterns, of a filter as EC2 names them.
func (a *answer) passes(o *object, filter string, values []string) bool {
	var is string
	if key, tag := strings.CutPrefix(filter, "tag:"); tag {
		tags := o.values["tags_all"]
		if !known(tags) {
			tags = o.values["tags"]
		}
		if !known(tags) {
			return false
		}
		if v, there := tags.AsValueMap()[key]; there && known(v) {
			is = v.AsString()
		}
	} else {
		name := strings.ReplaceAll(filter, "-", "_")
		name = strings.TrimPrefix(name, "attachment.")
		if own := strings.TrimPrefix(o.typ, "aws_") + "_id"; name == own {
			name = "id"
		}
		is = o.str(name)
	}
	return slices.ContainsFunc(values, func(v string) bool { return glob(v, is) })
}

// glob matches text with a pattern in which * is any text.
func glob(pattern, text string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == text
	}
	after, ok := strings.CutPrefix(text, first)
	if !ok {
		return false
	}
	for i := 0; i <= len(after); i++ {
		if glob(rest, after[i:]) {
			return true
		}
	}
	return false
}
