package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// ParsePort reads 8080, 8080/TCP or 53/udp.
func ParsePort(s string) (Port, error) {
	number, protocol, ok := strings.Cut(s, "/")
	if !ok {
		protocol = string(corev1.ProtocolTCP)
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || n == 0 {
		return Port{}, fmt.Errorf("%q is no port: a number from 1 to 65535 is, with /UDP or /SCTP where it is not TCP", s)
	}
	p := Port{corev1.Protocol(strings.ToUpper(protocol)), int32(n)}
	if !slices.Contains([]corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}, p.Protocol) {
		return Port{}, fmt.Errorf("there is no protocol %q: TCP, UDP and SCTP are", protocol)
	}
	return p, nil
}

// Subject is what somebody named: peers that are alike, or a Service.
type Subject struct {
	Name    string
	Peers   []Peer
	Ports   []Port
	Service *Service
	at      func(netip.Addr) Peer
}

// Find looks up what people call an end of a connection.
func Find(in *Inventory, classes []Class, name string) (Subject, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return Subject{Name: name, Peers: []Peer{peerAt(in, a)}}, nil
	}
	for _, p := range in.Pods {
		if p.String() == name {
			return Subject{Name: name, Peers: []Peer{p.Peer}, Ports: portsOf(classes, p.Peer)}, nil
		}
	}
	for i := range in.Services {
		s := &in.Services[i]
		// Of a Service and a Deployment of one name, the pods are meant: the Service leads there.
		if s.Namespace+"/"+s.Name == name && !slices.ContainsFunc(classes, func(c Class) bool { return c.Name == name }) {
			return Subject{Name: "Service " + name, Service: s, at: func(a netip.Addr) Peer { return peerAt(in, a) }}, nil
		}
	}
	for _, c := range classes {
		if c.Name == name {
			return Subject{Name: name, Peers: c.Members, Ports: c.Ports}, nil
		}
	}
	for _, m := range in.Machines {
		if m.Machine == name {
			return Subject{Name: name, Peers: []Peer{m}, Ports: sortPorts(in.MachinePorts[m.Role])}, nil
		}
	}
	return Subject{}, unknown(in, name)
}

func unknown(in *Inventory, name string) error {
	namespace, _, ok := strings.Cut(name, "/")
	if !ok {
		return errors.New("there is no such machine, and it is no address; pods are NAMESPACE/NAME")
	}
	if _, there := in.Namespaces[namespace]; !there {
		return fmt.Errorf("there is no namespace %q", namespace)
	}
	var have []string
	for _, p := range in.Pods {
		if p.Namespace == namespace {
			have = append(have, p.Name)
		}
	}
	if len(have) == 0 {
		return fmt.Errorf("nothing runs in namespace %q", namespace)
	}
	slices.Sort(have)
	const few = 5
	if len(have) > few {
		have = append(have[:few], "…")
	}
	return fmt.Errorf("namespace %q has no such pod, workload or Service; it has %s", namespace, strings.Join(have, ", "))
}

func peerAt(in *Inventory, a netip.Addr) Peer {
	for _, p := range in.Pods {
		if p.Address == a {
			return p.Peer
		}
	}
	for _, m := range in.Machines {
		if m.Address == a {
			return m
		}
	}
	return Peer{Address: a}
}

func portsOf(classes []Class, p Peer) []Port {
	for _, c := range classes {
		if slices.ContainsFunc(c.Members, func(m Peer) bool { return m.Address == p.Address }) {
			return c.Ports
		}
	}
	return nil
}

// Answer is why one reaches another, or does not.
type Answer struct {
	From string `json:"from"`
	To   string `json:"to"`
	Port Port   `json:"port"`
	Decision
	Declared bool   `json:"declared"`
	Says     string `json:"says"`
}

// Explain asks for one connection in each direction, from the first of one to the first of the other.
// Without a port it is about all that the other has, or else one that stands for any.
func Explain(a, b Subject, port *Port, d *Declaration, w *World) ([]Answer, error) {
	out, err := explainWay(a, b, port, d, w)
	if err != nil || b.Service != nil {
		return out, err
	}
	back, err := explainWay(b, a, nil, d, w)
	return append(out, back...), err
}

func explainWay(a, b Subject, port *Port, d *Declaration, w *World) ([]Answer, error) {
	from := a.Peers[0]
	if b.Service != nil {
		return explainService(a, b, port, d, w)
	}
	to := b.Peers[0]
	for _, p := range b.Peers { // another than itself
		if to.Address == from.Address {
			to = p
		}
	}
	ports := b.Ports
	if port != nil {
		ports = []Port{*port}
	}
	if len(ports) == 0 {
		ports = others(&Class{Members: []Peer{to}})[:1]
	}
	var out []Answer
	for _, p := range ports {
		answer, err := explain(from, to, to.String(), p, d, w)
		if err != nil {
			return nil, err
		}
		out = append(out, answer)
	}
	return out, nil
}

func explain(from, to Peer, name string, port Port, d *Declaration, w *World) (Answer, error) {
	decision, err := w.Decide(from, to, port)
	declared, says := d.Allows(from, to, port)
	return Answer{from.String(), name, port, decision, declared, says}, err
}

// explainService follows a Service to each of those behind it: policy sees them, not the Service.
func explainService(a, b Subject, port *Port, d *Declaration, w *World) ([]Answer, error) {
	from := a.Peers[0]
	var out []Answer
	for _, sp := range b.Service.Ports {
		if port != nil && sp.Port != *port {
			continue
		}
		if len(sp.Backends) == 0 {
			out = append(out, Answer{From: from.String(), To: b.Name, Port: sp.Port, Says: "nobody is ready behind it",
				Decision: Decision{Steps: []Step{{Where: b.Name, Why: "nobody is ready behind it"}}}})
		}
		for _, backend := range sp.Backends {
			to := b.at(backend.Addr())
			answer, err := explain(from, to, fmt.Sprintf("%s, at %s", b.Name, to), Port{sp.Port.Protocol, int32(backend.Port())}, d, w)
			if err != nil {
				return nil, err
			}
			if from.isHost() && from.Role != v1alpha1.RoleWorker {
				answer.Allowed, answer.Declared = false, false
				answer.Steps = []Step{{Where: from.String(), Why: "only workers and pods know Services"}}
			}
			out = append(out, answer)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s has no port %s", b.Name, port)
	}
	return out, nil
}
