package network

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ashlar.dev/ashlar/api/v1alpha1"
)

var tcp80 = Port{corev1.ProtocolTCP, 80}

// inventory is the small cluster of world_test.go, with a Service of the shop's web servers.
func inventory() *Inventory {
	in := &Inventory{Namespaces: namespaceLabels, Machines: machines, MachinePorts: map[v1alpha1.Role][]Port{v1alpha1.RoleLB: {{corev1.ProtocolTCP, 6443}}}}
	for _, p := range podsOfAll {
		in.Pods = append(in.Pods, Pod{Peer: p, Owner: "Deployment", Of: cmp.Or(p.Labels["app"], p.Name), Listen: []Port{{corev1.ProtocolTCP, 8080}}})
	}
	in.Services = []Service{{Namespace: "shop", Name: "front", Address: netip.MustParseAddr("10.96.0.20"), Ports: []ServicePort{{tcp80, []netip.AddrPort{
		netip.MustParseAddrPort("10.244.0.10:8080"), netip.MustParseAddrPort("10.244.1.10:8080")}}}}}
	return in
}

var declared = v1alpha1.NetworkPolicy{
	Sets: []v1alpha1.AddressSet{{Name: "partners", CIDRs: []string{"203.0.113.0/28"}}},
	Rules: []v1alpha1.NetworkRule{
		{Name: "buy", From: v1alpha1.NetworkPeer{Namespace: "shop", PodLabels: map[string]string{"app": "client"}},
			To: v1alpha1.NetworkPeer{Namespace: "shop", PodLabels: map[string]string{"app": "web"}}, Ports: []v1alpha1.NetworkPort{{Protocol: "TCP", Port: 8080}}},
		{Name: "pay", From: v1alpha1.NetworkPeer{Namespace: "shop", PodLabels: map[string]string{"app": "web"}},
			To: v1alpha1.NetworkPeer{Set: "partners"}, Ports: []v1alpha1.NetworkPort{{Protocol: "TCP", Port: 443}}},
	}}

// surveyed is the matrix of the small cluster as declared, with more policies of users.
func surveyed(t *testing.T, users ...networkingv1.NetworkPolicy) ([]Class, []Connection, []Found) {
	t.Helper()
	compiled, err := Compile(declared, Facts{PodCIDR: podCIDR, MachineCIDR: machineCIDR, APIServer: balancer,
		Workers: []Worker{{"worker-0", machines[0].Address}, {"worker-1", machines[1].Address}}})
	if err != nil {
		t.Fatal(err)
	}
	own := World{Policies: append(compiled.Kubernetes, askDNS), Global: compiled.Global, Sets: compiled.Sets, Hosts: compiled.Hosts, Between: anyway}
	all := own
	all.Policies = append(slices.Clone(own.Policies), users...)
	d := &Declaration{Policy: declared, MachineCIDR: machineCIDR, APIServer: balancer, Between: anyway}
	in := inventory()
	classes := Classes(in, users, declared)
	connections := Connections(classes, in)
	found := make([]Found, len(connections))
	for i := range connections {
		if found[i], err = Look(&connections[i], d, &all, &own); err != nil {
			t.Fatal(err)
		}
	}
	return classes, connections, found
}

func cellOf(t *testing.T, m *Matrix, from, to, port string) *Cell {
	t.Helper()
	for i := range m.Cells {
		if c := &m.Cells[i]; c.From == from && (c.To == to && c.Service == "" || c.Service == to) && c.Port.String() == port {
			return c
		}
	}
	t.Fatalf("%s → %s %s is not in the matrix", from, to, port)
	return nil
}

func TestClasses(t *testing.T) {
	classes, _, _ := surveyed(t)
	var names []string
	for _, c := range classes {
		names = append(names, c.Name)
	}
	want := []string{"kube-system/coredns", "lab/client", "lab/web", "shop/client", "shop/web", "etcd", "lb", "worker", "set partners", "metadata"}
	if !slices.Equal(names, want) {
		t.Errorf("got  %q\nwant %q", names, want)
	}
	i := slices.Index(names, "shop/web")
	if c := classes[i]; c.Size != 2 || len(c.Members) != 2 || c.Members[0].Machine == c.Members[1].Machine || slices.Contains(c.Ports, c.Other[0]) {
		t.Errorf("%+v", c)
	}
}

