package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"ashlar.dev/ashlar/internal/selinux"
	"ashlar.dev/ashlar/internal/unit"
)

var checks = []check{
	{"the kernel enforces", enforces},
	{"the agent brings up containerd", brought},
	{"containerd runs in the domain of a runtime", inDomain},
	{"our files and sockets have their labels", labelled},
	{"pods start", start},
	{"each pod has a pair of its own", apart},
	{"a pod reads its own file", own},
	{"a neighbour does not, though the file's mode lets all", neighbour},
	{"the denial is in the audit log", audited},
	{"a pod with the same level reads it", sameLevel},
	{"no pod reads what is the machine's", hosts},
	{"a privileged pod does", privileged},
	{"an undeclared privileged pod is noticed", undeclared},
	{"after a restart of containerd a new pod's pair is new", restarted},
	{"a label that was taken away comes back", repaired},
	{"nothing of ours was refused", undisturbed},
	{"sabotage: permissive is noticed", permissive},
}

func look(ctx context.Context) (r selinux.Report, err error) {
	out, err := exec.CommandContext(ctx, unit.Bin+"/ashlar", "probe", "selinux").Output()
	if err != nil {
		return r, fmt.Errorf("ashlar probe selinux: %w", err)
	}
	return r, json.Unmarshal(out, &r)
}

func enforces(ctx context.Context, _ *machine) error {
	r, err := look(ctx)
	if err == nil && (r.Mode != selinux.Enforcing || r.Policy != "default") {
		err = fmt.Errorf("%s, policy %s", r.Mode, r.Policy)
	}
	return err
}

func (m *machine) up(ctx context.Context) error {
	return until(ctx, 2*time.Minute, func() error {
		_, err := m.Version(ctx, &cri.VersionRequest{})
		return err
	})
}

