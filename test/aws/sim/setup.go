// Package sim runs the real tofu, or terraform, against the stand-in for AWS's provider.
package sim

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"ashlar.dev/ashlar/test/aws/schema"
)

// Setup builds the provider into dir, laid out as a mirror of both registries, and writes a CLI configuration that has
// providers come from there and from nowhere else. It returns that configuration's path, for TF_CLI_CONFIG_FILE. The
// working directory must be in this module. What was set up for the same provider stays as it is, since somebody may be
// using it.
func Setup(ctx context.Context, dir string) (config string, err error) {
	s, err := schema.Load()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	next, err := os.MkdirTemp(dir, "next-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(next)
	name := "terraform-provider-aws_v" + s.Version
	digest, err := build(ctx, filepath.Join(next, name))
	if err != nil {
		return "", err
	}
	final := filepath.Join(dir, digest[:12])
	config = filepath.Join(final, "tofu.rc")
	for _, registry := range []string{"registry.opentofu.org", "registry.terraform.io"} {
		to := filepath.Join(next, "mirror", registry, "hashicorp", "aws", s.Version, runtime.GOOS+"_"+runtime.GOARCH)
		if err := os.MkdirAll(to, 0o755); err != nil {
			return "", err
		}
		if err := os.Link(filepath.Join(next, name), filepath.Join(to, name)); err != nil {
			return "", err
		}
	}
	text := fmt.Sprintf(settings, filepath.Join(final, "mirror"))
	if err := os.WriteFile(filepath.Join(next, "tofu.rc"), []byte(text), 0o644); err != nil {
		return "", err
	}
	if err := os.Rename(next, final); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("putting the stand-in for AWS's provider in its place: %w", err)
	}
	return config, nil
}

const settings = `disable_checkpoint = true

provider_installation {
  filesystem_mirror {
    path = %q
  }
}
`

// build builds the provider, and returns the digest of what it built.
func build(ctx context.Context, path string) (digest string, err error) {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", path, "ashlar.dev/ashlar/test/aws/cmd/provider")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the stand-in for AWS's provider: %w\n%s", err, out)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:]), nil
}

// place is where tests set up: bin/aws of the repository.
func place(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "ashlar.dev/ashlar/test/aws").Output()
	if err != nil {
		return "", fmt.Errorf("finding the module of the stand-in for AWS's provider: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "..", "..", "bin", "aws"), nil
}
