package network

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// Reach is whether one class reaches another.
type Reach string

// The answers. Partly: some pairs, or some backends of a Service. Unknown: nobody measured it, or nobody is there to answer.
const (
	Yes     Reach = "yes"
	No      Reach = "no"
	Partly  Reach = "partly"
	Unknown Reach = "unknown"
)

func reach(ok bool) Reach {
	if ok {
		return Yes
	}
	return No
}

// and is what holds of two pairs together.
func (r Reach) and(other Reach) Reach {
	switch {
	case r == "" || r == Unknown:
		return other
	case other == Unknown || other == r:
		return r
	}
	return Partly
}

// Connection is one that is looked at: between members of two classes, to a port, or by way of a Service.
type Connection struct {
	FromClass, ToClass int
	From, To           Peer
	Port               Port
	// Other: the port stands for all that nobody has a reason for.
	Other bool
	// Service is by which it goes, and Backends to whom that leads.
	Service  string
	Backends []Target

	Address netip.AddrPort // that is dialled
}

// Target is a peer and the port it is reached at.
type Target struct {
	Peer Peer
	Port Port
}

// Connections lists what to look at: from members of each class to members of each, so that some are on one machine and some
// are not, to each port that anybody has a reason for and one that nobody has.
func Connections(classes []Class, in *Inventory) []Connection {
	var out []Connection
	for f := range classes {
		if !classes[f].Inside() {
			continue
		}
		for t := range classes {
			for _, from := range classes[f].Members {
				for _, to := range classes[t].Members {
					if from.Address == to.Address {
						continue
					}
					add := func(p Port, other bool) {
						out = append(out, Connection{FromClass: f, ToClass: t, From: from, To: to, Port: p, Other: other,
							Address: netip.AddrPortFrom(to.Address, uint16(p.Number))})
					}
					for _, p := range classes[t].Ports {
						add(p, false)
					}
					for _, p := range classes[t].Other {
						add(p, true)
					}
				}
			}
		}
		out = append(out, byService(classes, f, in)...)
	}
	return out
}

// byService lists the connections of a class to Services. A pod that would be led to itself is left out.
func byService(classes []Class, f int, in *Inventory) []Connection {
	peers, class := map[netip.Addr]Peer{}, map[netip.Addr]int{}
	for _, p := range in.Pods {
		peers[p.Address] = p.Peer
	}
	for _, m := range in.Machines {
		peers[m.Address] = m
	}
	for i := range classes {
		for _, m := range classes[i].Members {
			class[m.Address] = i
		}
	}
	var out []Connection
	for _, from := range classes[f].Members {
		for _, s := range in.Services {
			for _, sp := range s.Ports {
				c := Connection{FromClass: f, ToClass: -1, From: from, Service: s.Namespace + "/" + s.Name, Port: sp.Port,
					Address: netip.AddrPortFrom(s.Address, uint16(sp.Port.Number))}
				itself := false
				for _, b := range sp.Backends {
					peer, known := peers[b.Addr()]
					if !known {
						peer = Peer{Address: b.Addr()}
					}
					c.Backends = append(c.Backends, Target{peer, Port{sp.Port.Protocol, int32(b.Port())}})
					itself = itself || b.Addr() == from.Address
					if i, ok := class[b.Addr()]; ok && c.ToClass < 0 {
						c.ToClass, c.To = i, peer
					}
				}
				if !itself && c.ToClass >= 0 && s.Address.IsValid() {
					out = append(out, c)
				}
			}
		}
	}
	return out
}

// Found is what is said of one connection, by the declaration, the simulation and a measurement.
type Found struct {
	Declared, Simulated, Observed Reach
	// Own is what the simulation says without the policies of users.
	Own Reach
	// Says and Why are what declares, and what decides; Answer is what was observed.
	Says, Why, Answer string
}

// Look decides a connection by declaration and simulation; users are the policies that are not the cluster's own.
func Look(c *Connection, d *Declaration, w, own *World) (Found, error) {
	targets := c.Backends
	if c.Service == "" {
		targets = []Target{{c.To, c.Port}}
	}
	var f Found
	for _, t := range targets {
		says, why := d.Allows(c.From, t.Peer, t.Port)
		all, err := w.Decide(c.From, t.Peer, t.Port)
		if err != nil {
			return f, err
		}
		without, err := own.Decide(c.From, t.Peer, t.Port)
		if err != nil {
			return f, err
		}
		f.Declared, f.Simulated, f.Own = f.Declared.and(reach(says)), f.Simulated.and(reach(all.Allowed)), f.Own.and(reach(without.Allowed))
		if f.Says == "" {
			f.Says, f.Why = why, all.Last().String()
		}
	}
	if c.Service != "" && c.From.isHost() && c.From.Role != v1alpha1.RoleWorker {
		f.Declared, f.Simulated, f.Own = No, No, No
		f.Says, f.Why = "only workers know Services", "only workers know Services"
	}
	return f, nil
}

