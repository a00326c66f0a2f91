package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// The documentation is run. In README.md and docs/*.md
//
//   - a ```console block is a transcript: a line that begins with "$ " is a command, what follows until the next one is what it
//     prints. A page's commands run in order, by bash, in a directory of the page's own, with this ashlar on the PATH.
//     A command exits with 0, or with what its line ends in: `# exit 2`. Those that begin with make are not run.
//   - What is printed must be what the page shows, all of it, but for numbers (also addresses, ages, times, versions)
//     and the width of gaps. "..." stands for any text within a line; a line of its own stands for any lines.
//   - A ```yaml block whose first line names a file, as in ```yaml web.yaml, is written there before the commands after it.
//     One that is a Cluster, or a part of its spec, must be valid, unless its file is called mistaken.yaml.
//   - A page with `ashlar init` in it makes a cluster of its own, which is removed after it, whatever happens. The others
//     find the shared cluster in cluster.yaml, and leave it as it was. In both cases the page calls it demo.
//   - A ```console aws block needs an account of AWS, and is not run. Of its commands that are ashlar's, all words before "--" must be known to it.
//   - Links to files and headings must lead somewhere, on these pages, in docs/reference and in CONTRIBUTING.md.

// block is a fenced block of a page.
type block struct {
	kind, file string // of ```yaml web.yaml
	line       int    // of its first line of text
	lines      []string
}

// command is one command of a transcript, and what it must come to.
type command struct {
	line   int
	text   string
	exit   int
	prints []string
}

func TestDocs(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("there is no documentation: %v", err)
	}
	ran := 0
	for _, page := range append([]string{"../../README.md"}, pages...) {
		t.Run(filepath.Base(page), func(t *testing.T) {
			b, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			checkLinks(t, page, string(b))
			ran += runPage(t, blocks(t, string(b)))
		})
	}
	if ran == 0 {
		t.Error("the documentation has no commands")
	}
	generated, _ := filepath.Glob("../../docs/reference/*.md")
	for _, page := range append([]string{"../../CONTRIBUTING.md"}, generated...) {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		checkLinks(t, page, string(b))
	}
}

var fence = regexp.MustCompile("^```([a-z]*) *(\\S*)$")

func blocks(t *testing.T, page string) []block {
	t.Helper()
	var all []block
	inside := false
	for i, line := range strings.Split(page, "\n") {
		m := fence.FindStringSubmatch(line)
		switch {
		case m == nil && inside:
			all[len(all)-1].lines = append(all[len(all)-1].lines, line)
		case m != nil && !inside:
			all = append(all, block{kind: m[1], file: m[2], line: i + 2})
			inside = true
		case m != nil:
			inside = false
		}
	}
	if inside {
		t.Errorf("the block of line %d does not end", all[len(all)-1].line)
	}
	return all
}

var exitComment = regexp.MustCompile(`\s+# exit (\d+)$`)

// commands reads a transcript.
func commands(t *testing.T, b block) []command {
	t.Helper()
	var all []command
	for i, line := range b.lines {
		text, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case isCommand:
			c := command{line: b.line + i, text: text}
			if m := exitComment.FindStringSubmatch(text); m != nil {
				c.exit, _ = strconv.Atoi(m[1])
				c.text = strings.TrimSuffix(text, m[0])
			}
			all = append(all, c)
		case len(all) == 0:
			t.Errorf("line %d: a transcript begins with a command", b.line+i)
		default:
			all[len(all)-1].prints = append(all[len(all)-1].prints, line)
		}
	}
	return all
}

// theName is what pages call their cluster.
var theName = regexp.MustCompile(`\bdemo\b`)

// runPage runs a page's commands and returns how many there were.
func runPage(t *testing.T, page []block) (ran int) {
	t.Helper()
	cluster, dir := name, t.TempDir()
	own := slices.ContainsFunc(page, func(b block) bool {
		return b.kind == "console" && b.file != onAWS && slices.ContainsFunc(b.lines, func(l string) bool { return strings.HasPrefix(l, "$ ashlar init") })
	})
	path := filepath.Join(dir, "cluster.yaml")
	if own {
		cluster = name + "-docs"
		t.Cleanup(func() {
			if out, code := try("-f", path, "down"); code != 0 {
				t.Errorf("down: exit %d\n%s", code, out)
			}
		})
	} else if err := os.WriteFile(path, []byte(clusterFile(name)), 0o600); err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(binary, filepath.Join(bin, "ashlar")); err != nil {
		t.Fatal(err)
	}
	for _, b := range page {
		for i := range b.lines {
			b.lines[i] = theName.ReplaceAllString(b.lines[i], cluster)
		}
		switch b.kind {
		case "yaml":
			checkYAML(t, b)
			if b.file == "" {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(b.file)), []byte(strings.Join(b.lines, "\n")+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		case "console":
			for _, c := range commands(t, b) {
				if b.file == onAWS {
					c.known(t, dir, bin)
					continue
				}
				if !strings.HasPrefix(c.text, "make") {
					c.run(t, dir, bin)
					ran++
				}
			}
		}
	}
	return ran
}

// onAWS marks a transcript of commands that need AWS.
const onAWS = "aws"

// known checks that there is such a command with such flags, without doing anything.
func (c command) known(t *testing.T, dir, bin string) {
	t.Helper()
	words, _, _ := strings.Cut(c.text, " -- ")
	words, _, _ = strings.Cut(words, " >")
	if strings.HasPrefix(words, "ashlar ") {
		command{line: c.line, text: words + " --help", prints: []string{"..."}}.run(t, dir, bin)
	}
}

// run runs a command as the page has it. One that fails ends the page: what comes after it would make no sense.
func (c command) run(t *testing.T, dir, bin string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	bash := exec.CommandContext(ctx, "bash", "-c", c.text)
	bash.Dir = dir
	bash.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	out, err := bash.CombinedOutput()
	code := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatalf("line %d: %s: %v", c.line, c.text, err)
	}
	if code != c.exit {
		t.Fatalf("line %d: %s: exit %d, the page says %d\n%s", c.line, c.text, code, c.exit, out)
	}
	if i := firstUnlike(c.prints, string(out)); i >= 0 {
		shown := append(slices.Clone(c.prints), "(the end)")
		t.Errorf("line %d: %s\nprints something else than the page from %q on:\n%s", c.line, c.text, shown[i], out)
	}
}

