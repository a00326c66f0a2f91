package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/exposure"
	"ashlar.dev/ashlar/internal/provider"
)

// FabricNode is the fabric in a Graph.
const FabricNode = "fabric"

// Graph implements provider.Provider: the network as it is at this moment, whoever made it so. A machine has been reached by what
// comes to it, whatever its own firewall does then; but those that are public are looked at for whom they pass packets on to.
func (p *Provider) Graph(ctx context.Context) (*exposure.Graph, error) {
	if !namespaceExists(p.fabricNamespace()) || !namespaceExists(p.internetNamespace()) {
		return nil, errors.New("there is no network between machines yet: run `ashlar up`")
	}
	records, err := p.records()
	if err != nil {
		return nil, err
	}
	parts := []member{
		{exposure.Node{Name: FabricNode, Kind: exposure.Router}, p.fabricNamespace()},
		{exposure.Node{Name: provider.FromInternet, Kind: exposure.Internet}, p.internetNamespace()},
	}
	for _, r := range records {
		if name := p.machineNamespace(r.Name); namespaceExists(name) {
			parts = append(parts, member{exposure.Node{Name: r.Name, Kind: exposure.Machine, Role: string(r.Role)}, name})
		}
	}
	for {
		g, err := graphOf(ctx, parts)
		if !errors.Is(err, netlink.ErrDumpInterrupted) { // something changed while the kernel was listing it
			return g, err
		}
	}
}

// member is a namespace that becomes a node.
type member struct {
	exposure.Node
	namespace string
}

func graphOf(ctx context.Context, members []member) (*exposure.Graph, error) {
	var open []*space
	defer func() {
		for _, s := range open {
			s.close()
		}
	}()
	for _, m := range members {
		s, err := openSpace(m.namespace)
		if err != nil {
			return nil, err
		}
		open = append(open, s)
	}
	wires, err := wiresOf(open)
	if err != nil {
		return nil, err
	}
	g := &exposure.Graph{}
	for i, m := range members {
		n := m.Node
		if err := open[i].attachments(&n, wires[i]); err != nil {
			return nil, err
		}
		public := n.Kind == exposure.Machine && v1alpha1.Role(n.Role).Public()
		if n.Kind == exposure.Router || public {
			if err := open[i].routing(ctx, &n); err != nil {
				return nil, err
			}
		}
		if n.Kind == exposure.Router {
			g.Nodes = append(g.Nodes, strangers(&n)...)
		}
		g.Nodes = append(g.Nodes, n)
	}
	return g, nil
}

// strangers are at the other ends of links that lead nobody knows where: it may be the internet.
func strangers(n *exposure.Node) []exposure.Node {
	var out []exposure.Node
	for i := range n.Attachments {
		if a := &n.Attachments[i]; a.Network == "" && a.Name != "lo" {
			a.Network = "beyond " + a.Name
			out = append(out, exposure.Node{Name: "stranger on " + a.Name, Kind: exposure.Internet,
				Attachments: []exposure.Attachment{{Name: a.Name, Network: a.Network}}})
		}
	}
	return out
}

// wiresOf finds which links of some namespaces are two ends of one, and gives both a name.
func wiresOf(spaces []*space) ([]map[int]string, error) {
	type end struct{ space, index int }
	out := make([]map[int]string, len(spaces))
	names := map[end]string{}
	for i, s := range spaces {
		out[i] = map[int]string{}
		links, err := s.LinkList()
		if err != nil {
			return nil, fmt.Errorf("list links of %s: %w", s.name, err)
		}
		ids := map[int]int{} // what this namespace calls the others, now that it had to
		for j, other := range spaces {
			if id, err := s.GetNetNsIdByFd(int(other.file)); err == nil && id >= 0 {
				ids[id] = j
			}
		}
		for _, l := range links {
			a := l.Attrs()
			j, known := ids[a.NetNsID]
			if l.Type() != "veth" || !known || a.Flags&net.FlagUp == 0 {
				continue
			}
			here, there := end{i, a.Index}, end{j, a.ParentIndex}
			if names[there] == "" {
				names[here] = fmt.Sprintf("%s %s", s.name, a.Name)
				out[i][a.Index] = names[here]
			} else {
				out[i][a.Index] = names[there]
			}
		}
	}
	return out, nil
}

