package exposure

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/netip"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// drawn is a network with machines of all roles, and something that it should not let in.
func drawn(extra bool) (*Graph, Comparison) {
	edge := Node{Name: "fabric", Kind: Router, Forward4: true, Attachments: []Attachment{{Name: "internet", Network: "internet"}},
		Routes:   []Route{{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Attachment: "internet"}},
		Arriving: []Chain{{Accepts: true}}, Forwarding: []Chain{{}}}
	g := &Graph{Nodes: []Node{{Name: "internet", Kind: Internet, Attachments: []Attachment{{Name: "eth0", Network: "internet"}}}}}
	trusted := prefixesOf("198.51.100.0/24")
	var declared []Declared
	private, public := netip.MustParseAddr("10.90.0.10"), netip.MustParseAddr("203.0.113.16")
	add := func(name, role string, port uint16, service string) {
		a := private
		private = private.Next()
		g.Nodes = append(g.Nodes, Node{Name: name, Kind: Machine, Role: role, Attachments: []Attachment{{Name: "eth0", Network: name, Addresses: []netip.Addr{a}}}})
		edge.Attachments = append(edge.Attachments, Attachment{Name: name, Network: name})
		edge.Routes = append(edge.Routes, Route{Prefix: netip.PrefixFrom(a, 32), Attachment: name})
		if port == 0 {
			return
		}
		edge.Arriving[0].Rules = append(edge.Arriving[0].Rules, Rule{Match: Match{Destination: Addresses(public)}, Verdict: Translate, To: Rewrite{Destination: Addresses(a)}})
		edge.Forwarding[0].Rules = append(edge.Forwarding[0].Rules, Rule{Verdict: Accept, Why: service, Match: Match{Translated: Yes, Source: Prefixes(trusted...),
			Destination: Addresses(a), Protocol: Numbers(TCP, TCP), Port: Numbers(port, port)}})
		declared = append(declared, Declared{Name: service, Address: public, Protocol: TCP, Port: port, Sources: trusted, Node: name})
		public = public.Next()
	}
	add("bastion-0", "bastion", 22, "ssh")
	add("public-lb-0", "public-lb", 443, "jenkins <ci>")
	for _, name := range []string{"vault-0", "vault-1", "vault-2", "etcd-0", "etcd-1", "etcd-2", "lb-0", "worker-0", "worker-1", "worker-2", "worker-3", "worker-4"} {
		add(name, name[:len(name)-2], 0, "")
	}
	if extra {
		edge.Forwarding[0].Rules = append(edge.Forwarding[0].Rules, Rule{Verdict: Accept, Why: "one too many",
			Match: Match{Destination: at("10.90.0.20"), Protocol: Numbers(TCP, TCP), Port: Numbers(10250, 10250)}})
	}
	g.Nodes = append(g.Nodes, edge)
	return g, Compare(declared, Reach(g, IPv4.Or(IPv6)), g.Inside())
}

// TestDraw: the picture is XML, whatever things are called, and as it was looked at.
func TestDraw(t *testing.T) {
	for name, extra := range map[string]bool{"declared": false, "extra": true} {
		g, c := drawn(extra)
		if c.Equal() == extra {
			t.Errorf("%s: equal is %v", name, c.Equal())
		}
		var b bytes.Buffer
		if err := Draw(&b, "demo", g, &c); err != nil {
			t.Fatal(err)
		}
		for d := xml.NewDecoder(bytes.NewReader(b.Bytes())); ; {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		file := "testdata/" + name + ".svg"
		if *update {
			if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), b.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
