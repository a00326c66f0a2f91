package share

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

const v1 = `/sys/fs/cgroup/cpu/kubepods/cpu.shares:1894
/sys/fs/cgroup/cpu/kubepods/burstable/podb0f/c1/cpu.shares:51
/sys/fs/cgroup/cpu/kubepods/burstable/podb0f/c1/cpu.cfs_quota_us:50000
/sys/fs/cgroup/cpu/kubepods/burstable/podb0f/c1/cpu.cfs_period_us:100000
/sys/fs/cgroup/memory/kubepods/burstable/podb0f/c1/memory.limit_in_bytes:268435456
/sys/fs/cgroup/memory/kubepods/memory.limit_in_bytes:22097227776
/sys/fs/cgroup/pids/kubepods/burstable/podb0f/pids.max:1024
/sys/fs/cgroup/memory/kubepods/podaaa/c2/memory.limit_in_bytes:9223372036854771712
`

const v2 = `/sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podb0_f.slice/pids.max:1024
/sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podb0_f.slice/cri-containerd-c1.scope/cpu.max:50000 100000
/sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podb0_f.slice/cri-containerd-c1.scope/memory.max:268435456
/sys/fs/cgroup/kubepods.slice/kubepods-podaaa.slice/cri-containerd-c2.scope/memory.max:max
`

func container(cpu, memory string) Container {
	return Container{Name: "c", ResourceRequirements: corev1.ResourceRequirements{
		Requests: corev1.ResourceList{"cpu": resource.MustParse("50m"), "memory": resource.MustParse("64Mi")},
		Limits:   corev1.ResourceList{"cpu": resource.MustParse(cpu), "memory": resource.MustParse(memory)}}}
}

// What a container says is compared with both versions of cgroups, however the groups are named.
func TestDiffers(t *testing.T) {
	for version, text := range map[string]string{"v1": v1, "v2": v2} {
		groups := Parse(text)
		id := map[string]string{"v1": "b0f", "v2": "b0-f"}[version]
		pod, ok := groups.Find(id)
		if n, bounded := pod.PIDs(); !ok || !bounded || n != 1024 || pod.Class() != corev1.PodQOSBurstable {
			t.Errorf("%s: the pod: %+v", version, pod)
		}
		c1, ok := groups.Find("c1")
		if !ok {
			t.Fatalf("%s: %+v has no c1", version, groups)
		}
		for _, c := range []struct{ cpu, memory, want string }{
			{"500m", "256Mi", ""},
			{"500m", "128Mi", "its memory is at most 268435456, and not 134217728"},
			{"1", "256Mi", "its CPU is at most 500 thousandths, and not 1000"},
		} {
			if got := container(c.cpu, c.memory).Differs(c1); got != c.want {
				t.Errorf("%s %s %s: %q", version, c.cpu, c.memory, got)
			}
		}
		c2, _ := groups.Find("c2")
		if got, want := container("500m", "256Mi").Differs(c2), "its memory is at most all there is, and not 268435456"; got != want || c2.Class() != corev1.PodQOSGuaranteed {
			t.Errorf("%s: %q, of %s", version, got, c2.Class())
		}
	}
	groups := Parse(v1)
	c1, _ := groups.Find("c1")
	c1.Values["cpu.shares"] = "2"
	if got := container("500m", "256Mi").Differs(c1); got != "its shares of the CPU are 2, and not 51" {
		t.Errorf("shares: %q", got)
	}
}

func TestUnlimited(t *testing.T) {
	all := container("1", "1Gi")
	if got := all.Unlimited(); got != "" {
		t.Errorf("all: %q", got)
	}
	delete(all.Limits, "memory")
	if got := all.Unlimited(); got != "has no limit of memory" {
		t.Errorf("without a limit: %q", got)
	}
	if got := (Container{}).Unlimited(); got != "requests no cpu" {
		t.Errorf("nothing: %q", got)
	}
}
