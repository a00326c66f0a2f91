package v1alpha1

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// Limits of what may be declared of pods.
const (
	maxRuleName = 50
	maxRules    = 500
	maxPort     = 65535

	labelValuePattern = `^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$`
	labelKeyPattern   = `^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`
)

var (
	labelValue = regexp.MustCompile(labelValuePattern)
	labelKey   = regexp.MustCompile(labelKeyPattern)

	protocols = []string{ProtocolTCP, ProtocolUDP, ProtocolSCTP}
)

// peerKinds is how a peer's kinds are named in messages.
const peerKinds = "pods (namespace, namespaceLabels, podLabels), cidrs, set or api"

// isolation checks what is declared of pods.
func (e *Errors) isolation(c *Cluster) {
	const path = "spec.network.policy"
	p := c.Spec.Network.Policy
	v := policyValidator{errors: e, cluster: c, sets: map[string]int{}}
	for i, o := range p.Open {
		v.open(fmt.Sprintf("%s.open[%d]", path, i), o)
	}
	for i, s := range p.Sets {
		v.set(fmt.Sprintf("%s.sets[%d]", path, i), i, s)
	}
	if len(p.Rules) > maxRules {
		e.add(path+".rules", "must be at most %d, not %d", maxRules, len(p.Rules))
	}
	names := map[string]int{}
	for i, r := range p.Rules {
		at := fmt.Sprintf("%s.rules[%d]", path, i)
		e.name(at+".name", r.Name, maxRuleName)
		if first, taken := names[r.Name]; taken && r.Name != "" {
			e.add(at+".name", "%s is already the name of %s.rules[%d]", quote(r.Name), path, first)
		} else {
			names[r.Name] = i
		}
		v.rule(at, r)
	}
	for i, m := range p.Metadata {
		at := fmt.Sprintf("%s.metadata[%d]", path, i)
		if v.peer(at, m) && !m.IsPods() {
			e.add(at, "must be pods: machines are let in by metadataFromHosts")
		}
	}
}

type policyValidator struct {
	errors  *Errors
	cluster *Cluster
	sets    map[string]int // by name, as they are declared
}

func (v policyValidator) open(at string, o OpenNamespaces) {
	switch {
	case o.Namespace != "" && o.Labels != nil:
		v.errors.add(at, "must have a namespace or labels, not both")
	case o.Namespace == "" && o.Labels == nil:
		v.errors.add(at, "must have a namespace, or labels of namespaces")
	case o.Namespace == "kube-system":
		v.errors.add(at+".namespace", "must not be kube-system: what runs there is never open")
	case o.Namespace != "":
		v.namespace(at+".namespace", o.Namespace, false)
	default:
		v.labels(at+".labels", o.Labels)
	}
}

func (v policyValidator) set(at string, i int, s AddressSet) {
	v.errors.name(at+".name", s.Name, maxRuleName)
	if first, taken := v.sets[s.Name]; taken && s.Name != "" {
		v.errors.add(at+".name", "%s is already the name of spec.network.policy.sets[%d]", quote(s.Name), first)
	} else {
		v.sets[s.Name] = i
	}
	if len(s.CIDRs) == 0 {
		v.errors.add(at+".cidrs", "must have at least one range")
	}
	v.cidrs(at+".cidrs", s.CIDRs)
}

func (v policyValidator) rule(at string, r NetworkRule) {
	from, to := v.peer(at+".from", r.From), v.peer(at+".to", r.To)
	switch {
	case !from || !to:
	case r.From.API:
		v.errors.add(at+".from.api", "must not be where connections come from: the API servers have no way to pods")
	case !r.From.IsPods() && !r.To.IsPods():
		v.errors.add(at, "must have pods at one of its ends: what others reach is not for a policy of pods")
	case r.To.API && len(r.Ports) > 0:
		v.errors.add(at+".ports", "must be left out: the API has one port")
	}
	for i, p := range r.Ports {
		v.port(fmt.Sprintf("%s.ports[%d]", at, i), p, r.Ports[:i])
	}
}

func (v policyValidator) port(at string, p NetworkPort, before []NetworkPort) {
	switch last := max(p.Port, p.EndPort); {
	case !slices.Contains(protocols, p.Protocol):
		v.errors.add(at+".protocol", "must be %s, not %s", oneOf(protocols), quote(p.Protocol))
	case p.Port < 0 || p.Port > maxPort:
		v.errors.add(at+".port", "must be between 1 and %d, not %d", maxPort, p.Port)
	case p.EndPort != 0 && p.Port == 0:
		v.errors.add(at+".endPort", "needs a port, which is the first of the range")
	case p.EndPort != 0 && (p.EndPort < p.Port || p.EndPort > maxPort):
		v.errors.add(at+".endPort", "must be between port, which is %d, and %d, not %d", p.Port, maxPort, p.EndPort)
	default:
		for i, other := range before {
			if other.Port < 0 || other.Port == 0 && other.EndPort != 0 {
				continue // is an error already
			}
			if other.Protocol == p.Protocol && (p.Port == 0 || other.Port == 0 || other.Port <= last && p.Port <= max(other.Port, other.EndPort)) {
				v.errors.add(at+".port", "overlaps ports[%d]", i)
				return
			}
		}
	}
}