func brought(ctx context.Context, m *machine) error {
	if err := m.up(ctx); err != nil {
		return err
	}
	if err := until(ctx, 2*time.Minute, func() error { // the agent's own images
		for _, name := range []string{"image-pause", "image-coredns"} {
			var record struct{ Done bool }
			b, err := os.ReadFile("/run/ashlar/units/" + name + ".json")
			if err == nil {
				err = json.Unmarshal(b, &record)
			}
			if err == nil && !record.Done {
				err = fmt.Errorf("unit %s has not run", name)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	b, err := exec.CommandContext(ctx, unit.Bin+"/ctr", "--namespace=k8s.io", "images", "import", "--local", "--index-name="+image, unit.ImagesDir+"/ashlar.tar").CombinedOutput()
	if err != nil {
		return fmt.Errorf("import the probe's image: %w: %s", err, b)
	}
	return nil
}

func containerd() (pid int, context selinux.Context, err error) {
	var record struct{ PID int }
	b, err := os.ReadFile("/run/ashlar/units/containerd.json")
	if err == nil {
		err = json.Unmarshal(b, &record)
	}
	if err != nil {
		return 0, context, err
	}
	if b, err = os.ReadFile(fmt.Sprintf("/proc/%d/attr/current", record.PID)); err != nil {
		return 0, context, err
	}
	context, err = selinux.Parse(string(b))
	return record.PID, context, err
}

func inDomain(context.Context, *machine) error {
	_, c, err := containerd()
	if err == nil && c.Type != "dockerd_t" {
		err = fmt.Errorf("it is %s", c)
	}
	return err
}

// typeOf is that of a file.
func typeOf(path string) (string, error) {
	b := make([]byte, 256)
	n, err := unix.Lgetxattr(path, "security.selinux", b)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	c, err := selinux.Parse(string(b[:n]))
	return c.Type, err
}

func labelled(context.Context, *machine) error {
	var errs []error
	for path, want := range map[string]string{
		unit.Bin + "/ashlar":                  "bin_t",
		unit.Bin + "/containerd":              "dockerd_exec_t",
		unit.Bin + "/containerd-shim-runc-v2": "dockerd_exec_t",
		unit.Bin + "/runc":                    "container_engine_exec_t",
		"/opt/ashlar/bundle/cni/loopback":     "container_plugin_t",
		unit.BootFile:                         "container_engine_cache_t",
		"/run/ashlar/units/containerd.json":   "container_engine_cache_t",
		"/var/lib/ashlar":                     "container_engine_cache_t",
		"/var/log/ashlar/containerd.log":      "container_engine_cache_t",
		"/etc/hosts":                          "net_conf_t",
		"/etc/containerd/config.toml":         "container_config_t",
		"/run/containerd/containerd.sock":     "container_runtime_t",
		"/var/lib/containerd":                 "container_var_lib_t",
		"/var/lib/kubelet/pods":               "container_file_t",
	} {
		have, err := typeOf(path)
		if err == nil && have != want {
			err = fmt.Errorf("%s is %s, not %s", path, have, want)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

const (
	shared = "/srv/shared"
	secret = "what-is-a's"
)

// ours are files and a socket of the machine's, where pods that mount its root find them.
var ours = []string{"/host" + unit.BootFile, "/host/run/ashlar/units/containerd.json", "/host/var/log/ashlar/containerd.log", "/host/etc/shadow",
	"/host/run/containerd/containerd.sock"}

func start(ctx context.Context, m *machine) error {
	if err := os.MkdirAll(shared, 0o777); err != nil {
		return err
	}
	if err := os.Chmod(shared, 0o777); err != nil { //nolint:gosec // its mode is not what keeps pods apart
		return err
	}
	if err := unix.Setxattr(shared, "security.selinux", []byte("system_u:object_r:container_file_t:s0\x00"), 0); err != nil {
		return err
	}
	mounts := []mount{{shared, "/shared"}, {"/", "/host"}}
	for _, p := range []pod{{name: "a"}, {name: "b"}, {name: "privileged", privileged: true}} {
		if err := m.start(ctx, p, mounts); err != nil {
			return err
		}
	}
	// The first two are containers of pods before anything is read.
	return until(ctx, time.Minute, func() error {
		_, err := os.Stat(shared + "/a")
		return err
	})
}

func (m *machine) start(ctx context.Context, p pod, mounts []mount) error {
	p, err := m.run(ctx, p, mounts, "hold", "/shared/"+p.name, secret)
	m.pods[p.name] = p
	return err
}

// declared is what the checks made.
func (m *machine) declared() map[string]selinux.Container {
	out := map[string]selinux.Container{}
	for _, p := range m.pods {
		out[p.container] = selinux.Container{Pod: p.name, Name: "probe", Privileged: p.privileged, Level: p.level}
	}
	return out
}

func (m *machine) context(ctx context.Context, name string) (selinux.Context, error) {
	r, err := look(ctx)
	if err != nil {
		return selinux.Context{}, err
	}
	i := slices.IndexFunc(r.Processes, func(p selinux.Process) bool { return p.Container == m.pods[name].container })
	if i < 0 {
		return selinux.Context{}, fmt.Errorf("pod %s has no process", name)
	}
	return r.Processes[i].Context, nil
}

// broken is what Judge says does not hold.
func broken(ctx context.Context, declared map[string]selinux.Container) ([]string, int, error) {
	r, err := look(ctx)
	if err != nil {
		return nil, 0, err
	}
	var out []string
	all := selinux.Judge(r, declared)
	for _, f := range all {
		if !f.Held {
			out = append(out, f.What+": "+f.Answer)
		}
	}
	return out, len(all), nil
}

func apart(ctx context.Context, m *machine) error {
	out, n, err := broken(ctx, m.declared())
	if err == nil && (len(out) > 0 || n < 1+len(m.pods)) {
		err = fmt.Errorf("of %d findings do not hold: %s", n, strings.Join(out, "; "))
	}
	return err
}

func (m *machine) reads(ctx context.Context, name, path string) error {
	all, err := m.read(ctx, m.pods[name], path)
	if err == nil && (all[path].Refusal != "" || all[path].Words != secret) {
		err = fmt.Errorf("pod %s: %+v", name, all[path])
	}
	return err
}

// refused must all be EACCES, which is SELinux': pods are root, and what they ask for exists.
func (m *machine) refused(ctx context.Context, name string, paths ...string) error {
	all, err := m.read(ctx, m.pods[name], paths...)
	for _, p := range paths {
		if err == nil && !strings.HasSuffix(all[p].Refusal, "permission denied") {
			err = fmt.Errorf("pod %s: %+v", name, all[p])
		}
	}
	return err
}

func own(ctx context.Context, m *machine) error       { return m.reads(ctx, "a", "/shared/a") }
func neighbour(ctx context.Context, m *machine) error { return m.refused(ctx, "b", "/shared/a") }

func audited(ctx context.Context, m *machine) error {
	a, errA := m.context(ctx, "a")
	b, errB := m.context(ctx, "b")
	if err := errors.Join(errA, errB); err != nil {
		return err
	}
	file := selinux.Context{Type: "container_file_t", Level: a.Level}
	return until(ctx, time.Minute, func() error {
		r, err := look(ctx)
		if err == nil && !slices.ContainsFunc(r.Denials, func(d selinux.Denial) bool {
			return d.Explains(b, file, "read") || d.Explains(b, file, "getattr")
		}) {
			err = fmt.Errorf("of %d denials none is %s reading %s", len(r.Denials), b, file)
		}
		return err
	})
}

func sameLevel(ctx context.Context, m *machine) error {
	a, err := m.context(ctx, "a")
	if err != nil {
		return err
	}
	if err := m.start(ctx, pod{name: "kin", level: a.Level}, []mount{{shared, "/shared"}}); err != nil {
		return err
	}
	if err := m.reads(ctx, "kin", "/shared/a"); err != nil {
		return err
	}
	return apart(ctx, m)
}

func hosts(ctx context.Context, m *machine) error { return m.refused(ctx, "b", ours...) }

func privileged(ctx context.Context, m *machine) error {
	all, err := m.read(ctx, m.pods["privileged"], ours...)
	for path, r := range all {
		if r.Refusal != "" {
			return fmt.Errorf("%s: %s", path, r.Refusal)
		}
	}
	return err
}

func undeclared(ctx context.Context, m *machine) error {
	declared := m.declared()
	id := m.pods["privileged"].container
	declared[id] = selinux.Container{Pod: "privileged", Name: "probe"}
	out, _, err := broken(ctx, declared)
	if err == nil && len(out) != 1 {
		err = fmt.Errorf("%d findings: %s", len(out), strings.Join(out, "; "))
	}
	return err
}

func restarted(ctx context.Context, m *machine) error {
	pid, _, err := containerd()
	if err != nil {
		return err
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		return err
	}
	if err := until(ctx, time.Minute, func() error {
		again, _, err := containerd()
		if err == nil && again == pid {
			err = errors.New("the agent has not brought it back")
		}
		return err
	}); err != nil {
		return err
	}
	if err := m.up(ctx); err != nil {
		return err
	}
	if err := m.start(ctx, pod{name: "later"}, []mount{{shared, "/shared"}}); err != nil {
		return err
	}
	if err := m.refused(ctx, "later", "/shared/a"); err != nil {
		return err
	}
	return apart(ctx, m)
}

func repaired(ctx context.Context, _ *machine) error {
	path := unit.Bin + "/containerd"
	if err := unix.Setxattr(path, "security.selinux", []byte("system_u:object_r:bin_t:s0\x00"), 0); err != nil {
		return err
	}
	return until(ctx, time.Minute, func() error {
		have, err := typeOf(path)
		if err == nil && have != "dockerd_exec_t" {
			err = fmt.Errorf("it is still %s", have)
		}
		return err
	})
}

// undisturbed: what the policy refuses to the runtime and to the agent would be a label that is wrong.
func undisturbed(ctx context.Context, _ *machine) error {
	r, err := look(ctx)
	if err != nil {
		return err
	}
	var out []string
	for _, d := range r.Denials {
		if slices.Contains([]string{"dockerd_t", "container_engine_t", "initrc_t", "unconfined_service_t"}, d.Source.Type) {
			out = append(out, fmt.Sprintf("%s %s %s of %s (%s)", d.Command, strings.Join(d.Permissions, ","), d.Name, d.Target, d.Class))
		}
	}
	slices.Sort(out)
	if out = slices.Compact(out); len(out) > 0 {
		err = errors.New(strings.Join(out, "; "))
	}
	return err
}

func permissive(ctx context.Context, m *machine) error {
	if err := os.WriteFile(selinux.Filesystem+"/enforce", []byte("0"), 0); err != nil {
		return err
	}
	defer func() { _ = os.WriteFile(selinux.Filesystem+"/enforce", []byte("1"), 0) }()
	if m.refused(ctx, "b", "/shared/a") == nil {
		return errors.New("a neighbour is still refused: it was not SELinux that refused it")
	}
	out, _, err := broken(ctx, m.declared())
	if err == nil && len(out) == 0 {
		err = errors.New("nobody noticed")
	}
	return err
}
