// Package share compares what pods say they take of a machine with what the machine's kernel lets them, and measures what one takes
// from another.
package share

import (
	"bufio"
	"fmt"
	"path"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// ListScript prints what a machine's cgroups say of pods, a line a value: path:value. It is for bash.
const ListScript = `find /sys/fs/cgroup/*/kubepods* /sys/fs/cgroup/kubepods* -type f \( -name cpu.shares -o -name cpu.cfs_quota_us -o -name cpu.cfs_period_us \
-o -name cpu.max -o -name cpu.weight -o -name memory.limit_in_bytes -o -name memory.max -o -name pids.max \) -exec grep -H "" {} + 2>/dev/null; true`

// Groups are cgroups of pods by the last part of their path, each with its values by file. Of v1, a group is one in each hierarchy.
type Groups map[string]Group

// Group is one cgroup.
type Group struct {
	// Path is below the mount of its hierarchy.
	Path   string
	Values map[string]string
}

// Parse reads what ListScript prints.
func Parse(text string) Groups {
	out := Groups{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		file, value, ok := strings.Cut(lines.Text(), ":")
		if i := strings.Index(file, "/kubepods"); ok && i >= 0 {
			dir := path.Dir(file[i+1:])
			name := path.Base(dir)
			g := out[name]
			if g.Values == nil {
				g = Group{Path: dir, Values: map[string]string{}}
			}
			g.Values[path.Base(file)] = value
			out[name] = g
		}
	}
	return out
}

// Find is the group of a container, or of a pod, by its id.
func (g Groups) Find(id string) (Group, bool) {
	// systemd writes ids with other separators, and names scopes after whoever made them.
	for name, group := range g {
		if strings.Contains(strings.ReplaceAll(name, "_", "-"), id) {
			return group, true
		}
	}
	return Group{}, false
}

// Class is the quality of service that a group's place says.
func (g Group) Class() corev1.PodQOSClass {
	switch {
	case strings.Contains(g.Path, "besteffort"):
		return corev1.PodQOSBestEffort
	case strings.Contains(g.Path, "burstable"):
		return corev1.PodQOSBurstable
	}
	return corev1.PodQOSGuaranteed
}

func (g Group) number(file string) (int64, bool) {
	n, err := strconv.ParseInt(g.Values[file], 10, 64)
	return n, err == nil
}

// Memory is the most that the group may have, in bytes; false: all there is.
func (g Group) Memory() (int64, bool) {
	if n, ok := g.number("memory.max"); ok {
		return n, true
	}
	n, ok := g.number("memory.limit_in_bytes")
	return n, ok && n < 1<<60 // what v1 has when nobody says anything
}

// PIDs is how many processes and threads it may have; false: any number.
func (g Group) PIDs() (int64, bool) { return g.number("pids.max") }

// MilliCPUs is the most that it may have, in thousandths, and the least that this can be; false: all there is.
func (g Group) MilliCPUs() (most, least int64, bounded bool) {
	quota, period := g.Values["cpu.cfs_quota_us"], g.Values["cpu.cfs_period_us"]
	if fields := strings.Fields(g.Values["cpu.max"]); len(fields) == 2 {
		quota, period = fields[0], fields[1]
	}
	q, err1 := strconv.ParseInt(quota, 10, 64)
	p, err2 := strconv.ParseInt(period, 10, 64)
	if err1 != nil || err2 != nil || q <= 0 || p <= 0 {
		return 0, 0, false
	}
	return q * 1000 / p, leastQuota * 1000 / p, true
}

// leastQuota is the shortest time that the kernel lets a group have in a period, in microseconds.
const leastQuota = 1000

// Container is what a running container is to be held to.
type Container struct {
	Name, ID string
	corev1.ResourceRequirements
}

// Running are the containers of a pod that run, sidecars among them.
func Running(pod *corev1.Pod) []Container {
	var out []Container
	spec := map[string]corev1.ResourceRequirements{}
	for _, c := range append(append([]corev1.Container{}, pod.Spec.InitContainers...), pod.Spec.Containers...) {
		spec[c.Name] = c.Resources
	}
	for _, s := range append(append([]corev1.ContainerStatus{}, pod.Status.InitContainerStatuses...), pod.Status.ContainerStatuses...) {
		if _, id, ok := strings.Cut(s.ContainerID, "://"); ok && s.State.Running != nil {
			out = append(out, Container{s.Name, id, spec[s.Name]})
		}
	}
	return out
}

// Unlimited names what a container has no request or no limit of; empty: it has all.
func (c Container) Unlimited() string {
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		if q, ok := c.Requests[name]; !ok || q.IsZero() {
			return fmt.Sprintf("requests no %s", name)
		}
		if q, ok := c.Limits[name]; !ok || q.IsZero() {
			return fmt.Sprintf("has no limit of %s", name)
		}
	}
	return ""
}

// page is what memory limits are rounded down to.
const page = 64 << 10

// leastShares is what the kernel gives who asks for nothing.
const leastShares = 2

// Differs says what a container's cgroup says otherwise than the container; empty: nothing.
func (c Container) Differs(g Group) string {
	memory, bounded := g.Memory()
	if want := c.Limits.Memory().Value(); !bounded || memory > want || memory < want-page {
		return fmt.Sprintf("its memory is at most %s, and not %d", or(bounded, memory), want)
	}
	cpu, least, bounded := g.MilliCPUs()
	if want := max(c.Limits.Cpu().MilliValue(), least); !bounded || cpu != want {
		return fmt.Sprintf("its CPU is at most %s thousandths, and not %d", or(bounded, cpu), want)
	}
	if shares, v1 := g.number("cpu.shares"); v1 {
		if want := max(c.Requests.Cpu().MilliValue()*1024/1000, leastShares); shares != want {
			return fmt.Sprintf("its shares of the CPU are %d, and not %d", shares, want)
		}
	}
	return ""
}

func or(bounded bool, n int64) string {
	if !bounded {
		return "all there is"
	}
	return fmt.Sprint(n)
}
