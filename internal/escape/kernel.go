package escape

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mount mounts something over a directory that every container has, and takes it away again.
func mount(kind, options string) func() error {
	return func() error {
		const on = "/dev/shm"
		if err := unix.Mount(kind, on, kind, 0, options); err != nil {
			return err
		}
		return unix.Unmount(on, unix.MNT_DETACH)
	}
}

// cgroups mounts a hierarchy of either version.
func cgroups() error {
	err := mount("cgroup2", "")()
	for _, controller := range []string{"rdma", "memory"} {
		if err == nil {
			return nil
		}
		err = mount("cgroup", controller)()
	}
	return err
}

// devices opens one of the machine's that a container has no business with.
func devices() error {
	disks, _ := filepath.Glob("/dev/[svx]*d[a-z]")
	return opens(unix.O_RDONLY, append(disks, "/dev/mem", "/dev/kmsg", "/dev/nvme0n1", "/dev/fuse")...)()
}

// mknod makes what the kernel's log is read from where files can be made, and opens it.
func mknod() error {
	err := errNone
	for _, dir := range []string{"/dev", "/tmp", "/dev/shm"} {
		path := filepath.Join(dir, "ashlar-escape")
		problem := unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 11)))
		if problem == nil {
			var f *os.File
			if f, problem = os.Open(path); problem == nil {
				problem = f.Close()
			}
			_ = os.Remove(path)
		}
		if problem == nil {
			return nil
		}
		err = fmt.Errorf("in %s: %w", dir, problem)
	}
	return err
}

// clone starts a process with namespaces of its own, which ends at once.
func clone(flags uintptr) func() error {
	return func() error {
		child := exec.Command("/proc/self/exe", "--help")
		child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
		return child.Run()
	}
}

// byHandle opens the root of the disk that a container's files are on, which is not the container's.
func byHandle() error {
	at, err := unix.Open("/etc/hosts", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	const ino32 = 1 // FILEID_INO32_GEN
	fd, err := unix.OpenByHandleAt(at, unix.NewFileHandle(ino32, []byte{2, 0, 0, 0, 0, 0, 0, 0}), unix.O_RDONLY|unix.O_CLOEXEC)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func keyctl() error {
	_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_PROCESS_KEYRING, true)
	return err
}

func addKey() error {
	_, err := unix.AddKey("user", "ashlar-escape", []byte("x"), unix.KEY_SPEC_PROCESS_KEYRING)
	return err
}

// call is a system call that returns a file, which is closed.
func call(number, a, b, c, d, e uintptr) error {
	fd, _, errno := unix.Syscall6(number, a, b, c, d, e, 0)
	if errno != 0 {
		return errno
	}
	return unix.Close(int(fd))
}

// bpf makes an array of one number, as any program would first.
func bpf() error {
	attr := struct{ kind, key, value, entries, flags uint32 }{kind: 2, key: 4, value: 4, entries: 1}
	return call(unix.SYS_BPF, 0, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0, 0)
}

// perf counts what happens on a CPU, in the kernel, too.
func perf() error {
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_CPU_CLOCK}
	attr.Size = uint32(unsafe.Sizeof(attr))
	fd, err := unix.PerfEventOpen(&attr, -1, 0, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// ring sets up the smallest.
func ring() error {
	var params [120]byte // struct io_uring_params
	return call(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0, 0, 0)
}

// module offers the kernel what is none: whether it looks is what matters.
func module() error {
	fd, err := unix.Open("/proc/self/exe", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = unix.FinitModule(fd, "", 0)
	if errors.Is(err, unix.ENOEXEC) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}
