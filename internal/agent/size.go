package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	shape "ashlar.dev/ashlar/internal/unit"
)

// MachineSize looks at how large this machine is; pods write below dir. A container is as large as its cgroup lets it be.
func MachineSize(dir string) (shape.Size, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return shape.Size{}, fmt.Errorf("look at the disk below %s: %w", dir, err)
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return shape.Size{}, fmt.Errorf("look at the disk below %s: %w", dir, err)
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return shape.Size{}, fmt.Errorf("look at this machine's memory: %w", err)
	}
	pids, err := number("/proc/sys/kernel/pid_max")
	if err != nil {
		return shape.Size{}, fmt.Errorf("look at how many processes there can be: %w", err)
	}
	if threads, err := number("/proc/sys/kernel/threads-max"); err == nil {
		pids = min(pids, threads)
	}
	seen := shape.Size{MilliCPUs: int64(runtime.NumCPU()) * 1000, Memory: int64(info.Totalram) * int64(info.Unit), Disk: int64(disk.Blocks) * disk.Bsize, PIDs: pids}
	return within(seen, bounds("/sys/fs/cgroup")), nil
}

// bound is what a cgroup lets its processes have; 0: all there is.
type bound struct{ milliCPUs, memory int64 }

// bounds are those of the cgroup whose hierarchy is mounted on root: this machine's own, if it is a container.
func bounds(root string) (b bound) {
	if fields := strings.Fields(content(root, "cpu.max")); len(fields) == 2 { // v2
		b.milliCPUs = share(fields[0], fields[1])
	} else {
		b.milliCPUs = share(content(root, "cpu/cpu.cfs_quota_us"), content(root, "cpu/cpu.cfs_period_us"))
	}
	for _, file := range []string{"memory.max", "memory/memory.limit_in_bytes"} {
		if n, err := strconv.ParseInt(content(root, file), 10, 64); err == nil {
			b.memory = n
		}
	}
	return b
}

func share(quota, period string) int64 {
	q, err1 := strconv.ParseInt(quota, 10, 64)
	p, err2 := strconv.ParseInt(period, 10, 64)
	if err1 != nil || err2 != nil || q <= 0 || p <= 0 {
		return 0 // max, or -1
	}
	return q * 1000 / p
}

// within is a machine that sees seen, and may have as much as b.
func within(seen shape.Size, b bound) shape.Size {
	if b.milliCPUs > 0 && b.milliCPUs < seen.MilliCPUs {
		seen.MilliCPUs, seen.BeyondMilliCPUs = b.milliCPUs, seen.MilliCPUs-b.milliCPUs
	}
	if b.memory > 0 && b.memory < seen.Memory {
		seen.Memory, seen.BeyondMemory = b.memory, seen.Memory-b.memory
	}
	return seen
}

func content(parts ...string) string {
	b, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func number(file string) (int64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}

// WriteReserve tells the kubelet what a machine of this size keeps for itself.
func WriteReserve(s shape.Size) error {
	return writeFile(shape.ReserveFile, []byte(shape.ReserveOf(s).KubeletConfig()), 0o600)
}

// spare says how early the kernel kills a process that memory runs short of. Who may not make that later than it is, is left as it is:
// in a container without the capability.
func spare(pid, score int) error {
	if score == 0 {
		return nil
	}
	err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(score)), 0o600)
	if os.IsPermission(err) || os.IsNotExist(err) {
		return nil
	}
	return err
}
