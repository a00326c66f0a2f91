package network

import (
	"net/netip"
	"slices"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// Declaration is what the cluster's file says of who may reach whom, taken by its words: it is not compiled to any policy first,
// so that what the compiled policies do can be held against it.
type Declaration struct {
	Policy      v1alpha1.NetworkPolicy
	MachineCIDR netip.Prefix
	// APIServer is the load balancer's, the one thing of the machines' plane that a pod may be let to.
	APIServer netip.AddrPort
	// Between is as in World.
	Between func(from, to Peer, port Port) (bool, string)
}

// The pods that every pod may ask for names.
const (
	dnsNamespace = "kube-system"
	dnsPort      = 53
)

var dnsLabels = map[string]string{"k8s-app": "kube-dns"}

// IsDNS says whether a pod answers for names.
func IsDNS(p Peer) bool { return p.Namespace == dnsNamespace && within(dnsLabels, p.Labels) }

// Allows says whether a connection is declared, and by what.
func (d *Declaration) Allows(from, to Peer, port Port) (bool, string) {
	switch {
	case from.Address == to.Address && from.Address.IsValid(), from.isHost() && from.Machine == to.Machine:
		return true, "its own machine's"
	case from.isPod() && to.isPod():
		return d.podToPod(from, to, port)
	case from.isPod():
		return d.podOut(from, to, port)
	case to.isPod():
		return d.hostToPod(from, to, port)
	case Metadata.Contains(to.Address) && from.Role == v1alpha1.RoleWorker && !d.Policy.MetadataFromHosts:
		return false, "metadataFromHosts is not declared"
	}
	return d.Between(from, to, port)
}

func (d *Declaration) podToPod(from, to Peer, port Port) (bool, string) {
	if rule, ok := d.rule(from, to, port); ok {
		return true, "rule " + rule
	}
	dns := IsDNS(to) && port.Number == dnsPort && port.Protocol != "SCTP"
	out, in := d.open(from), d.open(to)
	switch {
	case dns:
		return true, "DNS"
	case !out && !in:
		return false, "no rule allows it, and neither namespace is open"
	case !out:
		return false, "no rule allows it, and namespace " + from.Namespace + " is not open"
	case !in:
		return false, "no rule allows it, and namespace " + to.Namespace + " is not open"
	}
	return true, "both namespaces are open"
}

// podOut is a pod's way to a machine or outside.
func (d *Declaration) podOut(from, to Peer, port Port) (bool, string) {
	if Metadata.Contains(to.Address) {
		if !slices.ContainsFunc(d.Policy.Metadata, func(p v1alpha1.NetworkPeer) bool { return d.isPeer(p, from) }) {
			return false, "metadata does not name it"
		}
		return d.Between(from.machine(), to, port)
	}
	api := to.Address == d.APIServer.Addr() && d.isAPI(port)
	rule, ruled := d.rule(from, to, port)
	switch {
	case to.isHost() && to.Machine == from.Machine:
		return false, "a pod has no business with its own machine"
	case d.MachineCIDR.Contains(to.Address) && !api:
		return false, "pods have no business with machines"
	case ruled, d.open(from), api && IsDNS(from):
		if ok, why := d.Between(from.machine(), to, port); !ok {
			return false, why
		}
		switch {
		case ruled:
			return true, "rule " + rule
		case d.open(from):
			return true, "namespace " + from.Namespace + " is open"
		}
		return true, "DNS learns names from the API"
	}
	return false, "no rule allows it, and namespace " + from.Namespace + " is not open"
}

// hostToPod: a machine always reaches its own pods, as for their health; those of others as anybody outside would.
func (d *Declaration) hostToPod(from, to Peer, port Port) (bool, string) {
	if from.Role != v1alpha1.RoleWorker {
		return false, "only pods and workers have a way to pods"
	}
	inside := from
	inside.Address = from.Tunnel
	if rule, ok := d.rule(inside, to, port); ok {
		return true, "rule " + rule
	}
	if d.open(to) {
		return true, "namespace " + to.Namespace + " is open"
	}
	return false, "no rule allows it, and namespace " + to.Namespace + " is not open"
}

func (d *Declaration) open(p Peer) bool {
	return p.isPod() && d.Policy.Opens(p.Namespace, p.NamespaceLabels)
}

// Ruled says whether a rule of the file allows a connection, whatever else there is. A machine comes to another's pod from its
// address within the pods' network.
func (d *Declaration) Ruled(from, to Peer, port Port) bool {
	if from.isHost() && to.isPod() {
		from.Address = from.Tunnel
	}
	_, ok := d.rule(from, to, port)
	return ok
}

// rule names the rule that allows a connection.
func (d *Declaration) rule(from, to Peer, port Port) (string, bool) {
	for _, r := range d.Policy.Rules {
		if d.isPeer(r.From, from) && d.isPeer(r.To, to) && d.declaredPort(r, port) {
			return r.Name, true
		}
	}
	return "", false
}

func (d *Declaration) isPeer(want v1alpha1.NetworkPeer, p Peer) bool {
	switch {
	case want.API:
		return p.Address == d.APIServer.Addr()
	case want.Set != "":
		i := slices.IndexFunc(d.Policy.Sets, func(s v1alpha1.AddressSet) bool { return s.Name == want.Set })
		return i >= 0 && inCIDRs(d.Policy.Sets[i].CIDRs, p.Address)
	case len(want.CIDRs) > 0:
		return inCIDRs(want.CIDRs, p.Address) && !inCIDRs(want.Except, p.Address)
	case !p.isPod(), want.Namespace != "" && want.Namespace != v1alpha1.EveryNamespace && want.Namespace != p.Namespace:
		return false
	}
	return within(want.NamespaceLabels, p.NamespaceLabels) && within(want.PodLabels, p.Labels)
}

func inCIDRs(cidrs []string, a netip.Addr) bool {
	return slices.ContainsFunc(cidrs, func(c string) bool {
		n, err := netip.ParsePrefix(c) // the file's validation has seen to it
		return err == nil && n.Contains(a)
	})
}

// declaredPort: without ports, all are meant; the API has but one.
func (d *Declaration) declaredPort(r v1alpha1.NetworkRule, port Port) bool {
	if r.To.API {
		return d.isAPI(port)
	}
	return len(r.Ports) == 0 || slices.ContainsFunc(r.Ports, func(p v1alpha1.NetworkPort) bool {
		return p.Protocol == string(port.Protocol) && (p.Port == 0 || int32(p.Port) <= port.Number && port.Number <= int32(max(p.Port, p.EndPort)))
	})
}

func (d *Declaration) isAPI(port Port) bool {
	return port.Number == int32(d.APIServer.Port()) && port.Protocol == "TCP"
}
