package isolation

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// The controls that take more than a line.

func checkCapabilities(k *check) {
	if k.class.strict() {
		if k.windows {
			return
		}
		k.each("securityContext.capabilities.drop", func(_ *corev1.Container, s *corev1.SecurityContext) string {
			return when(s.Capabilities == nil || !slices.Contains(s.Capabilities.Drop, "ALL"), withoutAll)
		})
	}
	allowed := k.class.capabilities()
	k.each("securityContext.capabilities.add", func(_ *corev1.Container, s *corev1.SecurityContext) string {
		var more []string
		if s.Capabilities != nil {
			for _, c := range s.Capabilities.Add {
				if !slices.Contains(allowed, string(c)) {
					more = append(more, string(c))
				}
			}
		}
		return strings.Join(more, ", ")
	})
}

func checkHostPaths(k *check) {
	var written []Violation
	for i, v := range k.spec.Volumes {
		if v.HostPath == nil {
			continue
		}
		path, field := v.HostPath.Path, fmt.Sprintf("spec.volumes[%d].hostPath.path", i)
		switch {
		case !slices.ContainsFunc(k.class.HostPaths, func(p v1alpha1.HostPath) bool { return under(p, path) }):
			k.refuse(field, path)
		case !slices.ContainsFunc(k.class.HostPaths, func(p v1alpha1.HostPath) bool { return under(p, path) && !p.ReadOnly }) && k.writes(v.Name):
			written = append(written, Violation{k.control, field, path + mountedWritable})
		}
	}
	k.out = append(k.out, written...)
}

// under says whether a path is the prefix's. In a directory that pods write to, one may make a link that leads out of it, for another
// to mount: such a directory is mounted as it is, and what is in it as a subPath, which the kubelet follows no link out of.
func under(p v1alpha1.HostPath, path string) bool {
	return p.Prefix == "/" || path == p.Prefix || p.ReadOnly && strings.HasPrefix(path, p.Prefix+"/")
}

// writes says whether a container mounts the volume to write to it.
func (k *check) writes(volume string) bool {
	return slices.ContainsFunc(k.containers, func(c located) bool {
		return slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == volume && !m.ReadOnly })
	})
}

func checkHostProbes(k *check) {
	for _, c := range k.containers {
		refuse := func(what string, http *corev1.HTTPGetAction, tcp *corev1.TCPSocketAction) {
			if http != nil && http.Host != "" {
				k.refuse(c.at+"."+what+".httpGet.host", http.Host)
			}
			if tcp != nil && tcp.Host != "" {
				k.refuse(c.at+"."+what+".tcpSocket.host", tcp.Host)
			}
		}
		for i, p := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
			if p != nil {
				refuse(probes[i], p.HTTPGet, p.TCPSocket)
			}
		}
	}
	for _, c := range k.containers {
		if c.Lifecycle == nil {
			continue
		}
		for i, h := range []*corev1.LifecycleHandler{c.Lifecycle.PostStart, c.Lifecycle.PreStop} {
			if h == nil {
				continue
			}
			if h.HTTPGet != nil && h.HTTPGet.Host != "" {
				k.refuse(c.at+".lifecycle."+hooks[i]+".httpGet.host", h.HTTPGet.Host)
			}
			if h.TCPSocket != nil && h.TCPSocket.Host != "" {
				k.refuse(c.at+".lifecycle."+hooks[i]+".tcpSocket.host", h.TCPSocket.Host)
			}
		}
	}
}

func checkSeccomp(k *check) {
	allowed := k.class.seccompProfiles()
	bad := func(p *corev1.SeccompProfile) string {
		if p == nil || slices.Contains(allowed, string(p.Type)) {
			return ""
		}
		return string(p.Type)
	}
	ofPod := bad(k.pod.SeccompProfile)
	if k.class.strict() && k.windows {
		return
	}
	if ofPod != "" {
		k.refuse("spec.securityContext.seccompProfile.type", ofPod)
	}
	k.each("securityContext.seccompProfile.type", func(_ *corev1.Container, s *corev1.SecurityContext) string {
		if s.SeccompProfile == nil {
			return when(k.class.strict() && (k.pod.SeccompProfile == nil || ofPod != ""), notSet)
		}
		return bad(s.SeccompProfile)
	})
}

func checkUser(k *check) {
	if ranges := k.class.RunAsUser; len(ranges) > 0 {
		k.each("securityContext.runAsUser", func(_ *corev1.Container, s *corev1.SecurityContext) string {
			user := s.RunAsUser
			if user == nil {
				user = k.pod.RunAsUser
			}
			if user == nil {
				return notSet
			}
			in := slices.ContainsFunc(ranges, func(r v1alpha1.IDRange) bool { return int64(r.From) <= *user && *user <= int64(r.To) })
			return when(!in, fmt.Sprint(*user))
		})
		return
	}
	if k.ownUsers {
		return
	}
	root := func(user *int64) bool { return user != nil && *user == 0 }
	if root(k.pod.RunAsUser) {
		k.refuse("spec.securityContext.runAsUser", "0")
	}
	k.each("securityContext.runAsUser", func(_ *corev1.Container, s *corev1.SecurityContext) string { return when(root(s.RunAsUser), "0") })
}
