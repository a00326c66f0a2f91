package contain

import (
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// runtimeFiles are what the kubelet and the runtime mount into every container, beside /proc, /dev and /sys.
var runtimeFiles = []string{"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/termination-log"}

// kernelTypes are the filesystems that /proc, /dev and /sys are made of. Anything else there is somebody's files.
var kernelTypes = []string{"proc", "sysfs", "tmpfs", "devtmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "bpf", "securityfs", "debugfs", "tracefs"}

// mounted is what the container sees of files.
func (s saying) mounted(c Container, m Machine) []Fact {
	out := []Fact{s.root(c), s.proc(c, m.Kernel)}
	var known, open []string
	for _, v := range s.mounts {
		known = append(known, settle(v.MountPath))
		if s.volume(v.Name).HostPath != nil || v.MountPropagation != nil && *v.MountPropagation != corev1.MountPropagationNone {
			open = append(open, settle(v.MountPath)) // what the machine has mounted in it comes along
		}
		out = append(out, s.mount(v, c, m.Mounts))
	}
	for _, has := range c.Mounts {
		at := settle(has.At)
		below := slices.ContainsFunc(open, func(k string) bool { return within(k, at) })
		if at == "/" || below || slices.Contains(known, at) || at == s.message || slices.Contains(runtimeFiles, at) || kernels(at, has.Type) {
			continue
		}
		f := Fact{What: at, Says: "nothing there", Kernel: describe(has, m.Mounts, "")}
		if !slices.Contains(s.capabilities(m.Kernel.Capabilities), "SYS_ADMIN") { // which may mount by itself
			f.Differs = "neither the pod nor the runtime mounts it"
		}
		out = append(out, f)
	}
	return out
}

// kernels says whether a mount is the kernel's view of things.
func kernels(at, kind string) bool {
	in := within("/proc", at) || within("/dev", at) || within("/sys", at)
	return in && slices.Contains(kernelTypes, kind)
}

var writable = map[bool]string{true: "read-only", false: "writable"}

func (s saying) root(c Container) Fact {
	f := Fact{What: "/", Says: writable[is(s.own.ReadOnlyRootFilesystem)], Kernel: "nothing"}
	if m, ok := find(c.Mounts, "/"); ok {
		f.Kernel = writable[m.ReadOnly]
	}
	switch {
	case f.Says == f.Kernel:
	case f.Says == writable[true]:
		f.Differs = "it can be written to"
	default:
		f.Differs = "it cannot be written to"
	}
	return f
}

// hidden and fixed are what a runtime puts nothing in the place of, or lets be read alone: by these a container would know or
// change the machine's kernel.
var (
	hidden = []string{"/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/sys/firmware"}
	fixed  = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", "/sys"}
)

// proc is what a container sees of the machine's kernel.
func (s saying) proc(c Container, k Kernel) Fact {
	open := s.privileged() || s.own.ProcMount != nil && *s.own.ProcMount == corev1.UnmaskedProcMount
	say := map[bool]string{true: "open", false: "masked"}
	var faults []string
	for _, door := range k.Doors {
		m, ok := find(c.Mounts, door)
		switch {
		case slices.Contains(hidden, door) && !ok:
			faults = append(faults, door+" can be read")
		case slices.Contains(fixed, door) && (!ok || !m.ReadOnly):
			faults = append(faults, door+" can be written to")
		}
	}
	f := Fact{What: "/proc, /sys", Says: say[open], Kernel: say[len(faults) > 0]}
	if !open && len(faults) > 0 {
		f.Differs = strings.Join(faults, ", ")
	}
	return f
}

// mount is one volume where a container has it.
func (s saying) mount(v corev1.VolumeMount, c Container, machine []Mount) Fact {
	kind, source := kindOf(s.volume(v.Name))
	f := Fact{What: v.MountPath, Says: strings.TrimSpace(kind+" "+source) + ", " + writable[v.ReadOnly], Kernel: "nothing"}
	if sub := v.SubPath; sub != "" {
		f.Says = strings.TrimSpace(kind+" "+path.Join(source, sub)) + ", " + writable[v.ReadOnly]
	}
	m, ok := find(c.Mounts, v.MountPath)
	if !ok {
		f.Differs = "it is not mounted"
		return f
	}
	f.Kernel = describe(m, machine, source)
	switch {
	case v.ReadOnly && !m.ReadOnly:
		f.Differs = "it can be written to"
	case source != "":
		device, root := placed(machine, path.Join(source, v.SubPath))
		if v.SubPathExpr == "" && (device != m.Device || root != m.Root) {
			f.Differs = "it is another directory than the pod names: a symbolic link leads there, or something else is mounted at one of them since"
		}
	}
	if inner, ok := loose(c.Mounts, v); ok && f.Differs == "" {
		f.Differs = inner.At + " in it can be written to"
	}
	return f
}

// loose finds a mount within one that is to be read only, all the way down, and is not.
func loose(mounts []Mount, v corev1.VolumeMount) (Mount, bool) {
	if v.RecursiveReadOnly == nil || *v.RecursiveReadOnly == corev1.RecursiveReadOnlyDisabled || *v.RecursiveReadOnly == corev1.RecursiveReadOnlyIfPossible {
		return Mount{}, false
	}
	at := settle(v.MountPath)
	i := slices.IndexFunc(mounts, func(m Mount) bool { return settle(m.At) != at && within(at, settle(m.At)) && !m.ReadOnly })
	if i < 0 {
		return Mount{}, false
	}
	return mounts[i], true
}

// describe says what is mounted: of a directory of the machine which one, if the pod names one or nobody did.
func describe(m Mount, machine []Mount, source string) string {
	what := m.Type
	if name := origin(machine, m); name != "" && (source != "" || !within("/var/lib/kubelet/pods", name)) {
		what = name + " of the machine"
	}
	return what + ", " + writable[m.ReadOnly]
}

// kindOf names a volume's kind, and of a directory of the machine its path.
func kindOf(v corev1.VolumeSource) (kind, source string) {
	switch {
	case v.HostPath != nil:
		return "hostPath", path.Clean(v.HostPath.Path)
	case v.EmptyDir != nil:
		return "emptyDir", ""
	case v.ConfigMap != nil:
		return "configMap", ""
	case v.Secret != nil:
		return "secret", ""
	case v.DownwardAPI != nil:
		return "downwardAPI", ""
	case v.Projected != nil:
		for _, p := range v.Projected.Sources {
			if p.ServiceAccountToken != nil {
				return "token of the ServiceAccount", ""
			}
		}
		return "projected", ""
	case v.PersistentVolumeClaim != nil:
		return "volume claim", ""
	case v.Image != nil:
		return "image", ""
	default:
		return "volume", ""
	}
}
