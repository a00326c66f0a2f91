package aws

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/terraform-exec/tfexec"
	tfjson "github.com/hashicorp/terraform-json"
)

const (
	variablesFile = "ashlar.auto.tfvars.json"
	planFile      = "ashlar.tfplan"
	localState    = "ashlar_override.tf" // says that there is no bucket yet
	// goodbye is how long OpenTofu may take to write down what it has made, when it is interrupted.
	goodbye     = 2 * time.Minute
	lockTimeout = "20s"
)

// oldest is the first version, of OpenTofu and of Terraform, that locks a state in S3 by itself.
var oldest = version.Must(version.NewVersion("1.10.0"))

// program is what drives the modules: the bundle's tofu, or one that is installed, or terraform.
func (p *Provider) program() (string, error) {
	if p.Tofu != "" {
		return p.Tofu, nil
	}
	if own := filepath.Join(p.Bundle, "bin", "tofu"); isFile(own) {
		return own, nil
	}
	for _, name := range []string{"tofu", "terraform"} {
		if found, err := exec.LookPath(name); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("there is no tofu in the bundle %s, and neither tofu nor terraform is installed: run `make bundle`, or install one", p.Bundle)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// open prepares a directory in which OpenTofu knows the modules, the variables and where the state is: in its bucket, or nowhere yet.
// A caller holds mu.
func (p *Provider) open(ctx context.Context, variables []byte, state bool) (*tfexec.Terraform, error) {
	program, err := p.program()
	if err != nil {
		return nil, err
	}
	dir := p.workDir()
	if err := writeModules(dir, p.Modules, variables, state); err != nil {
		return nil, fmt.Errorf("write the modules to %s: %w", dir, err)
	}
	if err := os.MkdirAll(p.Plugins, 0o700); err != nil {
		return nil, err
	}
	tf, err := tfexec.NewTerraform(dir, program)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", program, err)
	}
	if err := tf.SetEnv(environment(p.Plugins, p.region())); err != nil {
		return nil, err
	}
	if err := tf.SetWaitDelay(goodbye); err != nil {
		return nil, err
	}
	var options []tfexec.InitOption
	key := program
	if state {
		bucket, err := p.bucket(ctx, "state")
		if err != nil {
			return nil, err
		}
		for _, setting := range []string{"bucket=" + bucket, "key=" + p.stateKey(), "region=" + p.region(), "encrypt=true", "use_lockfile=true"} {
			options = append(options, tfexec.BackendConfig(setting))
			key += "\n" + setting
		}
		if p.ownState() {
			arn, err := p.stateKeyARN(ctx)
			if err != nil {
				return nil, err
			}
			options = append(options, tfexec.BackendConfig("kms_key_id="+arn))
		}
	}
	if p.ready == key {
		return tf, nil
	}
	if err := checkVersion(ctx, tf, program); err != nil {
		return nil, err
	}
	if err := tf.Init(ctx, append(options, tfexec.Reconfigure(true))...); err != nil {
		return nil, fmt.Errorf("prepare OpenTofu in %s: %w", dir, explain(err))
	}
	p.ready = key
	return tf, nil
}

func checkVersion(ctx context.Context, tf *tfexec.Terraform, program string) error {
	have, _, err := tf.Version(ctx, true)
	if err != nil {
		return fmt.Errorf("ask %s for its version: %w", program, err)
	}
	if have.LessThan(oldest) {
		return fmt.Errorf("%s is %s, which cannot lock a state in S3: install %s or newer", program, have, oldest)
	}
	return nil
}

// environment is the operator's, without what would change what is asked of OpenTofu.
func environment(plugins, region string) map[string]string {
	env := map[string]string{}
	for _, e := range os.Environ() {
		if key, value, ok := strings.Cut(e, "="); ok {
			env[key] = value
		}
	}
	env = tfexec.CleanEnv(env)
	if file := env["TF_CLI_CONFIG_FILE"]; file != "" && !isFile(file) {
		delete(env, "TF_CLI_CONFIG_FILE") // what it says about that would be among what we read
	}
	env["AWS_REGION"] = region
	if env["TF_PLUGIN_CACHE_DIR"] == "" {
		env["TF_PLUGIN_CACHE_DIR"] = plugins
	}
	return env
}

// writeModules makes a directory hold just these modules; what OpenTofu itself keeps there stays.
func writeModules(dir string, modules fs.FS, variables []byte, state bool) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	old, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range old {
		name := e.Name()
		if !strings.HasPrefix(name, ".terraform") && name != planFile && (name != variablesFile || variables != nil) {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	err = fs.WalkDir(modules, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !ofModule(path) {
			return err
		}
		content, err := fs.ReadFile(modules, path)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		return os.WriteFile(to, content, 0o600)
	})
	if err == nil && !state {
		err = os.WriteFile(filepath.Join(dir, localState), []byte("terraform {\n  backend \"local\" {}\n}\n"), 0o600)
	}
	if err == nil && variables != nil {
		err = os.WriteFile(filepath.Join(dir, variablesFile), variables, 0o600)
	}
	return err
}

// ofModule says whether a file is OpenTofu's to read, and not a person's.
func ofModule(path string) bool {
	return !strings.HasSuffix(path, ".md") && !strings.HasSuffix(path, ".go")
}

// plan finds out what would change. The plan is kept for the apply that follows. A caller holds mu.
func (p *Provider) plan(ctx context.Context, v Variables) (*planned, error) {
	variables, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, err
	}
	state, err := p.hasState(ctx)
	if err != nil {
		return nil, err
	}
	tf, err := p.open(ctx, variables, state)
	if err != nil {
		return nil, err
	}
	if p.Unlock != "" && state {
		if err := tf.ForceUnlock(ctx, p.Unlock); err != nil {
			return nil, fmt.Errorf("take the lock %s off the state: %w", p.Unlock, explain(err))
		}
		p.Unlock = ""
	}
	if _, err := tf.Plan(ctx, tfexec.Out(planFile), tfexec.LockTimeout(lockTimeout)); err != nil {
		return nil, fmt.Errorf("plan the machines and their network: %w", explain(err))
	}
	plan, err := tf.ShowPlanFile(ctx, planFile)
	if err != nil {
		return nil, fmt.Errorf("read the plan: %w", explain(err))
	}
	sum := sha256.Sum256(variables)
	p.planned = &planned{variables: hex.EncodeToString(sum[:]), file: planFile, plan: plan}
	p.outputs, err = plannedOutputs(plan)
	return p.planned, err
}