// TestMatrix: cells agree where nobody interferes; users' policies are told from disagreement; a measurement that differs is not.
func TestMatrix(t *testing.T) {
	m := Summarise(surveyed(t))
	if d := m.Differing(); len(d) > 0 {
		t.Fatalf("declared and simulated differ: %+v", d)
	}
	for _, c := range []struct {
		from, to, port string
		want           Reach
	}{
		{"shop/client", "shop/web", "8080/TCP", Yes}, {"shop/client", "shop/web", "9/UDP", No}, {"shop/web", "shop/web", "8080/TCP", No},
		{"lab/client", "shop/web", "8080/TCP", No}, {"shop/client", "shop/front", "80/TCP", Yes}, {"lab/client", "shop/front", "80/TCP", No},
		{"shop/web", "set partners", "443/TCP", Yes}, {"shop/client", "set partners", "443/TCP", No}, {"shop/client", "metadata", "80/TCP", No},
		{"worker", "shop/web", "8080/TCP", Partly}, {"worker", "metadata", "80/TCP", No}, {"etcd", "shop/web", "8080/TCP", No},
		{"shop/web", "lb", "6443/TCP", No}, {"etcd", "shop/front", "80/TCP", No},
	} {
		if got := cellOf(t, m, c.from, c.to, c.port); got.Declared != c.want || got.Simulated != c.want || got.Observed != Unknown {
			t.Errorf("%s → %s %s: declared %s, simulated %s, observed %s; want %s", c.from, c.to, c.port, got.Declared, got.Simulated, got.Observed, c.want)
		}
	}
	if b := m.Between("shop/client", "shop/web"); b.Text != "8080" || !b.Agrees || b.Users {
		t.Errorf("%+v", b)
	}
	if b := m.Between("lab/client", "shop/web"); b.Text != "·" {
		t.Errorf("%+v", b)
	}

	classes, connections, found := surveyed(t, policies(t, `{podSelector: {}, policyTypes: [Egress, Ingress], ingress: [{}], egress: [{}]}`)...)
	m = Summarise(classes, connections, found)
	if c := cellOf(t, m, "shop/web", "shop/client", "8080/TCP"); !c.Users || !c.Agrees() || c.Declared != No || c.Simulated != Yes {
		t.Errorf("what a user allows: %+v", c)
	}
	if b := m.Between("shop/web", "shop/client"); !b.Users || !strings.HasPrefix(b.Text, "+") {
		t.Errorf("%+v", b)
	}

	for i := range found {
		found[i].Observed = found[i].Simulated
		if c := &connections[i]; c.From.String() == "lab/client10.244.0.20" && c.To.Namespace == "shop" && c.Port.Number == 8080 {
			found[i].Observed, found[i].Answer = Yes, "connected"
		}
	}
	m = Summarise(classes, connections, found)
	d := m.Differing()
	if len(d) == 0 || slices.ContainsFunc(d, func(c Cell) bool { return c.From != "lab/client" }) || !strings.Contains(d[0].Differ[0], "connected") {
		t.Errorf("differ: %+v", d)
	}
	if b := m.Between("lab/client", "shop/web"); b.Agrees || !strings.Contains(b.Text, "8080!") {
		t.Errorf("%+v", b)
	}
	var out bytes.Buffer
	m.Observed = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	if err := m.SVG(&out, "a <title>"); err != nil {
		t.Fatal(err)
	}
	for x := xml.NewDecoder(&out); ; {
		if _, err := x.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the picture is no XML: %v", err)
		}
	}
}

func TestFind(t *testing.T) {
	in := inventory()
	classes := Classes(in, nil, declared)
	for name, want := range map[string]string{
		"shop/web": "10.244.0.10", "shop/client10.244.0.11": "10.244.0.11", "worker-1": "10.90.0.12", "lb": "10.90.0.3",
		"10.244.1.20": "10.244.1.20", "203.0.113.7": "203.0.113.7",
	} {
		s, err := Find(in, classes, name)
		if err != nil || s.Peers[0].Address.String() != want {
			t.Errorf("%s: %+v, %v", name, s.Peers, err)
		}
	}
	if s, err := Find(in, classes, "shop/front"); err != nil || s.Service == nil {
		t.Errorf("a Service: %+v, %v", s, err)
	}
	for name, want := range map[string]string{
		"worker-9": "no such machine", "nowhere/web": `no namespace "nowhere"`, "shop/wbe": "it has client10.244.0.11",
	} {
		if _, err := Find(in, classes, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParsePort(t *testing.T) {
	for s, want := range map[string]string{"8080": "8080/TCP", "53/udp": "53/UDP", "1/SCTP": "1/SCTP"} {
		if p, err := ParsePort(s); err != nil || p.String() != want {
			t.Errorf("%s: %v, %v", s, p, err)
		}
	}
	for _, s := range []string{"", "0", "65536", "http", "80/ICMP", "-1"} {
		if _, err := ParsePort(s); err == nil {
			t.Errorf("%q is a port", s)
		}
	}
}

func TestNotes(t *testing.T) {
	in := inventory()
	for spec, want := range map[string]string{
		`{podSelector: {matchExpressions: [{key: a, operator: Exists}, {key: a, operator: DoesNotExist}]}}`:                                    "can match no pod",
		`{podSelector: {matchLabels: {a: b}, matchExpressions: [{key: a, operator: In, values: [c]}]}}`:                                        "can match no pod",
		`{podSelector: {matchLabels: {a: b}, matchExpressions: [{key: a, operator: NotIn, values: [b]}]}}`:                                     "can match no pod",
		`{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: green}}}]}]}`:                                            "no namespace that there is",
		`{podSelector: {}, ingress: [{ports: [{port: metrics}]}]}`:                                                                             `named "metrics"`,
		`{podSelector: {matchLabels: {a: b}, matchExpressions: [{key: a, operator: In, values: [b, c]}]}, ingress: [{ports: [{port: http}]}]}`: "",
	} {
		got := strings.Join(Notes(in, policies(t, spec), v1alpha1.NetworkPolicy{}), "\n")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", spec, got, want)
		}
	}
	d := v1alpha1.NetworkPolicy{Open: []v1alpha1.OpenNamespaces{{Namespace: "labb"}}, Rules: []v1alpha1.NetworkRule{{Name: "r",
		From: v1alpha1.NetworkPeer{Namespace: "shopp"}, To: v1alpha1.NetworkPeer{Namespace: "*"}}}}
	if got := Notes(in, nil, d); len(got) != 2 || !strings.Contains(got[0], `rule r: from: there is no namespace "shopp"`) {
		t.Errorf("%q", got)
	}
	if impossible(&metav1.LabelSelector{}) {
		t.Error("the selector of everything is impossible")
	}
}
