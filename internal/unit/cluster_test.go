package unit_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

// The two clusters of examples/: the smallest, and one that survives the loss of a machine.
var (
	small = cluster("demo", 1, 1, 1, 2)
	ha    = withPublic(withAccess(cluster("ha", 3, 3, 2, 3)))
	// A small one with a bastion.
	ssh = withBastion(cluster("ssh", 1, 1, 1, 1))
)

func withBastion(d unit.Desired) unit.Desired {
	d.Machines = append(d.Machines, machines("bastion", v1alpha1.RoleBastion, 1)...)
	d.SSH = &unit.SSH{UserCA: "ssh-ed25519 AAAAuser\n", HostCA: "ssh-ed25519 AAAAhost\n"}
	return numbered(d)
}

// withAccess declares one of each thing about who may do what.
func withAccess(d unit.Desired) unit.Desired {
	d.Authorization.Mode = v1alpha1.ModeShadow
	d.Authentication = v1alpha1.Authentication{
		OIDC: []v1alpha1.OIDCIssuer{{Issuer: "https://login.example.com", Audiences: []string{"ashlar", "kubectl"}, CertificateAuthority: "-----BEGIN CERTIFICATE-----\n",
			Username: `"corp-" + claims.sub`, Groups: "claims.roles", Rules: []v1alpha1.ClaimRule{{Expression: "claims.amr == 'mfa'", Message: "two factors"}}}},
		StaticTokens: []v1alpha1.StaticToken{{Name: "legacy-ci", User: "ci", Groups: []string{"deployers"}, SHA256: strings.Repeat("0f", 32),
			Expires: metav1.NewTime(time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)), Reason: "the old server speaks no OIDC"}},
	}
	return d
}

func cluster(name string, vaults, etcds, controlPlanes, workers int) unit.Desired {
	d := unit.Desired{
		Cluster: name, ID: "0123456789abcdef", KubernetesVersion: "v1.37.2",
		MachineCIDR: "10.90.0.0/24", PodCIDR: "10.244.0.0/16", ServiceCIDR: "10.96.0.0/16",
		ClusterDomain: "cluster.local", LeafTTL: 24 * time.Hour, CAs: map[unit.CA]string{},
		Authorization: v1alpha1.Authorization{Mode: v1alpha1.ModeRBAC, ServiceAccounts: v1alpha1.SeedClasses()},
	}
	for _, ca := range unit.CAs {
		d.CAs[ca] = fmt.Sprintf("-----BEGIN CERTIFICATE-----\n(%s)\n-----END CERTIFICATE-----\n", ca)
	}
	for i, n := range []int{vaults, etcds, 1, controlPlanes, workers} {
		d.Machines = append(d.Machines, machines(string(v1alpha1.Roles[i]), v1alpha1.Roles[i], n)...)
	}
	return numbered(d)
}

// withPublic adds a load balancer for public services.
func withPublic(d unit.Desired) unit.Desired {
	d.Machines = append(d.Machines, machines(string(v1alpha1.RolePublicLB), v1alpha1.RolePublicLB, 1)...)
	return withServices(numbered(d))
}

func withServices(d unit.Desired) unit.Desired {
	for _, s := range []unit.PublicService{{Name: "jenkins", Port: 443}, {Name: "web", Port: 80, Plaintext: true}} {
		for _, w := range d.WithRole(v1alpha1.RoleWorker) {
			s.Upstreams = append(s.Upstreams, netip.AddrPortFrom(w.Address, uint16(30000+s.Port)))
		}
		d.PublicServices = append(d.PublicServices, s)
	}
	return d
}

// machines are those of a pool, without an address yet.
func machines(pool string, role v1alpha1.Role, count int) (out []unit.Machine) {
	for i := range count {
		out = append(out, unit.Machine{Name: fmt.Sprintf("%s-%d", pool, i), Role: role})
	}
	return out
}

// numbered gives each machine its address.
func numbered(d unit.Desired) unit.Desired {
	a := netip.MustParsePrefix(d.MachineCIDR).Addr()
	for i := range 10 + len(d.Machines) {
		if i >= 10 {
			d.Machines[i-10].Address = a
		}
		a = a.Next()
	}
	return d
}

// on is the document of one of the machines.
func on(d unit.Desired, self string) unit.Desired {
	d.Self = self
	return d
}

// names are legal for clusters and pools; of those, some mean something else than a string in YAML.
var names = rapid.OneOf(
	rapid.SampledFrom([]string{"a", "a-0", "0", "123", "0x1f", "1e", "1e3", "true", "null", "off", "y", "2001-01"}),
	rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,11}[a-z0-9])?`),
)

// drawCluster makes any legal cluster, its machines in any order.
func drawCluster(t *rapid.T) unit.Desired {
	d := cluster(names.Draw(t, "cluster"), 1, 1, 1, 1)
	d.ClusterDomain = rapid.SampledFrom([]string{"cluster.local", "k8s.example.org", "local", "10", "true", "1.5"}).Draw(t, "domain")
	d.MachineCIDR = rapid.SampledFrom([]string{"10.90.0.0/24", "192.168.255.0/25"}).Draw(t, "machines' range")
	d.PodCIDR = rapid.SampledFrom([]string{"10.244.0.0/16", "172.16.0.0/12"}).Draw(t, "pods' range")
	d.ServiceCIDR = rapid.SampledFrom([]string{"10.96.0.0/16", "10.112.0.0/24"}).Draw(t, "Services' range")
	pools := rapid.SliceOfNDistinct(names, len(v1alpha1.Roles), len(v1alpha1.Roles), rapid.ID).Draw(t, "pools")
	counts := map[v1alpha1.Role][]int{
		v1alpha1.RoleVault: {1, 3}, v1alpha1.RoleEtcd: {1, 3, 5}, v1alpha1.RoleLB: {1},
		v1alpha1.RoleControlPlane: {1, 2, 3}, v1alpha1.RoleWorker: {1, 2, 3, 4, 5},
		v1alpha1.RoleBastion: {0, 1}, v1alpha1.RolePublicLB: {0, 1}, v1alpha1.RoleHub: {0, 1, 2},
	}
	d.Machines = nil
	for i, role := range v1alpha1.Roles {
		d.Machines = append(d.Machines, machines(pools[i], role, rapid.SampledFrom(counts[role]).Draw(t, string(role)))...)
	}
	if d = withServices(numbered(d)); len(d.WithRole(v1alpha1.RoleBastion)) > 0 {
		d.SSH = ssh.SSH
	}
	d.Machines = rapid.Permutation(d.Machines).Draw(t, "order")
	return d
}

// drawMachine makes the document of any machine of any legal cluster.
func drawMachine(t *rapid.T) unit.Desired {
	d := drawCluster(t)
	self := rapid.SampledFrom(d.Machines).Filter(func(m unit.Machine) bool { return len(unit.For(on(d, m.Name))) > 0 }).Draw(t, "self")
	return on(d, self.Name)
}

// find returns the unit of a name, or nothing.
func find(units []unit.Unit, name string) (unit.Unit, bool) {
	i := slices.IndexFunc(units, func(u unit.Unit) bool { return u.Name == name })
	if i < 0 {
		return unit.Unit{}, false
	}
	return units[i], true
}
