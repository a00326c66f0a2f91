package local

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroupRoots are the mount points of all cgroup hierarchies: one on v2, one for each controller on v1.
func cgroupRoots() ([]string, error) {
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var out []string
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		fields := strings.Fields(scanner.Text())
		if len(fields) > 2 && (fields[2] == "cgroup" || fields[2] == "cgroup2") {
			out = append(out, fields[1])
		}
	}
	return out, scanner.Err()
}

// clearCgroup kills whatever is left in a cgroup and removes it, below every hierarchy.
func clearCgroup(path string) error {
	roots, err := cgroupRoots()
	if err != nil {
		return fmt.Errorf("find cgroups: %w", err)
	}
	for _, root := range roots {
		if err := clearCgroupDir(filepath.Join(root, path)); err != nil {
			return err
		}
	}
	return nil
}

// A process that was killed leaves its cgroup a moment later; this is how long we wait for that.
const (
	cgroupPatience = 5 * time.Second
	cgroupRetry    = 2 * time.Millisecond
)

func clearCgroupDir(dir string) error {
	for start := time.Now(); ; time.Sleep(cgroupRetry) {
		err := removeCgroups(dir)
		if err == nil || !errors.Is(err, unix.EBUSY) || time.Since(start) > cgroupPatience {
			return err
		}
	}
}

// removeCgroups removes a cgroup and those below it, depth first.
func removeCgroups(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove cgroup: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeCgroups(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	err = unix.Rmdir(dir)
	if errors.Is(err, unix.EBUSY) {
		killCgroup(dir)
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove cgroup %s: %w", dir, err)
	}
	return nil
}

func killCgroup(dir string) {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return
	}
	for field := range strings.FieldsSeq(string(b)) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}
