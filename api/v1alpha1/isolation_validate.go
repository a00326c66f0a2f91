package v1alpha1

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// Controls are what the Pod Security Standards call theirs: those of baseline, and then those that restricted has beside them.
var Controls = append(slices.Clone(baselineControls), restrictedControls...)

var (
	baselineControls = []string{"HostProcess", "Host Namespaces", "Privileged Containers", "Capabilities", "HostPath Volumes", "Host Ports",
		"Host Probes / Lifecycle Hooks", "AppArmor", "SELinux", "/proc Mount Type", "Seccomp", "Sysctls"}
	restrictedControls = []string{"Volume Types", "Privilege Escalation", "Running as Non-root", "Running as Non-root user"}

	builtInClasses = []string{ClassRestricted, ClassBaseline, ClassPrivileged}
	hostNamespaces = []string{"network", "pid", "ipc"}
	limitedNames   = []string{"cpu", "memory", "ephemeral-storage"}
	everybody      = []string{"system:authenticated", "system:unauthenticated", "system:serviceaccounts"}

	capability  = regexp.MustCompile(capabilityPattern)
	seccomp     = regexp.MustCompile(seccompPattern)
	quotaName   = regexp.MustCompile(`^[a-z0-9]([-a-z0-9./]*[a-z0-9])?$`)
	seLinuxWord = regexp.MustCompile(`^[A-Za-z0-9_:.,-]+$`)
)

const (
	maxClassName      = 40
	maxID             = 1<<31 - 2
	capabilityPattern = `^[A-Z][A-Z0-9_]*$`
	seccompPattern    = `^(Unconfined|localhost/[A-Za-z0-9._/-]+)$`
)

// pods checks what is declared of what pods may do to their machine, and how much of it they may take.
func (e *Errors) pods(c *Cluster) {
	const at = "spec.isolation"
	i := c.Spec.Isolation
	if len(i.Classes) > MaxClasses {
		e.add(at+".classes", "must be at most %d, not %d", MaxClasses, len(i.Classes))
	}
	names := map[string]int{}
	for n, class := range i.Classes {
		at := fmt.Sprintf("%s.classes[%d]", at, n)
		e.unique(at+".name", class.Name, maxClassName, names, n, "spec.isolation.classes")
		e.podClass(at, class)
	}
	known := append(slices.Sorted(maps.Keys(names)), builtInClasses...)
	for n, grant := range i.Grants {
		e.grant(fmt.Sprintf("%s.grants[%d]", at, n), grant, known)
	}
	v, names := policyValidator{errors: e, cluster: c}, map[string]int{}
	for n, tier := range i.Tiers {
		at := fmt.Sprintf("%s.tiers[%d]", at, n)
		e.unique(at+".name", tier.Name, maxNamespace, names, n, "spec.isolation.tiers")
		v.tier(at, tier)
	}
}

// unique checks a name that no other of a list may have.
func (e *Errors) unique(at, name string, most int, names map[string]int, n int, list string) {
	e.name(at, name, most)
	if first, taken := names[name]; taken && name != "" {
		e.add(at, "%s is already the name of %s[%d]", quote(name), list, first)
	} else {
		names[name] = n
	}
}

