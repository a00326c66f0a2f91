package unit_test

import (
	"maps"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

// everyUnit tries a property on every unit of any machine of any legal cluster.
func everyUnit(t *testing.T, holds func(*rapid.T, unit.Desired, unit.Unit)) {
	everyMachine(t, func(t *rapid.T, d unit.Desired, units []unit.Unit) {
		for _, u := range units {
			holds(t, d, u)
		}
	})
}

func everyMachine(t *testing.T, holds func(*rapid.T, unit.Desired, []unit.Unit)) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		d := drawMachine(t)
		units := unit.For(d)
		if len(units) == 0 {
			t.Fatalf("nothing runs on %s", d.Self)
		}
		holds(t, d, units)
	})
}

func TestOrder(t *testing.T) {
	everyMachine(t, func(t *rapid.T, _ unit.Desired, units []unit.Unit) {
		before := map[string]bool{}
		for _, u := range units {
			for _, name := range u.After { // which also means that there is no cycle
				if !before[name] {
					t.Errorf("%s comes after %s, which does not come before it", u.Name, name)
				}
			}
			if before[u.Name] {
				t.Errorf("two units are called %s", u.Name)
			}
			before[u.Name] = true
		}
	})
}

func TestCommands(t *testing.T) {
	everyUnit(t, func(t *rapid.T, _ unit.Desired, u unit.Unit) {
		if len(u.Args) > 0 && !path.IsAbs(u.Args[0]) {
			t.Errorf("%s runs %s", u.Name, u.Args[0])
		}
		if len(u.Args) == 0 && len(u.Files) == 0 {
			t.Errorf("%s does nothing", u.Name)
		}
		seen := map[string]bool{}
		for _, a := range u.Args {
			name, _, _ := strings.Cut(a, "=")
			if strings.HasPrefix(name, "-") && seen[name] {
				t.Errorf("%s has %s twice", u.Name, name)
			}
			seen[name] = true
		}
		for _, e := range u.Env {
			name, _, ok := strings.Cut(e, "=")
			if !ok || name == "" || seen["$"+name] {
				t.Errorf("%s has %q in its environment, malformed or twice", u.Name, e)
			}
			seen["$"+name] = true
		}
	})
}

func TestFiles(t *testing.T) {
	everyMachine(t, func(t *rapid.T, _ unit.Desired, units []unit.Unit) {
		written := map[string]unit.File{}
		for _, u := range units {
			for _, f := range u.Files {
				if !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path {
					t.Errorf("%s writes %s", u.Name, f.Path)
				}
				if f.Mode&^0o644 != 0 {
					t.Errorf("%s lets others write %s: %o", u.Name, f.Path, f.Mode)
				}
				if other, ok := written[f.Path]; ok && other != f {
					t.Errorf("%s and another unit disagree about %s", u.Name, f.Path)
				}
				written[f.Path] = f
			}
		}
	})
}

// texts are all that a unit tells its process, by where it stands.
func texts(u unit.Unit) map[string]string {
	out := map[string]string{"args": strings.Join(u.Args, "\n"), "env": strings.Join(u.Env, "\n")}
	for _, f := range u.Files {
		out[f.Path] = f.Content
	}
	return out
}

var pkiPath = regexp.MustCompile(regexp.QuoteMeta(unit.PKIDir) + `[^\s"',;}\]]*`)

// A unit says itself what it needs of the PKI, so that it never starts without it.
func TestPKIFilesAreDeclared(t *testing.T) {
	everyUnit(t, func(t *rapid.T, _ unit.Desired, u unit.Unit) {
		has := map[string]bool{}
		for _, c := range u.Certificates {
			has[c.Profile.CertFile()], has[c.Profile.KeyFile()] = true, true
		}
		for _, s := range u.Secrets {
			has[s.Path] = true
		}
		for _, f := range u.Files {
			of := unit.CA(path.Base(path.Dir(f.Path)))
			has[f.Path] = has[f.Path] || (f.Path == unit.CAFile(of) || f.Path == unit.CRLFile(of)) && f.Content != ""
		}
		for where, text := range texts(u) {
			for _, p := range pkiPath.FindAllString(text, -1) {
				if !has[p] {
					t.Errorf("%s names %s in its %s, and does not declare it", u.Name, p, where)
				}
			}
		}
	})
}

