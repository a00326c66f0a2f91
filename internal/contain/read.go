package contain

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// tasks is where containerd keeps what it knows of the containers that run, and proc the kernel's view of processes.
const (
	tasks = "/run/containerd/io.containerd.runtime.v2.task/k8s.io"
	proc  = "/proc"
)

// Read asks the kernel of this machine about containers. It needs root, and the machine's own namespaces.
func Read(ctx context.Context, ids []string) (Machine, error) {
	mounts, err := os.ReadFile(proc + "/1/mountinfo")
	if err != nil {
		return Machine{}, fmt.Errorf("read the machine's mounts: %w", err)
	}
	h := hierarchyOf(string(mounts))
	m := Machine{Mounts: machineOnly(parseMounts(string(mounts))), Kernel: kernel(h)}
	first, err := process(1, nil)
	if err != nil {
		return m, err
	}
	m.Kernel.Capabilities = first.Capabilities.Bounding
	for _, id := range ids {
		if ctx.Err() != nil {
			return m, context.Cause(ctx)
		}
		c, err := container(h, id)
		if err != nil {
			c = Container{ID: id, Gone: err.Error()}
		}
		m.Containers = append(m.Containers, c)
	}
	return m, nil
}

// machineOnly leaves out what is mounted for pods.
func machineOnly(all []Mount) []Mount {
	return slices.DeleteFunc(all, func(m Mount) bool {
		return within("/var/lib/kubelet/pods", m.At) || within("/run/containerd", m.At) || within("/run/netns", m.At)
	})
}

func kernel(h hierarchy) Kernel {
	k := Kernel{Release: text(proc + "/sys/kernel/osrelease"), Cgroups: h.version, SELinux: Absent}
	switch text("/sys/fs/selinux/enforce") {
	case "1":
		k.SELinux = Enforcing
	case "0":
		k.SELinux = Permissive
	}
	k.AppArmor = text("/sys/module/apparmor/parameters/enabled") == "Y"
	for _, door := range slices.Concat(hidden, fixed) {
		if _, err := os.Stat(door); err == nil {
			k.Doors = append(k.Doors, door)
		}
	}
	return k
}

// text is a small file without the line's end; empty if it cannot be read.
func text(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimRight(string(b), "\n\x00")
}

func container(h hierarchy, id string) (Container, error) {
	c := Container{ID: id}
	if id == "" || filepath.Base(id) != id {
		return c, fmt.Errorf("%q is no container's id", id)
	}
	pid, err := strconv.Atoi(text(filepath.Join(tasks, id, "init.pid")))
	if err != nil {
		return c, fmt.Errorf("containerd runs no container %s here", id)
	}
	dir := filepath.Join(proc, strconv.Itoa(pid))
	users, err := os.ReadFile(dir + "/uid_map")
	if err == nil {
		c.Users, err = parseRanges(string(users))
	}
	if err != nil {
		return c, ended(pid, err)
	}
	mounts, err := os.ReadFile(dir + "/mountinfo")
	if err != nil {
		return c, ended(pid, err)
	}
	c.Mounts = parseMounts(string(mounts))
	c.Shared = shared(pid)
	groups := text(dir + "/cgroup")
	c.Cgroup = cgroup(h, groups)
	pids := members(h, groups)
	if c.Processes, c.Count, err = processes(pid, pids, c.Users); err != nil {
		return c, ended(pid, err)
	}
	c.Listens = ports(pid, pids)
	c.Shaped = shapes(pid)
	return c, nil
}

func ended(pid int, err error) error {
	return fmt.Errorf("process %d cannot be read; has it just ended? %w", pid, err)
}

// kinds are of namespaces, as /proc/PID/ns has them.
var kinds = []string{"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"}

// shared are those that a process has in common with the machine's first.
func shared(pid int) []string {
	out := []string{}
	for _, kind := range kinds {
		its, err1 := os.Readlink(fmt.Sprintf("%s/%d/ns/%s", proc, pid, kind))
		machines, err2 := os.Readlink(proc + "/1/ns/" + kind)
		if err1 == nil && err2 == nil && its == machines {
			out = append(out, kind)
		}
	}
	return out
}

func cgroup(h hierarchy, groups string) Cgroup {
	_, path := h.directory(groups, "memory")
	read := func(up func(string) string) func(string, string) string {
		return func(controller, file string) string {
			mounted, below := h.directory(groups, controller)
			return text(filepath.Join(mounted, up(below), file))
		}
	}
	return Cgroup{Path: path, QoS: qos(path), Own: h.limitsOf(read(func(s string) string { return s })), Pod: h.limitsOf(read(above))}
}

// members are the processes of a cgroup and of those below it.
func members(h hierarchy, groups string) []int {
	mounted, below := h.directory(groups, "memory")
	var out []int
	_ = filepath.WalkDir(filepath.Join(mounted, below), func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		for _, word := range strings.Fields(text(filepath.Join(p, "cgroup.procs"))) {
			if pid, err := strconv.Atoi(word); err == nil {
				out = append(out, pid)
			}
		}
		return nil
	})
	return out
}

// process is what the kernel says of one.
func process(pid int, users []Range) (Process, error) {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return Process{}, err
	}
	p, err := parseStatus(string(status))
	if err != nil {
		return p, err
	}
	if users != nil {
		groups, err := parseRanges(text(dir+"/gid_map") + "\n")
		if err != nil {
			return p, err
		}
		p.User, p.Group = inside(users, p.User), inside(groups, p.Group)
	}
	p.Label = text(dir + "/attr/current") // EINVAL without any security module
	return p, nil
}

// processes are the first, and those that differ from all before. Others may end while they are looked at.
func processes(first int, pids []int, users []Range) ([]Process, int, error) {
	p, err := process(first, users)
	if err != nil {
		return nil, 0, err
	}
	out, count := []Process{p}, 1
	for _, pid := range pids {
		if pid == first {
			continue
		}
		p, err := process(pid, users)
		if err != nil {
			continue
		}
		count++
		if !slices.ContainsFunc(out, func(have Process) bool { return alike(have, p) }) {
			out = append(out, p)
		}
	}
	return out, count, nil
}

// ports are those that processes take in the network of one of them.
func ports(pid int, pids []int) []string {
	var sockets []socket
	for file, protocol := range map[string]string{"tcp": "TCP", "tcp6": "TCP", "udp": "UDP", "udp6": "UDP"} {
		sockets = append(sockets, listening(protocol, text(fmt.Sprintf("%s/%d/net/%s", proc, pid, file)))...)
	}
	inodes := map[string]bool{}
	for _, p := range pids {
		maps.Copy(inodes, openSockets(p))
	}
	return taken(sockets, inodes)
}

// openSockets are the inodes of the sockets that a process has open.
func openSockets(pid int) map[string]bool {
	out := map[string]bool{}
	files, err := filepath.Glob(fmt.Sprintf("%s/%d/fd/*", proc, pid))
	if err != nil {
		return out
	}
	for _, f := range files {
		if to, err := os.Readlink(f); err == nil {
			if inode, ok := strings.CutPrefix(to, "socket:["); ok {
				out[strings.TrimSuffix(inode, "]")] = true
			}
		}
	}
	return out
}
