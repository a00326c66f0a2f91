package phase

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/authz"
	"ashlar.dev/ashlar/internal/contain"
	"ashlar.dev/ashlar/internal/isolation"
)

// line is one of the API's audit log.
func line(at, user, more string) string {
	return `{"kind":"Event","level":"Metadata","verb":"create","user":{"username":"` + user + `","groups":["dev","system:authenticated"]},` +
		`"objectRef":{"resource":"pods","namespace":"shop","name":"web","apiVersion":"v1"},"responseStatus":{"code":201},` +
		`"requestReceivedTimestamp":"2026-03-01T12:` + at + `.250000Z"` + more + `}` + "\n"
}

func TestMadeBy(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web",
		CreationTimestamp: metav1.NewTime(time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC))}}
	for name, c := range map[string]struct{ log, want string }{
		"nobody knows":             {"", ""},
		"whoever the log has":      {line("30:00", "alice", ""), "alice"},
		"one before it was there":  {line("10:00", "bob", ""), ""},
		"one after it":             {line("30:05", "bob", ""), ""},
		"of two the right one":     {line("10:00", "bob", "") + line("29:59", "alice", "") + line("40:00", "carol", ""), "alice"},
		"who somebody speaks for":  {line("30:00", "admin", `,"impersonatedUser":{"username":"dave","groups":["system:authenticated"]}`), "dave"},
		"one that was refused":     {strings.Replace(line("30:00", "eve", ""), "201", "403", 1), ""},
		"in another namespace":     {strings.Replace(line("30:00", "eve", ""), `"shop"`, `"bank"`, 1), ""},
		"of another name":          {strings.Replace(line("30:00", "eve", ""), `"web"`, `"web-2"`, 1), ""},
		"a subresource":            {strings.Replace(line("30:00", "eve", ""), `"name"`, `"subresource":"eviction","name"`, 1), ""},
		"what is no line at all":   {"{\n" + line("30:00", "alice", ""), "alice"},
		"something else, so named": {strings.Replace(line("30:00", "eve", ""), `"pods"`, `"services"`, 1), ""},
	} {
		who, found := madeBy([]byte(c.log), pod)
		if who.User != c.want || found != (c.want != "") {
			t.Errorf("%s: got %q, %v, want %q", name, who.User, found, c.want)
		}
	}
	who, _ := madeBy([]byte(line("30:00", "alice", "")), pod)
	if !slices.Equal(who.Groups, []string{"dev", "system:authenticated"}) {
		t.Errorf("the groups are lost: %v", who.Groups)
	}
}

func TestClassOf(t *testing.T) {
	for _, c := range []struct {
		labels map[string]string
		want   string
	}{{nil, "restricted"}, {map[string]string{"app": "web"}, "restricted"}, {map[string]string{"ashlar.dev/class": "gpu"}, "gpu"}} {
		if got, because := classOf(c.labels); got != c.want || because == "" {
			t.Errorf("%v: got %s, %s", c.labels, got, because)
		}
	}
}

func TestCeilingsOf(t *testing.T) {
	got, err := ceilingsOf("gpu", v1alpha1.DiskCeiling{Read: "20Mi", WriteOps: 100}, v1alpha1.NetworkCeiling{Ingress: "100M"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(contain.Ceilings{Read: 20 << 20, WriteOps: 100, In: 100e6}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if _, err := ceilingsOf("gpu", v1alpha1.DiskCeiling{Write: "fast"}, v1alpha1.NetworkCeiling{}); err == nil || !strings.Contains(err.Error(), "gpu") {
		t.Errorf("got %v", err)
	}
}

func TestHeld(t *testing.T) {
	e := Explanation{Uses: []Use{{Allowed: false}, {Allowed: false}}}
	if e.Held() {
		t.Error("nobody may use the class, and it is held all the same")
	}
	if e.Uses[1].Allowed = true; !e.Held() {
		t.Error("the ServiceAccount alone is not enough")
	}
	if e.Refuses = []isolation.Violation{{Control: "HostProcess"}}; e.Held() {
		t.Error("the class does not allow what the pod is, and it is held all the same")
	}
}

// TestOptions: the pod is refused in each class but those that allow it, and each says who may use it.
func TestOptions(t *testing.T) {
	spec := v1alpha1.Isolation{Classes: []v1alpha1.PodClass{{Name: "logs", HostPaths: []v1alpha1.HostPath{{Prefix: "/var/log", ReadOnly: true}}}},
		Grants: []v1alpha1.ClassGrant{{Class: "logs", Namespaces: []string{"shop"}, Users: []string{"alice"}}}}
	classes := isolation.Classes(spec)
	policy, err := (&authz.RBAC{ClusterRoles: isolation.Roles(classes), RoleBindings: isolation.Bindings(spec, "shop", nil)}).Policy()
	if err != nil {
		t.Fatal(err)
	}
	no, yes := false, true
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "reader"}, Spec: corev1.PodSpec{
		SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: &yes, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
		Containers: []corev1.Container{{Name: "main", VolumeMounts: []corev1.VolumeMount{{Name: "log", MountPath: "/log", ReadOnly: true}},
			SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}}},
		Volumes: []corev1.Volume{{Name: "log", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/var/log"}}}},
	}}
	got := map[string]string{}
	for _, o := range optionsFor(policy, classes, pod) {
		verdict := "allows it"
		if len(o.Refuses) > 0 {
			verdict = "refuses " + o.Refuses[0].Control
		}
		for _, h := range o.Holders {
			verdict += ", " + h.String()
		}
		got[o.Class] = verdict
	}
	want := map[string]string{"restricted": "refuses " + isolation.HostPathVolumes + ", group system:authenticated", "baseline": "refuses " + isolation.HostPathVolumes,
		"privileged": "allows it", "logs": "allows it, user alice"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
