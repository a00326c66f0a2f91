package vault

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestLayoutGolden shows the whole layout to whoever reviews a change of it: policies in Vault's HCL, the rest as JSON.
func TestLayoutGolden(t *testing.T) {
	golden(t, "testdata", rendered(t, Layout(testInput(""))))
}

// TestAWSLayoutGolden shows what is otherwise on AWS.
func TestAWSLayoutGolden(t *testing.T) {
	golden(t, filepath.Join("testdata", "aws"), rendered(t, Layout(onAWS(testInput(""), nil, ""))))
}

func rendered(t *testing.T, layout State) map[string]string {
	t.Helper()
	files := map[string]string{}
	var rest []Object
	for _, o := range layout.Objects {
		if o.Kind == KindPolicy {
			files[filepath.Base(o.Path)+".hcl"], _ = o.Fields["policy"].(string)
			continue
		}
		rest = append(rest, o)
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	for _, o := range rest {
		if err := e.Encode(map[string]any{o.name(): o.Fields}); err != nil {
			t.Fatal(err)
		}
	}
	files["layout.json"] = b.String()
	return files
}

func golden(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, got := range files {
		path := filepath.Join(dir, name)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s differs (go test ./internal/vault -update, and review): \n%s", name, diff)
		}
	}
	have, err := filepath.Glob(filepath.Join(dir, "*.*"))
	if err != nil || len(have) != len(files) {
		t.Errorf(dir+" holds %v, want just %v", have, slices.Sorted(maps.Keys(files)))
	}
}

// TestMachinesMayLittle states in general what no policy of a machine may say, whatever rules are added.
func TestMachinesMayLittle(t *testing.T) {
	in := testInput("")
	for _, role := range v1alpha1.Roles {
		for _, r := range machineRules(in, role) {
			for _, forbidden := range []string{"sudo", "list", "delete", "patch"} {
				if slices.Contains(r.capabilities, forbidden) {
					t.Errorf("%s may %s %s", role, forbidden, r.path)
				}
			}
			successors := SecretPath(in.Cluster, ServiceAccountDocument) + "/+" // of a key that they share
			if strings.ContainsAny(r.path, "*+") && r.path != successors {
				t.Errorf("%s: wildcard in %s", role, r.path)
			}
			if strings.Contains(r.path, "/machines/") && !strings.Contains(r.path, entityMachine) {
				t.Errorf("%s: %s is somebody else's", role, r.path)
			}
			if r.path == SSHPath(in.Cluster, SSHHosts)+"/sign/"+sshMachineRole {
				continue // whose role is templated: TestSSHHostKeys
			}
			if strings.Contains(r.path, "/sign/") && !slices.ContainsFunc(unit.ProfilesOf(role), func(p unit.Profile) bool {
				return r.path == PKIPath(in.Cluster, p.CA)+"/sign/"+p.Name
			}) {
				t.Errorf("%s may sign %s", role, r.path)
			}
		}
	}
}

func TestOperatorCannotChangeTheLayout(t *testing.T) {
	operatorChangesNothing(t, testInput(""))
	operatorChangesNothing(t, onAWS(testInput(""), nil, "a certificate"))
}

func operatorChangesNothing(t *testing.T, in Input) {
	t.Helper()
	for _, r := range operatorRules(in) {
		changes := slices.ContainsFunc(r.capabilities, func(c string) bool {
			return slices.Contains([]string{"create", "update", "patch", "delete"}, c)
		})
		for _, o := range Layout(in).Objects {
			// An entity it may only shut out.
			shutsOut := o.Kind == KindEntity && cmp.Equal(r.allowed, map[string][]any{"disabled": {true}})
			if changes && !shutsOut && matches(r.path, o.Path) {
				t.Errorf("the operator may %v %s", r.capabilities, o.Path)
			}
		}
	}
}

// matches says whether a policy's path covers a path (+ is one segment, a final * anything).
func matches(pattern, path string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(path, prefix)
	}
	a, b := strings.Split(pattern, "/"), strings.Split(path, "/")
	return len(a) == len(b) && equalSegments(a, b)
}

func equalSegments(a, b []string) bool {
	for i := range a {
		if a[i] != "+" && a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestDiffOfItselfIsEmpty(t *testing.T) {
	sameAsItself(t, Layout(testInput("")))
	sameAsItself(t, Layout(onAWS(testInput(""), nil, "a certificate")))
}

func sameAsItself(t *testing.T, want State) {
	t.Helper()
	// What Vault returns went through JSON.
	var have State
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &have); err != nil {
		t.Fatal(err)
	}
	if d := Diff(want, have); len(d) > 0 {
		t.Errorf("differs from itself: %v", d)
	}
}

// TestDiffNamesEveryChange removes, adds and changes objects at random, and wants just these named.
func TestDiffNamesEveryChange(t *testing.T) {
	want := Layout(testInput(""))
	rapid.Check(t, func(t *rapid.T) {
		have := State{Cluster: want.Cluster}
		var expected []string
		for _, o := range want.Objects {
			switch rapid.SampledFrom([]string{"keep", "keep", "keep", "drop", "change", "add"}).Draw(t, o.Path) {
			case "drop":
				expected = append(expected, o.name())
				continue
			case "change":
				field := rapid.SampledFrom(slices.Sorted(maps.Keys(o.Fields))).Draw(t, "field")
				o.Fields = maps.Clone(o.Fields)
				o.Fields[field] = "something else"
				expected = append(expected, o.name())
			case "add":
				extra := Object{o.Kind, o.Path + "-evil", o.Fields}
				have.Objects = append(have.Objects, extra)
				expected = append(expected, extra.name())
			}
			have.Objects = append(have.Objects, o)
		}
		var named []string
		for _, d := range Diff(want, have) {
			named = append(named, d.Object)
		}
		slices.Sort(expected)
		slices.Sort(named)
		if diff := cmp.Diff(expected, named); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestDifferencesAreReadable(t *testing.T) {
	for name, test := range map[string]struct {
		want, have Fields
		cause      string
	}{
		"number":        {Fields{"ttl": int64(3600)}, Fields{"ttl": float64(86400)}, "ttl is 86400, should be 3600"},
		"absent":        {Fields{"ttl": int64(3600)}, Fields{}, "ttl is [], should be 3600"},
		"order is free": {Fields{"names": []string{"a", "b"}}, Fields{"names": []any{"b", "a"}}, ""},
		"empty is null": {Fields{"names": []string{}, "map": map[string]string{}}, Fields{"names": nil}, ""},
		"line changed":  {Fields{"policy": "a\nb\n"}, Fields{"policy": "a\nc\n"}, `policy differs: line 2 is "c", should be "b"`},
		"line added":    {Fields{"policy": "a\nb"}, Fields{"policy": "a\nb\nc"}, `policy differs: line 3 "c" is new`},
		"line gone":     {Fields{"policy": "a\nb"}, Fields{"policy": "a"}, `policy differs: line 2 "b" is gone`},
	} {
		if got := strings.Join(differences(test.want, test.have), "; "); got != test.cause {
			t.Errorf("%s: %q, want %q", name, got, test.cause)
		}
	}
}
