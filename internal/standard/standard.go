// Package standard is the Pod Security Standards as pods: one that keeps them all, and for each of their controls those
// that break it and as little else as the API allows. What a class of pods lets through is tried with them.
package standard

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The standards that restrict anything, by their names as Pod Security levels.
const (
	Baseline   = "baseline"
	Restricted = "restricted"
)

// Control is one of the standards' rules.
type Control struct {
	// Name is what the standards call it.
	Name string
	// Level is the laxest of the standards that has it: what baseline forbids, restricted forbids too.
	Level string
	// Check is what Pod Security Admission calls it.
	Check string
}

// The controls, in the order of the standards. Two levels have capabilities, seccomp and volumes with a different bound.
var (
	HostProcess     = Control{"HostProcess", Baseline, "windowsHostProcess"}
	HostNamespaces  = Control{"Host Namespaces", Baseline, "hostNamespaces"}
	Privileged      = Control{"Privileged Containers", Baseline, "privileged"}
	AddCapabilities = Control{"Capabilities", Baseline, "capabilities_baseline"}
	HostPaths       = Control{"HostPath Volumes", Baseline, "hostPathVolumes"}
	HostPorts       = Control{"Host Ports", Baseline, "hostPorts"}
	HostProbes      = Control{"Host Probes / Lifecycle Hooks", Baseline, "hostProbesAndHostLifecycle"}
	AppArmor        = Control{"AppArmor", Baseline, "appArmorProfile"}
	SELinux         = Control{"SELinux", Baseline, "seLinuxOptions"}
	Unconfined      = Control{"Seccomp", Baseline, "seccompProfile_baseline"}
	Sysctls         = Control{"Sysctls", Baseline, "sysctls"}
	ProcMount       = Control{"/proc Mount Type", Restricted, "procMount_restricted"}
	VolumeTypes     = Control{"Volume Types", Restricted, "restrictedVolumes"}
	Escalation      = Control{"Privilege Escalation", Restricted, "allowPrivilegeEscalation"}
	NonRoot         = Control{"Running as Non-root", Restricted, "runAsNonRoot"}
	NonRootUser     = Control{"Running as Non-root user", Restricted, "runAsUser"}
	Seccomp         = Control{"Seccomp", Restricted, "seccompProfile_restricted"}
	AllCapabilities = Control{"Capabilities", Restricted, "capabilities_restricted"}
)

// Controls are all that the API can be asked about. Baseline's own bound of /proc Mount Type is not among them: that the
// machine's users may not see the machine's /proc is what the API itself refuses.
var Controls = []Control{HostProcess, HostNamespaces, Privileged, AddCapabilities, HostPaths, HostPorts, HostProbes, AppArmor, SELinux,
	Unconfined, Sysctls, ProcMount, VolumeTypes, Escalation, NonRoot, NonRootUser, Seccomp, AllCapabilities}

// Fixture is a way to break a control.
type Fixture struct {
	// Name says how, in a word or two; no other fixture has it.
	Name string
	// Breaks are the controls that it breaks: the one that it is about, and those that the API wants broken with it.
	Breaks []Control
	pod    func(*corev1.Pod)
	// container does it to one container, of whichever kind.
	container func(*corev1.Container)
	// long: only containers that stay may have it, and no ephemeral ones.
	long bool
}

// Level is the strictest of the standards that allows it: restricted if it breaks nothing, baseline, or none.
func (f Fixture) Level() string {
	level := Restricted
	for _, c := range f.Breaks {
		if c.Level == Baseline {
			return ""
		}
		level = Baseline
	}
	return level
}

// Place is a kind of container.
type Place string

// The kinds of containers. Ephemeral ones come to a pod that there is.
const (
	InPod       Place = "pod"
	InContainer Place = "container"
	InInit      Place = "init container"
	InSidecar   Place = "sidecar"
	InEphemeral Place = "ephemeral container"
)

// Places are where a fixture can be put.
func (f Fixture) Places() []Place {
	switch {
	case f.container == nil:
		return []Place{InPod}
	case f.long:
		return []Place{InContainer, InSidecar}
	default:
		return []Place{InContainer, InInit, InSidecar, InEphemeral}
	}
}

// Pod is one that breaks nothing but what the fixture breaks, at a place. No scheduler takes it, and so nothing ever runs.
func (f Fixture) Pod(at Place) *corev1.Pod {
	pod := Keeps()
	if f.pod != nil {
		f.pod(pod)
	}
	if f.container == nil {
		return pod
	}
	switch at {
	case InInit, InSidecar:
		c := container("init")
		if at == InSidecar {
			always := corev1.ContainerRestartPolicyAlways
			c.RestartPolicy = &always
		}
		f.container(&c)
		pod.Spec.InitContainers = []corev1.Container{c}
	case InEphemeral:
		c := container("debug")
		f.container(&c)
		pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon(c)}}
	default:
		f.container(&pod.Spec.Containers[0])
	}
	return pod
}

// Scheduler is one that there is not.
const Scheduler = "ashlar-none"

// Keeps is a pod that keeps the strictest standard, in everything. Its users are the machine's, so that the standards do not
// let it be root.
func Keeps() *corev1.Pod {
	yes, no := true, false
	return &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{}, Annotations: map[string]string{}},
		Spec: corev1.PodSpec{
			SchedulerName: Scheduler, HostUsers: &yes, AutomountServiceAccountToken: &no,
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: &yes, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			Containers:      []corev1.Container{container("main")},
		},
	}
}

func container(name string) corev1.Container {
	no := false
	return corev1.Container{Name: name, Image: "none", ImagePullPolicy: corev1.PullNever, SecurityContext: &corev1.SecurityContext{
		AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}}
}

// For returns the fixtures that are about a control.
func For(c Control) []Fixture {
	return slices.DeleteFunc(slices.Clone(Fixtures), func(f Fixture) bool { return f.Breaks[0] != c })
}
