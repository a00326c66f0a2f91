package podsecurity

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/isolation"
	"ashlar.dev/ashlar/internal/standard"
)

// TestRandom: of random pods, the classes restricted and baseline say in Go what Pod Security Admission says at those levels, and
// what any other class lets through passes at the level that it needs.
func TestRandom(t *testing.T) {
	asked, passed := 0, 0
	classes := isolation.Classes(v1alpha1.Isolation{Classes: own})
	rapid.Check(t, func(r *rapid.T) {
		for range 20 {
			pod := random{r}.pod(true)
			for _, class := range classes {
				refused := class.Check(&pod.ObjectMeta, &pod.Spec)
				theirs := allowed(t, class.Level(), pod)
				asked++
				if theirs {
					passed++
				}
				switch {
				case class.BuiltIn && (len(refused) == 0) != theirs:
					r.Fatalf("Pod Security at %s says %t; class %s: %v", class.Name, theirs, class.Name, refused)
				case len(refused) == 0 && !theirs && pod.Spec.OS == nil: // to the API, a Windows pod with what baseline forbids is none
					r.Fatalf("class %s lets it through, and needs level %s, which does not: %v", class.Name, class.Level(), broken(pod))
				}
			}
		}
	})
	balanced(t, passed, asked)
}

// TestRandomInCEL: an API server decides on random pods as the decision in Go does, and names the classes that would allow them.
func TestRandomInCEL(t *testing.T) {
	s := start(t, own)
	asked, passed, invalid := 0, 0, 0
	rapid.Check(t, func(r *rapid.T) {
		pod := random{r}.pod(false)
		var allowing []string
		for _, class := range s.classes {
			if len(class.Check(&pod.ObjectMeta, &pod.Spec)) == 0 {
				allowing = append(allowing, class.Name)
			}
		}
		for _, class := range s.classes {
			err := s.ask(t.Context(), class, pod)
			if err != nil && !apierrors.IsForbidden(err) {
				invalid++ // all classes know it as little
				return
			}
			asked++
			refused := class.Check(&pod.ObjectMeta, &pod.Spec)
			if err == nil {
				passed++
			}
			if (err == nil) != (len(refused) == 0) {
				r.Fatalf("class %s in CEL: %v; in Go: %v", class.Name, err, refused)
			}
			if err != nil && !slices.Equal(instead(err), slices.Sorted(slices.Values(allowing))) {
				r.Fatalf("class %s; what would allow it: %v; but: %v", class.Name, allowing, err)
			}
		}
	})
	t.Logf("%d pods were none to the API", invalid)
	balanced(t, passed, asked)
}

// instead are the classes that a refusal names.
func instead(refusal error) []string {
	_, rest, _ := strings.Cut(refusal.Error(), "It would be allowed by class ")
	names, _, _ := strings.Cut(rest, " (label")
	return slices.Sorted(slices.Values(strings.Split(names, " or ")))
}

// balanced fails a test that hardly tested anything.
func balanced(t *testing.T, passed, asked int) {
	t.Helper()
	share := 100 * passed / max(1, asked)
	t.Logf("%d decisions, %d %% let through", asked, share)
	if asked < 500 || share < 10 || share > 90 {
		t.Errorf("%d decisions, of which %d %% are to let through: these pods hardly test anything", asked, share)
	}
}

