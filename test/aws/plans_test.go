package aws

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

var update = flag.Bool("update", false, "write anew the plans and states that internal/provider/aws/topology is tested with")

const checked = "../../internal/provider/aws/topology/testdata"

// TestPlans: the plans that tests of reachability begin with are those that the modules have now. What came of them is beside them.
func TestPlans(t *testing.T) {
	for _, name := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vars := read(t, name)
			m := start(t, vars)
			text, err := m.PlanJSON(vars)
			if err != nil {
				t.Fatal(err)
			}
			now, file := trimmed(t, text), filepath.Join(checked, name+".plan.json")
			if *update {
				if _, err := m.Apply(vars); err != nil {
					t.Fatal(err)
				}
				write(t, file, now)
				write(t, filepath.Join(checked, name+".state.json"), trimmed(t, []byte(m.MustRun("show", "-json"))))
			}
			was, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(was, now) {
				t.Errorf("%s is not what the modules make of %s now: run `go test -run TestPlans -update .` in test/aws, and look at what differs", file, name)
			}
		})
	}
}

func write(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// trimmed leaves out what says nothing about who reaches whom, or is another each time: a line for each resource.
func trimmed(t *testing.T, text []byte) []byte {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"configuration", "output_changes", "relevant_attributes", "timestamp", "terraform_version", "checks", "complete", "applyable", "errored"} {
		delete(all, name)
	}
	if prior, ok := all["prior_state"].(map[string]any); ok {
		delete(prior, "terraform_version")
	}
	if changes, ok := all["resource_changes"].([]any); ok {
		for i, c := range changes {
			c := c.(map[string]any)
			change := c["change"].(map[string]any)
			changes[i] = map[string]any{"address": c["address"], "change": map[string]any{"actions": change["actions"], "after_unknown": change["after_unknown"]}}
		}
	}
	var out bytes.Buffer
	encode := json.NewEncoder(&out)
	encode.SetEscapeHTML(false)
	if err := encode.Encode(bare(all)); err != nil {
		t.Fatal(err)
	}
	lines := bytes.ReplaceAll(out.Bytes(), []byte(`{"address":`), []byte("\n{\"address\":"))
	return lines
}

// without are attributes that are long, and others that AWS chooses.
var without = []string{"user_data", "user_data_base64", "policy", "assume_role_policy", "image_id", "ami", "sensitive_values", "tags_all", "json", "provider_name",
	"schema_version", "depends_on", "minified_json", "creation_date", "block_device_mappings", "identity", "identity_schema_version", "before", "outputs"}

// bare is a value without them, and without what is null.
func bare(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if v["mode"] == "data" && slices.Contains([]any{"aws_ami", "aws_iam_policy_document"}, v["type"]) {
			v["values"] = map[string]any{}
		}
		for name, inner := range v {
			if inner == nil || slices.Contains(without, name) {
				delete(v, name)
			} else {
				v[name] = bare(inner)
			}
		}
	case []any:
		for i := range v {
			v[i] = bare(v[i])
		}
	}
	return v
}
