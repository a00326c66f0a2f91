package contain

import (
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
)

// hierarchy is where the cgroups of a machine are: each controller's directory in version 1, one for all in version 2.
type hierarchy struct {
	version     int
	controllers map[string]string
	unified     string
}

// hierarchyOf finds the machine's cgroups among its mounts. Where both versions are mounted, the first has the controllers.
func hierarchyOf(mountinfo string) hierarchy {
	h := hierarchy{version: 2, controllers: map[string]string{}}
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - ")
		words, rest := strings.Fields(before), strings.Fields(after)
		if !ok || len(words) < 6 || len(rest) < 3 {
			continue
		}
		switch rest[0] {
		case "cgroup2":
			h.unified = unescape(words[4])
		case "cgroup":
			for _, option := range strings.Split(rest[2], ",") {
				h.controllers[option] = unescape(words[4])
			}
		}
	}
	if h.controllers["memory"] != "" {
		h.version = 1
	}
	return h
}

// directory is where a controller's values are for a process whose /proc/PID/cgroup this is.
func (h hierarchy) directory(cgroup, controller string) (mounted, below string) {
	for line := range strings.Lines(cgroup) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		if h.version == 2 && parts[0] == "0" {
			return h.unified, parts[2]
		}
		if h.version == 1 && slices.Contains(strings.Split(parts[1], ","), controller) {
			return h.controllers[controller], parts[2]
		}
	}
	return "", ""
}

// qos is the class of pods that a kubelet has put a path into, with either driver.
func qos(below string) string {
	switch {
	case !strings.Contains(below, "kubepods"):
		return ""
	case strings.Contains(below, "besteffort"):
		return "BestEffort"
	case strings.Contains(below, "burstable"):
		return "Burstable"
	default:
		return "Guaranteed"
	}
}

// limitsOf reads the values of a cgroup, each by the name of its file.
func (h hierarchy) limitsOf(read func(controller, file string) string) Limits {
	if h.version == 2 {
		l := Limits{Weight: number(read("cpu", "cpu.weight")), Memory: number(read("memory", "memory.max")), Processes: number(read("pids", "pids.max")),
			Disk: disks(read("io", "io.max"))}
		if words := strings.Fields(read("cpu", "cpu.max")); len(words) == 2 {
			l.CPU = share(number(words[0]), number(words[1]))
		}
		return l
	}
	l := Limits{Shares: number(read("cpu", "cpu.shares")), Memory: number(read("memory", "memory.limit_in_bytes")), Processes: number(read("pids", "pids.max")),
		CPU: share(number(read("cpu", "cpu.cfs_quota_us")), number(read("cpu", "cpu.cfs_period_us")))}
	for _, t := range []struct {
		file string
		to   func(*Disk) *int64
	}{
		{"read_bps_device", func(d *Disk) *int64 { return &d.Read }}, {"write_bps_device", func(d *Disk) *int64 { return &d.Write }},
		{"read_iops_device", func(d *Disk) *int64 { return &d.ReadOps }}, {"write_iops_device", func(d *Disk) *int64 { return &d.WriteOps }},
	} {
		for line := range strings.Lines(read("blkio", "blkio.throttle."+t.file)) {
			if device, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
				*t.to(entry(&l.Disk, device)) = number(value)
			}
		}
	}
	return l
}

// unlimited is more than there is of anything: where there is no limit, version 1 says a number of about twice that.
const unlimited = math.MaxInt64 >> 13 << 12

// number is 0 where there is no limit.
func number(text string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || n < 0 || n >= unlimited {
		return 0
	}
	return n
}

// share turns a quota of a period into thousandths of a core.
func share(quota, period int64) int64 {
	if quota <= 0 || period <= 0 {
		return 0
	}
	return quota * 1000 / period
}

// disks reads io.max: "8:0 rbps=1048576 wbps=max riops=max wiops=max".
func disks(text string) []Disk {
	var out []Disk
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		d := entry(&out, words[0])
		for _, w := range words[1:] {
			name, value, _ := strings.Cut(w, "=")
			switch name {
			case "rbps":
				d.Read = number(value)
			case "wbps":
				d.Write = number(value)
			case "riops":
				d.ReadOps = number(value)
			case "wiops":
				d.WriteOps = number(value)
			}
		}
	}
	return out
}

// entry is the one entry of a device.
func entry(all *[]Disk, device string) *Disk {
	i := slices.IndexFunc(*all, func(d Disk) bool { return d.Device == device })
	if i < 0 {
		*all = append(*all, Disk{Device: device})
		i = len(*all) - 1
	}
	return &(*all)[i]
}

// above is the cgroup of a container's pod.
func above(below string) string { return path.Dir(below) }
