package local

import (
	"io/fs"

	"github.com/opencontainers/runtime-spec/specs-go"

	"ashlar.dev/ashlar/internal/capability"
)

// host is what a machine takes over from the host.
type host struct {
	capabilities uint64 // a bit for each that root has here
	openFiles    uint64 // the hard limit
}

// machineSpec is the machine as a container: with namespaces, a disk and devices of its own, and otherwise a host.
func (p *Provider) machineSpec(name string, h host) *specs.Spec {
	return &specs.Spec{
		Version:  "1.2.0",
		Hostname: name,
		Root:     &specs.Root{Path: "rootfs"},
		Process:  p.process(h, p.Init, nil),
		Mounts:   p.mounts(),
		Linux: &specs.Linux{
			CgroupsPath: p.cgroupPath(name),
			// Pods mount volumes from one machine-wide tree: what kubelet mounts must show in containers.
			RootfsPropagation: "rshared",
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace},
				{Type: specs.MountNamespace}, {Type: specs.CgroupNamespace},
				{Type: specs.NetworkNamespace, Path: namespacePath(p.machineNamespace(name))},
			},
			Devices:   []specs.LinuxDevice{{Path: "/dev/kmsg", Type: "c", Major: 1, Minor: 11, FileMode: new(fs.FileMode(0o600))}},
			Resources: p.Sizes[name].resources(),
		},
	}
}

// resources are what a machine may have of the host.
func (s Size) resources() *specs.LinuxResources {
	const period = uint64(100_000)
	r := &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}}
	if s.MilliCPUs > 0 {
		r.CPU = &specs.LinuxCPU{Quota: new(s.MilliCPUs * int64(period) / 1000), Period: new(period)}
	}
	if s.Memory > 0 {
		r.Memory = &specs.LinuxMemory{Limit: new(s.Memory)}
	}
	return r
}

// process is a process of the machine with all that root may do.
func (p *Provider) process(h host, args, env []string) *specs.Process {
	capabilities := capabilityNames(h.capabilities)
	return &specs.Process{
		Args: args,
		Cwd:  "/",
		Env: append([]string{
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:" + bundleInMachine + "/bin",
			"HOME=/root",
		}, env...),
		Capabilities: &specs.LinuxCapabilities{Bounding: capabilities, Effective: capabilities, Permitted: capabilities},
		Rlimits:      []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: h.openFiles, Hard: h.openFiles}},
	}
}

func (p *Provider) mounts() []specs.Mount {
	mount := func(destination, kind, source string, options ...string) specs.Mount {
		return specs.Mount{Destination: destination, Type: kind, Source: source, Options: options}
	}
	return []specs.Mount{
		mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
		mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
		mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
		mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777"),
		mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
		mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "rw"),
		mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "rw"),
		mount("/run", "tmpfs", "tmpfs", "nosuid", "nodev", "mode=755"),
		mount("/tmp", "tmpfs", "tmpfs", "nosuid", "nodev", "mode=1777"),
		mount("/usr", "bind", "/usr", "rbind", "ro"),
		mount(bundleInMachine, "bind", p.Bundle, "rbind", "ro"),
	}
}

func capabilityNames(bits uint64) []string {
	var out []string
	for i, name := range capability.Names {
		if bits&(1<<i) != 0 {
			out = append(out, "CAP_"+name)
		}
	}
	return out
}
