package isolation

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// Violation is a control that a pod does not keep.
type Violation struct{ Control, Field, Value string }

func (v Violation) String() string { return v.Control + ": " + v.Field + " is " + v.Value }

// Check says what of a pod the class does not allow: the decision of the API server's policy, as that words it.
func (c Class) Check(meta *metav1.ObjectMeta, spec *corev1.PodSpec) []Violation {
	k := check{class: c, meta: meta, spec: spec, pod: spec.SecurityContext}
	if k.pod == nil {
		k.pod = &corev1.PodSecurityContext{}
	}
	k.windows = spec.OS != nil && spec.OS.Name == corev1.Windows
	k.ownUsers = spec.HostUsers != nil && !*spec.HostUsers
	add := func(list string, i int, container corev1.Container) {
		if container.SecurityContext == nil {
			container.SecurityContext = &corev1.SecurityContext{}
		}
		k.containers = append(k.containers, located{fmt.Sprintf("spec.%s[%d]", list, i), &container})
	}
	for i, container := range spec.Containers {
		add("containers", i, container)
	}
	for i, container := range spec.InitContainers {
		add("initContainers", i, container)
	}
	for i, container := range spec.EphemeralContainers {
		add("ephemeralContainers", i, corev1.Container(container.EphemeralContainerCommon))
	}
	for _, control := range controls {
		if c.Keeps(control.Name) {
			k.control = control.Name
			checks[control.Name](&k)
		}
	}
	return k.out
}

type located struct {
	at string
	*corev1.Container
}

// check is what one look at a pod goes by.
type check struct {
	class             Class
	meta              *metav1.ObjectMeta
	spec              *corev1.PodSpec
	pod               *corev1.PodSecurityContext
	containers        []located
	windows, ownUsers bool
	control           string
	out               []Violation
}

func (k *check) refuse(field, value string) {
	k.out = append(k.out, Violation{k.control, field, value})
}

// each has f look at every container: a value that is not "" is a violation.
func (k *check) each(field string, f func(*corev1.Container, *corev1.SecurityContext) string) {
	for _, c := range k.containers {
		if value := f(c.Container, c.SecurityContext); value != "" {
			k.refuse(c.at+"."+field, value)
		}
	}
}

