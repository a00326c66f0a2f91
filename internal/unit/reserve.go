package unit

import (
	"fmt"
	"time"
)

// ReserveDir has what a kubelet is told beside its configuration: what its machine's size asks for. The machine works it out itself
// each time that it boots, for nobody else knows its size.
const (
	ReserveDir  = "/run/ashlar/kubelet.d"
	ReserveFile = ReserveDir + "/10-reserve.conf"
)

// ReserveCommand is the command of a machine that writes ReserveFile.
const ReserveCommand = "reserve"

func reserve() Unit {
	return Unit{Name: "reserve", Args: []string{Bin + "/ashlar", ReserveCommand}, Once: true, Grace: time.Second}
}

const (
	mebibyte = 1 << 20
	gibibyte = 1 << 30
)

// Size is what a machine has.
type Size struct {
	// MilliCPUs are thousandths of a CPU.
	MilliCPUs int64 `json:"milliCPUs"`
	// Memory and Disk are in bytes; Disk is of the filesystem that pods write to.
	Memory int64 `json:"memory"`
	Disk   int64 `json:"disk"`
	// PIDs is how many processes and threads there can be.
	PIDs int64 `json:"pids"`
	// BeyondMilliCPUs and BeyondMemory are what a kubelet sees beyond that: a container sees all of its host.
	BeyondMilliCPUs int64 `json:"beyondMilliCPUs,omitempty"`
	BeyondMemory    int64 `json:"beyondMemory,omitempty"`
}

// Reserve is what pods leave to a machine, so that neither Kubernetes' own processes nor the system's are ever short of anything.
type Reserve struct {
	Kube, System Share
	// Hard is how much must be free: with less, pods are evicted at once; with less than Soft, once that has lasted.
	Hard, Soft Free
	// MaxPods is how many pods there can be, PodPIDs how many processes and threads of each.
	MaxPods, PodPIDs int64
}

// Share is a part of a machine.
type Share struct{ MilliCPUs, Memory, Disk, PIDs int64 }

// Free is what must be.
type Free struct {
	Memory, Disk  int64
	InodesPercent int
	PIDsPercent   int
}

// step is what part of an amount is taken, in thousandths.
type step struct{ of, thousandths int64 }

// The larger a machine is, the smaller the part of it that running it takes.
var (
	cpuSteps    = []step{{1000, 60}, {1000, 20}, {2000, 10}, {1 << 40, 5}}
	memorySteps = []step{{4 * gibibyte, 200}, {4 * gibibyte, 120}, {8 * gibibyte, 80}, {112 * gibibyte, 40}, {1 << 60, 20}}
)

func climb(amount int64, steps []step) (out int64) {
	for _, s := range steps {
		part := min(amount, s.of)
		out += part / 1000 * s.thousandths
		amount -= part
	}
	return out
}

// ReserveOf is what a machine of a size keeps for itself.
func ReserveOf(s Size) Reserve {
	cpu, memory := climb(s.MilliCPUs, cpuSteps)+20, round(climb(s.Memory, memorySteps))
	pods := clamp(min(s.MilliCPUs*55/1000, s.Memory/(64*mebibyte)), 16, 110)
	r := Reserve{
		Kube:    Share{MilliCPUs: cpu, Memory: memory, Disk: clamp(s.Disk/50, gibibyte/4, gibibyte), PIDs: clamp(s.PIDs/32, 512, 4096)},
		System:  Share{MilliCPUs: cpu / 2, Memory: round(max(memory/3, 100*mebibyte)), Disk: clamp(s.Disk/50, gibibyte/4, gibibyte), PIDs: clamp(s.PIDs/32, 512, 4096)},
		Hard:    Free{Memory: round(clamp(s.Memory/40, 100*mebibyte, 500*mebibyte)), Disk: round(clamp(s.Disk/20, gibibyte/2, gibibyte)), InodesPercent: 5, PIDsPercent: 5},
		MaxPods: pods,
		// Many pods may come to their limit before there are no more, and none has more than the CPUs can turn to.
		PodPIDs: clamp(min(s.PIDs/32, s.MilliCPUs*256/1000), 512, 4096),
	}
	r.Soft = Free{Memory: 2 * r.Hard.Memory, Disk: 2 * r.Hard.Disk, InodesPercent: 2 * r.Hard.InodesPercent, PIDsPercent: 2 * r.Hard.PIDsPercent}
	r.System.MilliCPUs += s.BeyondMilliCPUs
	r.System.Memory += s.BeyondMemory
	return r
}

func clamp(v, least, most int64) int64 { return max(least, min(v, most)) }

// round is to whole mebibytes, as people write them.
func round(bytes int64) int64 { return bytes / mebibyte * mebibyte }

// Allocatable is how much of the memory and CPUs that a kubelet sees pods may have.
func (r Reserve) Allocatable(s Size) (milliCPUs, memory int64) {
	return s.MilliCPUs + s.BeyondMilliCPUs - r.Kube.MilliCPUs - r.System.MilliCPUs,
		s.Memory + s.BeyondMemory - r.Kube.Memory - r.System.Memory - r.Hard.Memory
}

// KubeletConfig is r in the kubelet's words.
func (r Reserve) KubeletConfig() string {
	share := func(s Share) string {
		return fmt.Sprintf("{cpu: %dm, memory: %dMi, ephemeral-storage: %dMi, pid: %q}", s.MilliCPUs, s.Memory/mebibyte, s.Disk/mebibyte, fmt.Sprint(s.PIDs))
	}
	free := func(f Free) string {
		return fmt.Sprintf("{memory.available: %dMi, nodefs.available: %[2]dMi, imagefs.available: %[2]dMi, nodefs.inodesFree: %d%%, pid.available: %d%%}",
			f.Memory/mebibyte, f.Disk/mebibyte, f.InodesPercent, f.PIDsPercent)
	}
	return fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
kubeReserved: %s
systemReserved: %s
enforceNodeAllocatable: [pods]
evictionHard: %s
evictionSoft: %s
evictionSoftGracePeriod: {memory.available: 1m30s, nodefs.available: 2m, imagefs.available: 2m, nodefs.inodesFree: 2m, pid.available: 1m}
evictionMaxPodGracePeriod: 30
maxPods: %d
podPidsLimit: %d
`, share(r.Kube), share(r.System), free(r.Hard), free(r.Soft), r.MaxPods, r.PodPIDs)
}