// peer checks one end, and says whether it is of one kind.
func (v policyValidator) peer(at string, p NetworkPeer) bool {
	kinds := 0
	for _, is := range []bool{p.IsPods(), p.CIDRs != nil, p.Set != "", p.API} {
		if is {
			kinds++
		}
	}
	switch {
	case kinds == 0 && p.Except != nil:
		v.errors.add(at+".except", "needs the cidrs that it is taken from")
	case kinds == 0:
		v.errors.add(at, "must be one of "+peerKinds)
	case kinds > 1:
		v.errors.add(at, "must be only one of "+peerKinds)
	case p.IsPods():
		v.pods(at, p)
	case p.Set != "":
		if _, known := v.sets[p.Set]; !known {
			hint := ""
			if guess := nearest(p.Set, slices.Collect(maps.Keys(v.sets))); guess != "" {
				hint = "; did you mean " + guess + "?"
			}
			v.errors.add(at+".set", "there is no set %s in spec.network.policy.sets%s", quote(p.Set), hint)
		}
	case p.CIDRs != nil:
		v.ranges(at, p)
	}
	if kinds == 1 && p.Except != nil && p.CIDRs == nil {
		v.errors.add(at+".except", "needs the cidrs that it is taken from")
	}
	return kinds == 1
}

func (v policyValidator) pods(at string, p NetworkPeer) {
	if p.Namespace != "" && p.NamespaceLabels != nil {
		v.errors.add(at, "must have a namespace or namespaceLabels, not both")
	}
	if p.Namespace == "" && p.NamespaceLabels == nil {
		v.errors.add(at, `must say of which namespaces the pods are: namespace, which may be "*", or namespaceLabels`)
	}
	if p.Namespace != "" {
		v.namespace(at+".namespace", p.Namespace, true)
	}
	v.labels(at+".namespaceLabels", p.NamespaceLabels)
	v.labels(at+".podLabels", p.PodLabels)
}

func (v policyValidator) namespace(at, name string, every bool) {
	if !every || name != EveryNamespace {
		v.errors.name(at, name, maxNamespace)
	}
}

func (v policyValidator) labels(at string, labels map[string]string) {
	if labels != nil && len(labels) == 0 {
		v.errors.add(at, "must not be empty: no label selects everything; leave it out if that is meant")
	}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		switch {
		case !labelKey.MatchString(key):
			v.errors.add(at+"["+quote(key)+"]", "no label can have this key")
		case strings.HasPrefix(key, "pcns.") || strings.HasPrefix(key, "pcsa.") || strings.HasPrefix(key, "projectcalico.org/"):
			v.errors.add(at+"["+quote(key)+"]", "no pod may have a label with this key: it is the pod network's own")
		case !labelValue.MatchString(labels[key]):
			v.errors.add(at+"["+quote(key)+"]", "no label can have the value %s", quote(labels[key]))
		}
	}
}

func (v policyValidator) ranges(at string, p NetworkPeer) {
	if len(p.CIDRs) == 0 {
		v.errors.add(at+".cidrs", "must have at least one range")
	}
	outer := v.cidrs(at+".cidrs", p.CIDRs)
	var earlier []netip.Prefix
	for i, s := range p.Except {
		at := fmt.Sprintf("%s.except[%d]", at, i)
		hole, ok := v.prefix(at, s)
		if !ok {
			continue
		}
		within := func(o netip.Prefix) bool { return o.Bits() < hole.Bits() && o.Contains(hole.Addr()) }
		if len(outer) == len(p.CIDRs) && !slices.ContainsFunc(outer, within) {
			v.errors.add(at, "%s is within none of the cidrs, or is all of one", hole)
			continue
		}
		v.overlap(at, hole, earlier, "except")
		earlier = append(earlier, hole)
	}
}

// cidrs checks a list of ranges outside of the cluster's own, and returns those that are any.
func (v policyValidator) cidrs(at string, list []string) []netip.Prefix {
	var good []netip.Prefix
	for i, s := range list {
		at := fmt.Sprintf("%s[%d]", at, i)
		p, ok := v.prefix(at, s)
		if !ok {
			continue
		}
		v.overlap(at, p, good, "cidrs")
		v.own(at, p)
		good = append(good, p)
	}
	return good
}

func (v policyValidator) overlap(at string, p netip.Prefix, earlier []netip.Prefix, list string) {
	for i, other := range earlier {
		if other.Overlaps(p) {
			v.errors.add(at, "%s overlaps %s, which is in %s, too", p, earlier[i], list)
			return
		}
	}
}

// own ranges of the cluster are meant by pods and api; a range as wide as the internet goes around them by itself.
func (v policyValidator) own(at string, p netip.Prefix) {
	s := v.cluster.Spec
	ranges := []struct{ path, value, instead string }{
		{"spec.network.podCIDR", s.Network.PodCIDR, "name pods by namespace and labels"},
		{"spec.network.serviceCIDR", s.Network.ServiceCIDR, "name the pods behind the Service"},
	}
	if s.Provider.Local != nil {
		ranges = append(ranges, struct{ path, value, instead string }{"spec.provider.local.machineCIDR", s.Provider.Local.MachineCIDR,
			"pods reach no machine but the API servers, by api: true"})
	}
	for _, r := range ranges {
		if own, err := netip.ParsePrefix(r.value); err == nil && own.Contains(p.Addr()) && own.Bits() <= p.Bits() {
			v.errors.add(at, "%s is within %s: %s", p, r.path, r.instead)
			return
		}
	}
	if link := netip.MustParsePrefix("169.254.0.0/16"); link.Contains(p.Addr()) && p.Bits() >= link.Bits() {
		v.errors.add(at, "%s is link-local: who may reach 169.254.169.254 is declared by metadata", p)
	}
}

func (v policyValidator) prefix(at, s string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil || !p.Addr().Is4():
		v.errors.add(at, "must be an IPv4 range such as 198.51.100.0/24, not %s", quote(s))
		return p, false
	case p != p.Masked():
		v.errors.add(at, "must begin at the first address of its range: %s, not %s", p.Masked(), p)
		return p, false
	}
	return p, true
}
