package exposure_test

import (
	"context"
	"crypto/rand"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/exposure"
	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/provider/local"
)

// TestExamplesMutated makes the network of each example, reads it from the kernel, and changes every single thing about it:
// what the sets say of each is what walks of packets do.
func TestExamplesMutated(t *testing.T) {
	for _, name := range []string{"local", "ha"} {
		t.Run(name, func(t *testing.T) {
			graph, machines := live(t, name)
			packets := around(machines)
			all := exposure.Mutations(func() *exposure.Graph { return copied(graph) })
			defer exposure.InUniverse(addresses(machines), []uint16{22, 443, 4789, 8200})()
			flips := 0
			whole := exposure.Reach(graph, exposure.IPv4).Packets("")
			for _, m := range all {
				got := exposure.Reach(m.Graph, exposure.IPv4).Packets("")
				if !got.Equal(whole) {
					flips++
				}
				for _, p := range packets {
					if want := len(exposure.Walked(m.Graph, p)) > 0; got.Contains(p) != want {
						t.Fatalf("%s: a walk says that %+v gets somewhere: %v; the sets say %v", m.Name, p, want, !want)
					}
				}
			}
			t.Logf("%d changes were tried with %d packets each; %d make a difference to the internet", len(all), len(packets), flips)
			if flips == 0 {
				t.Error("no change makes a difference")
			}
		})
	}
}

// live makes the network of an example, with machines that do nothing, and reads it.
func live(t *testing.T, example string) (*exposure.Graph, []provider.Machine) {
	t.Helper()
	bundle := os.Getenv("ASHLAR_TEST_BUNDLE")
	if os.Geteuid() != 0 || bundle == "" {
		t.Skip("the network of an example takes root, and a bundle for its machines: set ASHLAR_TEST_BUNDLE")
	}
	file := filepath.Join("..", "..", "examples", example+".yaml")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := v1alpha1.Decode(b, file)
	if err != nil {
		t.Fatal(err)
	}
	name := "t" + strings.ToLower(rand.Text()[:8])
	p, err := local.New(local.Options{Cluster: name, Dir: filepath.Join(t.TempDir(), name), Bundle: bundle,
		MachineCIDR: netip.MustParsePrefix(spec.Spec.Provider.Local.MachineCIDR), Init: []string{"/bin/sleep", "infinity"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Destroy(context.Background()); err != nil {
			t.Error(err)
		}
	})
	machines, err := p.Reserve(t.Context(), spec.Machines())
	if err == nil {
		err = p.EnsureNetwork(t.Context(), machines, provider.Network{Rules: phase.Rules(spec), Trusted: spec.Spec.Exposure.Trusted()})
	}
	for _, m := range machines {
		if err == nil {
			err = p.Start(t.Context(), m, nil)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	g, err := p.Graph(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return g, machines
}

// addresses are all that machines have, and others beside them.
func addresses(machines []provider.Machine) []netip.Addr {
	out := []netip.Addr{netip.MustParseAddr("203.0.113.253"), netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("192.0.2.9")}
	for _, m := range machines {
		out = append(out, m.Address)
		if m.Public.IsValid() {
			out = append(out, m.Public)
		}
	}
	return out
}

// around are packets to all addresses, from where it could matter.
func around(machines []provider.Machine) []exposure.Packet {
	sources := []netip.Addr{netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("203.0.113.1"), machines[0].Address}
	var out []exposure.Packet
	for _, from := range sources {
		for _, to := range addresses(machines) {
			for _, port := range []uint16{22, 443, 8200} {
				out = append(out, exposure.Packet{Source: from, Destination: to, Protocol: exposure.TCP, Port: port})
			}
			out = append(out, exposure.Packet{Source: from, Destination: to, Protocol: exposure.UDP, Port: 4789})
		}
	}
	return out
}

// copied shares nothing that is ever changed.
func copied(g *exposure.Graph) *exposure.Graph {
	out := &exposure.Graph{Nodes: slices.Clone(g.Nodes)}
	for i := range out.Nodes {
		n := &out.Nodes[i]
		n.Attachments, n.Routes = slices.Clone(n.Attachments), slices.Clone(n.Routes)
		for j := range n.Attachments {
			n.Attachments[j].Addresses = slices.Clone(n.Attachments[j].Addresses)
		}
		for _, hook := range []*[]exposure.Chain{&n.Arriving, &n.Delivering, &n.Forwarding, &n.Leaving} {
			*hook = slices.Clone(*hook)
			for j := range *hook {
				(*hook)[j].Rules = slices.Clone((*hook)[j].Rules)
			}
		}
	}
	return out
}
