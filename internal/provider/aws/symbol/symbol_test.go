package symbol

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	tfjson "github.com/hashicorp/terraform-json"
)

var update = flag.Bool("update", false, "plan and apply testdata/modules anew, with an installed tofu or terraform")

// modules are without the state that applying them leaves.
func modules(t *testing.T) fs.FS {
	t.Helper()
	return os.DirFS("testdata/modules")
}

func read[T any](t *testing.T, name string) *T {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	out := new(T)
	if err := json.Unmarshal(b, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// again writes what a real program says of the modules.
func again(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, modules(t)); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) []byte {
		cmd := exec.CommandContext(t.Context(), "terraform", args...)
		cmd.Dir = dir
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("terraform %v: %v\n%s", args, err, out)
		}
		return out
	}
	write := func(name string, b []byte) {
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, b, "", " "); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join("testdata", name), append(pretty.Bytes(), '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run("init", "-no-color")
	run("plan", "-no-color", "-out", "plan", "-var", `rules=[{from="worker",to="vault",port=8200},{from="vault",to="vault"},{from="bastion",to="worker"}]`)
	write("plan.json", run("show", "-json", "plan"))
	run("apply", "-no-color", "plan")
	write("state.json", run("show", "-json"))
}

// TestPlan: with the ids that were given later in the place of the names, all is as it came to be.
func TestPlan(t *testing.T) {
	if *update {
		again(t)
	}
	planned, err := Plan(read[tfjson.Plan](t, "plan.json"), modules(t))
	if err != nil {
		t.Fatal(err)
	}
	made, err := State(read[tfjson.State](t, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	names := 0
	for _, name := range Differences(planned, made, func(string) { names++ }) {
		t.Error(name)
	}
	t.Logf("%d resources, %d names", len(planned), names)
	if names == 0 {
		t.Error("nothing was unknown")
	}
}

// Differences are where a plan and what was made of it are not the same.
func Differences(planned, made []Resource, named func(string)) []string {
	was := map[string]Resource{}
	for _, r := range made {
		was[r.Address] = r
	}
	later := func(symbol string) any {
		address, path, _ := strings.Cut(symbol, "#")
		var v any = was[address].Values
		for _, step := range strings.Split(path, ".") {
			in, _ := v.(map[string]any)
			v = in[step]
		}
		return v
	}
	var out []string
	var walk func(at string, p, m any)
	walk = func(at string, p, m any) {
		switch p := p.(type) {
		case string:
			if IsSymbol(p) {
				named(p)
				if !reflect.DeepEqual(later(p), m) {
					out = append(out, fmt.Sprintf("%s is %s, which came to be %v, and not %v", at, p, later(p), m))
				}
				return
			}
		case []any:
			in, _ := m.([]any)
			if len(in) != len(p) {
				out = append(out, fmt.Sprintf("%s has %d elements, and not %d", at, len(p), len(in)))
				return
			}
			if sortedSame(p) { // ids have another order than names
				return
			}
			for i := range p {
				walk(fmt.Sprint(at, ".", i), p[i], in[i])
			}
			return
		case map[string]any:
			in, _ := m.(map[string]any)
			for k := range p {
				walk(at+"."+k, p[k], in[k])
			}
			return
		case Unknown:
			out = append(out, at+" is not known at all")
			return
		}
		if !reflect.DeepEqual(fmt.Sprint(p), fmt.Sprint(m)) {
			out = append(out, fmt.Sprintf("%s is %v, and not %v", at, p, m))
		}
	}
	for _, r := range planned {
		walk(r.Address, any(r.Values), any(was[r.Address].Values))
	}
	return out
}

func sortedSame(list []any) bool {
	for _, v := range list {
		if s, ok := v.(string); !ok || !IsSymbol(s) {
			return false
		}
	}
	return len(list) > 1
}

// TestOthers: modules that the plan was not made from are refused.
func TestOthers(t *testing.T) {
	for name, change := range map[string]func(fstest.MapFS){
		"a resource less": func(m fstest.MapFS) {
			m["main.tf"] = &fstest.MapFile{Data: bytes.ReplaceAll(m["main.tf"].Data, []byte(`"last"`), []byte(`"other"`))}
		},
		"a module less":  func(m fstest.MapFS) { delete(m, "part/main.tf") },
		"no module":      func(m fstest.MapFS) { clear(m) },
		"something else": func(m fstest.MapFS) { m["x.tf"] = &fstest.MapFile{Data: []byte("resource {")} },
	} {
		files := fstest.MapFS{}
		for _, f := range []string{"main.tf", "net/main.tf", "part/main.tf"} {
			b, err := os.ReadFile(filepath.Join("testdata/modules", f))
			if err != nil {
				t.Fatal(err)
			}
			files[f] = &fstest.MapFile{Data: b}
		}
		change(files)
		if _, err := Plan(read[tfjson.Plan](t, "plan.json"), files); err == nil {
			t.Errorf("%s: the modules were believed", name)
		}
	}
}