func (e *Errors) podClass(at string, c PodClass) {
	e.ceilings(at, c)
	if slices.Contains(builtInClasses, c.Name) {
		more := c
		more.Name, more.Disk, more.Network = "", DiskCeiling{}, NetworkCeiling{}
		if !isZero(more) {
			e.add(at, "can change nothing of class %s but its disk and network: make another class of what is to be allowed", c.Name)
		}
		return
	}
	if standards := []string{ClassRestricted, ClassBaseline}; c.Standard != "" && !slices.Contains(standards, c.Standard) {
		e.add(at+".standard", "must be %s, not %s", oneOf(standards), quote(c.Standard))
	}
	for n, control := range c.Relax {
		at := fmt.Sprintf("%s.relax[%d]", at, n)
		switch {
		case !slices.Contains(Controls, control):
			e.add(at, "the Pod Security Standards have no control %s%s", quote(control), didYouMean(control, Controls))
		case c.Standard == ClassBaseline && slices.Contains(restrictedControls, control):
			e.add(at, "%s is no control of %s: there is nothing to relax", quote(control), ClassBaseline)
		case slices.Contains(c.Relax[:n], control):
			e.add(at, "%s is there twice", quote(control))
		}
	}
	for n, name := range c.Capabilities {
		at := fmt.Sprintf("%s.capabilities[%d]", at, n)
		switch {
		case strings.HasPrefix(name, "CAP_"):
			e.add(at, "must be as Kubernetes writes it: %s, not %s", strings.TrimPrefix(name, "CAP_"), name)
		case name == "ALL":
			e.add(at, "must be one by one: a container with ALL is as good as privileged")
		case !capability.MatchString(name):
			e.add(at, "must be a capability such as NET_ADMIN, not %s", quote(name))
		}
	}
	for n, ns := range c.HostNamespaces {
		if !slices.Contains(hostNamespaces, ns) {
			e.add(fmt.Sprintf("%s.hostNamespaces[%d]", at, n), "must be %s, not %s", oneOf(hostNamespaces), quote(ns))
		}
	}
	for n, r := range c.HostPorts {
		e.between(fmt.Sprintf("%s.hostPorts[%d]", at, n), r.From, r.To, 1, maxPort)
	}
	for n, r := range c.RunAsUser {
		e.between(fmt.Sprintf("%s.runAsUser[%d]", at, n), r.From, r.To, 0, maxID)
	}
	for n, p := range c.HostPaths {
		if at := fmt.Sprintf("%s.hostPaths[%d].prefix", at, n); !path.IsAbs(p.Prefix) || path.Clean(p.Prefix) != p.Prefix {
			e.add(at, "must be an absolute path such as /var/log, without . or .. and without a slash at its end, not %s", quote(p.Prefix))
		}
	}
	for n, profile := range c.Seccomp {
		if !seccomp.MatchString(profile) {
			e.add(fmt.Sprintf("%s.seccomp[%d]", at, n), "must be Unconfined or localhost/FILE, not %s", quote(profile))
		}
	}
	for n, o := range c.SELinux {
		at := fmt.Sprintf("%s.seLinux[%d]", at, n)
		if o == (SELinuxOptions{}) {
			e.add(at, "must have a user, role, type or level")
		}
		for _, part := range []struct{ name, value string }{{"user", o.User}, {"role", o.Role}, {"type", o.Type}, {"level", o.Level}} {
			if part.value != "" && !seLinuxWord.MatchString(part.value) {
				e.add(at+"."+part.name, "no context of SELinux has %s", quote(part.value))
			}
		}
	}
}

func isZero(c PodClass) bool {
	return c.Standard == "" && c.Relax == nil && c.Capabilities == nil && c.HostNamespaces == nil && c.HostPorts == nil && c.HostPaths == nil &&
		c.RunAsUser == nil && c.Seccomp == nil && c.SELinux == nil && !c.ReadOnlyRoot && !c.HostUsers
}

func (e *Errors) ceilings(at string, c PodClass) {
	for _, q := range []struct{ field, value, such string }{
		{"disk.read", c.Disk.Read, "20Mi"}, {"disk.write", c.Disk.Write, "20Mi"}, {"network.ingress", c.Network.Ingress, "100M"}, {"network.egress", c.Network.Egress, "100M"},
	} {
		if q.value != "" {
			e.quantity(at+"."+q.field, q.value, q.such)
		}
	}
	for _, ops := range []struct {
		field string
		value int
	}{{"disk.readOps", c.Disk.ReadOps}, {"disk.writeOps", c.Disk.WriteOps}} {
		if ops.value < 0 {
			e.add(at+"."+ops.field, "must not be less than 0, which is no limit, as %d is", ops.value)
		}
	}
}

func (e *Errors) quantity(at, value, such string) {
	if q, err := resource.ParseQuantity(value); err != nil || q.Sign() <= 0 {
		e.add(at, "must be a quantity such as %s, not %s", such, quote(value))
	}
}

