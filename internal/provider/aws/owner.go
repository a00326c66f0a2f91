package aws

import (
	"fmt"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// owners knows what the resources of a plan belong to.
type owners struct {
	machines map[string]string // role by name
	modules  map[string]string // the machine that a module is for
	groups   map[string]bool
	there    map[string]bool // objects that have some part that exists
}

func ownersOf(plan *tfjson.Plan) owners {
	o := owners{machines: map[string]string{}, modules: map[string]string{}, groups: map[string]bool{}, there: map[string]bool{}}
	for _, r := range plan.ResourceChanges {
		switch r.Type {
		case "aws_instance":
			tags, _ := values(r)["tags"].(map[string]any)
			name, _ := r.Index.(string)
			if name == "" {
				name, _ = tags["ashlar.dev/machine"].(string)
				o.modules[r.ModuleAddress] = name
			}
			o.machines[name], _ = tags["ashlar.dev/role"].(string)
		case "aws_autoscaling_group":
			if name, ok := r.Index.(string); ok {
				o.groups[name] = true
			}
		}
	}
	for _, r := range plan.ResourceChanges {
		if r.Change.Before != nil {
			o.there[o.of(r)] = true
		}
	}
	return o
}

// values are what a resource shall be, or what it was.
func values(r *tfjson.ResourceChange) map[string]any {
	if after, ok := r.Change.After.(map[string]any); ok {
		return after
	}
	before, _ := r.Change.Before.(map[string]any)
	return before
}

// networkKinds are of no machine and no group.
var networkKinds = []string{"aws_vpc", "aws_default_security_group", "aws_security_group", "aws_subnet", "aws_internet_gateway", "aws_nat_gateway",
	"aws_route", "aws_flow_log", "aws_cloudwatch_log_group", "aws_ec2_subnet_cidr_reservation", "aws_eip", "aws_iam_role"}

// of is what a resource belongs to, for people.
func (o owners) of(r *tfjson.ResourceChange) string {
	index, _ := r.Index.(string)
	machine := o.modules[r.ModuleAddress]
	switch _, named := o.machines[index]; {
	case named:
		return index
	case o.machine(index) != "":
		return o.machine(index)
	case strings.HasPrefix(r.Type, "aws_lb") && r.Name == "api", r.Type == "aws_autoscaling_attachment" && r.Name == "api", r.Type == "aws_route53_record" && r.Name == "api":
		return "lb"
	case strings.HasPrefix(r.Type, "aws_lb"), r.Type == "aws_autoscaling_attachment":
		if index == "" && machine != "" {
			return machine
		}
		name, _, _ := strings.Cut(index, " ")
		return "service/" + name
	case o.groups[index]:
		return "group/" + index
	case machine != "":
		return machine
	case strings.HasPrefix(r.Type, "aws_kms_"):
		return fmt.Sprintf("key/%v", r.Index)
	case strings.HasPrefix(r.Type, "aws_s3_"):
		if index == "" {
			index = r.Name
		}
		return "bucket/" + index
	}
	for _, k := range networkKinds {
		if strings.HasPrefix(r.Type, k) {
			return network
		}
	}
	if _, is := kinds[r.Type]; is {
		return network
	}
	return r.Address
}

// machine is one that an index begins with, as that of a policy for a machine and a bucket.
func (o owners) machine(index string) string {
	if first, _, more := strings.Cut(index, " "); more {
		if _, is := o.machines[first]; is {
			return first
		}
	}
	return ""
}

// role is that of the machine which a resource belongs to.
func (o owners) role(r *tfjson.ResourceChange) string { return o.machines[o.of(r)] }

// rule is one of security groups: from, to, protocol and port are in its tags and its index, why in its description.
type rule struct {
	from, to, ends, why string
}

func (r rule) String() string { return fmt.Sprintf("%s (%s)", r.ends, r.why) }

func ruleOf(r *tfjson.ResourceChange) (rule, bool) {
	if !strings.HasPrefix(r.Type, "aws_vpc_security_group_") {
		return rule{}, false
	}
	v := values(r)
	tags, _ := v["tags"].(map[string]any)
	out := rule{ends: fmt.Sprint(r.Index)}
	out.from, _ = tags["From"].(string)
	out.to, _ = tags["To"].(string)
	out.why, _ = v["description"].(string)
	return out, true
}
