package cli

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "write docs/reference/commands.md anew")

// each visits a command and all below it.
func each(cmd *cobra.Command, f func(*cobra.Command)) {
	f(cmd)
	for _, sub := range cmd.Commands() {
		each(sub, f)
	}
}

// visible is every command that people see, in the order of help.
func visible() []*cobra.Command {
	var out []*cobra.Command
	each(New(), func(cmd *cobra.Command) {
		hidden := cmd.Hidden
		cmd.VisitParents(func(p *cobra.Command) { hidden = hidden || p.Hidden })
		if !hidden {
			out = append(out, cmd)
		}
	})
	return out
}

var exampleLine = regexp.MustCompile(`\bashlar\b([^|<>()]*)`) // without the shell around it

func TestExamples(t *testing.T) {
	for _, cmd := range visible() {
		path := cmd.CommandPath()
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: Short is %q", path, cmd.Short)
		}
		if cmd.Example == "" {
			t.Errorf("%s has no example", path)
			continue
		}
		for _, line := range strings.Split(cmd.Example, "\n") {
			match := exampleLine.FindStringSubmatch(line)
			if !strings.HasPrefix(line, "  ") || match == nil {
				t.Errorf("%s: not an example: %q", path, line)
				continue
			}
			if err := tryExample(cmd, words(match[1])); err != nil {
				t.Errorf("%s: %s: %v", path, strings.TrimSpace(line), err)
			}
		}
	}
}

// words splits as a shell does, as far as examples go.
func words(line string) []string {
	var out []string
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			out = append(out, part)
		} else {
			out = append(out, strings.Fields(part)...)
		}
	}
	return out
}

// tryExample does all that comes before a command runs.
func tryExample(of *cobra.Command, args []string) error {
	cmd, rest, err := New().Find(args)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(cmd.CommandPath(), of.CommandPath()) {
		return fmt.Errorf("is an example of %s", cmd.CommandPath())
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil || cmd.PreRunE == nil {
		return err
	}
	return cmd.PreRunE(cmd, cmd.Flags().Args())
}

// A wrong example is noticed.
func TestTryExample(t *testing.T) {
	for _, c := range []string{"up --no-such-flag", "up demo", "down", "no-such-command", "status -o xml"} {
		if err := tryExample(find(t, "up"), strings.Fields(c)); err == nil {
			t.Errorf("ashlar %s is a good example of up", c)
		}
	}
	if err := tryExample(find(t, "verify"), []string{"verify", "--claim", "no-such-claim"}); err == nil {
		t.Error("ashlar verify --claim no-such-claim is a good example")
	}
}

func find(t *testing.T, name string) *cobra.Command {
	t.Helper()
	cmd, _, err := New().Find([]string{name})
	if err != nil {
		t.Fatal(err)
	}
	return cmd
}

const referenceHead = `# Commands

Exit codes: 0 done, 1 failed, 2 differs (plan, verify), 64 bad input; ` + "`kubectl` and `exec`" + ` exit with the code of what they run.
Answers are on standard output, progress and errors on standard error.

This page is generated from ` + "`internal/cli`" + `.

| Command | |
|---|---|
`

func reference() []byte {
	var b bytes.Buffer
	b.WriteString(referenceHead)
	commands := visible()
	for _, cmd := range commands[1:] {
		path := cmd.CommandPath()
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s |\n", path, strings.ReplaceAll(path, " ", "-"), cmd.Short)
	}
	b.WriteString("\n## Flags of every command\n\n```\n" + commands[0].PersistentFlags().FlagUsages() + "```\n")
	for _, cmd := range commands[1:] {
		section(&b, cmd)
	}
	return b.Bytes()
}

func section(b *bytes.Buffer, cmd *cobra.Command) {
	about := cmd.Long
	if about == "" {
		about = cmd.Short + "."
	}
	own := cmd.LocalFlags() // before the usage, which then knows of the flags of every command
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n", cmd.CommandPath(), about)
	if !cmd.HasSubCommands() {
		fmt.Fprintf(b, "```\n%s\n```\n\n", cmd.UseLine())
	}
	fmt.Fprintf(b, "```console\n%s\n```\n", regexp.MustCompile(`(?m)^  `).ReplaceAllString(cmd.Example, "$$ "))
	if own.HasFlags() {
		fmt.Fprintf(b, "\n```\n%s```\n", own.FlagUsages())
	}
}

func TestReference(t *testing.T) {
	const path = "../../docs/reference/commands.md"
	got := reference()
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
		t.Errorf("%s is stale (go test ./internal/cli -update), -want +got:\n%s", path, diff)
	}
}

func TestCompletion(t *testing.T) {
	file := clusterFile(t)
	const machines = "vault-0\netcd-0\nlb-0\ncontrol-plane-0\nworker-0\nworker-1\n"
	for _, c := range []struct {
		args []string
		want string // what there is, and cobra's directive: 0 files too, 4 nothing else, 8 files so named, 16 directories
	}{
		{[]string{"status", "-o", ""}, "table\njson\nyaml\n:4\n"},
		{[]string{"exec", "-f", file, ""}, machines + ":4\n"},
		{[]string{"logs", "-f", file, ""}, machines + ":4\n"},
		{[]string{"logs", "-f", file, "worker-0", ""}, ":4\n"},
		{[]string{"exec", "-f", "/no/such/file", ""}, ":4\n"},
		{[]string{"up", "-f", ""}, "yaml\nyml\n:8\n"},
		{[]string{"up", "--state", ""}, ":16\n"},
		{[]string{"up", ""}, ":4\n"},
		{[]string{"kubectl", "--", "apply", "-f", ""}, ":0\n"},
		{[]string{"bundle", "b"}, "build\tBuild all software of a cluster from its pinned modules\n:4\n"},
		{[]string{"completion", ""}, "bash\nfish\nzsh\n:4\n"},
	} {
		stdout, _, code := run(append([]string{cobra.ShellCompRequestCmd}, c.args...)...)
		if code != ExitDone || stdout != c.want {
			t.Errorf("%q: exit %d, -want +got:\n%s", c.args, code, cmp.Diff(c.want, stdout))
		}
	}
	stdout, _, _ := run(cobra.ShellCompRequestCmd, "verify", "--claim", "")
	if !regexp.MustCompile(`(?m)^pki-init-token\t\S`).MatchString(stdout) {
		t.Errorf("claims are not completed:\n%s", stdout)
	}
}

// A shell reads what completion prints.
func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "fish", "zsh"} {
		script, stderr, code := run("completion", shell)
		if code != ExitDone || stderr != "" || !strings.Contains(script, cobra.ShellCompRequestCmd) {
			t.Errorf("%s: exit %d: %s%s", shell, code, stderr, script)
		}
		if _, err := exec.LookPath(shell); err != nil {
			continue
		}
		cmd := exec.Command(shell, "-n")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s does not understand it: %v: %s", shell, err, out)
		}
	}
}
