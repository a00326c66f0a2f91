package isolation

import "slices"

// Controls, as the Pod Security Standards call them; the last is ours.
const (
	HostProcess      = "HostProcess"
	HostNamespaces   = "Host Namespaces"
	PrivilegedPods   = "Privileged Containers"
	Capabilities     = "Capabilities"
	HostPathVolumes  = "HostPath Volumes"
	HostPorts        = "Host Ports"
	HostProbes       = "Host Probes / Lifecycle Hooks"
	AppArmor         = "AppArmor"
	SELinux          = "SELinux"
	ProcMount        = "/proc Mount Type"
	Seccomp          = "Seccomp"
	Sysctls          = "Sysctls"
	VolumeTypes      = "Volume Types"
	PrivilegeEscal   = "Privilege Escalation"
	NonRoot          = "Running as Non-root"
	NonRootUser      = "Running as Non-root user"
	ReadOnlyRoot     = "Read-only Root"
	netBindService   = "NET_BIND_SERVICE"
	notSet           = "not set"
	withoutAll       = "without ALL"
	mountedWritable  = ", mounted to be written"
	appArmorPrefix   = "container.apparmor.security.beta.kubernetes.io/"
	localhostProfile = "localhost/"
)

// Control is one thing that a standard demands of pods.
type Control struct {
	Name string
	// Standard is the loosest standard that has it.
	Standard string
}

// loosest is the level that a pod needs which does not keep the control.
func (k Control) loosest() string {
	if k.Standard == Restricted {
		return Baseline
	}
	return Privileged
}

var controls = []Control{
	{HostProcess, Baseline}, {HostNamespaces, Baseline}, {PrivilegedPods, Baseline}, {Capabilities, Baseline}, {HostPathVolumes, Baseline},
	{HostPorts, Baseline}, {HostProbes, Baseline}, {AppArmor, Baseline}, {SELinux, Baseline}, {ProcMount, Baseline}, {Seccomp, Baseline},
	{Sysctls, Baseline}, {VolumeTypes, Restricted}, {PrivilegeEscal, Restricted}, {NonRoot, Restricted}, {NonRootUser, Restricted},
	{ReadOnlyRoot, ""},
}

// Controls are those of the standards, baseline's first. Capabilities, Seccomp and /proc Mount Type are stricter in restricted.
func Controls() []Control { return slices.Clone(controls[:len(controls)-1]) }

// FindControl returns the control of that name.
func FindControl(name string) (Control, bool) {
	i := slices.IndexFunc(controls, func(k Control) bool { return k.Name == name })
	if i < 0 {
		return Control{}, false
	}
	return controls[i], true
}

// What the standards of Kubernetes 1.37 let pass.
var (
	baselineCapabilities = []string{"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", netBindService, "SETFCAP",
		"SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"}
	profiles     = []string{"RuntimeDefault", "Localhost"}
	seLinuxTypes = []string{"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
	sysctls      = []string{"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
		"net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout",
		"net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
		"net.ipv4.tcp_slow_start_after_idle", "net.ipv4.tcp_notsent_lowat"}
	// hostPath has a control of its own.
	volumeTypes = []string{"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret", "hostPath"}
	probes      = []string{"livenessProbe", "readinessProbe", "startupProbe"}
	hooks       = []string{"postStart", "preStop"}
	handlers    = []string{"httpGet", "tcpSocket"}
)

func standardSELinux(user, role, typ string) bool {
	return user == "" && role == "" && slices.Contains(seLinuxTypes, typ)
}

// capabilities are what containers of the class may add.
func (c Class) capabilities() []string {
	allowed := slices.Clone(baselineCapabilities)
	if c.strict() {
		allowed = []string{netBindService}
	}
	return append(allowed, c.Capabilities...)
}

// seccompProfiles are the types of profiles that containers of the class may name.
func (c Class) seccompProfiles() []string {
	if slices.Contains(c.Seccomp, "Unconfined") {
		return append(slices.Clone(profiles), "Unconfined")
	}
	return profiles
}