// apply does what was planned, and nothing else. A caller holds mu.
func (p *Provider) apply(ctx context.Context, file string) error {
	tf, err := p.open(ctx, nil, true)
	if err == nil {
		err = explain(tf.Apply(ctx, tfexec.DirOrPlan(file), tfexec.LockTimeout(lockTimeout)))
	}
	p.outputs, p.planned, p.heard = nil, nil, nil
	return err
}

// readOutputs asks the state what there is. A caller holds mu.
func (p *Provider) readOutputs(ctx context.Context) (*Outputs, error) {
	if p.outputs != nil {
		return p.outputs, nil
	}
	state, err := p.hasState(ctx)
	if err != nil || !state {
		return &Outputs{}, err
	}
	tf, err := p.open(ctx, nil, true)
	if err != nil {
		return nil, err
	}
	have, err := tf.Output(ctx)
	if err != nil {
		return nil, fmt.Errorf("read what there is from the state: %w", explain(err))
	}
	values := map[string]json.RawMessage{}
	for name, o := range have {
		values[name] = o.Value
	}
	p.outputs, err = decodeOutputs(values)
	return p.outputs, err
}

// plannedOutputs are those of the state that a plan began from.
func plannedOutputs(plan *tfjson.Plan) (*Outputs, error) {
	values := map[string]json.RawMessage{}
	if plan.PriorState != nil && plan.PriorState.Values != nil {
		for name, o := range plan.PriorState.Values.Outputs {
			b, err := json.Marshal(o.Value)
			if err != nil {
				return nil, err
			}
			values[name] = b
		}
	}
	return decodeOutputs(values)
}

// explain finds in what OpenTofu said what a person has to know, and what there is to do about it.
func explain(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if lock, locked := readLock(text); locked {
		return lock
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("interrupted; what is there already is in the state, and the next `ashlar up` goes on from it: %w", err)
	}
	return errors.New(strings.TrimSpace(string(bytes.ToValidUTF8([]byte(unframed(text)), []byte("?")))))
}

// unframed is a message without the frame that OpenTofu draws around it.
func unframed(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(strings.TrimLeft(line, "│╷╵ "), " \n")
		if line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}
