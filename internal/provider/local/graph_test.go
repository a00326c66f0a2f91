package local

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/exposure"
	"ashlar.dev/ashlar/internal/provider"
)

// wired makes a fabric with machines that have a network and nothing else, gone after the test.
func wired(t *testing.T, machines []v1alpha1.Machine, network provider.Network) (*Provider, []provider.Machine) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make namespaces: run the tests with sudo")
	}
	name := "t" + strings.ToLower(rand.Text()[:8])
	p, err := New(Options{Cluster: name, Dir: filepath.Join(t.TempDir(), name), Bundle: t.TempDir(), MachineCIDR: testCIDR})
	if err != nil {
		t.Fatal(err)
	}
	reserved, err := p.Reserve(t.Context(), machines)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, m := range machines {
			if err := p.disconnect(m.Name); err != nil {
				t.Error(err)
			}
		}
		for _, ns := range []string{p.fabricNamespace(), p.internetNamespace()} {
			if err := removeNamespace(ns); err != nil {
				t.Error(err)
			}
		}
	})
	if err := p.EnsureNetwork(t.Context(), reserved, network); err != nil {
		t.Fatal(err)
	}
	for _, m := range machines {
		r, err := p.record(m.Name)
		if err == nil {
			err = p.connect(t.Context(), r)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return p, reserved
}

var guarded = []v1alpha1.Machine{{Name: "bastion-0", Role: v1alpha1.RoleBastion}, {Name: "worker-0", Role: v1alpha1.RoleWorker}, {Name: "lb-0", Role: v1alpha1.RoleLB}}

func surfaceOf(t *testing.T, p *Provider) exposure.Surface {
	t.Helper()
	g, err := p.Graph(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return exposure.Reach(g, allAddresses)
}

// TestGraph: what is declared, and nothing else, is what the real rules of the fabric let the internet reach.
func TestGraph(t *testing.T) {
	p, machines := wired(t, guarded, provider.Network{Rules: []provider.Rule{workerToLB, operatorToLB, outward, knock}, Trusted: someTrusted})
	bastion := byRole(t, machines, v1alpha1.RoleBastion)
	s := surfaceOf(t, p)
	c := exposure.Compare([]exposure.Declared{{Name: "ssh", Address: bastion.Public, Protocol: exposure.TCP, Port: 22,
		Sources: someTrusted, Node: bastion.Name}}, s, nil)
	if !c.Equal() || len(s) != 1 {
		t.Errorf("extra %v, declared %+v", c.Extra, c.Declared)
	}
}
