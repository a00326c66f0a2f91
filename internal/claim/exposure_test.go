package claim

import (
	"net/netip"
	"testing"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/exposure"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/scan"
)

var (
	publicBastion = provider.Machine{Name: "bastion-0", Role: v1alpha1.RoleBastion,
		Address: netip.MustParseAddr("10.90.0.16"), Public: netip.MustParseAddr("203.0.113.16")}
	publicSSH = exposure.Declared{Name: "ssh", Address: publicBastion.Public, Protocol: exposure.TCP, Port: 22, Node: "bastion-0",
		Sources: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}
)

func TestPublic(t *testing.T) {
	spec := &v1alpha1.Cluster{Spec: v1alpha1.Spec{Exposure: v1alpha1.Exposure{TrustedCIDRs: []string{"198.51.100.0/24"},
		Services: []v1alpha1.PublicService{{Name: "jenkins", Port: 443, TargetPort: 8443}, {Name: "foreman", Port: 444}}}}}
	machines := []provider.Machine{publicBastion, {Name: "worker-0", Role: v1alpha1.RoleWorker, Address: netip.MustParseAddr("10.90.0.11")},
		{Name: "public-lb-0", Role: v1alpha1.RolePublicLB, Public: netip.MustParseAddr("203.0.113.17")}}
	got := Public(spec, machines)
	if len(got) != 3 || got[0].Name != "ssh" || got[0].Port != 22 || got[0].Node != "bastion-0" || got[1].Name != "jenkins" ||
		got[1].Port != 443 || got[1].TargetPort != 0 || got[2].Address != machines[2].Public || len(got[2].Sources) != 1 {
		t.Errorf("%+v", got)
	}
}

// TestScanEvidence: whatever answers that is not declared breaks the claim, as does a declared port that does not.
func TestScanEvidence(t *testing.T) {
	ssh := netip.AddrPortFrom(publicBastion.Public, 22)
	other := netip.AddrPortFrom(publicBastion.Address, 10250)
	for name, c := range map[string]struct {
		answers []scan.Answer
		udp     []netip.AddrPort
		want    Verdict
	}{
		"declared":            {[]scan.Answer{{AddrPort: ssh, Open: true}}, nil, Holds},
		"declared, nobody in": {[]scan.Answer{{AddrPort: ssh}}, nil, Holds},
		"silence":             {nil, nil, Broken},
		"another port":        {[]scan.Answer{{AddrPort: ssh, Open: true}, {AddrPort: other}}, nil, Broken},
		"UDP":                 {[]scan.Answer{{AddrPort: ssh, Open: true}}, []netip.AddrPort{other}, Broken},
		"UDP of the same":     {[]scan.Answer{{AddrPort: ssh, Open: true}}, []netip.AddrPort{ssh}, Broken},
	} {
		s := Scanned{Whole: []netip.Addr{publicBastion.Public}, Others: []netip.Addr{publicBastion.Address}, Answers: c.answers, UDP: c.udp}
		if got, why := Decide(s.evidence(provider.FromTrusted, []exposure.Declared{publicSSH}), nil); got != c.want {
			t.Errorf("%s: %s, want %s: %s", name, got, c.want, why)
		}
	}
	s := Scanned{Whole: []netip.Addr{publicBastion.Public}, Answers: []scan.Answer{{AddrPort: ssh, Open: true}}}
	if got, _ := Decide(s.evidence(provider.FromInternet, nil), nil); got != Broken {
		t.Errorf("the bastion answers who is not trusted: %s", got)
	}
}
