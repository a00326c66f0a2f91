package calico

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/network"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The golden files show whoever reviews a change what it does to Calico's policies and Kubernetes': of nothing declared, and of
// everything that can be.
func TestGolden(t *testing.T) {
	facts := network.Facts{PodCIDR: netip.MustParsePrefix("10.244.0.0/16"), ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16"),
		MachineCIDR: netip.MustParsePrefix("10.90.0.0/24"), APIServer: netip.MustParseAddrPort("10.90.0.4:6443"),
		Workers: []network.Worker{{Name: "worker-0", Address: netip.MustParseAddr("10.90.0.7")}}}
	for _, name := range []string{"minimal", "network"} {
		t.Run(name, func(t *testing.T) {
			file := "../../api/v1alpha1/testdata/valid-" + name + ".yaml"
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cluster, err := v1alpha1.Decode(b, file)
			if err != nil {
				t.Fatal(err)
			}
			compiled, err := network.Compile(cluster.Spec.Network.Policy, facts)
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			show := func(v any) {
				b, err := yaml.Marshal(v)
				if err != nil {
					t.Fatal(err)
				}
				out.WriteString("---\n" + string(b))
			}
			for _, r := range Of(compiled) {
				show(map[string]any{"kind": r.Kind, "name": r.Name, "labels": r.Labels, "spec": r.Spec})
			}
			for _, np := range compiled.Kubernetes {
				show(np)
			}
			golden := filepath.Join("testdata", name+".yaml")
			if *update {
				if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), out.String()); diff != "" {
				t.Errorf("differs from %s (go test ./internal/calico -update, and review):\n%s", golden, diff)
			}
		})
	}
}
