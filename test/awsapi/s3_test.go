package awsapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const stateKey = "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-4333-8444-555555555555"

// A real tofu keeps its state in the stand-in, encrypted and with old versions kept.
func TestS3Backend(t *testing.T) {
	c := stateCloud(t)
	w := newWork(t, c)
	w.must("init", "-input=false")
	w.must("apply", "-input=false", "-auto-approve", "-var=value=one")
	w.must("apply", "-input=false", "-auto-approve", "-var=value=two")
	var state struct {
		Outputs map[string]struct{ Value string }
	}
	text, there := c.Object("demo-state", "demo/terraform.tfstate")
	if err := json.Unmarshal(text, &state); err != nil || state.Outputs["value"].Value != "two" {
		t.Errorf("the state is there: %v, and is %s (%v)", there, text, err)
	}
	if _, there := c.Object("demo-state", "demo/terraform.tfstate.tflock"); there {
		t.Error("the lock is still there")
	}
	versions := 0
	c.Change(func(c *Cloud) {
		for _, v := range c.Buckets["demo-state"].objects["demo/terraform.tfstate"] {
			versions++
			if got := v.header.Get(kmsHeader); got != stateKey {
				t.Errorf("version %s is encrypted with %q, want %q", v.id, got, stateKey)
			}
		}
	})
	if versions < 2 {
		t.Errorf("%d versions are kept, want that of each apply", versions)
	}
}

// While one works on the state, another is refused, and is told of the first.
func TestS3Lock(t *testing.T) {
	c := stateCloud(t)
	first, second := newWork(t, c), newWork(t, c)
	first.must("init", "-input=false")
	second.must("init", "-input=false")
	first.pause(t)
	done := make(chan error, 1)
	go func() {
		_, err := first.run("apply", "-input=false", "-auto-approve", "-var=value=first")
		done <- err
	}()
	release := first.paused(t, done)
	_, err := second.run("apply", "-input=false", "-auto-approve", "-var=value=second")
	if err == nil || !strings.Contains(err.Error(), "Error acquiring the state lock") || !strings.Contains(err.Error(), "OperationTypeApply") {
		t.Errorf("a second apply at the same time: %v, want it to be refused for the first one's lock", err)
	}
	release()
	if err := <-done; err != nil {
		t.Fatalf("the first apply, which had the lock: %v", err)
	}
	second.must("apply", "-input=false", "-auto-approve", "-var=value=second")
}

// Who has not the secret gets nothing, and nothing is taken that is not encrypted as the bucket wants it.
func TestS3Refuses(t *testing.T) {
	c := stateCloud(t)
	w := newWork(t, c)
	w.must("init", "-input=false")
	w.env = append(w.env, "AWS_SECRET_ACCESS_KEY=of-somebody-else")
	if _, err := w.run("plan", "-input=false", "-var=value=x"); err == nil || !strings.Contains(err.Error(), "SignatureDoesNotMatch") {
		t.Errorf("with another secret: %v, want SignatureDoesNotMatch", err)
	}
	open := newWork(t, c)
	open.must("init", "-input=false", "-reconfigure", "-backend-config=kms_key_id="+strings.Replace(stateKey, "1111", "9999", 1))
	if _, err := open.run("apply", "-input=false", "-auto-approve", "-var=value=x"); err == nil || !strings.Contains(err.Error(), "must be encrypted with "+stateKey) {
		t.Errorf("with another key: %v, want it to be refused", err)
	}
}

func stateCloud(t *testing.T) *Cloud {
	t.Helper()
	c, stop := Serve("111122223333", "eu-central-1")
	t.Cleanup(stop)
	c.Change(func(c *Cloud) {
		c.Buckets = map[string]*Bucket{"demo-state": {Key: stateKey, Settings: map[string]string{
			"versioning": "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
		}}}
	})
	return c
}

// work is a directory in which tofu runs.
type work struct {
	t    *testing.T
	tofu string
	dir  string
	env  []string
}

func newWork(t *testing.T, c *Cloud) *work {
	t.Helper()
	tofu := os.Getenv("ASHLAR_TOFU")
	if b := os.Getenv("ASHLAR_TEST_BUNDLE"); b != "" && tofu == "" {
		tofu = filepath.Join(b, "bin", "tofu")
	}
	if tofu == "" {
		t.Skip("needs tofu: set ASHLAR_TEST_BUNDLE, as make does")
	}
	w := &work{t: t, tofu: tofu, dir: t.TempDir()}
	w.env = append(append(os.Environ(), c.Environment()...), "AWS_ENDPOINT_URL="+c.URL(), "TF_IN_AUTOMATION=1", "CHECKPOINT_DISABLE=1", "TF_CLI_ARGS=-no-color")
	w.write(fmt.Sprintf(`
terraform {
  backend "s3" {
    bucket       = "demo-state"
    key          = "demo/terraform.tfstate"
    region       = "eu-central-1"
    encrypt      = true
    kms_key_id   = %q
    use_lockfile = true
  }
}

variable "value" {
  type = string
}

output "value" {
  value = var.value
}
`, stateKey))
	return w
}

func (w *work) write(text string) {
	w.t.Helper()
	name := filepath.Join(w.dir, fmt.Sprintf("%d.tf", len(text)))
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *work) run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.tofu, args...)
	cmd.Dir, cmd.Env = w.dir, w.env
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("tofu %s: %w\n%s", args[0], err, strings.Join(strings.Fields(problems.String()), " "))
	}
	return out.String(), nil
}

func (w *work) must(args ...string) {
	w.t.Helper()
	if out, err := w.run(args...); err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
}

// pause has apply stop in its middle, where it says so in one pipe and waits for another.
func (w *work) pause(t *testing.T) {
	t.Helper()
	for _, pipe := range []string{"begun", "go-on"} {
		if err := syscall.Mkfifo(filepath.Join(w.dir, pipe), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.write(`
resource "terraform_data" "pause" {
  provisioner "local-exec" {
    command = "echo > begun && cat go-on"
  }
}
`)
}

// paused waits until apply is in its middle, and returns what has it go on.
func (w *work) paused(t *testing.T, done <-chan error) (release func()) {
	t.Helper()
	begun := make(chan error, 1)
	go func() {
		_, err := os.ReadFile(filepath.Join(w.dir, "begun"))
		begun <- err
	}()
	select {
	case err := <-begun:
		if err != nil {
			t.Fatal(err)
		}
	case err := <-done:
		t.Fatalf("the first apply ended before its middle: %v", err)
	}
	return func() {
		if err := os.WriteFile(filepath.Join(w.dir, "go-on"), nil, 0o600); err != nil {
			t.Error(err)
		}
	}
}
