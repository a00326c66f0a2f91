package v1alpha1

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write what the golden files and the reference should say")

// golden compares with a file, or writes it.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is stale (go test ./api/v1alpha1 -update), -want +got:\n%s", path, diff)
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no file matches %s: %v", pattern, err)
	}
	return files
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	r, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustDecode(t *testing.T, path string) *Cluster {
	t.Helper()
	c, err := Decode(read(t, path), path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDecodeInvalid(t *testing.T) {
	for _, file := range glob(t, "testdata/invalid-*.yaml") {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			c, err := Decode(read(t, file), "cluster.yaml")
			if err == nil || c != nil {
				t.Fatalf("got %v, %v; want no cluster and an error", c, err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", []byte(err.Error()+"\n"))
		})
	}
}

func TestDecodeValid(t *testing.T) {
	for _, file := range glob(t, "testdata/valid-*.yaml") {
		mustDecode(t, file)
	}
}

func TestGoldenFilesHaveAnInput(t *testing.T) {
	for _, file := range glob(t, "testdata/invalid-*.txt") {
		if _, err := os.Stat(strings.TrimSuffix(file, ".txt") + ".yaml"); err != nil {
			t.Error(err)
		}
	}
}

func TestDecodeMinimal(t *testing.T) {
	c := mustDecode(t, "testdata/valid-minimal.yaml")
	s := c.Spec
	got := []any{s.KubernetesVersion, s.Provider.Local.MachineCIDR, s.Network, s.PKI.LeafTTL.Duration, s.PKI.CATTL.Duration,
		s.PKI.InitTokenTTL.Duration, s.PKI.AdminTTL.Duration, s.Pools}
	want := []any{"v1.37.2", "10.90.0.0/24", Network{"10.244.0.0/16", "10.96.0.0/16", "cluster.local", NetworkPolicy{}}, 24 * time.Hour, 87600 * time.Hour,
		10 * time.Minute, 8 * time.Hour, []Pool{{Name: "vault", Role: "vault", Count: 1}, {Name: "etcd", Role: "etcd", Count: 1}, {Name: "lb", Role: "lb", Count: 1}, {Name: "control-plane", Role: "control-plane", Count: 1}, {Name: "worker", Role: "worker", Count: 2}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestDecodeEverything(t *testing.T) {
	c := mustDecode(t, "testdata/valid-everything.yaml")
	defaulted := *c
	Default(&defaulted)
	if diff := cmp.Diff(c, &defaulted); diff != "" {
		t.Errorf("a default changed what was declared:\n%s", diff)
	}
	if got := c.Spec.PKI.CATTL.Duration; got != 61*time.Minute {
		t.Errorf("caTTL is %s", got)
	}
	var names []string
	for _, m := range c.Machines() {
		names = append(names, m.Name)
	}
	want := "vault-0 vault-1 vault-2 etcd-a-0 etcd-b-0 etcd-b-1 balancer-0 api-0 api-1 api-2 workers-a-0 workers-a-1 workers-b-0 jump-0"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestDecodeSameMeaning(t *testing.T) {
	want := mustDecode(t, "testdata/valid-minimal.yaml")
	if diff := cmp.Diff(want, mustDecode(t, "testdata/valid-crlf.yaml")); diff != "" {
		t.Errorf("carriage returns make a difference:\n%s", diff)
	}
	withBOM := append([]byte("\ufeff"), read(t, "testdata/valid-minimal.yaml")...)
	if c, err := Decode(withBOM, "bom"); err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("a byte order mark makes a difference: %v", err)
	}
}

func TestDecodeAccess(t *testing.T) {
	c := mustDecode(t, "testdata/valid-access.yaml")
	for i, token := range c.Spec.Authentication.StaticTokens {
		if want := time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC); token.Expires.Time != want {
			t.Errorf("staticTokens[%d] expires %s", i, token.Expires)
		}
	}
	if diff := cmp.Diff([]string{"10.20.0.0/16", "2001:db8::/32"}, c.Spec.Authentication.Robots[0].CIDRs); diff != "" {
		t.Errorf("cidrs: -want +got:\n%s", diff)
	}
	want := []ServiceAccountClass{{"", ReadOwnNamespace, Nothing}, {"kube-system", Everything, Nothing}, {"ci", Everything, Everything}, {"monitoring", ReadOnly, ReadOnly}}
	if diff := cmp.Diff(want, c.Spec.Authorization.ServiceAccounts); diff != "" {
		t.Errorf("classes: -want +got:\n%s", diff)
	}
	none := mustDecode(t, "testdata/valid-access-none.yaml")
	if classes := none.Spec.Authorization.ServiceAccounts; classes == nil || len(classes) > 0 {
		t.Errorf("[] is no class at all, but got %v", classes)
	}
	if claim := none.Spec.Authentication.IdentityProvider.UserClaim; claim != "preferred_username" {
		t.Errorf("userClaim is %s", claim)
	}
}

// What a file may cost is bounded, whatever it is made of: each of these fills the size limit. Anything quadratic takes minutes.
func TestDecodeHugeIsQuick(t *testing.T) {
	minimal := string(read(t, "testdata/valid-minimal.yaml"))
	fill := func(s string) string { return minimal + strings.Repeat(s, (MaxFileSize-len(minimal))/len(s)) }
	deep := "     - {expression: '" + strings.Repeat("claims.map(a,", maxDepth-1) + "1" + strings.Repeat(")", maxDepth-1) + "'}\n"
	rules := func(size int) string {
		return minimal + "  authentication:\n   oidc:\n   - rules:\n" + strings.Repeat(deep, size/len(deep))
	}
	for name, r := range map[string]string{
		"lists":         strings.Repeat("[", MaxFileSize),
		"mappings":      strings.Repeat("{a: ", MaxFileSize/4),
		"dashes":        strings.Repeat("- ", MaxFileSize/2),
		"question":      strings.Repeat("? ", MaxFileSize/2),
		"unknown keys":  fill("  k: x\n"),
		"comments":      fill("# x\n"),
		"blanks":        fill("\n"),
		"pools":         fill("    - {}\n"),
		"one long key":  fill("k"),
		"quotes":        strings.Repeat(`"a" `, MaxFileSize/4),
		"documents":     strings.Repeat("---\n", MaxFileSize/4),
		"anchors":       strings.Repeat("&a ", MaxFileSize/3),
		"long name":     strings.Replace(minimal, "demo", strings.Repeat("a", MaxFileSize-len(minimal)), 1),
		"too large":     fill("#") + "\n#",
		"block scalars": fill("  a: |\n   x\n"),
		"expressions":   rules(maxExpressions),
		"too many":      rules(MaxFileSize - len(minimal) - 100),
		"classes":       minimal + "  authorization:\n    serviceAccounts:\n" + strings.Repeat("    - {abac: nothing}\n", MaxFileSize/24),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := Decode([]byte(r), "cluster.yaml")
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("took %s", took)
			}
			wantError := name != "comments" && name != "blanks"
			if (err != nil) != wantError {
				t.Errorf("error: %.200v", err)
			}
		})
	}
}

func TestErrorsAreFound(t *testing.T) {
	_, err := Decode(read(t, "testdata/invalid-count-two.yaml"), "cluster.yaml")
	var errs Errors
	if !errors.As(err, &errs) {
		t.Fatalf("got %T", err)
	}
	want := Error{File: "cluster.yaml", Line: 8, Path: "spec.pools[1].count", Message: "must be 1, 3 or 5, not 2"}
	if errs[1] != want {
		t.Errorf("got %+v, want %+v", errs[1], want)
	}
}

// Whatever the bytes: no panic; an error that names a line of the file; or a cluster that means itself when written down.
func FuzzDecode(f *testing.F) {
	for _, pattern := range []string{"testdata/*.yaml", "../../examples/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			f.Add(read(f, file))
		}
	}
	f.Add(Template("demo"))
	f.Fuzz(func(t *testing.T, r []byte) {
		c, err := Decode(r, "f")
		if err != nil {
			checkErrors(t, r, err)
			return
		}
		if errs := Validate(c); len(errs) > 0 {
			t.Fatalf("decoded, but invalid: %v", errs)
		}
		written, err := yaml.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Decode(written, "again")
		if err != nil {
			t.Fatalf("%v in:\n%s", err, written)
		}
		if diff := cmp.Diff(c, again); diff != "" {
			t.Fatal(diff)
		}
	})
}

func checkErrors(t *testing.T, r []byte, err error) {
	t.Helper()
	var errs Errors
	if !errors.As(err, &errs) || len(errs) == 0 {
		t.Fatalf("%T: %v", err, err)
	}
	lines := bytes.Count(r, []byte("\n")) + 1
	for _, e := range errs {
		// The parser also counts other ends of a line, hence no upper limit when there are some.
		if e.Line < 0 || e.Line > lines && !strings.ContainsAny(string(r), "\r\u0085\u2028\u2029") {
			t.Errorf("line %d of %d: %v", e.Line, lines, e)
		}
		if s := e.Error(); strings.ContainsAny(s, "\n\r\x1b\x00") || e.Message == "" || len(s) > 1000 {
			t.Errorf("not fit for a terminal: %q", s)
		}
	}
}
