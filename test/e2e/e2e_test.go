// Package e2e tells the story of a cluster, on real ones: the tests run in the order of their files' numbers, share
// one cluster where they can, and each leaves it as found.
//
// ASHLAR names the binary (`make e2e` sets it). With ASHLAR_KEEP=1 the cluster stays when the tests end, and the next
// run uses it; ASHLAR_NAME and ASHLAR_CIDR choose another cluster than "e2e".
package e2e

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/phase"
)

var (
	binary = os.Getenv("ASHLAR")
	name   = cmp.Or(os.Getenv("ASHLAR_NAME"), "e2e")
	slow   = os.Getenv("ASHLAR_SLOW") != ""
	// file is the shared cluster's.
	file string
)

const timeout = 5 * time.Minute

func TestMain(m *testing.M) {
	if binary == "" || os.Geteuid() != 0 {
		fmt.Println("end-to-end tests need root and the binary: run `make e2e`")
		os.Exit(1)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ashlar-e2e-")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir)
	file = filepath.Join(dir, "cluster.yaml")
	if err := os.WriteFile(file, []byte(clusterFile(name)), 0o600); err != nil {
		fmt.Println(err)
		return 1
	}
	if out, code := try("up", "-f", file); code != 0 {
		fmt.Printf("bring up the shared cluster: exit %d\n%s", code, out)
		return 1
	}
	code := m.Run()
	if os.Getenv("ASHLAR_KEEP") == "" {
		if out, c := try("down", "-f", file); c != 0 {
			fmt.Printf("remove the shared cluster: exit %d\n%s", c, out)
			code = max(code, 1)
		}
	}
	return code
}

// clusterFile is a small cluster: two workers, one of everything else, and a service that some of the internet may reach.
func clusterFile(name string) string {
	return fmt.Sprintf(`apiVersion: ashlar.dev/v1alpha1
kind: Cluster
metadata: {name: %s}
spec:
  provider: {local: {}}
  pools:
  - {name: control-plane, role: control-plane, count: 1}
  - {name: worker, role: worker, count: 2}
  - {name: bastion, role: bastion, count: 1}
  exposure:
    trustedCIDRs: [198.51.100.0/24]
    services: [{name: web, port: 443, pool: worker, targetPort: 30443}]
`, name)
}

// try runs the binary and returns all it wrote, and its exit code.
func try(args ...string) (string, int) { return tryWith("", args...) }

// tryWith is try with something on standard input.
func tryWith(stdin string, args ...string) (string, int) { return tryAll(timeout, stdin, args...) }

// tryFor is try with more time.
func tryFor(limit time.Duration, args ...string) (string, int) { return tryAll(limit, "", args...) }

func tryAll(limit time.Duration, stdin string, args ...string) (string, int) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return out.String(), 0
	case errors.As(err, &exit):
		return out.String(), exit.ExitCode()
	default:
		return err.Error(), -1
	}
}

// ashlar runs the binary on the shared cluster and expects it to succeed.
func ashlar(t *testing.T, args ...string) string {
	t.Helper()
	out, code := try(append([]string{"-f", file}, args...)...)
	if code != 0 {
		t.Fatalf("ashlar %v: exit %d\n%s", args, code, out)
	}
	return out
}

// kubectl runs kubectl as the administrator.
func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return ashlar(t, append([]string{"kubectl", "--"}, args...)...)
}

// open opens the shared cluster from inside this process, for what the commands do not show.
func open(t *testing.T) *phase.Cluster {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := v1alpha1.Decode(b, file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := phase.Open(spec, phase.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// target is the shared cluster as claims attack it.
func target(t *testing.T) *claim.Target {
	t.Helper()
	target, err := phase.Target(t.Context(), open(t))
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// eventually tries f until it succeeds, or the time is over.
func eventually(t *testing.T, within time.Duration, f func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %v", within, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
