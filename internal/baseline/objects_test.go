package baseline

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"ashlar.dev/ashlar/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files anew")

func input() Input {
	return Input{
		DNSServiceIP:  netip.MustParseAddr("10.96.0.10"),
		ClusterDomain: "cluster.local",
		APIServer:     netip.MustParseAddr("10.10.0.5"),
		CoreDNSImage:  "ashlar.dev/coredns:v1.14.7",
		Workers:       2,

		ServiceAccounts: v1alpha1.SeedClasses(),
	}
}

func objects(t *testing.T, in Input) []*unstructured.Unstructured {
	t.Helper()
	out, err := Objects(in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestObjects(t *testing.T) {
	upstream := input()
	upstream.Workers = 1
	upstream.UpstreamDNS = []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("192.0.2.54")}
	for name, in := range map[string]Input{"two-workers": input(), "one-worker-upstream": upstream} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			for _, o := range objects(t, in) {
				text, err := yaml.Marshal(o.Object)
				if err != nil {
					t.Fatal(err)
				}
				got.WriteString("---\n")
				got.Write(text)
			}
			golden := filepath.Join("testdata", name+".yaml")
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("differs from %s (run with -update if that is right):\n%s", golden, diff)
			}
		})
	}
}

func TestObjectsRefusesIncompleteInput(t *testing.T) {
	for name, empty := range map[string]func(*Input){
		"DNS Service":    func(in *Input) { in.DNSServiceIP = netip.Addr{} },
		"load balancer":  func(in *Input) { in.APIServer = netip.Addr{} },
		"cluster domain": func(in *Input) { in.ClusterDomain = "" },
		"image":          func(in *Input) { in.CoreDNSImage = "" },
	} {
		in := input()
		empty(&in)
		if _, err := Objects(in); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

// What of the manifests matters for safety, whatever else changes in them.
func TestEveryNamespaceOfPodsIsClosed(t *testing.T) {
	has := map[string]bool{}
	for _, o := range objects(t, input()) {
		has[id(o)] = true
		if o.GetKind() == "Namespace" && o.GetLabels()["pod-security.kubernetes.io/enforce"] != "restricted" {
			t.Errorf("%s does not enforce restricted", id(o))
		}
		if o.GetKind() == "ServiceAccount" && o.Object["automountServiceAccountToken"] != false {
			t.Errorf("%s mounts its token everywhere", id(o))
		}
	}
	if name := "NetworkPolicy kube-system/default-deny"; !has[name] {
		t.Errorf("no %s", name)
	}
}
