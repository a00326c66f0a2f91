package unit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"path"
	"slices"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// Unit is one process of a machine, with all that it needs. A unit without Args is only its files.
type Unit struct {
	// Name is unique on the machine.
	Name string
	// Args is the command; Args[0] is an absolute path.
	Args []string
	// Env is the whole environment, KEY=value.
	Env []string
	// Files are written before the unit starts. A changed file restarts it, unless it is Live.
	Files []File
	// Certificates must be there before the unit starts. Renewing one does not restart it.
	Certificates []Certificate
	// HostKey is an SSH host key with a certificate, or empty; as Certificates.
	HostKey string `json:",omitempty"`
	// Secrets must be there before the unit starts.
	Secrets []Secret
	// After names units of this machine that must be ready first.
	After []string
	// Wait lists what must answer, anywhere, before the unit starts for the first time.
	Wait []Probe
	// Ready says whether the unit does its work. The zero Probe: as soon as it runs (or, with Once, has run).
	Ready Probe
	// Once is a command that runs to its end, and again only when it changes or the machine reboots.
	Once bool
	// ReloadSignal tells the process to read its certificates and Live files again; 0: it sees by itself that they changed.
	ReloadSignal int
	// Logs are files that the process writes itself, and opens again at ReloadSignal.
	Logs []string
	// OOMScore says how early the kernel kills the process for want of memory, from -1000, never, to 1000. 0: as the agent itself.
	OOMScore int `json:",omitempty"`
	// Grace is how long the process may take to stop.
	Grace time.Duration
}

// File is a file of a unit.
type File struct {
	Path    string
	Mode    fs.FileMode
	Content string
	// Live: the process sees by itself that it changed, or at ReloadSignal, and is not restarted for it.
	Live bool
}

// Certificate is a certificate and its key, which is made on the machine and stays there.
type Certificate struct {
	Profile Profile
	// IPs go into the certificate beside the profile's names.
	IPs []string
}

// Secret is a field of a document in Vault, to be put in a file that only root can read.
type Secret struct {
	Document, Field, Path string
}

// Probe is a URL that answers: http and https (a status below 400), tcp, unix (connects).
// For https the certificate must be of CA.
type Probe struct {
	URL string
	CA  CA
}

// Directories and files on a machine.
const (
	Bin            = "/opt/ashlar/bundle/bin"
	ImagesDir      = "/opt/ashlar/bundle/images"
	PKIDir         = "/etc/ashlar/pki"
	VaultTokenFile = "/run/ashlar/vault-token"
	BootFile       = "/etc/ashlar/boot.json"
	InitTokenFile  = "/etc/ashlar/init-token"
)

// CAFile is where a machine keeps the trusted certificates of a CA.
func CAFile(ca CA) string { return path.Join(PKIDir, string(ca), "ca.crt") }

// CertFile and KeyFile are where a machine keeps a certificate and its key.
func (p Profile) CertFile() string { return path.Join(PKIDir, string(p.CA), p.Name+".crt") }

// KeyFile is beside CertFile.
func (p Profile) KeyFile() string { return path.Join(PKIDir, string(p.CA), p.Name+".key") }

// Digest changes when the unit must be restarted.
func (u Unit) Digest() string {
	u.Certificates, u.Wait, u.After, u.Logs, u.Ready, u.Grace = nil, nil, nil, nil, Probe{}, 0
	u.Files = slices.Clone(u.Files)
	for i, f := range u.Files {
		if f.Live {
			u.Files[i].Content = ""
		}
	}
	b, err := json.Marshal(u)
	if err != nil {
		panic(err) // plain data
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// For returns the units of the machine that d is for, in the order in which they are best started.
func For(d Desired) []Unit { return append(forRole(d), sshUnits(d)...) }

func forRole(d Desired) []Unit {
	switch d.Me().Role {
	case v1alpha1.RoleVault:
		return []Unit{vault(d)}
	case v1alpha1.RoleEtcd:
		return etcdUnits(d)
	case v1alpha1.RoleLB:
		return append([]Unit{haproxy(d)}, sever(d, nil, PortAPIServer)...)
	case v1alpha1.RoleControlPlane:
		return controlPlane(d)
	case v1alpha1.RoleWorker:
		return sparing(worker(d))
	case v1alpha1.RolePublicLB:
		return publicLB(d)
	default:
		return nil
	}
}

// Complete says whether the document holds what every unit needs. A machine that has not spoken to Vault yet
// knows no CA; until then it starts just the units that need none.
func (d Desired) Complete() bool { return len(d.CAs) > 0 }

// caFile is a unit's copy of a CA's trusted certificates.
func caFile(d Desired, ca CA) File {
	return File{Path: CAFile(ca), Mode: 0o644, Content: d.CAs[ca]}
}

func live(f File) File {
	f.Live = true
	return f
}

// certificate looks a profile up; a name that is not in the table is a mistake in this package.
func certificate(d Desired, ca CA, name string) Certificate {
	for _, p := range Profiles {
		if p.CA == ca && p.Name == name {
			c := Certificate{Profile: p.For(d.Self)}
			if p.APIAddress {
				c.IPs = []string{d.KubernetesServiceIP().String()}
			}
			return c
		}
	}
	panic("unit: no certificate profile " + string(ca) + "/" + name)
}

// apiReady holds once the API answers through the load balancer.
func (d Desired) apiReady() Probe {
	return Probe{URL: d.APIServerURL() + APIReadyPath, CA: CAKubernetes}
}
