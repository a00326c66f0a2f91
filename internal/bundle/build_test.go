package bundle

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// fixture has one component of each kind: pinned Go, pinned C, and local.
func fixture() []Component {
	return []Component{
		{
			Name: "hello", Dir: "components/hello", Module: "example.org/hello", Packages: []string{"example.org/hello"},
			LDFlags: "-s -w -X main.version=@version@ -X main.minor=@minor@",
			Outputs: []Output{{"hello", []string{"bin/hello", "bin/hallo"}}},
		},
		{
			Name: "wait", Dir: "components/hello", Module: "example.org/hello", CSource: "wait.c",
			Outputs: []Output{{Built: "wait"}},
			Image:   &Recipe{Name: "wait", Tag: "3.10", Binary: "wait", User: "65535:65535"},
		},
		{
			Name: "local", Dir: ".", Module: "example.org/source", Local: true, Packages: []string{"./cmd/local"}, LDFlags: "-s -w",
			Outputs: in("bin", "local"),
			Image:   &Recipe{Name: "local", Binary: "local", Skeleton: true, Lazily: true},
		},
	}
}

// events collects what a build tells.
type events []Event

func (e *events) add(next Event) { *e = append(*e, next) }

func (e *events) with(s State) []string {
	var names []string
	for _, event := range *e {
		if event.State == s {
			names = append(names, event.Component)
		}
	}
	slices.Sort(names)
	return names
}

func options(source, cache string, e *events) Options {
	return Options{Source: source, Cache: cache, Components: fixture(), Progress: e.add}
}

func build(t *testing.T, cache string) (*Bundle, events) {
	t.Helper()
	var e events
	b, err := Build(t.Context(), options("testdata/source", cache, &e))
	if err != nil {
		t.Fatal(err)
	}
	return b, e
}

func TestBuild(t *testing.T) {
	cache := t.TempDir()
	first, told := build(t, cache)
	if got := told.with(Built); !slices.Equal(got, []string{"", "hello", "local", "wait"}) {
		t.Errorf("the first build built %q", got)
	}
	second, told := build(t, cache)
	if got := told.with(Cached); !slices.Equal(got, []string{"", "hello", "local", "wait"}) {
		t.Errorf("the second build found %q in the cache", got)
	}
	if second.Digest != first.Digest || filepath.Base(first.Dir) != first.Digest {
		t.Errorf("digests differ: %s, %s in %s", first.Digest, second.Digest, first.Dir)
	}
	var paths []string
	for _, f := range first.Manifest.Files {
		paths = append(paths, f.Mode+" "+f.Path)
	}
	want := []string{"0755 bin/hallo", "0755 bin/hello", "0755 bin/local", "0644 images/local.tar", "0644 images/wait.tar"}
	if !slices.Equal(paths, want) {
		t.Errorf("files: %q", paths)
	}
	if err := first.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(filepath.Join(cache, tmpDir)); len(left) > 0 {
		t.Errorf("left in tmp: %v", left)
	}
}

func TestBuildResult(t *testing.T) {
	b, _ := build(t, t.TempDir())
	out, err := exec.Command(b.File("hello")).Output()
	if string(out) != "hello v1.2.3 2\n" {
		t.Errorf("hello: %q %v", out, err)
	}
	if got := b.Versions()["hello"]; got != "v1.2.3" {
		t.Errorf("version of hello: %q", got)
	}
	a, _ := os.Stat(b.File("hello"))
	l, _ := os.Stat(b.File("hallo"))
	if !os.SameFile(a, l) {
		t.Error("hello and hallo are not one file")
	}
	wait, ok := b.Image("wait")
	if !ok || wait.Reference != "ashlar.dev/wait:3.10" || wait.Lazily {
		t.Errorf("image wait: %+v", wait)
	}
	local, _ := b.Image("local")
	if local.Reference != "ashlar.dev/local:"+b.Versions()["local"] || !local.Lazily {
		t.Errorf("image local: %+v", local)
	}
	if _, ok := b.Image("hello"); ok || b.File("wait") != "" {
		t.Error("the bundle has files that it should not have")
	}
}