// ask makes the pod in a class, by dry run, as an administrator.
func (s server) ask(ctx context.Context, class isolation.Class, pod *corev1.Pod) error {
	pod = pod.DeepCopy()
	pod.GenerateName = "random-"
	pod.Labels[isolation.LabelClass] = class.Name
	_, err := s.admin.CoreV1().Pods(granted).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

// random makes pods that keep most of most controls.
type random struct{ *rapid.T }

// seldom is one of the others, now and then; the first otherwise.
func seldom[V any](r random, what string, usual V, others ...V) V {
	if rapid.IntRange(0, 9).Draw(r.T, what+"?") < 9 {
		return usual
	}
	return rapid.SampledFrom(others).Draw(r.T, what)
}

func ref[V any](v V) *V { return &v }

// pod is one with everything that the standards speak of; if wild, also what no API server would be asked to make.
func (r random) pod(wild bool) *corev1.Pod {
	pod := standard.Keeps()
	spec := &pod.Spec
	spec.HostNetwork = seldom(r, "hostNetwork", false, true)
	spec.HostPID = seldom(r, "hostPID", false, true)
	spec.HostIPC = seldom(r, "hostIPC", false, true)
	spec.HostUsers = seldom(r, "hostUsers", ref(true), nil, ref(false))
	spec.SecurityContext = seldom(r, "pod's security context", r.podContext(), nil)
	if wild && rapid.IntRange(0, 30).Draw(r.T, "os") == 0 {
		spec.OS = &corev1.PodOS{Name: rapid.SampledFrom([]corev1.OSName{corev1.Windows, corev1.Linux}).Draw(r.T, "OS")}
	}
	containers := func(name string, most int) []corev1.Container {
		var out []corev1.Container
		for i := range rapid.IntRange(0, most).Draw(r.T, name) {
			out = append(out, r.container(fmt.Sprintf("%s%d", name, i)))
		}
		return out
	}
	spec.Containers = append([]corev1.Container{r.container("main")}, containers("c", 1)...)
	spec.InitContainers = containers("init", 1)
	for i := range spec.InitContainers { // sidecars: only they may be probed
		spec.InitContainers[i].RestartPolicy = ref(corev1.ContainerRestartPolicyAlways)
	}
	if wild {
		for _, c := range containers("debug", 1) {
			spec.EphemeralContainers = append(spec.EphemeralContainers, corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon(c)})
		}
	}
	for i := range rapid.IntRange(0, 2).Draw(r.T, "volumes") {
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: fmt.Sprintf("v%d", i), VolumeSource: r.volume()})
	}
	if profile := seldom(r, "AppArmor annotation", "none", "unconfined", "runtime/default", "localhost/mine", ""); profile != "none" {
		pod.Annotations[corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix+"main"] = profile
	}
	return pod
}

func (r random) podContext() *corev1.PodSecurityContext {
	c := &corev1.PodSecurityContext{
		RunAsNonRoot: seldom(r, "runAsNonRoot", ref(true), nil, ref(false)), RunAsUser: seldom(r, "runAsUser", nil, ref(int64(0)), ref(int64(7))),
		SeccompProfile: r.seccomp(&corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}),
		SELinuxOptions: r.selinux(), AppArmorProfile: r.appArmor(),
	}
	if name := seldom(r, "sysctl", "", "kernel.msgmax", "net.ipv4.tcp_rmem", "net.ipv4.tcp_notsent_lowat", "net.ipv4.ip_forward"); name != "" {
		c.Sysctls = []corev1.Sysctl{{Name: name, Value: "1"}}
	}
	if seldom(r, "pod's host process", false, true) {
		c.WindowsOptions = &corev1.WindowsSecurityContextOptions{HostProcess: seldom(r, "pod's hostProcess", ref(false), nil, ref(true))}
	}
	return c
}

