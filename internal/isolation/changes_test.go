package isolation

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

type change = func(*metav1.ObjectMeta, *corev1.PodSpec)

// changes are what may be different from a plain pod: one or more for each control.
func changes() map[string]change {
	yes, no := true, false
	root, user, other := int64(0), int64(1500), int64(7)
	unmasked := corev1.UnmaskedProcMount
	first := func(f func(*corev1.SecurityContext)) change {
		return func(_ *metav1.ObjectMeta, s *corev1.PodSpec) { f(s.Containers[0].SecurityContext) }
	}
	pod := func(f func(*corev1.PodSecurityContext)) change {
		return func(_ *metav1.ObjectMeta, s *corev1.PodSpec) { f(s.SecurityContext) }
	}
	volume := func(v corev1.VolumeSource, mounts ...corev1.VolumeMount) change {
		return func(_ *metav1.ObjectMeta, s *corev1.PodSpec) {
			s.Volumes = append(s.Volumes, corev1.Volume{Name: "v", VolumeSource: v})
			for _, m := range mounts {
				m.Name, m.MountPath = "v", "/v"+m.SubPath
				s.Containers[0].VolumeMounts = append(s.Containers[0].VolumeMounts, m)
			}
		}
	}
	host := func(path string) corev1.VolumeSource {
		return corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path}}
	}
	both := func(cs ...change) change {
		return func(m *metav1.ObjectMeta, s *corev1.PodSpec) {
			for _, c := range cs {
				c(m, s)
			}
		}
	}
	spec := func(f func(*corev1.PodSpec)) change { return func(_ *metav1.ObjectMeta, s *corev1.PodSpec) { f(s) } }
	windows := spec(func(s *corev1.PodSpec) {
		s.OS = &corev1.PodOS{Name: corev1.Windows}
		s.SecurityContext.SeccompProfile = nil
		s.Containers[0].SecurityContext = nil
	})
	return map[string]change{
		"plain":        func(*metav1.ObjectMeta, *corev1.PodSpec) {},
		"says nothing": spec(func(s *corev1.PodSpec) { s.SecurityContext, s.Containers[0].SecurityContext = nil, nil }),
		"windows":      windows,
		"windows host process": both(windows, spec(func(s *corev1.PodSpec) {
			s.HostNetwork = true
			s.SecurityContext.WindowsOptions = &corev1.WindowsSecurityContextOptions{HostProcess: &yes}
		})),
		"host network": spec(func(s *corev1.PodSpec) { s.HostNetwork = true }),
		"host network and a port": spec(func(s *corev1.PodSpec) {
			s.HostNetwork, s.Containers[0].Ports = true, []corev1.ContainerPort{{ContainerPort: 80, HostPort: 80}}
		}),
		"host pid, ipc": spec(func(s *corev1.PodSpec) { s.HostPID, s.HostIPC = true, true }),
		"privileged":    first(func(c *corev1.SecurityContext) { c.Privileged, c.AllowPrivilegeEscalation = &yes, nil }),
		"adds CHOWN":    first(func(c *corev1.SecurityContext) { c.Capabilities.Add = []corev1.Capability{"CHOWN"} }),
		"adds NET_*": first(func(c *corev1.SecurityContext) {
			c.Capabilities.Add = []corev1.Capability{"NET_ADMIN", "NET_RAW", "NET_BIND_SERVICE"}
		}),
		"adds SYS_*": first(func(c *corev1.SecurityContext) {
			c.Capabilities.Add = []corev1.Capability{"SYS_TIME", "SYS_CHROOT", "SYS_BOOT"}
		}),
		"drops some":   first(func(c *corev1.SecurityContext) { c.Capabilities.Drop = []corev1.Capability{"MKNOD"} }),
		"log, read":    volume(host("/var/log/pods"), corev1.VolumeMount{ReadOnly: true}),
		"log, written": volume(host("/var/log"), corev1.VolumeMount{ReadOnly: true}, corev1.VolumeMount{SubPath: "x"}),
		"beside log":   volume(host("/var/logs"), corev1.VolumeMount{ReadOnly: true}),
		"own, written": volume(host("/var/lib/shipper"), corev1.VolumeMount{SubPath: "x"}),
		"own, in it":   volume(host("/var/lib/shipper/x"), corev1.VolumeMount{}),
		"host root":    volume(host("/")),
		"nfs":          volume(corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{Server: "a", Path: "/"}}),
		"config map":   volume(corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "a"}}}),
		"ports": spec(func(s *corev1.PodSpec) {
			s.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 1, HostPort: 8080}, {ContainerPort: 2}, {ContainerPort: 3, HostPort: 22}}
		}),
		"port 80": spec(func(s *corev1.PodSpec) {
			s.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: 80}}
		}),
		"probes elsewhere": probesElsewhere,
		"apparmor": pod(func(c *corev1.PodSecurityContext) {
			c.AppArmorProfile = &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined}
		}),
		"apparmor, container": first(func(c *corev1.SecurityContext) {
			c.AppArmorProfile = &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined}
		}),
		"selinux spc_t": pod(func(c *corev1.PodSecurityContext) { c.SELinuxOptions = &corev1.SELinuxOptions{Type: "spc_t"} }),
		"selinux spc_t with a level": first(func(c *corev1.SecurityContext) {
			c.SELinuxOptions = &corev1.SELinuxOptions{Type: "spc_t", Level: "s0:c1,c2"}
		}),
		"selinux user": first(func(c *corev1.SecurityContext) {
			c.SELinuxOptions = &corev1.SELinuxOptions{User: "system_u", Level: "s0:c1,c2"}
		}),
		"selinux level":   first(func(c *corev1.SecurityContext) { c.SELinuxOptions = &corev1.SELinuxOptions{Level: "s0:c7,c8"} }),
		"proc, own users": both(first(func(c *corev1.SecurityContext) { c.ProcMount = &unmasked }), spec(func(s *corev1.PodSpec) { s.HostUsers = &no })),
		"seccomp of the pod unconfined": pod(func(c *corev1.PodSecurityContext) {
			c.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined}
		}),
		"seccomp of a container unconfined": first(func(c *corev1.SecurityContext) {
			c.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined}
		}),
		"no seccomp": pod(func(c *corev1.PodSecurityContext) { c.SeccompProfile = nil }),
		"sysctls": pod(func(c *corev1.PodSecurityContext) {
			c.Sysctls = []corev1.Sysctl{{Name: "net.ipv4.tcp_rmem", Value: "1"}, {Name: "kernel.msgmax", Value: "1"}}
		}),
		"escalation":       first(func(c *corev1.SecurityContext) { c.AllowPrivilegeEscalation = &yes }),
		"escalation unset": first(func(c *corev1.SecurityContext) { c.AllowPrivilegeEscalation = nil }),
		"root by the pod":  pod(func(c *corev1.PodSecurityContext) { c.RunAsUser, c.RunAsNonRoot = &root, nil }),
		"root by a container": first(func(c *corev1.SecurityContext) {
			c.RunAsUser, c.RunAsNonRoot = &root, &no
		}),
		"root, own users":    both(first(func(c *corev1.SecurityContext) { c.RunAsUser, c.RunAsNonRoot = &root, &no }), spec(func(s *corev1.PodSpec) { s.HostUsers = &no })),
		"maybe root":         pod(func(c *corev1.PodSecurityContext) { c.RunAsNonRoot = nil }),
		"root by the pod no": both(pod(func(c *corev1.PodSecurityContext) { c.RunAsNonRoot = &no }), first(func(c *corev1.SecurityContext) { c.RunAsNonRoot = &yes })),
		"user 1500":          both(pod(func(c *corev1.PodSecurityContext) { c.RunAsUser = &user }), first(func(c *corev1.SecurityContext) { c.ReadOnlyRootFilesystem = &yes })),
		"user 7":             first(func(c *corev1.SecurityContext) { c.RunAsUser, c.ReadOnlyRootFilesystem = &other, &no }),
		"init and sidecar": spec(func(s *corev1.PodSpec) {
			always := corev1.ContainerRestartPolicyAlways
			s.InitContainers = []corev1.Container{{Name: "i", Image: "a", SecurityContext: &corev1.SecurityContext{Privileged: &yes}}, {Name: "s", Image: "a", RestartPolicy: &always,
				SecurityContext: &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"SYS_ADMIN"}}}}}
		}),
		// The API server makes a field of an annotation.
		"apparmor by annotation": func(m *metav1.ObjectMeta, s *corev1.PodSpec) {
			s.Containers[0].SecurityContext.AppArmorProfile = &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined}
			m.Annotations = map[string]string{appArmorPrefix + "a": "unconfined", "other": "x"}
		},
	}
}

func probesElsewhere(_ *metav1.ObjectMeta, s *corev1.PodSpec) {
	http := &corev1.HTTPGetAction{Host: "a.example.org", Port: intstr.FromInt32(80)}
	s.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: http}}
	s.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Host: "b", Port: intstr.FromInt32(80)}}}
	s.Containers[0].StartupProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(80)}}}
	s.Containers[0].Lifecycle = &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{HTTPGet: http}, PreStop: &corev1.LifecycleHandler{TCPSocket: &corev1.TCPSocketAction{Host: "c", Port: intstr.FromInt32(80)}}}
}
