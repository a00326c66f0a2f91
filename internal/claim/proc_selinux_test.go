package claim

import (
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/selinux"
)

func TestWithoutSELinux(t *testing.T) {
	local, cloud := &v1alpha1.Cluster{}, &v1alpha1.Cluster{}
	local.Spec.Provider.Local, cloud.Spec.Provider.AWS = &v1alpha1.Local{}, &v1alpha1.AWS{}
	for _, c := range []struct {
		name    string
		cluster *v1alpha1.Cluster
		mode    selinux.Mode
		none    bool
		verdict Verdict
	}{
		{"a local machine has its host's kernel", local, selinux.Absent, true, Void},
		{"an image of a cloud must have it", cloud, selinux.Absent, true, Broken},
		{"permissive is attacked", local, selinux.Permissive, false, ""},
		{"enforcing is attacked", cloud, selinux.Enforcing, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, none := withoutSELinux(c.cluster, "worker-0", selinux.State{Mode: c.mode})
			if none != c.none {
				t.Fatalf("there is none: %t", none)
			}
			if verdict, _ := Decide([]Evidence{e}, nil); none && verdict != c.verdict {
				t.Errorf("%s, want %s", verdict, c.verdict)
			}
		})
	}
	void := Evidence{Want: Refused, Got: Refused, Kind: Impossible}
	if verdict, _ := Decide([]Evidence{void, {Want: Refused, Got: Allowed}}, nil); verdict != Broken {
		t.Errorf("one worker has no SELinux, another only notes: %s", verdict)
	}
	if verdict, _ := Decide([]Evidence{void, {Want: Refused, Got: Refused}}, nil); verdict != Holds {
		t.Errorf("one worker has no SELinux, another enforces: %s", verdict)
	}
}

func TestDeclaredContainers(t *testing.T) {
	yes := true
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p"}, Spec: corev1.PodSpec{
		SecurityContext: &corev1.PodSecurityContext{SELinuxOptions: &corev1.SELinuxOptions{Level: "s0:c1,c2"}},
		InitContainers:  []corev1.Container{{Name: "init", SecurityContext: &corev1.SecurityContext{SELinuxOptions: &corev1.SELinuxOptions{Type: "spc_t"}}}},
		Containers:      []corev1.Container{{Name: "web"}, {Name: "node", SecurityContext: &corev1.SecurityContext{Privileged: &yes}}},
	}, Status: corev1.PodStatus{
		InitContainerStatuses: []corev1.ContainerStatus{{Name: "init", ContainerID: "containerd://1"}},
		ContainerStatuses:     []corev1.ContainerStatus{{Name: "web", ContainerID: "containerd://2"}, {Name: "node", ContainerID: "containerd://3"}, {Name: "unborn"}},
	}}
	want := map[string]selinux.Container{
		"1": {Pod: "n/p", Name: "init", Privileged: true},
		"2": {Pod: "n/p", Name: "web", Level: "s0:c1,c2"},
		"3": {Pod: "n/p", Name: "node", Level: "s0:c1,c2", Privileged: true},
	}
	if have := declaredContainers(pod); !reflect.DeepEqual(have, want) {
		t.Errorf("%+v", have)
	}
}

func TestDenialLogged(t *testing.T) {
	context := func(kind, typ, level string) selinux.Context {
		return selinux.Context{User: "system_u", Role: kind, Type: typ, Level: level}
	}
	a, b := context("system_r", "container_t", "s0:c1,c2"), context("system_r", "container_t", "s0:c3,c4")
	r := selinux.Report{Processes: []selinux.Process{{Container: "1", Context: a}, {Container: "2", Context: b}}}
	declared := map[string]selinux.Container{"1": {Pod: "n/a"}, "2": {Pod: "n/b"}}
	denial := selinux.Denial{Permissions: []string{"read"}, Source: b, Target: context("object_r", "container_file_t", "s0:c1,c2"), Class: "file"}
	for _, c := range []struct {
		name    string
		denials []selinux.Denial
		held    bool
	}{
		{"it is there", []selinux.Denial{denial}, true},
		{"nothing was logged", nil, false},
		{"of another pod", []selinux.Denial{{Permissions: denial.Permissions, Source: a, Target: denial.Target}}, false},
		{"noted, and allowed", []selinux.Denial{{Permissions: denial.Permissions, Source: b, Target: denial.Target, Permissive: true}}, false},
	} {
		r.Denials = c.denials
		if e := denialLogged(r, declared, "worker-0", "n"); e.Held() != c.held {
			t.Errorf("%s: %+v", c.name, e)
		}
	}
}
