package phase

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
)

func TestCompareNodes(t *testing.T) {
	boot := time.Date(2026, 1, 2, 3, 4, 5, 700_000_000, time.UTC)
	before, same, after := boot.Add(-time.Minute), boot.Truncate(time.Second), boot.Add(time.Second)
	node := func(name string, status corev1.ConditionStatus, heartbeat time.Time) corev1.Node {
		return corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{
			{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse},
			{Type: corev1.NodeReady, Status: status, LastHeartbeatTime: metav1.NewTime(heartbeat), Message: "cni plugin not initialized"}}}}
	}
	pod := func(on string, started time.Time) corev1.Pod {
		return corev1.Pod{Spec: corev1.PodSpec{NodeName: on}, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(started)}}}}}}
	}
	leaving := pod("worker-0", before)
	leaving.DeletionTimestamp = &metav1.Time{Time: after}
	machines := []v1alpha1.Machine{{Name: "etcd-0", Role: v1alpha1.RoleEtcd}, {Name: "worker-0", Role: v1alpha1.RoleWorker}}
	for name, c := range map[string]struct {
		nodes []corev1.Node
		pods  []corev1.Pod
		want  string // cause, empty: nothing differs
	}{
		"ready":                                   {nodes: []corev1.Node{node("worker-0", corev1.ConditionTrue, after)}},
		"ready in the second of the boot":         {nodes: []corev1.Node{node("worker-0", corev1.ConditionTrue, same)}, pods: []corev1.Pod{pod("worker-0", same)}},
		"never registered":                        {want: "has not registered"},
		"registered without a condition":          {nodes: []corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "worker-0"}}}, want: "has not registered"},
		"not ready":                               {nodes: []corev1.Node{node("worker-0", corev1.ConditionFalse, after)}, want: "not Ready: cni plugin not initialized"},
		"unknown":                                 {nodes: []corev1.Node{node("worker-0", corev1.ConditionUnknown, after)}, want: "not Ready"},
		"ready by a word from before the boot":    {nodes: []corev1.Node{node("worker-0", corev1.ConditionTrue, before)}, want: "has not reported since it booted"},
		"a container from before the boot":        {nodes: []corev1.Node{node("worker-0", corev1.ConditionTrue, after)}, pods: []corev1.Pod{pod("worker-0", before), pod("worker-0", after)}, want: "1 containers have not started again"},
		"a container of another node":             {nodes: []corev1.Node{node("worker-0", corev1.ConditionTrue, after)}, pods: []corev1.Pod{pod("elsewhere", before)}},
		"a container of a pod that is leaving":    {nodes: []corev1.Node{node("worker-0", corev1.ConditionTrue, after)}, pods: []corev1.Pod{leaving}},
		"a node of a machine that is gone":        {nodes: []corev1.Node{node("worker-0", corev1.ConditionTrue, after), node("worker-1", corev1.ConditionTrue, after)}, want: "no machine of this name"},
		"a node by the name of another's machine": {nodes: []corev1.Node{node("worker-0", corev1.ConditionTrue, after), node("etcd-0", corev1.ConditionTrue, after)}, want: "no machine of this name"},
	} {
		t.Run(name, func(t *testing.T) {
			got := compareNodes(machines, map[string]time.Time{"worker-0": boot}, c.nodes, c.pods)
			if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0].Cause, c.want)) {
				t.Errorf("it says %s, want %q", fmt.Sprint(got), c.want)
			}
		})
	}
}
