package exposure

import (
	"encoding/json"
	"net/netip"
)

// Declared is one thing that is meant to be public.
type Declared struct {
	Name     string         `json:"name"`
	Address  netip.Addr     `json:"address"`
	Protocol uint8          `json:"-"`
	Port     uint16         `json:"port"`
	Sources  []netip.Prefix `json:"sources"`
	// Node is who has to be reached by it, at TargetPort if that is another.
	Node       string `json:"node"`
	TargetPort uint16 `json:"targetPort,omitempty"`
}

// Packets are those that have to reach it.
func (d *Declared) Packets() Set {
	return Everything.And(product([dimensions]Ranges{
		destination: Addresses(d.Address), protocol: Numbers(uint16(d.Protocol), uint16(d.Protocol)), port: Numbers(d.Port, d.Port),
		source: orNone(Prefixes(d.Sources...)),
	}))
}

// orNone keeps an empty set from being taken for any.
func orNone(r Ranges) Ranges {
	if r == nil {
		return Ranges{}
	}
	return r
}

// door is what an expectation is about: reaching a node at a port.
type door struct {
	node string
	port uint16
}

// Found is a declared thing with what was found of it.
type Found struct {
	Declared
	// Reached are the packets that get there, of those declared; Missing those that do not.
	Reached Set    `json:"reached"`
	Missing Set    `json:"missing"`
	Path    []Step `json:"path"` // of some that do
}

// Comparison is what is reached, held against what is declared.
type Comparison struct {
	Declared []Found `json:"declared"`
	// Extra is what is reached and not declared.
	Extra Surface `json:"extra"`
}

// Equal says whether just what is declared is reached.
func (c *Comparison) Equal() bool {
	for i := range c.Declared {
		if !c.Declared[i].Missing.Empty() {
			return false
		}
	}
	return len(c.Extra) == 0
}

// Compare holds a surface against what is declared. Nobody out there comes from an address inside, so that nothing is missing
// where one of those gets nowhere.
func Compare(declared []Declared, s Surface, inside Ranges) Comparison {
	want, have := map[door]Set{}, map[door]Set{}
	for _, e := range s {
		have[e.door()] = have[e.door()].Or(e.Packets)
	}
	out := Comparison{Declared: []Found{}, Extra: Surface{}}
	nobody := product([dimensions]Ranges{source: orNone(inside)})
	for _, d := range declared {
		packets, at := d.Packets(), door{d.Node, d.TargetPort}
		want[at] = want[at].Or(packets)
		f := Found{Declared: d, Reached: packets.And(have[at]), Missing: packets.Minus(have[at]).Minus(nobody), Path: []Step{}}
		for _, e := range s {
			if e.door() == at && !e.Packets.And(packets).Empty() {
				f.Path = e.Path
				break
			}
		}
		out.Declared = append(out.Declared, f)
	}
	for _, e := range s {
		if e.Packets = e.Packets.Minus(want[e.door()]); !e.Packets.Empty() {
			out.Extra = append(out.Extra, e)
		}
	}
	return out
}

func (e *Entry) door() door { return door{e.Node, e.Port} }

// MarshalJSON writes a set as its cells.
func (s Set) MarshalJSON() ([]byte, error) { return json.Marshal(append([]Cell{}, s.Cells()...)) }

// MarshalJSON writes a cell in words.
func (c Cell) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Destination Ranges `json:"destination"`
		Protocol    string `json:"protocol"`
		Ports       string `json:"ports"`
		Sources     Ranges `json:"sources"`
	}{Ranges{c.Destination}, ProtocolText(c.Protocol), Ranges{c.Port}.Text(), c.Sources})
}
