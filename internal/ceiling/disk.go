package ceiling

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// groups is the hierarchy of control groups that knows disks.
type groups struct {
	root string
	// unified: the second version, in which what holds for a group holds for all in it.
	unified bool
}

// findGroups looks below where control groups are mounted.
func findGroups(at string) (groups, error) {
	var found unix.Statfs_t
	if err := unix.Statfs(at, &found); err != nil {
		return groups{}, fmt.Errorf("look for control groups at %s: %w", at, err)
	}
	if found.Type == unix.CGROUP2_SUPER_MAGIC {
		b, err := os.ReadFile(filepath.Join(at, "cgroup.controllers"))
		if err == nil && !slices.Contains(strings.Fields(string(b)), "io") {
			err = errors.New("the kernel has no controller of disks (io)")
		}
		return groups{root: at, unified: true}, err
	}
	root := filepath.Join(at, "blkio")
	if _, err := os.Stat(root); err != nil {
		return groups{}, fmt.Errorf("the kernel has no controller of disks (blkio): %w", err)
	}
	return groups{root: root}, nil
}

// groupOf is the path of a pod's control group, which is named as the driver that makes it does: a path, or the name of a
// slice, which says where it is.
func groupOf(parent string) string {
	base, slice := strings.CutSuffix(path.Base(parent), ".slice")
	if !slice {
		return parent
	}
	at, name := "/", ""
	for part := range strings.SplitSeq(base, "-") {
		name = strings.TrimPrefix(name+"-"+part, "-")
		at = path.Join(at, name+".slice")
	}
	return at
}

// disks are the numbers of the machine's disks. What is only memory is none, and what is part of one counts with it.
func disks(sys string) ([]string, error) {
	all, err := os.ReadDir(filepath.Join(sys, "block"))
	if err != nil {
		return nil, fmt.Errorf("list disks: %w", err)
	}
	var out []string
	for _, d := range all {
		if strings.HasPrefix(d.Name(), "loop") || strings.HasPrefix(d.Name(), "ram") || strings.HasPrefix(d.Name(), "zram") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(sys, "block", d.Name(), "dev"))
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("read the number of %s: %w", d.Name(), err)
		}
		out = append(out, strings.TrimSpace(string(b)))
	}
	return out, nil
}

// hold makes the kernel hold the pod whose group it is to the ceiling, and says whether it had to be told.
func (g groups) hold(group string, c Disk, disks []string) (changed bool, err error) {
	dir := filepath.Join(g.root, group)
	if g.unified {
		return g.holdUnified(dir, c, disks)
	}
	// The first version does not look at what a group is in. So that its containers share the ceiling, they share the
	// pod's own group; whoever is added to a container later (kubectl exec) is held to as much until it is moved, too.
	if c == (Disk{}) {
		return setFirst(dir, c, disks)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return false, fmt.Errorf("make the pod's group: %w", err)
	}
	if changed, err = setFirst(dir, c, disks); err != nil {
		return changed, err
	}
	inside, err := os.ReadDir(dir)
	if err != nil {
		return changed, fmt.Errorf("list the pod's containers: %w", err)
	}
	for _, d := range inside {
		if !d.IsDir() {
			continue
		}
		if _, err := setFirst(filepath.Join(dir, d.Name()), c, disks); err != nil {
			return changed, err
		}
		if err := move(filepath.Join(dir, d.Name()), dir); err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// move takes all processes from one group to another.
func move(from, to string) error {
	b, err := os.ReadFile(filepath.Join(from, "cgroup.procs"))
	if gone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list a container's processes: %w", err)
	}
	for process := range strings.FieldsSeq(string(b)) {
		if err := os.WriteFile(filepath.Join(to, "cgroup.procs"), []byte(process), 0); err != nil && !gone(err) {
			return fmt.Errorf("move process %s to its pod's group: %w", process, err)
		}
	}
	return nil
}

// gone says of an error that the process or group is no more.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV)
}

// setFirst sets the ceiling of one group of the first version.
func setFirst(dir string, c Disk, disks []string) (changed bool, err error) {
	for name, limit := range map[string]uint64{
		"read_bps": c.Read, "write_bps": c.Write, "read_iops": c.ReadOps, "write_iops": c.WriteOps,
	} {
		file := filepath.Join(dir, "blkio.throttle."+name+"_device")
		b, err := os.ReadFile(file)
		if gone(err) && (limit == 0 || !exists(dir)) {
			continue
		}
		if err != nil {
			return changed, fmt.Errorf("read a ceiling: %w", err)
		}
		have := keyed(string(b))
		for _, d := range disks {
			want := strconv.FormatUint(limit, 10)
			if had := have[d]; had == want || had == "" && limit == 0 {
				continue
			}
			if err := os.WriteFile(file, []byte(d+" "+want), 0); err != nil {
				return changed, fmt.Errorf("set a ceiling of disk %s: %w", d, err)
			}
			changed = true
		}
	}
	return changed, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// keyed is what a file of the kernel says of each disk.
func keyed(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		if disk, says, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			out[disk] = strings.TrimSpace(says)
		}
	}
	return out
}

const unlimited = "rbps=max wbps=max riops=max wiops=max"

func (g groups) holdUnified(dir string, c Disk, disks []string) (changed bool, err error) {
	file := filepath.Join(dir, "io.max")
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && c != (Disk{}) {
		if err := g.enable(dir); err != nil {
			return false, err
		}
		b, err = os.ReadFile(file)
	}
	if errors.Is(err, fs.ErrNotExist) && c == (Disk{}) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read a ceiling: %w", err)
	}
	have, want := keyed(string(b)), c.line()
	for _, d := range disks {
		if had := have[d]; had == want || had == "" && want == unlimited {
			continue
		}
		if err := os.WriteFile(file, []byte(d+" "+want), 0); err != nil {
			return changed, fmt.Errorf("set the ceiling of disk %s: %w", d, err)
		}
		changed = true
	}
	return changed, nil
}

// line is the ceiling as the second version writes it.
func (c Disk) line() string {
	limit := func(n uint64) string {
		if n == 0 {
			return "max"
		}
		return strconv.FormatUint(n, 10)
	}
	return fmt.Sprintf("rbps=%s wbps=%s riops=%s wiops=%s", limit(c.Read), limit(c.Write), limit(c.ReadOps), limit(c.WriteOps))
}

// enable has the kernel tell disks' work apart, from the root down to the group.
func (g groups) enable(dir string) error {
	below, err := filepath.Rel(g.root, dir)
	if err != nil {
		return err
	}
	at := g.root
	for part := range strings.SplitSeq(below, "/") {
		if err := os.WriteFile(filepath.Join(at, "cgroup.subtree_control"), []byte("+io"), 0); err != nil {
			return fmt.Errorf("have the kernel tell disks' work apart in %s: %w", at, err)
		}
		at = filepath.Join(at, part)
	}
	return nil
}
