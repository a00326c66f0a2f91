// Package contain reads from a machine's kernel what it enforces on the containers of a pod, and holds that against what the pod
// says. What is read is text of /proc and of cgroups; what it means is decided by pure functions.
package contain

// Machine is what a machine's kernel says of some containers, and of itself.
type Machine struct {
	Kernel     Kernel      `json:"kernel"`
	Containers []Container `json:"containers"`
	// Mounts are the machine's own, without those of pods: by them one sees which of its directories a container has.
	Mounts []Mount `json:"mounts"`
}

// Kernel is what there is to contain with.
type Kernel struct {
	Release string `json:"release"`
	// Cgroups is the version that limits resources here: 1 or 2.
	Cgroups int `json:"cgroups"`
	// SELinux is what it does: enforcing, permissive or absent.
	SELinux string `json:"selinux"`
	// AppArmor is whether it confines by profiles.
	AppArmor bool `json:"apparmor"`
	// Capabilities are all that anybody can have here.
	Capabilities []string `json:"capabilities"`
	// Doors are the files of /proc and /sys, of those that a runtime closes, that there are here.
	Doors []string `json:"doors"`
}

// The states of SELinux.
const (
	Enforcing  = "enforcing"
	Permissive = "permissive"
	Absent     = "absent"
)

// Container is what holds for the processes of one container.
type Container struct {
	ID string `json:"id"`
	// Gone is why there is nothing to read: it has ended since.
	Gone string `json:"gone,omitempty"`
	// Processes differ in something beside their number and command; the first is the one that it was started with.
	Processes []Process `json:"processes"`
	// Count is how many there are.
	Count int `json:"count"`
	// Shared are the kinds of namespaces that are the machine's own, by the kernel's names: net, pid, user…
	Shared []string `json:"shared"`
	// Users are whom its users are on the machine.
	Users  []Range `json:"users"`
	Mounts []Mount `json:"mounts"`
	Cgroup Cgroup  `json:"cgroup"`
	// Shaped is how the network's speed is limited, by the way that packets go: in, or out.
	Shaped []Shape `json:"shaped,omitempty"`
	// Listens are the ports that its processes take.
	Listens []string `json:"listens,omitempty"`
}

// Process is what holds for one process.
type Process struct {
	PID     int    `json:"pid"` // on the machine
	Command string `json:"command"`
	// User and Group are the effective ones, as the container's own users see them.
	User  int `json:"user"`
	Group int `json:"group"`
	// Seccomp is its mode: disabled, strict or filter.
	Seccomp string `json:"seccomp"`
	// Filters are how many filters its calls pass.
	Filters         int          `json:"filters"`
	NoNewPrivileges bool         `json:"noNewPrivileges"`
	Capabilities    Capabilities `json:"capabilities"`
	// Label is what a security module calls it: a context of SELinux, or a profile of AppArmor.
	Label string `json:"label,omitempty"`
}

// Capabilities are a process's sets, by name, without "CAP_".
type Capabilities struct {
	Effective   []string `json:"effective"`
	Permitted   []string `json:"permitted"`
	Inheritable []string `json:"inheritable"`
	Bounding    []string `json:"bounding"`
	Ambient     []string `json:"ambient"`
}

// Range is some users of a container, and who they are on the machine.
type Range struct {
	Inside  int64 `json:"inside"`
	Machine int64 `json:"machine"`
	Count   int64 `json:"count"`
}

// Mount is one line of mountinfo.
type Mount struct {
	At string `json:"at"`
	// Device and Root are the filesystem, and where in it the mount begins.
	Device   string `json:"device"`
	Root     string `json:"root"`
	Type     string `json:"type"`
	ReadOnly bool   `json:"readOnly"`
}

// Cgroup is where a container is among the machine's cgroups, and what holds there.
type Cgroup struct {
	Path string `json:"path"`
	// QoS is the class that the path is of: Guaranteed, Burstable or BestEffort; empty if it is none of a kubelet's.
	QoS string `json:"qos"`
	// Own are the container's limits, Pod those of all containers of its pod together.
	Own Limits `json:"own"`
	Pod Limits `json:"pod"`
}

// Limits are the values of a cgroup; nothing where there is none.
type Limits struct {
	// CPU is the most that it gets, in thousandths of a core.
	CPU int64 `json:"cpu,omitempty"`
	// Shares, or in version 2 Weight, are its part of a machine that has too little.
	Shares int64 `json:"shares,omitempty"`
	Weight int64 `json:"weight,omitempty"`
	// Memory is in bytes.
	Memory int64 `json:"memory,omitempty"`
	// Processes are how many there can be.
	Processes int64 `json:"processes,omitempty"`
	// Disk are the ceilings of block devices.
	Disk []Disk `json:"disk,omitempty"`
}

// Disk is the ceiling of one block device, in bytes and operations per second.
type Disk struct {
	Device   string `json:"device"` // its numbers, as 8:0
	Read     int64  `json:"read,omitempty"`
	Write    int64  `json:"write,omitempty"`
	ReadOps  int64  `json:"readOps,omitempty"`
	WriteOps int64  `json:"writeOps,omitempty"`
}

// Shape is how one way of the network is limited.
type Shape struct {
	// Way is in or out, as the pod sees it.
	Way string `json:"way"`
	// By is the kernel's queueing discipline, Bits what it lets through in a second.
	By   string `json:"by"`
	Bits uint64 `json:"bits"`
}
