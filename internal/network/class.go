package network

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// Kind is what a class is made of.
type Kind string

// The kinds that are not those of a pod's owner.
const (
	KindPod      Kind = "Pod"
	KindMachines Kind = "machines"
	KindSet      Kind = "set"
	KindRange    Kind = "addresses"
	KindInternet Kind = "internet"
	KindMetadata Kind = "metadata"
)

// Class is peers that policy has no reason to tell apart: the pods of a Deployment, the machines of a role, a set of addresses.
type Class struct {
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	// Ports are those that somebody may have a reason to connect to. Other is one that nobody has.
	Ports []Port `json:"ports"`
	Other []Port `json:"-"`
	// Size is how many it has, of which Members are as many as are looked at.
	Size    int    `json:"size"`
	Members []Peer `json:"-"`
}

// Inside says whether connections come from there that we know of.
func (c *Class) Inside() bool {
	return c.Kind != KindSet && c.Kind != KindRange && c.Kind != KindInternet && c.Kind != KindMetadata
}

// Pod is a pod with what runs it, and the ports that it says it has.
type Pod struct {
	Peer
	Owner  Kind
	Of     string // the owner's name
	Listen []Port
}

// Service is a Service and where each of its ports leads.
type Service struct {
	Namespace, Name string
	Address         netip.Addr
	Ports           []ServicePort
}

// ServicePort is a port and who answers there.
type ServicePort struct {
	Port     Port
	Backends []netip.AddrPort
}

// Inventory is all that there is on either end of a connection.
type Inventory struct {
	Pods       []Pod
	Namespaces map[string]map[string]string // their labels, by name
	Machines   []Peer
	// MachinePorts are what machines of a role have to say something on.
	MachinePorts map[v1alpha1.Role][]Port
	Services     []Service
	// Internet are addresses outside: the first that no declared range has stands for the rest of the world.
	Internet []netip.Addr
}

// sampled is how many of a class are looked at, on as many machines as there are: their labels are the same.
const sampled = 2

// Classes groups all that there is.
func Classes(in *Inventory, policies []networkingv1.NetworkPolicy, declared v1alpha1.NetworkPolicy) []Class {
	var out []Class
	for _, pods := range groups(in.Pods) {
		out = append(out, podClass(pods, in, policies, declared))
	}
	unique(out)
	slices.SortFunc(out, func(a, b Class) int { return cmp.Compare(a.Name, b.Name) })
	for _, role := range v1alpha1.Roles {
		c := Class{Name: string(role), Kind: KindMachines, Ports: sortPorts(in.MachinePorts[role])}
		for _, m := range in.Machines {
			if m.Role == role {
				c.Members = append(c.Members, m)
			}
		}
		c.sample(sampled)
		out = append(out, c)
	}
	out = append(out, beyond(in, declared)...)
	for i := range out {
		out[i].Other = others(&out[i])
	}
	return slices.DeleteFunc(out, func(c Class) bool { return c.Size == 0 })
}

// groups are pods of one owner, or else one namespace, with the same labels.
func groups(pods []Pod) [][]Pod {
	by := map[string][]Pod{}
	for _, p := range pods {
		if !p.isPod() {
			continue // hostNetwork: the machine
		}
		key := strings.Join([]string{p.Namespace, string(p.Owner), p.Of, labelKey(p.Labels)}, "\x00")
		by[key] = append(by[key], p)
	}
	var out [][]Pod
	for _, key := range slices.Sorted(maps.Keys(by)) {
		out = append(out, by[key])
	}
	return out
}

// perPod are labels that controllers give each of their pods or generations.
var perPod = []string{"pod-template-hash", "controller-revision-hash", "pod-template-generation", "statefulset.kubernetes.io/pod-name",
	"apps.kubernetes.io/pod-index", "controller-uid", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-completion-index"}

func labelKey(labels map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if !slices.Contains(perPod, k) {
			out = append(out, k+"="+labels[k])
		}
	}
	return strings.Join(out, ",")
}