// firstUnlike returns which line of a page is the first that the output does not go on with; -1 if it is as shown.
func firstUnlike(shown []string, output string) int {
	output = plain(output)
	pattern := "^"
	for i, line := range shown {
		switch strings.TrimSpace(line) {
		case "": // plain has none
			continue
		case "...":
			pattern += `(?:.*\n)*`
			continue
		}
		var parts []string
		for _, part := range strings.Split(line, "...") {
			parts = append(parts, regexp.QuoteMeta(strings.TrimSuffix(plain(part), "\n")))
		}
		pattern += strings.Join(parts, `.*`) + `\n`
		if !regexp.MustCompile(pattern).MatchString(output) {
			return i
		}
	}
	if !regexp.MustCompile(pattern + "$").MatchString(output) {
		return len(shown)
	}
	return -1
}

var (
	number = regexp.MustCompile(`[0-9][0-9a-z.:]*`)
	gap    = regexp.MustCompile(`[ \t]+`)
)

// plain is a text without what differs from one run to the next. It has no empty lines.
func plain(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line = gap.ReplaceAllString(number.ReplaceAllString(strings.TrimSpace(line), "#"), " "); line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// TestShownOutput: pages that show something else than what is printed are caught.
func TestShownOutput(t *testing.T) {
	const printed = "✓ machines   0.20s\n✓ units      9.31s  6 machines\n\nnothing to change\n"
	for shown, want := range map[string]int{
		"✓ machines 1.5s\n✓ units 12s 6 machines\n\nnothing to change": -1,
		"...\nnothing to change":                 -1,
		"✓ machines ...\n...":                    -1,
		"✓ units 1s 6 machines\n...":             0,
		"✓ machines 1s\n✓ units 1s 6 hosts\n...": 1,
		"✓ machines 1s\n✓ units 1s 6 machines":   2,
		"...\nnothing ... changed":               1,
		"":                                       1,
	} {
		if got := firstUnlike(strings.Split(shown, "\n"), printed); got != want {
			t.Errorf("line %d of a page is the first that is wrong, want %d:\n%s", got, want, shown)
		}
	}
}

// checkYAML decodes what is a Cluster, whole or in part.
func checkYAML(t *testing.T, b block) {
	t.Helper()
	text := strings.Join(b.lines, "\n") + "\n"
	if b.file == "mistaken.yaml" || strings.Contains(text, "kind:") && !strings.Contains(text, "kind: "+v1alpha1.Kind+"\n") {
		return
	}
	if !strings.Contains(text, "kind:") {
		spec := text
		for key, value := range map[string]string{
			"provider": "{local: {}}", "pools": "[{name: control-plane, role: control-plane, count: 1}, {name: worker, role: worker, count: 1}]",
		} {
			if !strings.HasPrefix(text, key+":") && !strings.Contains(text, "\n"+key+":") {
				spec += key + ": " + value + "\n"
			}
		}
		text = fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {name: x}\nspec:\n  %s", v1alpha1.APIVersion, v1alpha1.Kind, strings.ReplaceAll(spec, "\n", "\n  "))
	}
	if _, err := v1alpha1.Decode([]byte(text), fmt.Sprintf("line %d", b.line)); err != nil {
		t.Error(err)
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func checkLinks(t *testing.T, page, text string) {
	t.Helper()
	for _, m := range link.FindAllStringSubmatch(text, -1) {
		file, heading, _ := strings.Cut(m[1], "#")
		if strings.Contains(m[1], "://") {
			continue
		}
		target := page
		if file != "" {
			target = filepath.Join(filepath.Dir(page), file)
		}
		b, err := os.ReadFile(target)
		if err != nil {
			t.Errorf("%s: the link %s leads nowhere: %v", page, m[1], err)
		} else if heading != "" && !slices.Contains(headings(string(b)), heading) {
			t.Errorf("%s: the link %s leads to no heading; there are %v", page, m[1], headings(string(b)))
		}
	}
}

// headings are a page's, as their anchors.
func headings(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && line[0] == '#' {
			title = regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
			all = append(all, strings.ReplaceAll(title, " ", "-"))
		}
	}
	return all
}
