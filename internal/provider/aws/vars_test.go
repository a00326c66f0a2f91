package aws_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/provider/aws"
)

var update = flag.Bool("update", false, "write what the golden files should say")

var examples = []string{"aws-single", "aws-ha", "aws-existing-vpc"}

// digest stands for a bundle.
const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func example(t *testing.T, name string) *v1alpha1.Cluster {
	t.Helper()
	file := filepath.Join("../../../examples", name+".yaml")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := v1alpha1.Decode(b, file)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func variables(c *v1alpha1.Cluster) aws.Variables {
	return aws.NewVariables(c, provider.Network{Rules: phase.Rules(c), Trusted: c.Spec.Exposure.Trusted()}, digest)
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is stale (go test ./internal/provider/aws -update), -want +got:\n%s", file, diff)
	}
}

func TestVariables(t *testing.T) {
	for _, name := range examples {
		b, err := json.MarshalIndent(variables(example(t, name)), "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".tfvars.json", string(b)+"\n")
	}
}

// Security groups refuse a rule that is there already, whatever its description; the bastion's group is the operator's, too.
func TestRulesAreDistinct(t *testing.T) {
	for _, name := range examples {
		c := example(t, name)
		seen := map[aws.Rule]string{}
		for _, r := range variables(c).Rules {
			if r.Why == "" || strings.ContainsAny(r.Why, "'`\"…<>") {
				t.Errorf("%s: AWS takes no description %q", name, r.Why)
			}
			why := r.Why
			r.Why = ""
			if r.From == provider.Operator {
				r.From = v1alpha1.RoleBastion
			}
			if other, twice := seen[r]; twice {
				t.Errorf("%s: %+v is there twice: %s, and %s", name, r, other, why)
			}
			seen[r] = why
			for _, end := range []v1alpha1.Role{r.From, r.To} {
				if c.Spec.Provider.Managed(end) && (r.Port == 22 || r.Port == 8200) {
					t.Errorf("%s: a load balancer has no sshd and no agent: %+v", name, r)
				}
			}
		}
	}
}