func (e *Errors) between(at string, from, to, least, most int) {
	switch {
	case from < least || from > most:
		e.add(at+".from", "must be between %d and %d, not %d", least, most, from)
	case to < from || to > most:
		e.add(at+".to", "must be between from, which is %d, and %d, not %d", from, most, to)
	}
}

func (e *Errors) grant(at string, g ClassGrant, known []string) {
	switch {
	case g.Class == "":
		e.add(at+".class", "is required")
	case g.Class == ClassRestricted:
		e.add(at+".class", "must not be %s, which everybody may use", ClassRestricted)
	case !slices.Contains(known, g.Class):
		e.add(at+".class", "there is no class %s in spec.isolation.classes%s", quote(g.Class), didYouMean(g.Class, known))
	}
	if (len(g.Namespaces) == 0) == (len(g.NamespaceLabels) == 0) {
		e.add(at, "must have namespaces, or namespaceLabels: a class is granted somewhere")
	}
	for n, ns := range g.Namespaces {
		e.name(fmt.Sprintf("%s.namespaces[%d]", at, n), ns, maxNamespace)
	}
	if len(g.Users)+len(g.Groups)+len(g.ServiceAccounts) == 0 {
		e.add(at, "must have users, groups or serviceAccounts: a class is granted to somebody")
	}
	for _, list := range []struct {
		name   string
		values []string
	}{{"users", g.Users}, {"groups", g.Groups}} {
		for n, who := range list.values {
			at := fmt.Sprintf("%s.%s[%d]", at, list.name, n)
			switch {
			case strings.TrimSpace(who) != who || who == "":
				e.add(at, "must be a name, not %s", quote(who))
			case slices.Contains(everybody, who):
				e.add(at, "must not be %s, in which everybody is: a class that all may use holds nobody", who)
			}
		}
	}
	for n, account := range g.ServiceAccounts {
		if account != EveryServiceAccount && !clusterDomain.MatchString(account) {
			e.add(fmt.Sprintf("%s.serviceAccounts[%d]", at, n), `must be the name of a ServiceAccount, or "*" for each of these namespaces, not %s`, quote(account))
		}
	}
}

func (v policyValidator) tier(at string, t Tier) {
	if t.Name == TierStandard && len(t.Namespaces) > 0 {
		v.errors.add(at+".namespaces", "must be left out: %s is the tier of all that no other names", TierStandard)
	}
	for n, o := range t.Namespaces {
		at := fmt.Sprintf("%s.namespaces[%d]", at, n)
		switch {
		case o.Namespace != "" && o.Labels != nil:
			v.errors.add(at, "must have a namespace or labels, not both")
		case o.Namespace == "" && o.Labels == nil:
			v.errors.add(at, "must have a namespace, or labels of namespaces")
		case o.Namespace != "":
			v.namespace(at+".namespace", o.Namespace, false)
		default:
			v.labels(at+".labels", o.Labels)
		}
	}
	for _, m := range []struct {
		field  string
		values map[string]string
	}{{"quota", t.Quota}, {"requests", t.Requests}, {"limits", t.Limits}, {"most", t.Most}} {
		for _, name := range slices.Sorted(maps.Keys(m.values)) {
			at := fmt.Sprintf("%s.%s[%s]", at, m.field, quote(name))
			switch value := m.values[name]; {
			case m.field == "quota" && !quotaName.MatchString(name):
				v.errors.add(at, "is nothing that a ResourceQuota counts")
			case m.field != "quota" && !slices.Contains(limitedNames, name):
				v.errors.add(at, "must be %s", oneOf(limitedNames))
			default:
				if q, err := resource.ParseQuantity(value); err != nil || q.Sign() < 0 || q.IsZero() && m.field != "quota" {
					v.errors.add(at, "must be a quantity such as 500m or 2Gi, not %s", quote(value))
				}
			}
		}
	}
}

func didYouMean(word string, words []string) string {
	if guess := nearest(word, words); guess != "" {
		return "; did you mean " + guess + "?"
	}
	return ""
}