// attachments are the links that are up and lead to a known place or have an address. Of the internet no address counts:
// it may send from any.
func (s *space) attachments(n *exposure.Node, wires map[int]string) error {
	links, err := s.LinkList()
	if err != nil {
		return fmt.Errorf("list links of %s: %w", s.name, err)
	}
	addresses, err := s.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", s.name, err)
	}
	for _, l := range links {
		attrs := l.Attrs()
		a := exposure.Attachment{Name: attrs.Name, Network: wires[attrs.Index]}
		for _, at := range addresses {
			if ip := address(at.IP); at.LinkIndex == attrs.Index && !ip.IsLoopback() && n.Kind != exposure.Internet {
				a.Addresses = append(a.Addresses, ip)
			}
		}
		// A router's link is a way in, whether it has an address or not.
		if attrs.Flags&net.FlagUp != 0 && (a.Network != "" || len(a.Addresses) > 0 || n.Kind == exposure.Router) {
			n.Attachments = append(n.Attachments, a)
		}
	}
	return nil
}

// routing is what makes a namespace a router.
func (s *space) routing(ctx context.Context, n *exposure.Node) error {
	if err := s.routes(n); err != nil {
		return err
	}
	var links []string
	var own []netip.Addr
	for _, a := range n.Attachments {
		links, own = append(links, a.Name), append(own, a.Addresses...)
	}
	return inNamespace(s.name, func() error {
		n.Forward4 = sysctl("net/ipv4/ip_forward") != "0" || slices.ContainsFunc(links, func(l string) bool { return sysctl("net/ipv4/conf/"+l+"/forwarding") == "1" })
		n.Forward6 = sysctl("net/ipv6/conf/all/forwarding") == "1"
		all := sysctl("net/ipv4/conf/all/rp_filter")
		for i := range n.Attachments {
			a := &n.Attachments[i]
			a.Strict4 = max(all, sysctl("net/ipv4/conf/"+a.Name+"/rp_filter")) == "1"
		}
		out, err := nft(ctx, "", "-j", "list", "ruleset")
		if err != nil {
			return err
		}
		rules, err := parseRuleset(out, links, own)
		if err != nil {
			return err
		}
		rules.into(n)
		if n.Kind == exposure.Machine {
			n.Delivering = nil // that a machine refuses something itself counts for nothing
		}
		if legacy, _ := os.ReadFile("/proc/thread-self/net/ip_tables_names"); strings.Contains(string(legacy), "nat") {
			n.Arriving = append(n.Arriving, exposure.Chain{Name: "iptables", Accepts: true, Rules: []exposure.Rule{anything("rules of iptables-legacy")}})
		}
		programs, err := s.programs()
		if err != nil {
			return err
		}
		runs(n, append(programs, rules.early...))
		return nil
	})
}

func sysctl(key string) string {
	b, err := os.ReadFile("/proc/sys/" + key)
	if err != nil {
		return "" // a kernel without IPv6, or a link that has gone meanwhile
	}
	return strings.TrimSpace(string(b))
}

// routes are those of the main table; of any other, packets may take them.
func (s *space) routes(n *exposure.Node) error {
	names := map[int]string{}
	links, err := s.LinkList()
	if err != nil {
		return fmt.Errorf("list links of %s: %w", s.name, err)
	}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		all, err := s.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return fmt.Errorf("list routes of %s: %w", s.name, err)
		}
		for _, r := range foremost(all) {
			if r.Table != unix.RT_TABLE_LOCAL {
				n.Routes = append(n.Routes, routesOf(r, family, names)...)
			}
		}
	}
	return nil
}

// foremost are the routes that are used: of several to one network, those of the lowest metric.
func foremost(routes []netlink.Route) []netlink.Route {
	type network struct {
		table  int
		prefix string
	}
	best := map[network]int{}
	of := func(r netlink.Route) network { return network{r.Table, fmt.Sprint(r.Dst)} }
	for _, r := range routes {
		if least, ok := best[of(r)]; !ok || r.Priority < least {
			best[of(r)] = r.Priority
		}
	}
	return slices.DeleteFunc(slices.Clone(routes), func(r netlink.Route) bool { return r.Priority > best[of(r)] })
}

func routesOf(r netlink.Route, family int, names map[int]string) []exposure.Route {
	out := exposure.Route{Prefix: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Attachment: names[r.LinkIndex], Via: address(r.Gw),
		Maybe: r.Table != unix.RT_TABLE_MAIN || r.Tos != 0}
	if r.Dst != nil {
		out.Prefix = prefix(r.Dst)
	} else if family == netlink.FAMILY_V4 {
		out.Prefix = anywhere
	}
	switch r.Type {
	case unix.RTN_BLACKHOLE, unix.RTN_UNREACHABLE, unix.RTN_PROHIBIT:
		out.Attachment = ""
	case unix.RTN_UNICAST:
	default:
		return nil
	}
	if len(r.MultiPath) == 0 {
		return []exposure.Route{out}
	}
	var all []exposure.Route
	for _, hop := range r.MultiPath {
		out.Attachment, out.Via = names[hop.LinkIndex], address(hop.Gw)
		all = append(all, out)
	}
	return all
}