// Vault lets a role of machine have the certificates of the table, in the machine's own name: so nothing else may
// be asked for, and what nobody asks for has no place in the table.
func TestCertificatesAreThoseOfTheRole(t *testing.T) {
	everyMachine(t, func(t *rapid.T, d unit.Desired, units []unit.Unit) {
		used := map[string]bool{}
		for _, u := range units {
			for _, c := range u.Certificates {
				used[string(c.Profile.CA)+"/"+c.Profile.Name] = true
				if c.Profile.Role != d.Me().Role {
					t.Errorf("%s on a machine of role %s wants a certificate of role %s", u.Name, d.Me().Role, c.Profile.Role)
				}
				for _, m := range d.Machines {
					if m.Name != d.Self && slices.Contains(append(c.Profile.DNSNames, c.Profile.CommonName), m.Name) {
						t.Errorf("%s on %s wants a certificate in the name of %s", u.Name, d.Self, m.Name)
					}
				}
			}
		}
		for _, p := range unit.ProfilesOf(d.Me().Role) {
			if !used[string(p.CA)+"/"+p.Name] {
				t.Errorf("no unit of role %s uses its certificate %s/%s", p.Role, p.CA, p.Name)
			}
		}
	})
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

func isMachine(d unit.Desired, host string) bool {
	return slices.ContainsFunc(d.Machines, func(m unit.Machine) bool { return host == m.Name || host == m.Address.String() })
}

func TestProbes(t *testing.T) {
	everyUnit(t, func(t *rapid.T, d unit.Desired, u unit.Unit) {
		for _, p := range append(u.Wait, u.Ready) {
			if p == (unit.Probe{}) {
				continue
			}
			at, err := url.Parse(p.URL)
			if err != nil {
				t.Errorf("%s: %v", u.Name, err)
				continue
			}
			switch host := at.Hostname(); {
			case (at.Scheme == "https") != (p.CA != ""):
				t.Errorf("%s: %s is verified by CA %q", u.Name, p.URL, p.CA)
			case p.CA != "" && !slices.Contains(unit.CAs, p.CA):
				t.Errorf("%s: there is no CA %s", u.Name, p.CA)
			case at.Scheme == "unix" && host == "" && path.IsAbs(at.Path):
			case at.Scheme == "http" && loopback(host):
			case (at.Scheme == "https" || at.Scheme == "tcp") && at.Port() != "" && (loopback(host) || isMachine(d, host)):
			default:
				t.Errorf("%s asks %s", u.Name, p.URL)
			}
		}
	})
}

// Where a role has several machines a cluster survives the loss of any: so no unit may wait for one in particular.
func TestNoUnitWaitsForOneMachineOfSeveral(t *testing.T) {
	everyUnit(t, func(t *rapid.T, d unit.Desired, u unit.Unit) {
		for _, p := range u.Wait {
			at, err := url.Parse(p.URL)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range d.Machines {
				if m.Name == at.Hostname() && m.Name != d.Self && len(d.WithRole(m.Role)) > 1 {
					t.Errorf("%s cannot start while %s is lost, though there are %d of role %s", u.Name, m.Name, len(d.WithRole(m.Role)), m.Role)
				}
			}
		}
	})
}

var (
	anyURL = regexp.MustCompile(`https?://[^\s"',;#}\]]+`)
	// What is a secret, or takes the sense out of one.
	never = regexp.MustCompile(`(?i)insecure|skip-?(tls-?)?verify|verify none|PRIVATE KEY|password|--token|token-auth-file|VAULT_TOKEN|hvs\.|secret_id`)
)

func TestNothingIsSecretOrUnprotected(t *testing.T) {
	everyUnit(t, func(t *rapid.T, d unit.Desired, u unit.Unit) {
		for where, text := range texts(u) {
			if found := never.FindString(strings.NewReplacer("PasswordAuthentication no", "", "prohibit-password", "", "--password '*'", "").Replace(text)); found != "" {
				t.Errorf("%s says %q in its %s", u.Name, found, where)
			}
			for _, found := range anyURL.FindAllString(text, -1) {
				at, err := url.Parse(found)
				if err != nil {
					t.Errorf("%s, %s: %v", u.Name, where, err)
					continue
				}
				issuer := at.Hostname() == "kubernetes.default.svc."+d.ClusterDomain || at.Hostname() == unit.VaultName
				if host := at.Hostname(); !loopback(host) && (at.Scheme == "http" || !isMachine(d, host) && !issuer) {
					t.Errorf("%s goes to %s (%s)", u.Name, found, where)
				}
			}
		}
	})
}

func TestPure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawMachine(t)
		before := d
		before.Machines, before.CAs = slices.Clone(d.Machines), maps.Clone(d.CAs)
		first, second := unit.For(d), unit.For(d)
		if diff := cmp.Diff(first, second, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("asked twice:\n%s", diff)
		}
		if diff := cmp.Diff(before, d, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})); diff != "" {
			t.Errorf("For changes what it was given:\n%s", diff)
		}
	})
}

// Until a machine has spoken to Vault it starts what needs nothing of it. (Of etcd and lb, whose every unit needs
// a CA, the agent starts nothing.)
func TestWithoutCAs(t *testing.T) {
	want := map[v1alpha1.Role][]string{
		v1alpha1.RoleVault:        {"vault"},
		v1alpha1.RoleControlPlane: nil,
		v1alpha1.RoleWorker:       {"containerd", "ceilings", "reserve", "image-pause", "image-coredns"},
	}
	rapid.Check(t, func(t *rapid.T) {
		d := drawMachine(t)
		d.CAs = nil
		units := unit.For(d)
		role := d.Me().Role
		if names, known := want[role]; known && !slices.Equal(each(units, func(u unit.Unit) string { return u.Name }), names) {
			t.Errorf("role %s has other units than %v without CAs: %v", role, names, units)
		}
		for _, u := range units {
			for where, text := range texts(u) {
				if role == v1alpha1.RoleWorker && pkiPath.MatchString(text) {
					t.Errorf("%s needs a certificate (%s)", u.Name, where)
				}
			}
		}
	})
}
