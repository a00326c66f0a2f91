package isolation

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Expressions in CEL are lists of violations, each in the words of Violation. `variables.containers` has, for each container, where
// it is and what it is; `variables.pod` is the pod's security context.

// ofPod is a violation of the pod's own, if the condition holds.
func ofPod(control, field, condition, value string) string {
	return fmt.Sprintf(`(%s ? [%s + (%s)] : [])`, condition, strconv.Quote(control+": "+field+" is "), value)
}

// ofContainers is a violation of each container for which the condition holds.
func ofContainers(control, field, condition, value string) string {
	return fmt.Sprintf(`variables.containers.filter(e, %s).map(e, %s + string(e.at) + %s + (%s))`, condition, strconv.Quote(control+": "),
		strconv.Quote("."+field+" is "), value)
}

func list(of ...string) string {
	quoted := make([]string, len(of))
	for i, s := range of {
		quoted[i] = strconv.Quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

const (
	security = "e.c.?securityContext."
	isTrue   = `"true"`
)

// both is a field of the pod's security context and of each container's.
func both(control, field, condition, value string) string {
	at := "." + "?" + strings.ReplaceAll(field, ".", ".?")
	return ofPod(control, "spec.securityContext."+field, fmt.Sprintf(condition, "variables.pod"+at), fmt.Sprintf(value, "variables.pod"+at)) + " + " +
		ofContainers(control, "securityContext."+field, fmt.Sprintf(condition, "e.c.?securityContext"+at), fmt.Sprintf(value, "e.c.?securityContext"+at))
}

var expressions = map[string]func(Class) string{
	HostProcess: func(Class) string {
		return both(HostProcess, "windowsOptions.hostProcess", "%s.orValue(false) == true", `"true"`+"%.0s")
	},
	HostNamespaces: func(c Class) string {
		var terms []string
		for _, ns := range hostNamespaces {
			if !slices.Contains(c.HostNamespaces, ns.name) {
				terms = append(terms, ofPod(HostNamespaces, "spec."+ns.field, "object.spec.?"+ns.field+".orValue(false) == true", isTrue))
			}
		}
		return strings.Join(append(terms, "[]"), " + ")
	},
	PrivilegedPods: func(Class) string {
		return ofContainers(PrivilegedPods, "securityContext.privileged", security+"?privileged.orValue(false) == true", isTrue)
	},
	Capabilities: func(c Class) string {
		more := fmt.Sprintf(security+`?capabilities.?add.orValue([]).filter(k, !(k in %s))`, list(c.capabilities()...))
		added := ofContainers(Capabilities, "securityContext.capabilities.add", more+".size() > 0", more+`.map(k, string(k)).join(", ")`)
		if !c.strict() {
			return added
		}
		dropped := ofContainers(Capabilities, "securityContext.capabilities.drop", `!("ALL" in `+security+`?capabilities.?drop.orValue([]))`, strconv.Quote(withoutAll))
		return "variables.windows ? [] : " + dropped + " + " + added
	},
	HostPathVolumes: hostPathsExpression,
	HostPorts: func(c Class) string {
		condition := "p.?hostPort.orValue(0) != 0"
		for _, r := range c.HostPorts {
			condition += fmt.Sprintf(" && !(p.hostPort >= %d && p.hostPort <= %d)", r.From, r.To)
		}
		return fmt.Sprintf(`variables.containers.map(e, e.c.?ports.orValue([]).transformList(i, p, %s, `+
			`"%s: " + string(e.at) + ".ports[" + string(i) + "].hostPort is " + string(p.hostPort))).flatten()`, condition, HostPorts)
	},
	HostProbes: func(Class) string {
		handler := func(words []string, prefix, at string) string {
			return fmt.Sprintf(`variables.containers.map(e, %s.map(w, %s.filter(h, %s[?w][?h].?host.orValue("") != "").map(h, `+
				`"%s: " + string(e.at) + "%s" + w + "." + h + ".host is " + string(%s[w][h].host)))).flatten(2)`,
				list(words...), list(handlers...), at, HostProbes, prefix, strings.ReplaceAll(at, "?", ""))
		}
		return handler(probes, ".", "e.c") + " + " + handler(hooks, ".lifecycle.", "e.c.?lifecycle")
	},
	AppArmor: func(Class) string {
		return both(AppArmor, "appArmorProfile.type", `!(%s.orValue("RuntimeDefault") in `+list(profiles...)+")", `string(%s.orValue(""))`) +
			fmt.Sprintf(` + object.metadata.?annotations.orValue({}).transformList(k, v, k.startsWith("%s") && v != "" && v != "runtime/default" && !v.startsWith("%s"), `+
				`"%s: metadata.annotations[" + string(k) + "] is " + string(v)).sort()`, appArmorPrefix, localhostProfile, AppArmor)
	},
	SELinux: func(c Class) string {
		part := func(name string) string { return `%[1]s.?` + name + `.orValue("")` }
		allowed := []string{fmt.Sprintf("%s == \"\" && %s == \"\" && %s in %s", part("user"), part("role"), part("type"), list(seLinuxTypes...))}
		for _, o := range c.SELinux {
			allowed = append(allowed, fmt.Sprintf("%s == %q && %s == %q && %s == %q && %s == %q", part("user"), o.User, part("role"), o.Role, part("type"), o.Type,
				part("level"), o.Level))
		}
		return both(SELinux, "seLinuxOptions", "!("+strings.Join(allowed, " || ")+")",
			"["+part("user")+", "+part("role")+", "+part("type")+", "+part("level")+`].map(x, string(x)).join(":")`)
	},
	ProcMount: func(c Class) string {
		out := ofContainers(ProcMount, "securityContext.procMount", security+`?procMount.orValue("Default") != "Default"`, "string(e.c.securityContext.procMount)")
		if !c.strict() {
			return "variables.ownUsers ? [] : " + out
		}
		return out
	},
	Seccomp: func(c Class) string {
		const profile = "seccompProfile.type"
		bad := `!(%s.orValue("RuntimeDefault") in ` + list(c.seccompProfiles()...) + ")"
		if !c.strict() {
			return both(Seccomp, profile, bad, `string(%s.orValue(""))`)
		}
		const own, pods = security + "?seccompProfile.?type", "variables.pod.?seccompProfile.?type"
		none := fmt.Sprintf(`!(%s.orValue("") in %s)`, pods, list(c.seccompProfiles()...))
		return "variables.windows ? [] : " + ofPod(Seccomp, "spec.securityContext."+profile, fmt.Sprintf(bad, pods), "string("+pods+`.orValue(""))`) + " + " +
			ofContainers(Seccomp, "securityContext."+profile, fmt.Sprintf("%s.hasValue() ? "+bad+" : "+none, own, own), "string("+own+`.orValue("`+notSet+`"))`)
	},
	Sysctls: func(Class) string {
		return fmt.Sprintf(`variables.pod.?sysctls.orValue([]).transformList(i, s, !(s.name in %s), `+
			`"%s: spec.securityContext.sysctls[" + string(i) + "].name is " + string(s.name))`, list(sysctls...), Sysctls)
	},
	VolumeTypes: func(Class) string {
		return fmt.Sprintf(`object.spec.?volumes.orValue([]).transformList(i, v, v.exists(k, k != "name" && !(k in %s)), `+
			`"%s: spec.volumes[" + string(i) + "] is " + v.filter(k, k != "name").map(k, string(k)).join(", "))`, list(volumeTypes...), VolumeTypes)
	},
	PrivilegeEscal: func(Class) string {
		return "variables.windows ? [] : " + boolean(PrivilegeEscal, "allowPrivilegeEscalation", "false")
	},
	NonRoot: func(Class) string {
		const own, pods = security + "?runAsNonRoot", "variables.pod.?runAsNonRoot"
		return "variables.ownUsers ? [] : " + ofPod(NonRoot, "spec.securityContext.runAsNonRoot", pods+".orValue(true) == false", `"false"`) + " + " +
			ofContainers(NonRoot, "securityContext.runAsNonRoot", own+".orValue("+pods+".orValue(false)) == false",
				own+`.hasValue() ? "false" : "`+notSet+`"`)
	},
	NonRootUser: func(c Class) string {
		if len(c.RunAsUser) == 0 {
			return "variables.ownUsers ? [] : " + both(NonRootUser, "runAsUser", "%s.orValue(1) == 0", `"0"`+"%.0s")
		}
		const user = security + "?runAsUser.orValue(variables.pod.?runAsUser.orValue(-1))"
		var in []string
		for _, r := range c.RunAsUser {
			in = append(in, fmt.Sprintf("%s >= %d && %s <= %d", user, r.From, user, r.To))
		}
		return ofContainers(NonRootUser, "securityContext.runAsUser", "!("+strings.Join(in, " || ")+")", fmt.Sprintf(`%s == -1 ? "%s" : string(%s)`, user, notSet, user))
	},
	ReadOnlyRoot: func(Class) string { return boolean(ReadOnlyRoot, "readOnlyRootFilesystem", "true") },
}

// boolean is a field that each container must set to a value.
func boolean(control, field, value string) string {
	own := security + "?" + field
	return ofContainers(control, "securityContext."+field, own+".orValue(!"+value+") != "+value, own+`.hasValue() ? string(`+own+`.orValue(!`+value+`)) : "`+notSet+`"`)
}

func hostPathsExpression(c Class) string {
	within := func(readOnly bool) string {
		terms := []string{"false"}
		for _, p := range c.HostPaths {
			switch {
			case p.ReadOnly && !readOnly:
			case p.Prefix == "/":
				terms = append(terms, "true")
			case p.ReadOnly:
				terms = append(terms, fmt.Sprintf("v.hostPath.path == %q || v.hostPath.path.startsWith(%q)", p.Prefix, p.Prefix+"/"))
			default: // as in under
				terms = append(terms, fmt.Sprintf("v.hostPath.path == %q", p.Prefix))
			}
		}
		return "(" + strings.Join(terms, " || ") + ")"
	}
	volumes := func(condition, value string) string {
		return fmt.Sprintf(`object.spec.?volumes.orValue([]).transformList(i, v, has(v.hostPath) && %s, "%s: spec.volumes[" + string(i) + "].hostPath.path is " + %s)`,
			condition, HostPathVolumes, value)
	}
	out := volumes("!"+within(true), "string(v.hostPath.path)")
	if within(true) == within(false) {
		return out
	}
	return out + " + " + volumes(within(true)+" && !"+within(false)+
		" && variables.containers.exists(e, e.c.?volumeMounts.orValue([]).exists(m, m.name == v.name && !m.?readOnly.orValue(false)))",
		fmt.Sprintf("string(v.hostPath.path) + %q", mountedWritable))
}
