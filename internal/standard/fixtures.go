package standard

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Fixtures are the ways to break each control.
var Fixtures = []Fixture{
	{Name: "host process", Breaks: []Control{HostProcess, HostNamespaces}, pod: func(p *corev1.Pod) {
		yes := true
		p.Spec.HostNetwork = true // the API has it no other way
		p.Spec.SecurityContext.WindowsOptions = &corev1.WindowsSecurityContextOptions{HostProcess: &yes}
	}},
	{Name: "the machine's network", Breaks: []Control{HostNamespaces}, pod: func(p *corev1.Pod) { p.Spec.HostNetwork = true }},
	{Name: "the machine's processes", Breaks: []Control{HostNamespaces}, pod: func(p *corev1.Pod) { p.Spec.HostPID = true }},
	{Name: "the machine's IPC", Breaks: []Control{HostNamespaces}, pod: func(p *corev1.Pod) { p.Spec.HostIPC = true }},
	{Name: "privileged", Breaks: []Control{Privileged, Escalation}, container: func(c *corev1.Container) {
		yes := true
		c.SecurityContext.Privileged, c.SecurityContext.AllowPrivilegeEscalation = &yes, nil
	}},
	{Name: "NET_ADMIN", Breaks: []Control{AddCapabilities, AllCapabilities}, container: add("NET_ADMIN")},
	{Name: "NET_RAW", Breaks: []Control{AddCapabilities, AllCapabilities}, container: add("NET_RAW")},
	{Name: "SYS_ADMIN", Breaks: []Control{AddCapabilities, AllCapabilities, Escalation}, container: func(c *corev1.Container) {
		add("SYS_ADMIN")(c)
		c.SecurityContext.AllowPrivilegeEscalation = nil // the API has it no other way
	}},
	{Name: "all capabilities", Breaks: []Control{AddCapabilities, AllCapabilities}, container: add("ALL")},
	{Name: "a directory of the machine", Breaks: []Control{HostPaths, VolumeTypes}, pod: func(p *corev1.Pod) {
		volume(p, corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/var/lib/ashlar-verify"}})
	}},
	{Name: "a port of the machine", Breaks: []Control{HostPorts}, long: true, container: func(c *corev1.Container) {
		c.Ports = []corev1.ContainerPort{{ContainerPort: 8080, HostPort: 8080}}
	}},
	{Name: "a probe of another host", Breaks: []Control{HostProbes}, long: true, container: func(c *corev1.Container) {
		c.LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Host: "192.0.2.1", Port: intstr.FromInt32(80)}}}
	}},
	{Name: "a hook to another host", Breaks: []Control{HostProbes}, long: true, container: func(c *corev1.Container) {
		c.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{Host: "192.0.2.1", Port: intstr.FromInt32(80)}}}
	}},
	{Name: "no AppArmor in the pod", Breaks: []Control{AppArmor}, pod: func(p *corev1.Pod) {
		p.Spec.SecurityContext.AppArmorProfile = &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined}
	}},
	{Name: "no AppArmor", Breaks: []Control{AppArmor}, container: func(c *corev1.Container) {
		c.SecurityContext.AppArmorProfile = &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined}
	}},
	{Name: "no AppArmor, as it used to be written", Breaks: []Control{AppArmor}, pod: func(p *corev1.Pod) {
		p.Annotations[corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix+"main"] = "unconfined"
	}},
	{Name: "SELinux type spc_t in the pod", Breaks: []Control{SELinux}, pod: func(p *corev1.Pod) {
		p.Spec.SecurityContext.SELinuxOptions = &corev1.SELinuxOptions{Type: "spc_t"}
	}},
	{Name: "SELinux type spc_t", Breaks: []Control{SELinux}, container: selinux(corev1.SELinuxOptions{Type: "spc_t"})},
	{Name: "a user of SELinux", Breaks: []Control{SELinux}, container: selinux(corev1.SELinuxOptions{User: "system_u"})},
	{Name: "a role of SELinux", Breaks: []Control{SELinux}, container: selinux(corev1.SELinuxOptions{Role: "sysadm_r"})},
	{Name: "seccomp unconfined in the pod", Breaks: []Control{Unconfined, Seccomp}, pod: func(p *corev1.Pod) {
		p.Spec.SecurityContext.SeccompProfile.Type = corev1.SeccompProfileTypeUnconfined
	}},
	{Name: "seccomp unconfined", Breaks: []Control{Unconfined, Seccomp}, container: func(c *corev1.Container) {
		c.SecurityContext.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined}
	}},
	{Name: "a sysctl of the machine", Breaks: []Control{Sysctls}, pod: func(p *corev1.Pod) {
		p.Spec.SecurityContext.Sysctls = []corev1.Sysctl{{Name: "kernel.msgmax", Value: "65536"}}
	}},
	{Name: "/proc unmasked", Breaks: []Control{ProcMount}, container: func(c *corev1.Container) {
		unmasked := corev1.UnmaskedProcMount
		c.SecurityContext.ProcMount = &unmasked
	}, pod: func(p *corev1.Pod) {
		no := false
		p.Spec.HostUsers = &no // the API has it no other way
	}},
	{Name: "NFS", Breaks: []Control{VolumeTypes}, pod: func(p *corev1.Pod) {
		volume(p, corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{Server: "192.0.2.1", Path: "/"}})
	}},
	{Name: "iSCSI", Breaks: []Control{VolumeTypes}, pod: func(p *corev1.Pod) {
		volume(p, corev1.VolumeSource{ISCSI: &corev1.ISCSIVolumeSource{TargetPortal: "192.0.2.1", IQN: "iqn.2001-04.com.example:disk", Lun: 0}})
	}},
	{Name: "nothing about new privileges", Breaks: []Control{Escalation}, container: func(c *corev1.Container) {
		c.SecurityContext.AllowPrivilegeEscalation = nil
	}},
	{Name: "new privileges", Breaks: []Control{Escalation}, container: func(c *corev1.Container) {
		yes := true
		c.SecurityContext.AllowPrivilegeEscalation = &yes
	}},
	{Name: "perhaps root", Breaks: []Control{NonRoot}, pod: func(p *corev1.Pod) { p.Spec.SecurityContext.RunAsNonRoot = nil }},
	{Name: "perhaps root in one container", Breaks: []Control{NonRoot}, container: func(c *corev1.Container) {
		no := false
		c.SecurityContext.RunAsNonRoot = &no
	}},
	{Name: "root in the pod", Breaks: []Control{NonRootUser}, pod: func(p *corev1.Pod) {
		root := int64(0)
		p.Spec.SecurityContext.RunAsUser = &root
	}},
	{Name: "root", Breaks: []Control{NonRootUser}, container: func(c *corev1.Container) {
		root := int64(0)
		c.SecurityContext.RunAsUser = &root
	}},
	{Name: "nothing about seccomp", Breaks: []Control{Seccomp}, pod: func(p *corev1.Pod) { p.Spec.SecurityContext.SeccompProfile = nil }},
	{Name: "nothing about capabilities", Breaks: []Control{AllCapabilities}, container: func(c *corev1.Container) {
		c.SecurityContext.Capabilities = nil
	}},
	{Name: "some capabilities dropped", Breaks: []Control{AllCapabilities}, container: func(c *corev1.Container) {
		c.SecurityContext.Capabilities.Drop = []corev1.Capability{"NET_RAW", "SYS_CHROOT"}
	}},
	{Name: "CHOWN", Breaks: []Control{AllCapabilities}, container: add("CHOWN")},
}

func add(capability corev1.Capability) func(*corev1.Container) {
	return func(c *corev1.Container) { c.SecurityContext.Capabilities.Add = []corev1.Capability{capability} }
}

func selinux(o corev1.SELinuxOptions) func(*corev1.Container) {
	return func(c *corev1.Container) { c.SecurityContext.SELinuxOptions = &o }
}

func volume(p *corev1.Pod, source corev1.VolumeSource) {
	p.Spec.Volumes = []corev1.Volume{{Name: "volume", VolumeSource: source}}
}
