package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/phase"
)

// run is a run of ashlar, as far as that can be had without a cluster.
func run(args ...string) (stdout, stderr string, code int) {
	var out, errs strings.Builder
	code = Main(args, &out, &errs)
	return out.String(), errs.String(), code
}

// clusterFile is one that init wrote.
func clusterFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "cluster.yaml")
	if _, stderr, code := run("init", "-f", file); code != ExitDone {
		t.Fatalf("init: exit %d: %s", code, stderr)
	}
	return file
}

// needCluster has the arguments of each command that works on a cluster.
var needCluster = [][]string{{"plan"}, {"up"}, {"status"}, {"verify"}, {"down"}, {"kubeconfig"},
	{"kubectl", "--", "get", "nodes"}, {"exec", "worker-0", "--", "true"}, {"logs", "worker-0"}}

func TestBadInput(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	if err := os.WriteFile(broken, []byte("apiVersion: ashlar.dev/v1alpha1\nkind: Clutser\nmetadata: {nmae: demo}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing.yaml")
	type test struct {
		args string
		says []string
	}
	tests := []test{
		{"--no-such-flag", []string{"--no-such-flag", "`ashlar --help`"}},
		{"up --no-such-flag", []string{"--no-such-flag", "`ashlar up --help`"}},
		{"logs worker-0 --lines few", []string{"few", "--lines"}},
		{"status -o xml", []string{`"xml"`, "table, json, yaml"}},
		{"stauts", []string{`"stauts"`, "there is status", "`ashlar --help`"}},
		{"entirely-different", []string{`no command "entirely-different"; see`}},
		{"agnet", []string{`no command "agnet"; see`}}, // hidden commands are not suggested
		{"bundle biuld", []string{`"biuld"`, "there is build", "`ashlar bundle --help`"}},
		{"up cluster.yaml", []string{`"cluster.yaml"`, "`ashlar up --help`"}},
		{"kubectl", []string{"at least 1", "`ashlar kubectl --help`"}},
		{"exec worker-0", []string{"at least 2"}},
		{"logs", []string{"between 1 and 2"}},
		{"logs worker-0 ../../../etc/shadow", []string{`"../../../etc/shadow" is no unit`}},
		{"completion tcsh", []string{`"tcsh"`}},
		{"init --name Not_A_Label -f " + missing, []string{"metadata.name"}},
		{"verify --claim no-such-claim -f " + missing, []string{`"no-such-claim"`, "pki-init-token"}},
		{"plan -f " + filepath.Dir(missing), []string{"is a directory"}},
	}
	for _, args := range needCluster {
		tests = append(tests,
			test{"-f " + missing + " " + strings.Join(args, " "), []string{missing, "`ashlar init`"}},
			test{"-f " + broken + " " + strings.Join(args, " "), []string{broken + ":2: kind", broken + ":3: metadata.nmae"}})
	}
	for _, c := range tests {
		stdout, stderr, code := run(strings.Fields(c.args)...)
		if code != ExitInput {
			t.Errorf("ashlar %s: exit %d, want %d", c.args, code, ExitInput)
		}
		for _, s := range c.says {
			if !strings.Contains(stderr, s) {
				t.Errorf("ashlar %s: the message lacks %q: %s", c.args, s, stderr)
			}
		}
		if stdout != "" || !strings.HasPrefix(stderr, "ashlar: ") || strings.Contains(stderr, "Usage:") || strings.Contains(stderr, "goroutine") {
			t.Errorf("ashlar %s: more than a message:\n%s%s", c.args, stdout, stderr)
		}
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("init wrote a file that is no cluster")
	}
}

// Every command refuses arguments that it has no use for, those that people don't see too.
func TestEveryCommandChecksItsArguments(t *testing.T) {
	many := strings.Fields(strings.Repeat("x ", 20))
	each(New(), func(cmd *cobra.Command) {
		none, much := cmd.ValidateArgs(nil), cmd.ValidateArgs(many)
		if none == nil && much == nil {
			t.Errorf("%s takes anything", cmd.CommandPath())
		}
		for _, err := range []error{none, much} {
			if input := (phase.InputError{}); err != nil && !errors.As(err, &input) {
				t.Errorf("%s: %v is not bad input", cmd.CommandPath(), err)
			}
		}
	})
}

func TestWithoutABundle(t *testing.T) {
	dir := t.TempDir()
	none := filepath.Join(dir, "none")
	wantCode, says := ExitFailed, "there is no bundle at "+none
	if os.Geteuid() != 0 {
		wantCode, says = ExitInput, "as root"
	}
	for _, args := range needCluster {
		stdout, stderr, code := run(append([]string{"-f", clusterFile(t), "--state", dir, "--bundle", none}, args...)...)
		if code != wantCode || stdout != "" || !strings.Contains(stderr, says) {
			t.Errorf("ashlar %v: exit %d, want %d and %q:\n%s%s", args, code, wantCode, says, stdout, stderr)
		}
	}
}

func TestHelpIsNoFailure(t *testing.T) {
	for _, args := range [][]string{{}, {"--help"}, {"help", "up"}, {"bundle"}, {"up", "-h"}} {
		stdout, stderr, code := run(args...)
		if code != ExitDone || stderr != "" || !strings.Contains(stdout, "Usage:\n  ashlar") {
			t.Errorf("ashlar %v: exit %d:\n%s%s", args, code, stdout, stderr)
		}
	}
}

func TestExitCodes(t *testing.T) {
	shell := func(script string) error { return exec.Command("sh", "-c", script).Run() }
	wrapped := func(err error) error { return fmt.Errorf("units: %w", err) }
	for _, c := range []struct {
		name string
		err  error
		code int
		says string
	}{
		{"done", nil, 0, ""},
		{"failed", errors.New("etcd is away"), 1, "ashlar: etcd is away\n"},
		{"differs", wrapped(errDiffers), 2, ""},
		{"input", wrapped(phase.InputError{Err: errors.New("no such thing")}), 64, "ashlar: units: no such thing\n"},
		{"file", wrapped(v1alpha1.Errors{{File: "c.yaml", Line: 2, Message: "no"}, {File: "c.yaml", Line: 3, Message: "nor this"}}), 64,
			"ashlar: units: c.yaml:2: no\nc.yaml:3: nor this\n"},
		{"program of the user's", ran(wrapped(shell("exit 7"))), 7, ""},
		{"program of the user's that a signal ended", ran(shell("kill -TERM $$")), 128 + 15, ""},
		{"program that could not start", ran(exec.Command("/no/such/program").Run()), 1, "ashlar: fork/exec /no/such/program: no such file or directory\n"},
		{"program of ours", wrapped(shell("exit 64")), 1, "ashlar: units: exit status 64\n"},
	} {
		var stderr strings.Builder
		if code := conclude(c.err, &stderr); code != c.code || stderr.String() != c.says {
			t.Errorf("%s: got %d and %q, want %d and %q", c.name, code, stderr.String(), c.code, c.says)
		}
	}
}

func TestInit(t *testing.T) {
	file := filepath.Join(t.TempDir(), "staging.yaml")
	stdout, stderr, code := run("init", "--name", "staging", "-f", file)
	if code != ExitDone || stderr != "" || stdout != "wrote "+file+"; next: ashlar up -f "+file+"\n" {
		t.Fatalf("exit %d:\n%s%s", code, stdout, stderr)
	}
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := v1alpha1.Decode(written, file)
	if err != nil {
		t.Fatal(err)
	}
	if spec.Metadata.Name != "staging" {
		t.Errorf("the cluster's name is %s", spec.Metadata.Name)
	}
	_, stderr, code = run("init", "--name", "other", "-f", file)
	if code != ExitInput || !strings.Contains(stderr, file+" exists already") {
		t.Errorf("over a file that exists: exit %d: %s", code, stderr)
	}
	if now, err := os.ReadFile(file); err != nil || string(now) != string(written) {
		t.Errorf("the file was overwritten: %v\n%s", err, now)
	}
}
