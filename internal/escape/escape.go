// Package escape tries what is known to lead out of a container, from inside one. Each attempt goes only as far as to know
// whether it was let: what is opened is not written to, what is mounted is unmounted again.
package escape

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Tried is what came of an attempt.
type Tried struct {
	// Attempt says what was tried.
	Attempt string `json:"attempt"`
	// Allowed: it worked. Answer is what the kernel said.
	Allowed bool   `json:"allowed"`
	Answer  string `json:"answer"`
}

// attempt is a way out; how returns what the kernel says to it, nil if it lets it.
type attempt struct {
	what string
	how  func() error
}

// errNone is of what is not there to be attacked.
var errNone = errors.New("there is none to be seen")

// attempts are all, in the order in which they are told.
var attempts = []attempt{
	{"write the machine's kernel.core_pattern", writable("/proc/sys/kernel/core_pattern")},
	{"write /proc/sysrq-trigger", writable("/proc/sysrq-trigger")},
	{"write a setting of the machine below /sys", writable("/sys/kernel/mm/transparent_hugepage/enabled", "/sys/kernel/uevent_helper", "/sys/power/state")},
	{"read the machine's memory (/proc/kcore)", readable("/proc/kcore")},
	{"open a device of the machine", devices},
	{"make a device and open it (mknod)", mknod},
	{"mount a file system", mount("tmpfs", "")},
	{"mount the machine's cgroups, as for a release_agent", cgroups},
	{"write a release_agent", writable("/sys/fs/cgroup/release_agent", "/sys/fs/cgroup/memory/release_agent", "/sys/fs/cgroup/rdma/release_agent")},
	{"mount a new /proc", mount("proc", "")},
	{"make a user namespace (clone)", clone(unix.CLONE_NEWUSER)},
	{"make a mount namespace (unshare)", onThread(func() error { return unix.Unshare(unix.CLONE_NEWNS) })},
	{"make a network namespace (unshare)", onThread(func() error { return unix.Unshare(unix.CLONE_NEWNET) })},
	{"trace a neighbour's process (ptrace)", onThread(neighbour)},
	{"open a raw socket of IP", socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)},
	{"open a packet socket", socket(unix.AF_PACKET, unix.SOCK_RAW, 0)},
	{"connect to the container runtime's socket", runtimeSocket},
	{"open a file by its handle (open_by_handle_at)", byHandle},
	{"have a keyring (keyctl)", keyctl},
	{"add a key to the kernel's (add_key)", addKey},
	{"load a program into the kernel (bpf)", bpf},
	{"watch the kernel (perf_event_open)", perf},
	{"open a ring to the kernel (io_uring_setup)", ring},
	{"load a module into the kernel", module},
}

// Try tries all of them. One after the other: some are about what the whole process may do.
func Try() []Tried {
	out := make([]Tried, len(attempts))
	for i, a := range attempts {
		out[i] = Tried{Attempt: a.what, Allowed: true, Answer: "it worked"}
		if err := a.how(); err != nil {
			out[i].Allowed, out[i].Answer = false, err.Error()
		}
	}
	return out
}

// onThread does it on a thread that ends with it, and whatever it got.
func onThread(do func() error) func() error {
	return func() error {
		done := make(chan error)
		go func() {
			runtime.LockOSThread() // and never unlock it
			done <- do()
		}()
		return <-done
	}
}

// writable opens the first of some files that is there, to be written to.
func writable(paths ...string) func() error { return opens(unix.O_WRONLY, paths...) }

func opens(flags int, paths ...string) func() error {
	return func() error {
		err := errNone
		for _, path := range paths {
			f, problem := os.OpenFile(path, flags, 0)
			if problem == nil {
				return f.Close()
			}
			if !errors.Is(problem, os.ErrNotExist) {
				err = problem
			}
		}
		return err
	}
}

// readable opens a file and reads from it: what is hidden is an empty device.
func readable(path string) func() error {
	return func() error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if n, err := f.Read(make([]byte, 1)); n == 0 {
			return fmt.Errorf("%s is empty: %w", path, err)
		}
		return nil
	}
}

func socket(domain, kind, protocol int) func() error {
	return func() error {
		fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, protocol)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	}
}

// runtimeSockets are where the runtimes of containers listen.
var runtimeSockets = []string{"/run/containerd/containerd.sock", "/var/run/containerd/containerd.sock", "/host/run/containerd/containerd.sock",
	"/var/run/docker.sock", "/run/crio/crio.sock", "/var/lib/kubelet/pod-resources/kubelet.sock"}

func runtimeSocket() error {
	err := errNone
	for _, path := range runtimeSockets {
		fd, problem := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if problem != nil {
			return problem
		}
		problem = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		_ = unix.Close(fd)
		if problem == nil {
			return nil
		}
		if !errors.Is(problem, os.ErrNotExist) {
			err = fmt.Errorf("%s: %w", path, problem)
		}
	}
	return err
}

// neighbour attaches to a process that is not of this container, without stopping it; it is left with the thread.
func neighbour() error {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	err = errNone
	for _, e := range entries {
		var pid int
		if _, scan := fmt.Sscanf(e.Name(), "%d", &pid); scan != nil {
			continue
		}
		theirs, read := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if read != nil || string(theirs) == string(own) {
			continue
		}
		problem := unix.PtraceSeize(pid)
		if problem == nil {
			return nil
		}
		if !errors.Is(problem, syscall.ESRCH) {
			err = fmt.Errorf("process %d: %w", pid, problem)
		}
	}
	return err
}
