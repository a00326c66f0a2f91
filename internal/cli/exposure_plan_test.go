package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestExposureOfPlan: what is planned for the examples exposes what they declare, and one rule more does not.
func TestExposureOfPlan(t *testing.T) {
	run := func(args ...string) (string, int) {
		var out, problems bytes.Buffer
		code := Main(append([]string{"exposure"}, args...), &out, &problems)
		return out.String() + problems.String(), code
	}
	plan := func(name string) string { return "../provider/aws/topology/testdata/" + name + ".plan.json" }
	file := func(name string) string { return "../../examples/" + name + ".yaml" }
	for name, declared := range map[string]int{"aws-single": 1, "aws-ha": 7, "aws-existing-vpc": 3} {
		out, code := run("-f", file(name), "--plan", plan(name), "-o", "json")
		var found struct {
			Declared, Extra []any
			Names           map[string]string
		}
		if err := json.Unmarshal([]byte(out), &found); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		if code != ExitDone || len(found.Declared) != declared || len(found.Extra) > 0 || len(found.Names) == 0 {
			t.Errorf("%s: exit %d, %d declared, want %d, extra %v", name, code, len(found.Declared), declared, found.Extra)
		}
	}
	b, err := os.ReadFile(plan("aws-single"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	svg := filepath.Join(dir, "network.svg")
	written := func(name string, text []byte) string {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, name)
	}
	// One that is not Ashlar's type is not understood, whatever it is.
	more := bytes.Replace(b, []byte(`"resources":[`), []byte(`"resources":[{"address":"aws_vpn_gateway.x","mode":"managed","type":"aws_vpn_gateway","name":"x","values":{}},`), 1)
	for _, c := range []struct {
		what string
		args []string
		code int
		says string
	}{
		{"the table", []string{"-f", file("aws-single"), "--plan", plan("aws-single"), "--svg", svg}, ExitDone, "bastion-0's address tcp 22"},
		{"a resource that the modules do not have", []string{"-f", file("aws-single"), "--plan", written("more.json", more)}, ExitInput, "aws_vpn_gateway.x, and the modules have not"},
		{"other variables", []string{"-f", file("aws-single"), "--plan", written("other.json", bytes.ReplaceAll(b, []byte(`"vpc_cidr":{"value":"10.90.0.0/16"}`),
			[]byte(`"vpc_cidr":{"value":"10.91.0.0/16"}`)))}, ExitInput, "or with other variables"},
		{"another example's file", []string{"-f", file("aws-ha"), "--plan", plan("aws-single")}, ExitDiffers, "missing"},
		{"a local cluster", []string{"-f", file("local"), "--plan", plan("aws-single")}, ExitInput, "leave out --plan"},
		{"no plan", []string{"-f", file("aws-single"), "--plan", written("no.json", []byte("no"))}, ExitInput, "tofu show -json"},
		{"no file", []string{"-f", file("aws-single"), "--plan", "nowhere.json"}, ExitInput, "nowhere.json"},
	} {
		out, code := run(c.args...)
		if code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("%s: exit %d, want %d, and to be told %q:\n%s", c.what, code, c.code, c.says, out)
		}
	}
	if drawn, err := os.ReadFile(svg); err != nil || !bytes.HasPrefix(drawn, []byte("<svg")) {
		t.Errorf("the drawing is %.40q, %v", drawn, err)
	}
	// The table of docs/aws.md is this one.
	page, err := os.ReadFile("../../docs/aws.md")
	if err != nil {
		t.Fatal(err)
	}
	out, _ := run("-f", file("aws-single"), "--plan", plan("aws-single"))
	gaps := regexp.MustCompile(` +`)
	for line := range strings.Lines(out) {
		if line == "\n" {
			break
		}
		if !strings.Contains(gaps.ReplaceAllString(string(page), " "), gaps.ReplaceAllString(line, " ")) {
			t.Errorf("docs/aws.md lacks %q", line)
		}
	}
}
