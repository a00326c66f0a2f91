package v1alpha1

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func TestTemplateMeansTheDefaults(t *testing.T) {
	minimal := mustDecode(t, "testdata/valid-minimal.yaml")
	for _, name := range []string{"demo", "123", "1e3", "0x1f", "on", "null", "2026-01-01"} {
		got, err := Decode(Template(name), "cluster.yaml")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := *minimal
		want.Metadata.Name = name
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("%s: -minimal +template:\n%s", name, diff)
		}
	}
}

func TestTemplateHasEveryField(t *testing.T) {
	text := string(Template("demo")) + string(TemplateAWS("demo", "eu-central-1"))
	eachField(describeCluster(), func(f field) {
		key := f.path[strings.LastIndex(f.path, ".")+1:]
		if !regexp.MustCompile(`[\s{]` + key + `:`).MatchString("\n" + text) {
			t.Errorf("%s is not in the template", f.path)
		}
	})
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if len(line) > 130 {
			t.Errorf("line %d is too long: %s", i+1, line)
		}
	}
}

// What is commented out may be uncommented.
func TestTemplateExamples(t *testing.T) {
	text := regexp.MustCompile(`(?m)^(  )# |^(    )# (- )`).ReplaceAllString(string(Template("demo")), "$1$2$3")
	c, err := Decode([]byte(text), "cluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if a := c.Spec.Authentication; a.IdentityProvider == nil || len(a.Robots) == 0 || len(a.OIDC) == 0 || len(a.StaticTokens) == 0 || len(c.Spec.SSH) == 0 {
		t.Errorf("there is not an example of everything: %+v", c.Spec)
	}
	if p := c.Spec.Network.Policy; len(p.Open) == 0 || len(p.Sets) == 0 || len(p.Rules) == 0 || len(p.Metadata) == 0 {
		t.Errorf("there is not an example of every policy: %+v", p)
	}
}

// A file for AWS means its defaults, too, and what is commented out of it may be uncommented.
func TestTemplateAWS(t *testing.T) {
	text := string(TemplateAWS("demo", "eu-central-1"))
	got, err := Decode([]byte(text), "cluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(mustDecode(t, "testdata/valid-aws.yaml"), got); diff != "" {
		t.Errorf("-minimal +template:\n%s", diff)
	}
	text = regexp.MustCompile(`(?m)^(  )# |^(    )# ( *[-a-z])|^(      )# `).ReplaceAllString(text, "$1$2$3$4")
	if got, err = Decode([]byte(text), "cluster.yaml"); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if a := got.Spec.Provider.AWS; a.VPC == nil || a.Image == "" || a.Jenkins == nil || a.Foreman == nil || len(got.Spec.Exposure.Services) == 0 {
		t.Errorf("there is not an example of everything: %+v", a)
	}
}

func eachField(fields []field, f func(field)) {
	for i := range fields {
		f(fields[i])
		eachField(fields[i].fields, f)
	}
}

func TestReference(t *testing.T) {
	golden(t, "../../docs/reference/cluster.md", Reference())
	golden(t, "../../docs/reference/cluster.schema.json", Schema())
}

func TestEveryFieldIsDescribed(t *testing.T) {
	paths := map[string]bool{}
	eachField(describeCluster(), func(f field) {
		paths[f.path] = true
		if f.doc == "" {
			t.Errorf("%s has no comment", f.path)
		}
	})
	for path := range rules {
		if !paths[path] {
			t.Errorf("there is a rule for %s, which is no field", path)
		}
	}
}

