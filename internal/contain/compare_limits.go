package contain

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// limits are those of the cgroup, beside the pod's requests and limits.
func (s saying) limits(c Container) []Fact {
	return []Fact{s.qos(c), s.cpu(c), s.cpuShare(c), s.memory(c), processCount(c)}
}

func (s saying) qos(c Container) Fact {
	f := Fact{What: "class of service", Says: string(s.pod.Status.QOSClass), Kernel: c.Cgroup.QoS}
	if f.Kernel == "" {
		f.Kernel = "none: " + c.Cgroup.Path
	}
	if f.Says != "" && c.Cgroup.QoS != f.Says {
		f.Differs = "its cgroup is " + c.Cgroup.Path
	}
	return f
}

// leastCPU is what the kernel's shortest quota comes to, in thousandths, of the kubelet's period.
const leastCPU = 50

// cpu: no quota is shorter than a millisecond of each twenty.
func (s saying) cpu(c Container) Fact {
	want := s.resources.Limits.Cpu().MilliValue()
	f := Fact{What: "cpu", Says: cores(want), Kernel: cores(c.Cgroup.Own.CPU)}
	return same(f, want != 0, max(want, leastCPU), c.Cgroup.Own.CPU)
}

func cores(milli int64) string {
	if milli == 0 {
		return "no limit"
	}
	return resource.NewMilliQuantity(milli, resource.DecimalSI).String()
}

// cpuShare is the part of a machine's time where there is too little. Only version 1 has it as the kubelet reckons it.
func (s saying) cpuShare(c Container) Fact {
	request := s.resources.Requests.Cpu().MilliValue()
	if _, said := s.resources.Requests[corev1.ResourceCPU]; !said {
		request = s.resources.Limits.Cpu().MilliValue()
	}
	f := Fact{What: "cpu's share", Says: "no request"}
	if request != 0 {
		f.Says = resource.NewMilliQuantity(request, resource.DecimalSI).String()
	}
	if c.Cgroup.Own.Weight != 0 {
		f.Kernel = fmt.Sprintf("weight %d", c.Cgroup.Own.Weight)
		return f
	}
	want := min(max(request*1024/1000, 2), 262144)
	f.Kernel = fmt.Sprintf("%d shares of 1024 a core", c.Cgroup.Own.Shares)
	return same(f, true, want, c.Cgroup.Own.Shares)
}

func (s saying) memory(c Container) Fact {
	const page = 4096
	want := s.resources.Limits.Memory().Value()
	f := Fact{What: "memory", Says: amount(want), Kernel: amount(c.Cgroup.Own.Memory)}
	return same(f, want != 0, want/page*page, c.Cgroup.Own.Memory/page*page)
}

func amount(n int64) string {
	if n == 0 {
		return "no limit"
	}
	return resource.NewQuantity(n, resource.BinarySI).String()
}

// processCount: a pod says nothing of how many it has; the kubelet limits those of all its containers.
func processCount(c Container) Fact {
	f := Fact{What: "processes", Says: "-", Kernel: fmt.Sprintf("%d, no limit", c.Count)}
	limit := c.Cgroup.Own.Processes
	if pod := c.Cgroup.Pod.Processes; pod != 0 && (limit == 0 || pod < limit) {
		limit = pod
	}
	if limit != 0 {
		f.Kernel = fmt.Sprintf("%d of at most %d in the pod", c.Count, limit)
	}
	return f
}

// same compares a limit; without one there must be none.
func same(f Fact, limited bool, want, have int64) Fact {
	switch {
	case !limited && have == 0 || limited && want == have:
	case have == 0 || limited && have > want:
		f.Differs = "the kernel lets it have more"
	default:
		f.Differs = "the kernel lets it have less"
	}
	return f
}

// Ceilings are the most of disk and network that the class of a pod declares, per second; nothing is no ceiling.
type Ceilings struct {
	Read, Write       int64 // bytes
	ReadOps, WriteOps int64
	In, Out           int64 // bits
}

// compare holds ceilings against what the kernel has. They are the pod's, wherever they are placed.
func (w Ceilings) compare(c Container, pod *corev1.Pod) []Fact {
	var out []Fact
	has := Disk{}
	for _, d := range append(append([]Disk{}, c.Cgroup.Own.Disk...), c.Cgroup.Pod.Disk...) {
		has = Disk{Read: least(has.Read, d.Read), Write: least(has.Write, d.Write), ReadOps: least(has.ReadOps, d.ReadOps), WriteOps: least(has.WriteOps, d.WriteOps)}
	}
	for _, r := range []struct {
		what       string
		want, have int64
		unit       func(int64) string
	}{
		{"disk, read", w.Read, has.Read, amount}, {"disk, write", w.Write, has.Write, amount},
		{"disk, reads", w.ReadOps, has.ReadOps, count}, {"disk, writes", w.WriteOps, has.WriteOps, count},
		{"network, in", w.In / 8 * 8, speed(c.Shaped, "in"), bits}, {"network, out", w.Out / 8 * 8, speed(c.Shaped, "out"), bits},
	} {
		if r.want == 0 && r.have == 0 || strings.HasPrefix(r.what, "network") && pod.Spec.HostNetwork {
			continue
		}
		out = append(out, same(Fact{What: r.what, Says: r.unit(r.want), Kernel: r.unit(r.have)}, r.want != 0, r.want, r.have))
	}
	return out
}

// least is the smaller of two limits, of which 0 is none.
func least(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func speed(shapes []Shape, way string) int64 {
	var out int64
	for _, s := range shapes {
		if s.Way == way {
			out = least(out, int64(s.Bits)) //nolint:gosec // the kernel's are far below
		}
	}
	return out
}

func count(n int64) string {
	if n == 0 {
		return "no limit"
	}
	return fmt.Sprint(n)
}

func bits(n int64) string {
	if n == 0 {
		return "no limit"
	}
	return resource.NewQuantity(n, resource.DecimalSI).String()
}
