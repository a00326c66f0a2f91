package doc

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// TestOperator holds the operator's policy against the resource types of the modules, and what is written down of types
// against those that there are.
func TestOperator(t *testing.T) {
	var types []string
	for _, dir := range []string{"state", "hub", "cluster", "jenkins", "foreman"} {
		m, err := Read(filepath.Join(modules, dir))
		if err != nil {
			t.Fatal(err)
		}
		types = append(types, m.Types...)
	}
	slices.Sort(types)
	for typ := range needs {
		if !slices.Contains(types, typ) {
			t.Errorf("nothing is a %s: its actions would be allowed for nothing", typ)
		}
	}
	want, err := Operator(slices.Compact(types))
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	path := filepath.Join(modules, "operator-policy.json")
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Errorf("%s is not what the modules need: go test ./doc -update", path)
	}
	// Jenkins has it as an inline policy, beside a small one. IAM counts no spaces, and takes 10,240 characters in all.
	if n := len(regexp.MustCompile(`\s`).ReplaceAll(have, nil)); n > 9000 {
		t.Errorf("the operator's policy has %d characters: too many for an inline policy", n)
	}
}
