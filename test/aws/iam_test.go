package aws

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// texts is one text or several, as IAM has it.
type texts []string

func (t *texts) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*t = texts{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(t))
}

type statement struct {
	Sid, Effect string
	Action      texts
	NotAction   texts
	Resource    texts
	NotResource texts
	Condition   map[string]any
}

// statements are those of a policy; one that cannot be read has one that allows everything.
func statements(policy string) []statement {
	var p struct{ Statement []statement }
	if err := json.Unmarshal([]byte(policy), &p); err != nil || len(p.Statement) == 0 {
		return []statement{{Sid: "unreadable", Effect: "Allow", Action: texts{"*"}, Resource: texts{"*"}}}
	}
	return p.Statement
}

// wide are the statements that allow all actions of a service, or something to all resources, with the reason why.
var wide = []struct{ address, sid, why string }{
	{`module\.hub\.aws_kms_key\.this\[.*\]`, "AccountsIAM", "a key's policy that leaves it to IAM, without which nobody could use or delete the key"},
	{`module\.hub\.aws_vpc_endpoint\.s3\[0\]`, "OwnAccount", "the policy of an endpoint gives nobody anything: it keeps out other accounts"},
	{`module\.hub\.aws_iam_role_policy\.vault\[.*\]`, "WhichInstance", "ec2:DescribeInstances knows no resources"},
	{`module\.cluster\.aws_iam_role_policy\.control_plane\[.*\]`, "WhichInstance", "ec2:DescribeInstances knows no resources"},
	{`module\.jenkins\[0\]\.aws_iam_role_policy\.operator`, "Read", "what is looked up has no name before it is found"},
	{`module\.jenkins\[0\]\.aws_iam_role_policy\.operator`, "MakeWhatHasNoName", "kms:CreateKey and route53:CreateHostedZone know no resources"},
}

func iamNarrow(v *view) (wrong []string, looked int) {
	used := map[int]bool{}
	for _, r := range v.resources {
		for name, value := range r.AttributeValues {
			policy, is := value.(string)
			if !is || !slices.Contains([]string{"policy", "assume_role_policy", "inline_policy"}, name) || !strings.HasPrefix(strings.TrimSpace(policy), "{") {
				continue
			}
			for _, s := range statements(policy) {
				looked++
				if problem := s.wide(name); problem != "" && !listed(r.Address, s.Sid, used) {
					wrong = append(wrong, fmt.Sprintf("%s: %s: %s", r.Address, s.Sid, problem))
				}
			}
		}
		for _, arn := range list(r, "managed_policy_arns") {
			wrong = append(wrong, fmt.Sprintf("%s has a policy of somebody else's, %v", r.Address, arn))
		}
	}
	for i, w := range wide {
		if !used[i] && v.vars["jenkins"] != nil && v.vars["existing_vpc"] == nil { // this has all there is
			wrong = append(wrong, fmt.Sprintf("%s of %s is listed as %s, and not there", w.sid, w.address, w.why))
		}
	}
	return wrong, looked
}

func (s statement) wide(kind string) string {
	if s.Effect != "Allow" {
		return ""
	}
	if len(s.NotAction)+len(s.NotResource) > 0 {
		return "it allows all but something"
	}
	for _, a := range s.Action {
		if a == "*" || strings.HasSuffix(a, ":*") {
			return "it allows " + a
		}
	}
	for _, r := range s.Resource {
		if r == "*" {
			return fmt.Sprintf("it allows %v to everything", s.Action)
		}
	}
	if kind != "assume_role_policy" && len(s.Resource) == 0 {
		return "it names no resource"
	}
	return ""
}

func listed(address, sid string, used map[int]bool) bool {
	for i, w := range wide {
		if sid == w.sid && regexp.MustCompile("^"+w.address+"$").MatchString(address) {
			used[i] = true
			return true
		}
	}
	return false
}