// Cell is one class, another, and a port.
type Cell struct {
	From    string `json:"from"`
	To      string `json:"to"`
	Port    Port   `json:"port"`
	Other   bool   `json:"other,omitempty"` // stands for every port that nobody names
	Service string `json:"service,omitempty"`

	Declared  Reach `json:"declared"`
	Simulated Reach `json:"simulated"`
	Observed  Reach `json:"observed"`
	// Users: it is users' own NetworkPolicies that make simulation differ from declaration.
	Users bool `json:"users,omitempty"`
	// Says is what declares it or that nothing does, Why what decides it.
	Says string `json:"says"`
	Why  string `json:"why"`
	// Differ are the pairs that do not agree; of the cell, it is the reason.
	Differ []string `json:"differ,omitempty"`
	Pairs  int      `json:"pairs"`
}

// Agrees says whether declaration, simulation and what was measured are the same, but for what users themselves allow or refuse.
func (c *Cell) Agrees() bool { return len(c.Differ) == 0 }

// Matrix is classes, and a cell for each way between two of them.
type Matrix struct {
	Classes []Class `json:"classes"`
	Cells   []Cell  `json:"cells"`
	// Observed is when it was measured.
	Observed time.Time `json:"observed,omitzero"`
	// Notes are of policies that hardly do what was meant.
	Notes []string `json:"notes,omitempty"`
}

// Differing are the cells that do not agree.
func (m *Matrix) Differing() []Cell {
	return slices.DeleteFunc(slices.Clone(m.Cells), func(c Cell) bool { return c.Agrees() })
}

// Summarise makes cells of what was found of connections.
func Summarise(classes []Class, connections []Connection, found []Found) *Matrix {
	m := &Matrix{Classes: classes}
	type key struct {
		from, to int
		port     Port
		other    bool
		service  string
	}
	at := map[key]int{}
	for i := range connections {
		c, f := &connections[i], &found[i]
		k := key{c.FromClass, c.ToClass, c.Port, c.Other, c.Service}
		n, ok := at[k]
		if !ok {
			n = len(m.Cells)
			at[k] = n
			m.Cells = append(m.Cells, Cell{From: classes[c.FromClass].Name, To: classes[c.ToClass].Name, Port: c.Port, Other: c.Other,
				Service: c.Service, Says: f.Says, Why: f.Why})
		}
		m.Cells[n].add(c, f)
	}
	slices.SortStableFunc(m.Cells, func(a, b Cell) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Service, b.Service),
			cmp.Compare(a.Port.Number, b.Port.Number), cmp.Compare(a.Port.Protocol, b.Port.Protocol))
	})
	return m
}

func (c *Cell) add(n *Connection, f *Found) {
	c.Pairs++
	c.Declared, c.Simulated = c.Declared.and(f.Declared), c.Simulated.and(f.Simulated)
	c.Observed = c.Observed.and(cmp.Or(f.Observed, Unknown))
	if c.Observed == "" {
		c.Observed = Unknown
	}
	c.Users = c.Users || f.Declared != f.Simulated && f.Declared == f.Own
	if why := f.differs(); why != "" {
		c.Differ = append(c.Differ, n.String()+": "+why)
		c.Why, c.Says = f.Why, f.Says
	}
}

// differs says how what was found of a connection does not agree.
func (f *Found) differs() string {
	measured := f.Observed != "" && f.Observed != Unknown
	switch {
	case measured && f.Observed != f.Simulated && f.Simulated != Partly:
		return "simulated " + string(f.Simulated) + " (" + f.Why + "), observed " + string(f.Observed) + " (" + f.Answer + ")"
	case f.Declared != f.Own:
		return "declared " + string(f.Declared) + " (" + f.Says + "), simulated " + string(f.Own) + " (" + f.Why + ")"
	}
	return ""
}

// String is the connection for people.
func (c *Connection) String() string {
	to := c.To.String()
	if c.Service != "" {
		to = "Service " + c.Service
	}
	where := ""
	switch {
	case c.Service != "" || c.From.Machine == "" || c.To.Machine == "":
	case c.From.Machine == c.To.Machine:
		where = " on the same machine"
	default:
		where = " across machines"
	}
	return strings.Join([]string{c.From.String(), "→", to, c.Port.String()}, " ") + where
}

// PortName is a port as tables have it: TCP goes without saying.
func PortName(p Port) string {
	s, _ := strings.CutSuffix(p.String(), "/"+string(corev1.ProtocolTCP))
	return strings.ToLower(s)
}

// Key tells connections apart, also of later surveys.
func (c *Connection) Key() string {
	return strings.Join([]string{c.From.String(), c.From.Address.String(), c.Address.String(), string(c.Port.Protocol)}, " ")
}