// A bundle is a function of its sources: neither the place, nor the time, nor the cache make a difference.
func TestReproducible(t *testing.T) {
	here, _ := build(t, t.TempDir())
	elsewhere := filepath.Join(t.TempDir(), "another", "place")
	if err := os.CopyFS(elsewhere, os.DirFS("testdata/source")); err != nil {
		t.Fatal(err)
	}
	var e events
	there, err := Build(t.Context(), options(elsewhere, t.TempDir(), &e))
	if err != nil {
		t.Fatal(err)
	}
	if here.Digest != there.Digest {
		t.Errorf("%s and %s: %+v and %+v", here.Digest, there.Digest, here.Manifest, there.Manifest)
	}
}

func TestChangedInputs(t *testing.T) {
	source, cache := filepath.Join(t.TempDir(), "source"), t.TempDir()
	if err := os.CopyFS(source, os.DirFS("testdata/source")); err != nil {
		t.Fatal(err)
	}
	var e events
	before, err := Build(t.Context(), options(source, cache, &e))
	if err != nil {
		t.Fatal(err)
	}
	main := filepath.Join(source, "cmd/local/main.go")
	if err := os.WriteFile(main, []byte("package main\n\nfunc main() { println(`changed`) }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	e = nil
	after, err := Build(t.Context(), options(source, cache, &e))
	if err != nil {
		t.Fatal(err)
	}
	if got := e.with(Built); !slices.Equal(got, []string{"", "local"}) {
		t.Errorf("built %q, want only what changed", got)
	}
	old, _ := before.Image("local")
	if now, _ := after.Image("local"); now.Reference == old.Reference || before.Digest == after.Digest {
		t.Error("a changed program has the same name")
	}
	if err := before.Verify(t.Context()); err != nil {
		t.Errorf("the earlier bundle, which a cluster may be running on: %v", err)
	}
	current, err := Open(filepath.Join(cache, currentLnk))
	if err != nil || current.Digest != after.Digest {
		t.Errorf("current is %+v, %v", current, err)
	}
}

func TestFailedBuild(t *testing.T) {
	cache := t.TempDir()
	o := options("testdata/source", cache, &events{})
	o.Components = append(o.Components, Component{Name: "broken", Dir: "components/hello", Module: "example.org/hello", Packages: []string{"example.org/hello/nothing"}, Needs: "a miracle"})
	_, err := Build(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "component broken") || !strings.Contains(err.Error(), "a miracle") {
		t.Errorf("error: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(cache, currentLnk)); err == nil {
		t.Error("a failed build became the current bundle")
	}
	build(t, cache)
}

func TestConcurrentBuilds(t *testing.T) {
	cache := t.TempDir()
	var group sync.WaitGroup
	var mu sync.Mutex
	var all events
	digests := map[string]bool{}
	for range 3 {
		group.Go(func() {
			var e events
			b, err := Build(t.Context(), options("testdata/source", cache, &e))
			mu.Lock()
			defer mu.Unlock()
			all = append(all, e...)
			if err != nil {
				t.Error(err)
				return
			}
			digests[b.Digest] = true
		})
	}
	group.Wait()
	if got := all.with(Built); !slices.Equal(got, []string{"", "hello", "local", "wait"}) || len(digests) != 1 {
		t.Errorf("three builds built %q, %d digests", got, len(digests))
	}
}

func TestCancelledWait(t *testing.T) {
	cache := t.TempDir()
	build(t, cache)
	holder := &builder{Options: Options{Cache: cache}}
	unlock, err := holder.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	o := options("testdata/source", cache, &events{})
	o.Progress = func(e Event) {
		if e.State == Waiting {
			cancel()
		}
	}
	if _, err := Build(ctx, o); err == nil || !strings.Contains(err.Error(), "another build") {
		t.Errorf("error: %v", err)
	}
	unlock()
	build(t, cache)
}

const killedCache = "ASHLAR_TEST_KILLED_CACHE"

// TestMain lets the test binary be the process that TestKilled kills.
func TestMain(m *testing.M) {
	cache := os.Getenv(killedCache)
	if cache == "" {
		os.Exit(m.Run())
	}
	_, err := Build(context.Background(), Options{Source: "testdata/source", Cache: cache, Components: fixture(), Progress: func(e Event) {
		fmt.Println(e.Component, e.State)
	}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A build that is killed at any of its steps is completed by the next, with the same result.
func TestKilled(t *testing.T) {
	whole, _ := build(t, t.TempDir())
	for _, at := range []string{"hello building", "wait building", "local building", "hello built", "local built"} {
		t.Run(at, func(t *testing.T) {
			cache := t.TempDir()
			kill(t, cache, at)
			completed, _ := build(t, cache)
			if completed.Digest != whole.Digest {
				t.Errorf("digest %s, want %s", completed.Digest, whole.Digest)
			}
			if err := completed.Verify(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func kill(t *testing.T, cache, at string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), killedCache+"="+cache)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != at {
		continue
	}
	if lines.Text() != at {
		t.Errorf("the build never said %q", at)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	cmd.Wait() //nolint:errcheck // it was killed
}

// What a crash left in tmp, and half an entry whose description was never written, are no obstacle.
func TestLeftovers(t *testing.T) {
	cache := t.TempDir()
	b, _ := build(t, cache)
	if err := os.MkdirAll(filepath.Join(cache, tmpDir, "bundle-1", "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(cache, tmpDir, currentLnk)); err != nil {
		t.Fatal(err)
	}
	entries, _ := filepath.Glob(filepath.Join(cache, storeDir, "wait-*", entryName))
	for _, e := range append(entries, filepath.Join(cache, currentLnk), filepath.Join(b.Dir, manifestName)) {
		if err := os.Remove(e); err != nil {
			t.Fatal(err)
		}
	}
	again, told := build(t, cache)
	if again.Digest != b.Digest || !slices.Equal(told.with(Built), []string{"", "wait"}) {
		t.Errorf("%s, want %s; built %q", again.Digest, b.Digest, told.with(Built))
	}
	if left, _ := os.ReadDir(filepath.Join(cache, tmpDir)); len(left) > 0 {
		t.Errorf("left in tmp: %v", left)
	}
	if err := again.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestComponents(t *testing.T) {
	const source = "../.."
	names := map[string]string{}
	for _, c := range Components() {
		if !c.Local {
			if version, _, err := module(t.Context(), filepath.Join(source, c.Dir), c.Module); err != nil || version == "" {
				t.Errorf("%s: version %q: %v", c.Name, version, err)
			}
		}
		for _, o := range c.Outputs {
			for _, p := range o.Paths {
				if other, taken := names[filepath.Base(p)]; taken {
					t.Errorf("%s and %s have the same name", p, other)
				}
				names[filepath.Base(p)] = p
			}
		}
	}
}

// The packages that go.mod names as tools are those that are built: go mod tidy keeps what they need.
func TestPackagesArePinned(t *testing.T) {
	const source = "../.."
	built := map[string]map[string]bool{}
	for _, c := range Components() {
		if built[c.Dir] == nil {
			built[c.Dir] = map[string]bool{}
		}
		for _, p := range c.Packages {
			if !strings.HasPrefix(p, ".") {
				built[c.Dir][p] = true
			}
		}
	}
	files, err := fs.Glob(os.DirFS(source), "components/*/go.mod")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		content, err := os.ReadFile(filepath.Join(source, f))
		if err != nil {
			t.Fatal(err)
		}
		tools := map[string]bool{}
		for line := range strings.Lines(string(content)) {
			if tool, ok := strings.CutPrefix(strings.TrimSpace(line), "tool "); ok {
				tools[tool] = true
			}
		}
		if want := built[filepath.Dir(f)]; !maps.Equal(tools, want) {
			t.Errorf("%s has tools %v, and built are %v", f, tools, want)
		}
	}
}
