package local

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	"ashlar.dev/ashlar/internal/exposure"
)

// ruleset is what `nft -j list ruleset` says, as far as it is about packets.
type ruleset struct {
	chains []*nftChain
	sets   map[string][]any // elements of sets and maps, by scope
	// What changes the meaning of rules elsewhere.
	untracked, helpers bool
	// early are chains that may send packets somewhere before all others are asked.
	early []string

	links []string        // of the namespace
	own   exposure.Ranges // addresses of the namespace
}

type nftChain struct {
	Family string `json:"family"`
	Table  string `json:"table"`
	Name   string `json:"name"`
	Type   string `json:"type"`
	Hook   string `json:"hook"`
	Prio   int    `json:"prio"`
	Policy string `json:"policy"`
	rules  []nftRule
}

type nftRule struct {
	Family  string           `json:"family"`
	Table   string           `json:"table"`
	Chain   string           `json:"chain"`
	Handle  int              `json:"handle"`
	Comment string           `json:"comment"`
	Expr    []map[string]any `json:"expr"`
}

// scope names something of a table.
func scope(family, table, name string) string { return family + " " + table + " " + name }

func (r *nftRule) scope(name string) string { return scope(r.Family, r.Table, name) }

// parseRuleset reads nft's JSON for a namespace with these links and addresses.
func parseRuleset(b []byte, links []string, own []netip.Addr) (*ruleset, error) {
	var all struct {
		Objects []map[string]json.RawMessage `json:"nftables"`
	}
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("read nft's ruleset: %w", err)
	}
	rs := &ruleset{sets: map[string][]any{}, links: links, own: exposure.Addresses(own...)}
	for _, object := range all.Objects {
		for kind, content := range object {
			if err := rs.add(kind, content); err != nil {
				return nil, fmt.Errorf("read nft's %s %s: %w", kind, content, err)
			}
		}
	}
	slices.SortStableFunc(rs.chains, func(a, b *nftChain) int { return cmp.Compare(a.Prio, b.Prio) })
	return rs, nil
}

func (rs *ruleset) add(kind string, content json.RawMessage) error {
	switch kind {
	case "chain":
		c := new(nftChain)
		rs.chains = append(rs.chains, c)
		return json.Unmarshal(content, c)
	case "rule":
		var r nftRule
		if err := json.Unmarshal(content, &r); err != nil {
			return err
		}
		c := rs.chain(r.Family, r.Table, r.Chain)
		if c == nil {
			return fmt.Errorf("there is no such chain")
		}
		c.rules = append(c.rules, r)
		for _, e := range r.Expr {
			if _, ok := e["notrack"]; ok {
				rs.untracked = true
			}
		}
	case "set", "map":
		var s struct {
			Family, Table, Name string
			Elem                []any
		}
		if err := json.Unmarshal(content, &s); err != nil {
			return err
		}
		rs.sets[scope(s.Family, s.Table, s.Name)] = s.Elem
	case "ct helper":
		rs.helpers = true
	}
	return nil
}

func (rs *ruleset) chain(family, table, name string) *nftChain {
	i := slices.IndexFunc(rs.chains, func(c *nftChain) bool { return c.Family == family && c.Table == table && c.Name == name })
	if i < 0 {
		return nil
	}
	return rs.chains[i]
}

// into gives a node the chains of its hooks. Bridges and devices have hooks of their own, before all others: if rules there do
// anything to packets but pass or drop them, they are as a program is.
func (rs *ruleset) into(n *exposure.Node) {
	hooks := map[string]*[]exposure.Chain{
		"prerouting": &n.Arriving, "input": &n.Delivering, "forward": &n.Forwarding, "postrouting": &n.Leaving,
	}
	for _, c := range rs.chains {
		ofIP := c.Family == "ip" || c.Family == "ip6" || c.Family == "inet"
		hook := hooks[c.Hook]
		switch {
		case c.Hook == "" || ofIP && c.Hook == "output":
		case ofIP && hook != nil:
			*hook = append(*hook, rs.base(c))
		case c.Family != "arp" && rs.diverts(c, 0):
			rs.early = append(rs.early, "chain "+c.Name+" of "+c.Family)
		}
	}
}

// diverts says whether a chain may do more to packets than to drop them.
func (rs *ruleset) diverts(c *nftChain, depth int) bool {
	for i := range c.rules {
		for _, rule := range rs.rule(&c.rules[i], depth) {
			if rule.Verdict == exposure.Translate || rule.Verdict == exposure.Jump {
				return true
			}
		}
	}
	return false
}

// base is a chain that a hook asks. One of a single family lets the other pass.
func (rs *ruleset) base(c *nftChain) exposure.Chain {
	out := exposure.Chain{Name: c.Name, Accepts: c.Policy != "drop"}
	other := map[string]exposure.Ranges{"ip": exposure.IPv6, "ip6": exposure.IPv4}[c.Family]
	if other != nil {
		out.Rules = append(out.Rules, exposure.Rule{Match: exposure.Match{Destination: other}, Verdict: exposure.Accept, Why: "not of family " + c.Family})
	}
	out.Rules = append(out.Rules, rs.rules(c, 0)...)
	return out
}

// maxJumps is the kernel's.
const maxJumps = 16

func (rs *ruleset) rules(c *nftChain, depth int) []exposure.Rule {
	var out []exposure.Rule
	if depth > maxJumps {
		return []exposure.Rule{anything("chain " + c.Name), maybe("chain " + c.Name)}
	}
	for i := range c.rules {
		out = append(out, rs.rule(&c.rules[i], depth)...)
	}
	return out
}

// anything is what something not understood may do: to take packets anywhere. maybe is to let them pass.
func anything(what string) exposure.Rule {
	return exposure.Rule{Verdict: exposure.Translate, Maybe: true, To: exposure.Rewrite{Destination: exposure.IPv4.Or(exposure.IPv6)}, Why: "not understood: " + what}
}

func maybe(what string) exposure.Rule {
	return exposure.Rule{Verdict: exposure.Accept, Maybe: true, Why: "not understood: " + what}
}

// why is a rule's reason, as people gave it.
func (r *nftRule) why() string {
	if r.Comment != "" {
		return r.Comment
	}
	return fmt.Sprintf("rule %d of chain %s", r.Handle, r.Chain)
}
