package simulate

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"ashlar.dev/ashlar/test/aws/schema"
)

// answer is what a data source finds, while it is put together.
type answer struct {
	s      *Server
	typ    string
	block  *schema.Block
	config map[string]cty.Value
	values map[string]cty.Value
}

// dataKinds are the data sources that are not answered with one object of the world.
var dataKinds = map[string]func(*answer) error{
	"aws_caller_identity": func(a *answer) error {
		a.set("account_id", a.s.account)
		a.set("id", a.s.account)
		a.set("arn", "arn:aws:iam::"+a.s.account+":user/operator")
		a.set("user_id", "AIDA00000000000000000")
		return nil
	},
	"aws_partition": func(a *answer) error {
		a.set("id", "aws")
		a.set("partition", "aws")
		a.set("dns_suffix", "amazonaws.com")
		a.set("reverse_dns_prefix", "com.amazonaws")
		return nil
	},
	"aws_region": func(a *answer) error {
		for _, name := range []string{"id", "name", "region"} {
			a.set(name, a.s.region)
		}
		a.set("endpoint", "ec2."+a.s.region+".amazonaws.com")
		return nil
	},
	"aws_availability_zones": func(a *answer) error {
		var names, ids []string
		for _, letter := range []string{"a", "b", "c"} {
			names = append(names, a.s.region+letter)
			ids = append(ids, zoneID(a.s.region+letter))
		}
		a.set("id", a.s.region)
		a.set("names", names)
		a.set("zone_ids", ids)
		a.set("group_names", []string{a.s.region})
		return nil
	},
	"aws_default_tags": func(a *answer) error {
		a.set("id", "aws")
		a.values["tags"] = a.s.allTags(cty.NullVal(cty.Map(cty.String)))
		return nil
	},
	"aws_ami":                     image,
	"aws_iam_policy_document":     policyDocument,
	"aws_prefix_list":             prefixList,
	"aws_ec2_managed_prefix_list": prefixList,
	"aws_subnets":                 many("aws_subnet", "ids"),
	"aws_route_tables":            many("aws_route_table", "ids"),
	"aws_instances":               many("aws_instance", "ids"),
	"aws_vpc_endpoint_service": func(a *answer) error {
		name := "com.amazonaws." + a.s.region + "." + a.str("service")
		a.set("id", a.digits("", 10))
		a.set("service_name", name)
		return nil
	},
	"aws_service_principal": func(a *answer) error {
		name := a.str("service_name") + ".amazonaws.com"
		a.set("id", name)
		a.set("name", name)
		a.set("suffix", "amazonaws.com")
		return nil
	},
	"aws_ebs_default_kms_key": func(a *answer) error {
		a.set("key_arn", "arn:aws:kms:"+a.s.region+":"+a.s.account+":alias/aws/ebs")
		a.set("id", a.s.region)
		return nil
	},
}

// look answers a data source.
func (s *Server) look(typ string, b *schema.Block, config cty.Value) (cty.Value, error) {
	a := &answer{s: s, typ: typ, block: b, config: config.AsValueMap(), values: config.AsValueMap()}
	if _, there := b.Attributes["region"]; there && a.values["region"].IsNull() && typ != "aws_region" {
		a.set("region", s.region)
	}
	find := dataKinds[typ]
	if find == nil {
		find = one
	}
	if err := find(a); err != nil {
		return cty.NilVal, err
	}
	for name, attr := range b.Attributes {
		if a.values[name].IsNull() && attr.Computed {
			a.values[name] = empty(attr.Type)
		}
	}
	return cty.ObjectVal(a.values), nil
}

func (a *answer) set(name string, v any) {
	if attr, there := a.block.Attributes[name]; there && a.values[name].IsNull() {
		a.values[name] = value(v, attr.Type)
	}
}

func (a *answer) str(name string) string { return (&object{values: a.config}).str(name) }

// digits are made up of what was asked.
func (a *answer) digits(more string, n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %#v", a.typ, more, cty.ObjectVal(a.config)))
	return hex.EncodeToString(sum[:])[:n]
}

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

// image answers as if there were one, of whatever name is asked for.
func image(a *answer) error {
	id := "ami-" + a.digits("", 17)
	name := "an image"
	filters := a.config["filter"]
	if known(filters) {
		for _, f := range filters.AsValueSlice() {
			filter := &object{values: f.AsValueMap()}
			values := texts(filter.values["values"])
			switch filter.str("name") {
			case "image-id":
				id = values[0]
			case "name":
				name = strings.ReplaceAll(values[0], "*", "1")
			case "architecture":
				a.set("architecture", values[0])
			}
		}
	}
	owner := "000000000000"
	if o := texts(a.config["owners"]); len(o) > 0 {
		owner = o[0]
	}
	for k, v := range map[string]any{
		"id": id, "image_id": id, "name": name, "owner_id": owner, "architecture": "x86_64", "root_device_name": "/dev/sda1", "root_device_type": "ebs",
		"state": "available", "virtualization_type": "hvm", "arn": "arn:aws:ec2:" + a.s.region + "::image/" + id, "creation_date": made, "public": true,
		"ena_support": true, "hypervisor": "xen", "image_type": "machine",
	} {
		a.set(k, v)
	}
	return nil
}

func prefixList(a *answer) error {
	name := a.str("name")
	id := "pl-" + a.digits("", 8)
	a.set("id", id)
	a.set("prefix_list_id", id)
	a.set("name", name)
	a.set("owner_id", "AWS")
	a.set("address_family", "IPv4")
	a.set("arn", "arn:aws:ec2:"+a.s.region+":aws:prefix-list/"+id)
	a.set("cidr_blocks", []string{"198.51.100.0/24"})
	if _, there := a.block.Attributes["entries"]; there {
		a.set("entries", []map[string]any{{"cidr": "198.51.100.0/24", "description": ""}})
	}
	return nil
}
