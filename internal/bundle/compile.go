package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// toolchain is what of the host makes a difference to what is built.
type toolchain struct {
	Go string // version and settings
	C  string // version; empty if there is none, which only matters to those that need it
}

func readToolchain(ctx context.Context, source string) (toolchain, error) {
	var t toolchain
	out, err := run(ctx, source, nil, "go", "env", "GOVERSION", "GOAMD64", "GOARM64", "GOEXPERIMENT")
	if err != nil {
		return t, fmt.Errorf("asking Go for its version (is it installed and in PATH?): %w", err)
	}
	t.Go = string(out)
	if out, err := run(ctx, source, nil, cc(), "--version"); err == nil {
		first, _, _ := strings.Cut(string(out), "\n")
		t.C = first
	}
	return t, nil
}

func cc() string {
	if c := os.Getenv("CC"); c != "" {
		return c
	}
	return "gcc"
}

// inputs returns a component's version and the digest of all that its result depends on.
func (b *builder) inputs(ctx context.Context, c Component) (version, digest string, err error) {
	h := sha256.New()
	in := json.NewEncoder(h)
	for _, v := range []any{c, runtime.GOARCH} {
		if err := in.Encode(v); err != nil {
			return "", "", err
		}
	}
	if c.Image != nil { // how images are made is part of this program
		image, err := c.Image.image(nil, runtime.GOARCH)
		if err != nil {
			return "", "", err
		}
		frame, err := image.Digest()
		if err != nil {
			return "", "", err
		}
		fmt.Fprintln(h, frame)
	}
	var files map[string]string
	if c.Local {
		files, err = b.buildLocal(ctx, c)
	} else {
		files, err = b.sources(ctx, c)
	}
	if err != nil {
		return "", "", err
	}
	if err := in.Encode(files); err != nil { // maps are encoded in the order of their keys
		return "", "", err
	}
	digest = hex.EncodeToString(h.Sum(nil))
	if c.Local {
		return digest[:12], digest, nil
	}
	version, _, err = module(ctx, filepath.Join(b.Source, c.Dir), c.Module)
	return version, digest, err
}

// sources are the files that pin a component, and the tools that build it.
func (b *builder) sources(ctx context.Context, c Component) (map[string]string, error) {
	files := map[string]string{"go": b.host.Go}
	if c.CGO || c.CSource != "" {
		files["cc"] = b.host.C
	}
	root := filepath.Join(b.Source, c.Dir)
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		files["./"+rel], err = hashFile(ctx, p)
		return err
	})
	return files, err
}

// buildLocal builds Ashlar itself. Its inputs are the whole repository, so the Go tool's cache is the better judge
// of what changed, and what it built stands for them.
func (b *builder) buildLocal(ctx context.Context, c Component) (map[string]string, error) {
	out := filepath.Join(b.Cache, localDir)
	if err := b.compile(ctx, c, "", out); err != nil {
		return nil, err
	}
	var paths []string
	for _, o := range c.Outputs {
		paths = append(paths, filepath.Join(out, o.Built))
	}
	digests, err := b.record.digests(ctx, paths)
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for p, digest := range digests {
		files[filepath.Base(p)] = digest
	}
	return files, nil
}

// module returns the version of a module as the go.mod in dir resolves it, and the directory of its source.
func module(ctx context.Context, dir, name string) (version, source string, err error) {
	out, err := run(ctx, dir, goEnv(false), "go", "list", "-m", "-json", name)
	if err != nil {
		return "", "", err
	}
	var m struct {
		Version, Dir string
		Replace      *struct{ Version string } // whose Dir is m's
	}
	if err := json.Unmarshal(out, &m); err != nil {
		return "", "", fmt.Errorf("the version of %s: %w", name, err)
	}
	if m.Replace != nil && m.Replace.Version != "" { // a local directory has none
		return m.Replace.Version, m.Dir, nil
	}
	return m.Version, m.Dir, nil
}

// compile builds a component's outputs into a directory.
func (b *builder) compile(ctx context.Context, c Component, version, out string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	// The Go tool works where the next build would sweep, gigabytes in the middle of Kubernetes.
	work, err := os.MkdirTemp(filepath.Join(b.Cache, tmpDir), c.Name+"-work-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) // the next build sweeps
	if c.CSource != "" {
		err = b.compileC(ctx, c, version, out)
	} else {
		_, err = run(ctx, filepath.Join(b.Source, c.Dir), append(goEnv(c.CGO), "GOTMPDIR="+work), "go", goBuild(c, version, out)...)
	}
	if err != nil && c.Needs != "" {
		return fmt.Errorf("building (it needs %s): %w", c.Needs, err)
	}
	if err != nil {
		return fmt.Errorf("building: %w", err)
	}
	return nil
}

func goBuild(c Component, version, out string) []string {
	args := []string{"build", "-trimpath"}
	if c.Tags != "" {
		args = append(args, "-tags", c.Tags)
	}
	if c.LDFlags != "" {
		args = append(args, "-ldflags", expand(c.LDFlags, version))
	}
	return append(append(args, "-o", out+"/"), c.Packages...)
}

func expand(flags, version string) string {
	parts := append(strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3), "", "")
	return strings.NewReplacer("@version@", version, "@major@", parts[0], "@minor@", parts[1]).Replace(flags)
}

// goEnv is the same whatever the caller's environment says: it is no input. The state of the repository that holds
// a component is not to be part of what is built.
func goEnv(cgo bool) []string {
	enabled := "0"
	if cgo {
		enabled = "1"
	}
	return []string{"CGO_ENABLED=" + enabled, "GOOS=linux", "GOARCH=" + runtime.GOARCH, "GOFLAGS=-buildvcs=false", "GOWORK=off"}
}

func (b *builder) compileC(ctx context.Context, c Component, version, out string) error {
	dir := filepath.Join(b.Source, c.Dir)
	if _, err := run(ctx, dir, goEnv(false), "go", "mod", "download", c.Module); err != nil {
		return err
	}
	_, source, err := module(ctx, dir, c.Module)
	if err != nil {
		return err
	}
	_, err = run(ctx, filepath.Join(source, filepath.Dir(c.CSource)), nil, cc(),
		"-Os", "-Wall", "-Werror", "-static", "-s", "-Wl,--build-id=none", "-DVERSION="+version,
		"-o", filepath.Join(out, c.Outputs[0].Built), filepath.Base(c.CSource))
	return err
}

// run runs a command and returns what it wrote to its standard output; an error holds the end of the rest.
func run(ctx context.Context, dir string, env []string, name string, args ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// An interrupted Go tool also ends the compilers that it started.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	// Nor does it outlive this process, and get in the way of its successor. The signal is for the death of the
	// thread that started it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("%s %s in %s: %w\n%s", name, args[0], dir, err, tail(stderr.String(), 20))
	}
	return stdout.Bytes(), nil
}

func tail(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
