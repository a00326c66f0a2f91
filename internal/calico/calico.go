// Package calico writes compiled policies as Calico's resources: the one place that knows its selectors, and where in the
// overlay's etcd each is kept.
package calico

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/network"
)

// Resources is where Calico keeps what is written here, by kind.
const Resources = "/calico/resources/v3/projectcalico.org/"

// Kinds are the directories below Resources that hold what is declared, and nothing else.
var Kinds = []string{"globalnetworkpolicies/", "globalnetworksets/", "hostendpoints/"}

// What Calico says of pods, and what tells ours that are no pods: pods are always of a namespace, so that no label of
// theirs makes them one.
const (
	labelNamespace = "projectcalico.org/namespace"
	// ofNamespace begins the labels that a pod has from its namespace. No pod may bring its own (see the baseline's admission).
	ofNamespace = "pcns."
	labelSet    = "ashlar.dev/set"
	labelHost   = "ashlar.dev/host"
)

// Resource is one of Calico's, as its API version 3 has it.
type Resource struct {
	Key, Kind, Name string
	Labels          map[string]string
	Spec            map[string]any
}

// Of renders all that is not Kubernetes' own.
func Of(c network.Compiled) []Resource {
	var out []Resource
	for _, g := range c.Global {
		out = append(out, policy(g))
	}
	for _, s := range c.Sets {
		out = append(out, resource("globalnetworksets/", "GlobalNetworkSet", network.Prefix+s.Name, map[string]string{labelSet: s.Name},
			map[string]any{"nets": nets(s.Nets)}))
	}
	for _, h := range c.Hosts {
		out = append(out, resource("hostendpoints/", "HostEndpoint", HostEndpoint(h.Name), map[string]string{labelHost: h.Name},
			map[string]any{"node": h.Name, "interfaceName": h.Interface, "expectedIPs": []any{h.Address.String()}}))
	}
	return out
}

// Member is the host endpoint of a machine that comes and goes, whose interface has whatever name its image gives it.
func Member(name string, address netip.Addr) Resource {
	return resource("hostendpoints/", "HostEndpoint", HostEndpoint(name), map[string]string{labelHost: name},
		map[string]any{"node": name, "expectedIPs": []any{address.String()}})
}

// HostEndpoint is the name of a worker's.
func HostEndpoint(worker string) string { return network.Prefix + worker }

func resource(directory, kind, name string, labels map[string]string, spec map[string]any) Resource {
	return Resource{Resources + directory + name, kind, name, labels, spec}
}

func policy(g network.Global) Resource {
	spec := map[string]any{"order": g.Order}
	if g.Hosts {
		spec["selector"] = fmt.Sprintf("has(%s) && !has(%s)", labelHost, labelNamespace)
	} else {
		spec["selector"] = Selector(*g.Pods)
	}
	var types []any
	if g.Ingress != nil {
		types = append(types, "Ingress")
		addRules(spec, "ingress", *g.Ingress)
	}
	if g.Egress != nil {
		types = append(types, "Egress")
		addRules(spec, "egress", *g.Egress)
	}
	spec["types"] = types
	if g.ApplyOnForward {
		spec["applyOnForward"] = true
	}
	return resource("globalnetworkpolicies/", "GlobalNetworkPolicy", g.Name, nil, spec)
}

func addRules(spec map[string]any, way string, rules []network.GlobalRule) {
	var out []any
	for _, r := range rules {
		rule := map[string]any{"action": string(r.Action)}
		if r.Protocol != "" {
			rule["protocol"] = r.Protocol
		}
		if r.NotProtocol != "" {
			rule["notProtocol"] = r.NotProtocol
		}
		for name, m := range map[string]network.Match{"source": r.Source, "destination": r.Destination} {
			if e := entity(m); len(e) > 0 {
				rule[name] = e
			}
		}
		out = append(out, rule)
	}
	if len(out) > 0 {
		spec[way] = out
	}
}

func entity(m network.Match) map[string]any {
	e := map[string]any{}
	switch {
	case m.Pods != nil:
		e["selector"] = Selector(*m.Pods)
	case m.Set != "":
		e["selector"] = fmt.Sprintf("%s == '%s' && !has(%s)", labelSet, m.Set, labelNamespace)
	}
	for name, list := range map[string][]any{"nets": nets(m.Nets), "notNets": nets(m.NotNets), "ports": ports(m.Ports), "notPorts": ports(m.NotPorts)} {
		if len(list) > 0 {
			e[name] = list
		}
	}
	return e
}

func nets(prefixes []netip.Prefix) []any {
	var out []any
	for _, p := range prefixes {
		out = append(out, p.String())
	}
	return out
}

// ports are numbers, as JSON reads them back, or ranges.
func ports(ranges []network.PortRange) []any {
	var out []any
	for _, r := range ranges {
		if r.First == r.Last {
			out = append(out, float64(r.First))
		} else {
			out = append(out, fmt.Sprintf("%d:%d", r.First, r.Last))
		}
	}
	return out
}

// Selector is a selector of pods in Calico's language.
func Selector(s network.PodSelector) string {
	terms := []string{fmt.Sprintf("has(%s)", labelNamespace)}
	if s.Namespace != "" {
		terms = []string{fmt.Sprintf("%s == '%s'", labelNamespace, s.Namespace)}
	}
	terms = append(terms, equal(ofNamespace, s.NamespaceLabels)...)
	terms = append(terms, equal("", s.PodLabels)...)
	for _, n := range s.NotNamespaces {
		terms = append(terms, "!("+openSelector(n)+")")
	}
	return strings.Join(terms, " && ")
}

func openSelector(o v1alpha1.OpenNamespaces) string {
	if o.Namespace != "" {
		return fmt.Sprintf("%s == '%s'", labelNamespace, o.Namespace)
	}
	return strings.Join(equal(ofNamespace, o.Labels), " && ")
}

func equal(prefix string, labels map[string]string) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		out = append(out, fmt.Sprintf("%s%s == '%s'", prefix, key, labels[key]))
	}
	return out
}
