package simulate

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/zclconf/go-cty/cty"

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