func (r random) container(name string) corev1.Container {
	yes, no := true, false
	c := corev1.Container{Name: name, Image: "none", ImagePullPolicy: corev1.PullNever}
	if seldom(r, "no security context", false, true) {
		return c
	}
	s := &corev1.SecurityContext{
		AllowPrivilegeEscalation: seldom(r, "allowPrivilegeEscalation", &no, nil, &yes), Privileged: seldom(r, "privileged", nil, &no, &yes),
		RunAsNonRoot: seldom(r, "runAsNonRoot", nil, &yes, &no), RunAsUser: seldom(r, "runAsUser", nil, ref(int64(0)), ref(int64(7))),
		ProcMount:      seldom(r, "procMount", nil, ref(corev1.DefaultProcMount), ref(corev1.UnmaskedProcMount)),
		SeccompProfile: r.seccomp(nil), SELinuxOptions: r.selinux(), AppArmorProfile: r.appArmor(),
	}
	s.Capabilities = seldom(r, "capabilities", &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}, nil,
		&corev1.Capabilities{Drop: []corev1.Capability{"NET_RAW", "ALL"}}, &corev1.Capabilities{Drop: []corev1.Capability{"NET_RAW"}})
	if added := seldom(r, "added", "", "CHOWN", "NET_BIND_SERVICE", "NET_ADMIN", "SYS_ADMIN", "ALL", "net_admin", "CAP_NET_ADMIN"); added != "" && s.Capabilities != nil {
		s.Capabilities.Add = []corev1.Capability{"NET_BIND_SERVICE", corev1.Capability(added)}
	}
	if seldom(r, "host process", false, true) {
		s.WindowsOptions = &corev1.WindowsSecurityContextOptions{HostProcess: seldom(r, "hostProcess", &no, nil, &yes)}
	}
	c.SecurityContext = s
	if port := seldom(r, "port", 0, 80, 8000, 8080, 8091); port != 0 {
		c.Ports = []corev1.ContainerPort{{ContainerPort: 99}, {ContainerPort: int32(port), HostPort: int32(port)}}
	}
	host := seldom(r, "host", "", "192.0.2.1", "localhost")
	http, tcp := &corev1.HTTPGetAction{Host: host, Port: intstr.FromInt32(80)}, &corev1.TCPSocketAction{Host: host, Port: intstr.FromInt32(80)}
	switch rapid.IntRange(0, 9).Draw(r.T, "probe") {
	case 0:
		c.LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: http}}
	case 1:
		c.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: tcp}}
	case 2:
		c.StartupProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: tcp}}
	case 3:
		c.Lifecycle = &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{HTTPGet: http}}
	case 4:
		c.Lifecycle = &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{TCPSocket: tcp}, PreStop: &corev1.LifecycleHandler{HTTPGet: http}}
	}
	return c
}

func (r random) seccomp(usual *corev1.SeccompProfile) *corev1.SeccompProfile {
	return seldom(r, "seccomp", usual, nil, &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined},
		&corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		&corev1.SeccompProfile{Type: corev1.SeccompProfileTypeLocalhost, LocalhostProfile: ref("mine")})
}

func (r random) selinux() *corev1.SELinuxOptions {
	return seldom(r, "SELinux", nil, &corev1.SELinuxOptions{Type: "spc_t"}, &corev1.SELinuxOptions{Type: "container_t", Level: "s0:c1,c2"},
		&corev1.SELinuxOptions{Type: "container_engine_t"}, &corev1.SELinuxOptions{User: "u"}, &corev1.SELinuxOptions{Role: "r"},
		&corev1.SELinuxOptions{Type: "spc_t", Level: "s0"}, &corev1.SELinuxOptions{})
}

func (r random) appArmor() *corev1.AppArmorProfile {
	return seldom(r, "AppArmor", nil, &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined},
		&corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeRuntimeDefault},
		&corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeLocalhost, LocalhostProfile: ref("mine")})
}

func (r random) volume() corev1.VolumeSource {
	directory := func(path string) corev1.VolumeSource {
		return corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path}}
	}
	return seldom(r, "volume", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}, directory("/"), directory("/var/lib/ashlar"),
		directory("/var/lib/ashlar/x"), directory("/var/lib/ashlar-verify"), directory("/var/lib/ashlar-verify/y"), directory("/var/lib/ashlar-verify-not"),
		corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{Server: "192.0.2.1", Path: "/"}},
		corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}},
		corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "m"}}},
		corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{}}, corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "d.example.com"}},
		corev1.VolumeSource{RBD: &corev1.RBDVolumeSource{CephMonitors: []string{"192.0.2.1"}, RBDImage: "i"}})
}
