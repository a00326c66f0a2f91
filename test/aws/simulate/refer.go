package simulate

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"ashlar.dev/ashlar/test/aws/schema"
)

// refers says which attributes name another object, and which of its attributes they name. What AWS refuses is a name of
// something that is not there, and to remove what is still named.
var refers = map[string]struct{ typ, by string }{
	"vpc_id":                       {"aws_vpc", "id"},
	"subnet_id":                    {"aws_subnet", "id"},
	"subnet_ids":                   {"aws_subnet", "id"},
	"subnets":                      {"aws_subnet", "id"},
	"vpc_zone_identifier":          {"aws_subnet", "id"},
	"security_group_id":            {"aws_security_group", "id"},
	"security_group_ids":           {"aws_security_group", "id"},
	"security_groups":              {"aws_security_group", "id"},
	"vpc_security_group_ids":       {"aws_security_group", "id"},
	"referenced_security_group_id": {"aws_security_group", "id"},
	"route_table_id":               {"aws_route_table", "id"},
	"nat_gateway_id":               {"aws_nat_gateway", "id"},
	"network_interface_id":         {"aws_network_interface", "id"},
	"allocation_id":                {"aws_eip", "id"},
	"instance_id":                  {"aws_instance", "id"},
	"volume_id":                    {"aws_ebs_volume", "id"},
	"load_balancer_arn":            {"aws_lb", "arn"},
	"target_group_arn":             {"aws_lb_target_group", "arn"},
	"target_group_arns":            {"aws_lb_target_group", "arn"},
	"zone_id":                      {"aws_route53_zone", "zone_id"},
	"bucket":                       {"aws_s3_bucket", "bucket"},
	"role":                         {"aws_iam_role", "name"},
	"iam_instance_profile":         {"aws_iam_instance_profile", "name"},
	"autoscaling_group_name":       {"aws_autoscaling_group", "name"},
}

// refersTo checks that all that an object names is there.
func (s *Server) refersTo(typ string, b *schema.Block, o *object) error {
	if s.world.path == "" { // without a file, the world knows only what this process made
		return nil
	}
	for _, name := range sorted(b.Attributes) {
		to, there := refers[name]
		if !there || to.typ == typ || (typ == "aws_lb" && name == "zone_id") {
			continue
		}
		for _, id := range named(o.values[name]) {
			found, err := s.world.has(to.typ, to.by, id)
			if err != nil {
				return err
			}
			if !found {
				return fmt.Errorf("%s: %s: there is no %s %q", typ, name, strings.TrimPrefix(to.typ, "aws_"), id)
			}
		}
	}
	return nil
}

// named are the texts of an attribute, one or several.
func named(v cty.Value) []string {
	switch {
	case !known(v):
		return nil
	case v.Type() == cty.String && v.AsString() != "":
		return []string{v.AsString()}
	case v.CanIterateElements() && v.Type().IsCollectionType() && v.Type().ElementType() == cty.String:
		return texts(v)
	}
	return nil
}

// unused checks that nothing names an object that is to be removed.
func (s *Server) unused(typ string, o *object) error {
	return s.world.change(func(all objects) error {
		for _, other := range slices.Sorted(maps.Keys(all)) {
			for _, id := range slices.Sorted(maps.Keys(all[other])) {
				if other == typ && id == o.str("id") {
					continue
				}
				var fields map[string]any
				if err := json.Unmarshal(all[other][id], &fields); err != nil {
					return err
				}
				for name, v := range fields {
					if to := refers[name]; to.typ == typ && mentions(v, o.str(to.by)) && !forgiving(typ, other) {
						return fmt.Errorf("DependencyViolation: %s %s is still used by %s %s (%s)",
							strings.TrimPrefix(typ, "aws_"), o.str("id"), strings.TrimPrefix(other, "aws_"), id, name)
					}
				}
			}
		}
		return nil
	})
}

// forgiving tells that AWS removes what another object names, and that with it or without asking.
func forgiving(typ, other string) bool {
	return typ == "aws_vpc" && other == "aws_route53_zone_association" || typ == "aws_instance" && other == "aws_eip" ||
		other == "aws_lb_target_group_attachment" || strings.HasPrefix(other, beside)
}

func mentions(v any, id string) bool {
	switch x := v.(type) {
	case string:
		return x == id && id != ""
	case []any:
		return slices.ContainsFunc(x, func(e any) bool { return mentions(e, id) })
	}
	return false
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
