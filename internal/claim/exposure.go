package claim

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"strings"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/exposure"
	"ashlar.dev/ashlar/internal/provider"
)

var exposureClaims = []Claim{
	{
		ID:    "exp-surface",
		Says:  "The only components with public interfaces are: Bastion instance, … ELB for Jenkins Foreman, … ELB for Jenkins",
		Holds: "what the internet can reach is what is declared, exactly: by proof over the live network, and by a scan from trusted addresses",
		Probe: probeSurface,
	},
	{
		ID:    "exp-trusted",
		Says:  "access to these can be limited to trusted CIDR ranges",
		Holds: "from an address that is not trusted nothing at all is reached: by proof over the live network, and by a scan from one",
		Probe: probeTrusted,
	},
}

// Public is what a cluster declares to be public: the bastion's SSH, and the services of the public load balancer.
func Public(spec *v1alpha1.Cluster, machines []provider.Machine) []exposure.Declared {
	x := spec.Spec.Exposure
	var out []exposure.Declared
	add := func(name string, m provider.Machine, port int) {
		out = append(out, exposure.Declared{Name: name, Address: m.Public, Protocol: exposure.TCP, Port: uint16(port), Sources: x.Trusted(), Node: m.Name})
	}
	for _, m := range machines {
		switch {
		case !m.Public.IsValid():
		case m.Role == v1alpha1.RoleBastion:
			add("ssh", m, v1alpha1.PortSSH)
		case m.Role == v1alpha1.RolePublicLB:
			for _, s := range x.Services {
				add(s.Name, m, s.Port)
			}
		}
	}
	return out
}

// probeSurface compares what can be reached with what is declared, and then tries.
func probeSurface(ctx context.Context, t *Target) ([]Evidence, error) {
	if t.Planned != nil {
		return t.proved(ctx, provedSurface)
	}
	g, err := t.Provider.Graph(ctx)
	if err != nil {
		return nil, err
	}
	public := Public(t.Spec, t.Machines)
	c := exposure.Compare(public, exposure.Reach(g, exposure.IPv4.Or(exposure.IPv6)), g.Inside())
	evidence := proved(&c)
	seen, err := t.Scan(ctx, provider.FromTrusted)
	if err != nil {
		return evidence, err
	}
	return append(evidence, seen.evidence(provider.FromTrusted, public)...), nil
}

// probeTrusted is the same from all addresses but the trusted ones, for which nothing is declared.
func probeTrusted(ctx context.Context, t *Target) ([]Evidence, error) {
	if t.Planned != nil {
		return t.proved(ctx, provedTrusted)
	}
	if t.Spec.Spec.Exposure.ToEverybody() {
		return everybodyTrusted(), nil
	}
	g, err := t.Provider.Graph(ctx)
	if err != nil {
		return nil, err
	}
	others := exposure.IPv4.Or(exposure.IPv6).Minus(exposure.Prefixes(t.Spec.Spec.Exposure.Trusted()...))
	c := exposure.Compare(nil, exposure.Reach(g, others), g.Inside())
	evidence := proved(&c)
	seen, err := t.Scan(ctx, provider.FromInternet)
	if err != nil {
		return evidence, err
	}
	return append(evidence, seen.evidence(provider.FromInternet, nil)...), nil
}

// everybodyTrusted is what there is to try where nobody is not trusted.
func everybodyTrusted() []Evidence {
	e := attempt("find an address of the internet that is not trusted", provider.FromInternet, "anybody", Refused, nil)
	e.Got, e.Answer, e.Notice = Refused, "everybody is trusted: spec.exposure.trustedCIDRs has "+v1alpha1.Everybody.String()+", and says so", true
	return []Evidence{e}
}

// proved is a comparison as evidence.
func proved(c *exposure.Comparison) []Evidence {
	const from, as = "the graph of the network", "any packet"
	what := attempt("reach what is not declared", from, as, Refused, fmt.Errorf("no rule, route, translation and address lead there"))
	var extra []string
	for _, e := range c.Extra {
		extra = append(extra, Describe(&e))
	}
	if len(extra) > 0 {
		what.Got, what.Answer = Allowed, strings.Join(extra, "; ")
	}
	evidence := []Evidence{what}
	for _, f := range c.Declared {
		e := attempt(fmt.Sprintf("reach %s at %s:%d", f.Name, f.Address, f.Port), from, as, Allowed, nil)
		e.Answer = pathText(f.Path)
		if !f.Missing.Empty() {
			e.Got, e.Answer = Refused, "not from "+sources(f.Missing)
		}
		evidence = append(evidence, e)
	}
	return evidence
}

// Describe says what of an entry is reached, from where, and how.
func Describe(e *exposure.Entry) string {
	var what []string
	for _, c := range e.Packets.Cells() {
		what = append(what, fmt.Sprintf("%s at %s from %s", e.Node, c.Text(), c.Sources))
	}
	return strings.Join(what, ", ") + ": " + pathText(e.Path)
}

func pathText(path []exposure.Step) string {
	var steps []string
	for _, s := range path {
		steps = append(steps, s.String())
	}
	return cmp.Or(strings.Join(steps, " → "), "no path")
}

func sources(s exposure.Set) string {
	var all exposure.Ranges
	for _, c := range s.Cells() {
		all = all.Or(c.Sources)
	}
	return all.String()
}

// internetAddresses are whom a scan asks: all that the fabric answers for, of machines and of its own.
func internetAddresses(g *exposure.Graph) []netip.Addr {
	var out []netip.Addr
	for _, r := range g.Inside() {
		for a := r.First(); a.Is4() && a.Compare(r.Last()) <= 0; a = a.Next() {
			out = append(out, a)
		}
	}
	return out
}
