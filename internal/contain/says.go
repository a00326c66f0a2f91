package contain

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// runtimes are the capabilities that containerd gives to a container that says nothing of them.
var runtimes = []string{"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW", "SETFCAP",
	"SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"}

// saying is what a pod says of one of its containers, all in all: its own words over the pod's, and what holds without any.
type saying struct {
	pod       *corev1.Pod
	name      string
	mounts    []corev1.VolumeMount
	resources corev1.ResourceRequirements
	ports     []corev1.ContainerPort
	message   string // the path of its last words
	own       corev1.SecurityContext
	all       corev1.PodSecurityContext
}

// sayings are those of all containers that can run, by name.
func sayings(pod *corev1.Pod) []saying {
	var out []saying
	add := func(c corev1.Container) {
		s := saying{pod: pod, name: c.Name, mounts: c.VolumeMounts, resources: c.Resources, ports: c.Ports, message: c.TerminationMessagePath}
		if c.SecurityContext != nil {
			s.own = *c.SecurityContext
		}
		if pod.Spec.SecurityContext != nil {
			s.all = *pod.Spec.SecurityContext
		}
		out = append(out, s)
	}
	for _, c := range pod.Spec.InitContainers {
		add(c)
	}
	for _, c := range pod.Spec.Containers {
		add(c)
	}
	for _, c := range pod.Spec.EphemeralContainers {
		add(corev1.Container(c.EphemeralContainerCommon))
	}
	return out
}

func is(b *bool) bool { return b != nil && *b }

func first[T any](all ...*T) *T {
	for _, p := range all {
		if p != nil {
			return p
		}
	}
	return nil
}

func (s saying) privileged() bool { return is(s.own.Privileged) }

// seccomp is the profile. The kubelets of this cluster take the runtime's where there is none, and the runtime none where all is allowed.
func (s saying) seccomp() string {
	if s.privileged() {
		return string(corev1.SeccompProfileTypeUnconfined)
	}
	p := first(s.own.SeccompProfile, s.all.SeccompProfile)
	switch {
	case p == nil:
		return string(corev1.SeccompProfileTypeRuntimeDefault)
	case p.Type == corev1.SeccompProfileTypeLocalhost && p.LocalhostProfile != nil:
		return "localhost/" + *p.LocalhostProfile
	default:
		return string(p.Type)
	}
}

// gains says whether its programs may have more privileges than those who start them.
func (s saying) gains() bool {
	return s.own.AllowPrivilegeEscalation == nil || *s.own.AllowPrivilegeEscalation
}

// user and group are whom it runs as; nil: as the image says.
func (s saying) user() *int64  { return first(s.own.RunAsUser, s.all.RunAsUser) }
func (s saying) group() *int64 { return first(s.own.RunAsGroup, s.all.RunAsGroup) }

// nonRoot says whether it must not be root.
func (s saying) nonRoot() bool { return is(first(s.own.RunAsNonRoot, s.all.RunAsNonRoot)) }

// capabilities are the most that it may have, of all that the machine has.
func (s saying) capabilities(machine []string) []string {
	have := slices.Clone(runtimes)
	if s.privileged() {
		return machine
	}
	if c := s.own.Capabilities; c != nil {
		if named(c.Add, "ALL") {
			have = slices.Clone(machine)
		}
		if named(c.Drop, "ALL") {
			have = nil
		}
		for _, name := range c.Add {
			have = append(have, plain(name))
		}
		have = slices.DeleteFunc(have, func(name string) bool { return name == "ALL" || named(c.Drop, name) && !named(c.Add, name) })
	}
	slices.Sort(have)
	return slices.Compact(have)
}

func plain(c corev1.Capability) string {
	return strings.TrimPrefix(strings.ToUpper(string(c)), "CAP_")
}

func named(list []corev1.Capability, name string) bool {
	return slices.ContainsFunc(list, func(c corev1.Capability) bool { return plain(c) == name })
}

// ownUsers says whether its users are to be others than the machine's.
func (s saying) ownUsers() bool { return s.pod.Spec.HostUsers != nil && !*s.pod.Spec.HostUsers }

// shares are the namespaces of the machine that it asks for, by the kernel's names. Who is in its network has its name, too.
func (s saying) shares() []string {
	out := []string{}
	for _, n := range []struct {
		kind  string
		asked bool
	}{{"ipc", s.pod.Spec.HostIPC}, {"net", s.pod.Spec.HostNetwork}, {"pid", s.pod.Spec.HostPID}, {"uts", s.pod.Spec.HostNetwork}} {
		if n.asked {
			out = append(out, n.kind)
		}
	}
	return out
}

// volume is the one that a mount is of.
func (s saying) volume(name string) corev1.VolumeSource {
	for _, v := range s.pod.Spec.Volumes {
		if v.Name == name {
			return v.VolumeSource
		}
	}
	return corev1.VolumeSource{}
}
