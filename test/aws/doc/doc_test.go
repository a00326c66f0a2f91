package doc

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the tables instead of comparing them")

const modules = "../../../terraform/aws"

// TestTables holds the READMEs against the modules.
func TestTables(t *testing.T) {
	for _, dir := range []string{".", "state", "hub", "cluster", "jenkins", "foreman"} {
		t.Run(dir, func(t *testing.T) {
			m, err := Read(filepath.Join(modules, dir))
			if err != nil {
				t.Fatal(err)
			}
			readme := filepath.Join(modules, dir, "README.md")
			have, err := os.ReadFile(readme)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(section.FindAllString(string(have), -1)); n != 3 {
				t.Fatalf("%s has %d of the 3 tables: files, variables, outputs", readme, n)
			}
			want := []byte(m.Write(string(have)))
			if *update {
				if err := os.WriteFile(readme, want, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if !bytes.Equal(have, want) {
				t.Errorf("%s does not say what is in the module: go test ./doc -update", readme)
			}
		})
	}
}

// TestDescribed: whoever reads a module is told what everything in it is for.
func TestDescribed(t *testing.T) {
	for _, dir := range []string{".", "state", "hub", "cluster", "jenkins", "foreman"} {
		m, err := Read(filepath.Join(modules, dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range m.Variables {
			if v.Description == "" || v.Type == "" {
				t.Errorf("%s: variable %s has no description or no type", dir, v.Name)
			}
		}
		for _, o := range m.Outputs {
			if o.Description == "" {
				t.Errorf("%s: output %s has no description", dir, o.Name)
			}
		}
		for _, f := range m.Files {
			if f.About == "" {
				t.Errorf("%s: %s does not begin with what is in it", dir, f.Name)
			}
		}
	}
}

func TestFlat(t *testing.T) {
	got := flat("map(object({\n    role = string\n    extra = list(object({\n      device = string\n      gib = number\n    }))\n    branch = optional(string, \"main\")\n  }))")
	want := `map(object({role: string, extra: list(object({device: string, gib: number})), branch: optional(string, "main")}))`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