var checks = map[string]func(*check){
	HostProcess: func(k *check) {
		host := func(o *corev1.WindowsSecurityContextOptions) bool { return o != nil && is(o.HostProcess, true) }
		if host(k.pod.WindowsOptions) {
			k.refuse("spec.securityContext.windowsOptions.hostProcess", "true")
		}
		k.each("securityContext.windowsOptions.hostProcess", func(_ *corev1.Container, s *corev1.SecurityContext) string {
			return when(host(s.WindowsOptions), "true")
		})
	},
	HostNamespaces: func(k *check) {
		for _, ns := range hostNamespaces {
			if ns.shared(k.spec) && !slices.Contains(k.class.HostNamespaces, ns.name) {
				k.refuse("spec."+ns.field, "true")
			}
		}
	},
	PrivilegedPods: func(k *check) {
		k.each("securityContext.privileged", func(_ *corev1.Container, s *corev1.SecurityContext) string {
			return when(is(s.Privileged, true), "true")
		})
	},
	Capabilities:    checkCapabilities,
	HostPathVolumes: checkHostPaths,
	HostPorts: func(k *check) {
		for _, c := range k.containers {
			for i, p := range c.Ports {
				if p.HostPort != 0 && !k.class.takes(int(p.HostPort)) {
					k.refuse(fmt.Sprintf("%s.ports[%d].hostPort", c.at, i), fmt.Sprint(p.HostPort))
				}
			}
		}
	},
	HostProbes: checkHostProbes,
	AppArmor: func(k *check) {
		bad := func(p *corev1.AppArmorProfile) string {
			if p == nil || slices.Contains(profiles, string(p.Type)) {
				return ""
			}
			return string(p.Type)
		}
		if value := bad(k.pod.AppArmorProfile); value != "" {
			k.refuse("spec.securityContext.appArmorProfile.type", value)
		}
		k.each("securityContext.appArmorProfile.type", func(_ *corev1.Container, s *corev1.SecurityContext) string { return bad(s.AppArmorProfile) })
		for _, key := range slices.Sorted(maps.Keys(k.meta.Annotations)) {
			value := k.meta.Annotations[key]
			if strings.HasPrefix(key, appArmorPrefix) && value != "" && value != "runtime/default" && !strings.HasPrefix(value, localhostProfile) {
				k.refuse("metadata.annotations["+key+"]", value)
			}
		}
	},
	SELinux: func(k *check) {
		bad := func(o *corev1.SELinuxOptions) string {
			if o == nil || k.class.mayBe(o) {
				return ""
			}
			return strings.Join([]string{o.User, o.Role, o.Type, o.Level}, ":")
		}
		if value := bad(k.pod.SELinuxOptions); value != "" {
			k.refuse("spec.securityContext.seLinuxOptions", value)
		}
		k.each("securityContext.seLinuxOptions", func(_ *corev1.Container, s *corev1.SecurityContext) string { return bad(s.SELinuxOptions) })
	},
	ProcMount: func(k *check) {
		if !k.class.strict() && k.ownUsers {
			return
		}
		k.each("securityContext.procMount", func(_ *corev1.Container, s *corev1.SecurityContext) string {
			if s.ProcMount == nil || *s.ProcMount == corev1.DefaultProcMount {
				return ""
			}
			return string(*s.ProcMount)
		})
	},
	Seccomp: checkSeccomp,
	Sysctls: func(k *check) {
		for i, s := range k.pod.Sysctls {
			if !slices.Contains(sysctls, s.Name) {
				k.refuse(fmt.Sprintf("spec.securityContext.sysctls[%d].name", i), s.Name)
			}
		}
	},
	VolumeTypes: func(k *check) {
		for i, v := range k.spec.Volumes {
			if typ := volumeType(v.VolumeSource); !slices.Contains(volumeTypes, typ) {
				k.refuse(fmt.Sprintf("spec.volumes[%d]", i), typ)
			}
		}
	},
	PrivilegeEscal: func(k *check) {
		if k.windows {
			return
		}
		k.each("securityContext.allowPrivilegeEscalation", func(_ *corev1.Container, s *corev1.SecurityContext) string {
			return when(!is(s.AllowPrivilegeEscalation, false), said(s.AllowPrivilegeEscalation))
		})
	},
	NonRoot: func(k *check) {
		if k.ownUsers {
			return
		}
		if is(k.pod.RunAsNonRoot, false) {
			k.refuse("spec.securityContext.runAsNonRoot", "false")
		}
		k.each("securityContext.runAsNonRoot", func(_ *corev1.Container, s *corev1.SecurityContext) string {
			if s.RunAsNonRoot == nil {
				return when(!is(k.pod.RunAsNonRoot, true), notSet)
			}
			return when(!*s.RunAsNonRoot, "false")
		})
	},
	NonRootUser: checkUser,
	ReadOnlyRoot: func(k *check) {
		k.each("securityContext.readOnlyRootFilesystem", func(_ *corev1.Container, s *corev1.SecurityContext) string {
			return when(!is(s.ReadOnlyRootFilesystem, true), said(s.ReadOnlyRootFilesystem))
		})
	},
}

var hostNamespaces = []struct {
	name, field string
	shared      func(*corev1.PodSpec) bool
}{
	{"network", "hostNetwork", func(s *corev1.PodSpec) bool { return s.HostNetwork }},
	{"pid", "hostPID", func(s *corev1.PodSpec) bool { return s.HostPID }},
	{"ipc", "hostIPC", func(s *corev1.PodSpec) bool { return s.HostIPC }},
}

func is(b *bool, v bool) bool { return b != nil && *b == v }

func said(b *bool) string {
	if b == nil {
		return notSet
	}
	return fmt.Sprint(*b)
}

// when is a value, if the condition holds.
func when(holds bool, value string) string {
	if holds {
		return value
	}
	return ""
}

// takes says whether containers of the class may take a port of the machine.
func (c Class) takes(port int) bool {
	return slices.ContainsFunc(c.HostPorts, func(r v1alpha1.PortRange) bool { return r.From <= port && port <= r.To })
}

// mayBe says whether a container of the class may set these options.
func (c Class) mayBe(o *corev1.SELinuxOptions) bool {
	return standardSELinux(o.User, o.Role, o.Type) ||
		slices.Contains(c.SELinux, v1alpha1.SELinuxOptions{User: o.User, Role: o.Role, Type: o.Type, Level: o.Level})
}

// volumeType is the name of the field that is set.
func volumeType(s corev1.VolumeSource) string {
	for f, v := range reflect.ValueOf(s).Fields() {
		if !v.IsNil() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			return name
		}
	}
	return "emptyDir" // which the API server makes of nothing
}