func TestExamples(t *testing.T) {
	for file, want := range map[string]string{
		"local.yaml": "vault-0 etcd-0 lb-0 control-plane-0 worker-0 worker-1 bastion-0",
		"ha.yaml":    "vault-0 vault-1 vault-2 etcd-0 etcd-1 etcd-2 lb-0 control-plane-0 control-plane-1 worker-0 worker-1 worker-2 bastion-0 public-lb-0",
	} {
		var names []string
		for _, m := range mustDecode(t, "../../examples/"+file).Machines() {
			names = append(names, m.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: got %s, want %s", file, got, want)
		}
	}
}

// The schema accepts whatever Decode does, and refuses the mistakes that an editor is to catch.
func TestSchema(t *testing.T) {
	var schema map[string]any
	if err := json.Unmarshal(Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	check := func(file string) []string {
		var value any
		if err := yaml.Unmarshal(read(t, file), &value); err != nil {
			t.Fatal(err)
		}
		return against(t, schema, value, "$")
	}
	for _, file := range append(glob(t, "testdata/valid-*.yaml"), glob(t, "../../examples/*.yaml")...) {
		if wrong := check(file); len(wrong) > 0 {
			t.Errorf("%s: %v", file, wrong)
		}
	}
	for _, name := range []string{"unknown-key", "wrong-type", "no-value", "api-version", "missing", "missing-all", "names", "name-long", "role",
		"roles-missing", "two-providers", "no-provider", "count-zero", "kubernetes-version", "cidr", "cluster-domain",
		"authorization", "robots", "identity-provider", "oidc", "oidc-too-many", "static-tokens", "lists"} {
		if wrong := check("testdata/invalid-" + name + ".yaml"); len(wrong) == 0 {
			t.Errorf("the schema accepts invalid-%s.yaml", name)
		}
	}
}

// against checks a value by the keywords of JSON Schema that Schema uses, and fails on any other.
func against(t *testing.T, schema map[string]any, value any, at string) []string {
	t.Helper()
	object, _ := value.(map[string]any)
	list, _ := value.([]any)
	text, isText := value.(string)
	number, isNumber := value.(float64)
	var wrong []string
	must := func(ok bool, keyword string) {
		if !ok {
			wrong = append(wrong, at+": "+keyword)
		}
	}
	for keyword, arg := range schema {
		limit, _ := arg.(float64)
		switch keyword {
		case "$schema", "title", "description", "default":
		case "type":
			isInteger := isNumber && number == float64(int(number))
			_, isBool := value.(bool)
			must(map[string]bool{"object": object != nil, "array": list != nil, "string": isText, "integer": isInteger, "boolean": isBool}[arg.(string)], keyword)
		case "properties":
			for key, v := range object {
				if sub, ok := arg.(map[string]any)[key].(map[string]any); ok {
					wrong = append(wrong, against(t, sub, v, at+"."+key)...)
				} else {
					wrong = append(wrong, at+"."+key+": additionalProperties")
				}
			}
		case "additionalProperties":
			if sub, ok := arg.(map[string]any); ok { // a mapping whose keys are the user's
				for key, v := range object {
					wrong = append(wrong, against(t, sub, v, at+"."+key)...)
				}
				continue
			}
			must(arg == false, "additionalProperties must be false")
		case "items":
			for i, v := range list {
				wrong = append(wrong, against(t, arg.(map[string]any), v, fmt.Sprintf("%s[%d]", at, i))...)
			}
		case "required":
			for _, key := range arg.([]any) {
				_, ok := object[key.(string)]
				must(ok, "required "+key.(string))
			}
		case "const":
			must(value == arg, keyword)
		case "enum":
			must(slices.Contains(arg.([]any), value), keyword)
		case "pattern":
			must(regexp.MustCompile(arg.(string)).MatchString(text), keyword)
		case "maxLength":
			must(len(text) <= int(limit), keyword)
		case "minLength":
			must(len(text) >= int(limit), keyword)
		case "format":
			must(arg == "date-time", "format must be date-time")
		case "minimum":
			must(number >= limit, keyword)
		case "maximum":
			must(number <= limit, keyword)
		case "minItems":
			must(len(list) >= int(limit), keyword)
		case "maxItems":
			must(len(list) <= int(limit), keyword)
		case "minProperties":
			must(len(object) >= int(limit), keyword)
		case "maxProperties":
			must(len(object) <= int(limit), keyword)
		default:
			t.Fatalf("%s: the test does not know the keyword %s", at, keyword)
		}
	}
	return wrong
}