func podClass(pods []Pod, in *Inventory, policies []networkingv1.NetworkPolicy, declared v1alpha1.NetworkPolicy) Class {
	first := pods[0]
	name := cmp.Or(first.Of, first.Labels["app"], first.Labels["app.kubernetes.io/name"], first.Labels["k8s-app"], first.Name)
	c := Class{Name: first.Namespace + "/" + name, Kind: first.Owner}
	var ports []Port
	for _, p := range pods {
		c.Members = append(c.Members, p.Peer)
		ports = append(ports, p.Listen...)
		for _, s := range in.Services {
			for _, sp := range s.Ports {
				for _, b := range sp.Backends {
					if b.Addr() == p.Address {
						ports = append(ports, Port{Protocol: sp.Port.Protocol, Number: int32(b.Port())})
					}
				}
			}
		}
	}
	ports = append(ports, policyPorts(policies, first.Peer)...)
	d := Declaration{Policy: declared}
	for _, r := range declared.Rules {
		if d.isPeer(r.To, first.Peer) {
			ports = append(ports, rulePorts(r)...)
		}
	}
	c.Ports = sortPorts(ports)
	c.sample(sampled)
	return c
}

// policyPorts are those that users' policies name for a pod: of ranges, both ends.
func policyPorts(policies []networkingv1.NetworkPolicy, pod Peer) []Port {
	var out []Port
	for i := range policies {
		if ok, err := selects(&policies[i], networkingv1.PolicyTypeIngress, pod); !ok || err != nil {
			continue
		}
		for _, r := range policies[i].Spec.Ingress {
			for _, p := range r.Ports {
				protocol := corev1.ProtocolTCP
				if p.Protocol != nil {
					protocol = *p.Protocol
				}
				if p.Port != nil && p.Port.StrVal == "" {
					out = append(out, Port{protocol, p.Port.IntVal})
				}
				if p.EndPort != nil {
					out = append(out, Port{protocol, *p.EndPort})
				}
			}
		}
	}
	return out
}

func rulePorts(r v1alpha1.NetworkRule) []Port {
	var out []Port
	for _, p := range r.Ports {
		protocol := corev1.Protocol(cmp.Or(strings.ToUpper(p.Protocol), "TCP"))
		for _, n := range []int{p.Port, p.EndPort} {
			if n > 0 {
				out = append(out, Port{protocol, int32(n)})
			}
		}
	}
	return out
}

// sample keeps few members, on different machines where there are any.
func (c *Class) sample(keep int) {
	c.Size = len(c.Members)
	slices.SortFunc(c.Members, func(a, b Peer) int { return cmp.Or(cmp.Compare(a.Machine, b.Machine), cmp.Compare(a.Name, b.Name)) })
	var first, rest []Peer
	for i, p := range c.Members {
		if i == 0 || p.Machine != c.Members[i-1].Machine {
			first = append(first, p)
		} else {
			rest = append(rest, p)
		}
	}
	all := append(first, rest...)
	c.Members = all[:min(keep, len(all))]
}

// others are ports that stand for all that nobody has a reason for: one of each protocol that pods are asked by.
func others(c *Class) []Port {
	var out []Port
	protocols := []corev1.Protocol{corev1.ProtocolTCP}
	if len(c.Members) > 0 && c.Members[0].isPod() {
		protocols = append(protocols, corev1.ProtocolUDP, corev1.ProtocolSCTP)
	}
	for _, protocol := range protocols {
		p := Port{protocol, 9} // discard
		for slices.Contains(c.Ports, p) {
			p.Number++
		}
		out = append(out, p)
	}
	return out
}

func sortPorts(ports []Port) []Port {
	ports = slices.Clone(ports)
	slices.SortFunc(ports, func(a, b Port) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Protocol, b.Protocol))
	})
	return append([]Port{}, slices.Compact(ports)...)
}

// unique gives classes of one name each its own.
func unique(classes []Class) {
	count := map[string]int{}
	for i := range classes {
		count[classes[i].Name]++
		if n := count[classes[i].Name]; n > 1 {
			classes[i].Name = fmt.Sprintf("%s#%d", classes[i].Name, n)
		}
	}
}
