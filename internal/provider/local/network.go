package local

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"ashlar.dev/ashlar/internal/provider"
)

// EnsureNetwork implements provider.Provider. A machine that does not run has no link: Start makes it.
func (p *Provider) EnsureNetwork(ctx context.Context, machines []provider.Machine, network provider.Network) error {
	if err := p.ensureFabric(ctx); err != nil {
		return err
	}
	if err := ensureEdge(p.fabricNamespace(), internetLink, edgeSide(machines), internetEdge); err != nil {
		return err
	}
	if err := ensureEdge(p.internetNamespace(), machineLink, trustedSide(network.Trusted), internetAddress); err != nil {
		return err
	}
	for _, m := range machines {
		if err := p.repairLink(ctx, m); err != nil {
			return err
		}
	}
	want := Ruleset(machines, network)
	differs, err := rulesDiffer(ctx, p.fabricNamespace(), want)
	if err != nil || !differs {
		return err
	}
	return loadRules(ctx, p.fabricNamespace(), want)
}

// repairLink connects a running machine again.
func (p *Provider) repairLink(ctx context.Context, m provider.Machine) error {
	r, err := p.record(m.Name)
	if err != nil {
		return fmt.Errorf("%w: reserve an address first", err)
	}
	unlock, err := lock(ctx, p.machineDir(m.Name))
	if err != nil {
		return err
	}
	defer unlock()
	first, running := p.running(m.Name)
	if !running {
		return nil
	}
	if name := p.machineNamespace(m.Name); !namespaceExists(name) {
		if err := keepNamespace(fmt.Sprintf("/proc/%d/ns/net", first.PID), name); err != nil {
			return err
		}
	}
	return p.link(r)
}

// connect gives a machine that is about to start a new network namespace with a link to the fabric.
func (p *Provider) connect(ctx context.Context, r record) error {
	if err := p.ensureFabric(ctx); err != nil {
		return err
	}
	name := p.machineNamespace(r.Name)
	if err := createNamespace(name); err != nil {
		return err
	}
	s, err := openSpace(name)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.apply(machineDefaults); err != nil {
		return err
	}
	return p.link(r)
}

// link makes what is missing of the link between a machine and the fabric.
func (p *Provider) link(r record) error {
	return pair{
		fabric: p.fabricNamespace(), link: fabricLink(r.Name), want: p.fabricSide(r.Name, r.Address),
		other: p.machineNamespace(r.Name), otherWant: machineSide(r.Address),
	}.ensure()
}

// disconnect removes a machine's network. The fabric's end goes first, so that its name is free at once: the kernel
// takes its time over what is left in a namespace without a name.
func (p *Provider) disconnect(name string) error {
	if namespaceExists(p.fabricNamespace()) {
		fabric, err := openSpace(p.fabricNamespace())
		if err != nil {
			return err
		}
		defer fabric.close()
		if err := deleteLink(fabric, fabricLink(name)); err != nil {
			return err
		}
	}
	return removeNamespace(p.machineNamespace(name))
}

// ensureFabric makes what is missing of the fabric and the internet. A new fabric lets nothing pass.
func (p *Provider) ensureFabric(ctx context.Context) error {
	if err := os.MkdirAll(p.machinesDir(), 0o700); err != nil {
		return fmt.Errorf("make the directory of machines: %w", err)
	}
	unlock, err := lock(ctx, p.machinesDir())
	if err != nil {
		return err
	}
	defer unlock()
	for _, name := range []string{p.fabricNamespace(), p.internetNamespace()} {
		if namespaceExists(name) {
			continue
		}
		if err := createNamespace(name); err != nil {
			return err
		}
	}
	edge := p.edge()
	whole, err := edge.whole()
	if err != nil || whole {
		return err
	}
	if !rulesExist(ctx, p.fabricNamespace()) {
		if err := loadRules(ctx, p.fabricNamespace(), Ruleset(nil, provider.Network{})); err != nil {
			return err
		}
	}
	return edge.ensure()
}

// ensureEdge has a link of the edge hold just these addresses beside its own.
func ensureEdge(namespace, link string, want []part, own netip.Prefix) error {
	s, err := openSpace(namespace)
	if err != nil {
		return err
	}
	defer s.close()
	have, err := s.observe(nil)
	if err != nil {
		return err
	}
	for _, t := range extraAddresses(have, want, link, own) {
		if err := s.remove(t); err != nil {
			return err
		}
	}
	return s.apply(missing(want, have))
}

// extraAddresses are those of a link that nobody wants.
func extraAddresses(have map[part]bool, want []part, link string, own netip.Prefix) []part {
	var out []part
	for t := range have {
		if t.kind == addressPart && t.link == link && t.prefix != own && !slices.Contains(want, t) {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b part) int { return a.prefix.Compare(b.prefix) })
	return out
}

func (p *Provider) edge() pair {
	return pair{
		fabric: p.fabricNamespace(), link: internetLink, want: p.fabricBase(),
		other: p.internetNamespace(), otherWant: p.internetSide(),
	}
}

// pair is a link from the fabric to another namespace, with what is wanted on both sides.
type pair struct {
	fabric, link string
	want         []part
	other        string // whose end is always called eth0
	otherWant    []part
}

func (l pair) whole() (bool, error) {
	here, err := missingIn(l.fabric, l.want)
	if err != nil || len(here) > 0 {
		return false, err
	}
	there, err := missingIn(l.other, l.otherWant)
	return len(there) == 0, err
}

func (l pair) ensure() error {
	if whole, err := l.whole(); err != nil || whole {
		return err
	}
	fabric, err := openSpace(l.fabric)
	if err != nil {
		return err
	}
	defer fabric.close()
	other, err := openSpace(l.other)
	if err != nil {
		return err
	}
	defer other.close()
	if err := connectPair(fabric, l.link, other, machineLink); err != nil {
		return err
	}
	// The other side first: routes need a link that is up, and that is up when both ends are.
	if err := other.complete(l.otherWant); err != nil {
		return err
	}
	return fabric.complete(l.want)
}

// complete makes the parts that are missing.
func (s *space) complete(want []part) error {
	have, err := s.observe(sysctls(want))
	if err != nil {
		return err
	}
	return s.apply(missing(want, have))
}

func missingIn(name string, want []part) ([]part, error) {
	s, err := openSpace(name)
	if err != nil {
		return nil, err
	}
	defer s.close()
	have, err := s.observe(sysctls(want))
	return missing(want, have), err
}

func sysctls(parts []part) []part {
	return slices.DeleteFunc(slices.Clone(parts), func(t part) bool { return t.kind != sysctlPart })
}
