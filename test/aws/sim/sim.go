package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	tfjson "github.com/hashicorp/terraform-json"
)

// Module is a copy of a module, with a local state and a world of its own, in which a tool can run.
type Module struct {
	Dir     string // of the copy
	Objects string // the file of what there is in the simulated account
	Tool    string // the path of tofu or terraform

	t      testing.TB
	config string
}

// Option changes how a module is tried.
type Option func(*Module)

// WithTool has another tool run than the bundle's tofu.
func WithTool(path string) Option { return func(m *Module) { m.Tool = path } }

// New copies the module in dir, all below it included, and runs init.
func New(t testing.TB, dir string, options ...Option) *Module {
	t.Helper()
	m := &Module{Dir: filepath.Join(t.TempDir(), filepath.Base(dir)), t: t, config: config(t)}
	m.Objects = filepath.Join(filepath.Dir(m.Dir), "objects.json")
	for _, o := range options {
		o(m)
	}
	if m.Tool == "" {
		m.Tool = Tofu(t)
	}
	if err := os.CopyFS(m.Dir, os.DirFS(dir)); err != nil {
		t.Fatalf("copying the module %s: %v", dir, err)
	}
	local := "terraform {\n  backend \"local\" {}\n}\n"
	if err := os.WriteFile(filepath.Join(m.Dir, "sim_override.tf"), []byte(local), 0o600); err != nil {
		t.Fatal(err)
	}
	m.MustRun("init", "-input=false", "-no-color")
	return m
}

var shared = sync.OnceValues(func() (string, error) {
	if c := os.Getenv("ASHLAR_AWS_CLI_CONFIG"); c != "" {
		return c, nil
	}
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("ashlar-aws-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	return Setup(ctx, dir)
})

// config is the CLI configuration of this process, made once.
func config(t testing.TB) string {
	t.Helper()
	c, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Tofu finds the bundle's tofu: ASHLAR_TOFU, or that of the bundle which `bin/ashlar bundle path` names, or one in PATH.
func Tofu(t testing.TB) string {
	t.Helper()
	if p := os.Getenv("ASHLAR_TOFU"); p != "" {
		return p
	}
	for dir := "."; len(dir) < 32; dir += "/.." {
		if out, err := exec.CommandContext(t.Context(), dir+"/bin/ashlar", "bundle", "path").Output(); err == nil {
			if p := filepath.Join(strings.TrimSpace(string(out)), "bin", "tofu"); exists(p) {
				return p
			}
		}
	}
	p, err := exec.LookPath("tofu")
	if err != nil {
		t.Fatal("there is no tofu: run `make bundle`, or name one in ASHLAR_TOFU")
	}
	return p
}

// Terraform finds terraform in PATH, if it is there.
func Terraform() (string, bool) {
	p, err := exec.LookPath("terraform")
	return p, err == nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Run runs the tool and returns what it printed; an error holds what it complained of.
func (m *Module) Run(args ...string) (string, error) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, m.Tool, args...)
	cmd.Dir = m.Dir
	cmd.Env = append(os.Environ(), "TF_CLI_CONFIG_FILE="+m.config, "TF_IN_AUTOMATION=1", "ASHLAR_AWS_OBJECTS="+m.Objects)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", filepath.Base(m.Tool), args[0], err, stderr.String())
	}
	return stdout.String(), err
}

// MustRun is Run where a failure ends the test.
func (m *Module) MustRun(args ...string) string {
	m.t.Helper()
	out, err := m.Run(args...)
	if err != nil {
		m.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// Validate runs validate.
func (m *Module) Validate() error {
	_, err := m.Run("validate", "-no-color")
	return err
}

// Plan runs plan with values of variables, which may be nil, and returns the plan.
func (m *Module) Plan(vars map[string]any, args ...string) (*tfjson.Plan, error) {
	m.t.Helper()
	text, err := m.PlanJSON(vars, args...)
	if err != nil {
		return nil, err
	}
	plan := &tfjson.Plan{}
	return plan, plan.UnmarshalJSON(text)
}

// PlanJSON is Plan as `show -json` prints it.
func (m *Module) PlanJSON(vars map[string]any, args ...string) ([]byte, error) {
	m.t.Helper()
	with, err := m.vars(vars)
	if err != nil {
		return nil, err
	}
	if _, err := m.Run(append(append([]string{"plan", "-input=false", "-no-color", "-out=plan.bin"}, with...), args...)...); err != nil {
		return nil, err
	}
	out, err := m.Run("show", "-json", "plan.bin")
	return []byte(out), err
}

// Apply plans and applies, and returns the state.
func (m *Module) Apply(vars map[string]any) (*tfjson.State, error) {
	m.t.Helper()
	with, err := m.vars(vars)
	if err != nil {
		return nil, err
	}
	if _, err := m.Run(append([]string{"apply", "-input=false", "-no-color", "-auto-approve"}, with...)...); err != nil {
		return nil, err
	}
	out, err := m.Run("show", "-json")
	if err != nil {
		return nil, err
	}
	state := &tfjson.State{}
	return state, state.UnmarshalJSON([]byte(out))
}

// Destroy destroys everything. It fails if the world is not then as it was without the module.
func (m *Module) Destroy(vars map[string]any) error {
	m.t.Helper()
	with, err := m.vars(vars)
	if err != nil {
		return err
	}
	_, err = m.Run(append([]string{"destroy", "-input=false", "-no-color", "-auto-approve"}, with...)...)
	return err
}

func (m *Module) vars(vars map[string]any) ([]string, error) {
	if vars == nil {
		return nil, nil
	}
	text, err := json.Marshal(vars)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(filepath.Dir(m.Dir), "vars.tfvars.json")
	return []string{"-var-file=" + path}, os.WriteFile(path, text, 0o600)
}

// Changes are the addresses of what a plan would do anything to, with what that is: "create", "update", "replace", "delete".
func Changes(p *tfjson.Plan) map[string]string {
	out := map[string]string{}
	for _, c := range p.ResourceChanges {
		switch a := c.Change.Actions; {
		case a.Replace():
			out[c.Address] = "replace"
		case !a.NoOp() && !a.Read():
			out[c.Address] = string(a[0])
		}
	}
	return out
}

// Object is an object of the simulated account.
type Object map[string]any

// World reads the objects of the simulated account, by type and id.
func (m *Module) World() (map[string]map[string]Object, error) {
	all := map[string]map[string]Object{}
	text, err := os.ReadFile(m.Objects)
	if errors.Is(err, os.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	return all, json.Unmarshal(text, &all)
}

// Change changes objects of the simulated account behind tofu's back.
func (m *Module) Change(do func(map[string]map[string]Object)) error {
	all, err := m.World()
	if err != nil {
		return err
	}
	do(all)
	text, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(m.Objects, text, 0o600)
}
