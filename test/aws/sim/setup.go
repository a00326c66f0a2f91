// Package sim runs the real tofu, or terraform, against the stand-in for AWS's provider.
package sim

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"ashlar.dev/ashlar/test/aws/schema"
)

// Setup builds the provider into dir, laid out as a mirror of both registries, and writes a CLI configuration that has
// providers come from there and from nowhere else. It returns that configuration's path, for TF_CLI_CONFIG_FILE. The
// working directory must be in this module.
func Setup(ctx context.Context, dir string) (config string, err error) {
	s, err := schema.Load()
	if err != nil {
		return "", err
	}
	mirror := filepath.Join(dir, "mirror")
	built := filepath.Join(dir, "terraform-provider-aws_v"+s.Version)
	cmd := exec.CommandContext(ctx, "go", "build", "-o", built, "ashlar.dev/ashlar/test/aws/cmd/provider")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the stand-in for AWS's provider: %w\n%s", err, out)
	}
	for _, registry := range []string{"registry.opentofu.org", "registry.terraform.io"} {
		to := filepath.Join(mirror, registry, "hashicorp", "aws", s.Version, runtime.GOOS+"_"+runtime.GOARCH)
		if err := os.MkdirAll(to, 0o755); err != nil {
			return "", err
		}
		at := filepath.Join(to, filepath.Base(built))
		if err := os.RemoveAll(at); err != nil {
			return "", err
		}
		if err := os.Link(built, at); err != nil {
			return "", err
		}
	}
	config = filepath.Join(dir, "tofu.rc")
	text := fmt.Sprintf("disable_checkpoint = true\n\nprovider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", mirror)
	return config, os.WriteFile(config, []byte(text), 0o644)
}
