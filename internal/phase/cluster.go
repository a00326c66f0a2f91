package phase

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/bundle"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/provider/local"
	"ashlar.dev/ashlar/internal/unit"
)

// DefaultRoot is where the operator's machine keeps what belongs to clusters.
const DefaultRoot = "/var/lib/ashlar"

// Cluster is a declared cluster together with all that is at hand to work on it.
type Cluster struct {
	Spec     *v1alpha1.Cluster
	ID       string // made once, when the cluster first comes up; empty before
	Dir      string // the operator's directory of the cluster
	Bundle   *bundle.Bundle
	Provider provider.Provider

	restoring *restoring // while a backup is restored

	mu    sync.Mutex
	vault *vaultAccess
	kube  *kubeAccess
	alone []string // machines that are revoked
	// absent says which namespaces are named and do not exist
	absent []string
}

// InputError is the user's to mend.
type InputError struct{ Err error }

func (e InputError) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong.
func (e InputError) Unwrap() error { return e.Err }

// Options say where things are.
type Options struct {
	Root   string // default: DefaultRoot
	Bundle string // default: the newest built
	// Replace names what may be lost, on a provider that replaces machines; Unlock is the id of a lock that nobody holds any more.
	Replace []string
	Unlock  string
}

// Open finds out what there is of a declared cluster; it changes nothing.
func Open(spec *v1alpha1.Cluster, o Options) (*Cluster, error) {
	root := o.Root
	if root == "" {
		root = DefaultRoot
	}
	dir, err := bundle.Locate(o.Bundle)
	if err != nil {
		return nil, err
	}
	b, err := bundle.Open(dir)
	if err != nil {
		return nil, err
	}
	c := &Cluster{Spec: spec, Dir: filepath.Join(root, "clusters", spec.Metadata.Name), Bundle: b}
	if err := c.loadIdentity(); err != nil {
		return nil, err
	}
	if spec.Spec.Provider.AWS != nil {
		c.Provider, err = c.onAWS(root, o)
	} else {
		c.Provider, err = local.New(local.Options{
			Cluster: spec.Metadata.Name, Dir: c.Dir, Bundle: b.Dir,
			MachineCIDR: netip.MustParsePrefix(spec.Spec.Provider.Local.MachineCIDR), Sizes: sizes(spec),
		})
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// sizes are those that the file gives machines of this host.
func sizes(spec *v1alpha1.Cluster) map[string]local.Size {
	out := map[string]local.Size{}
	for _, p := range spec.Spec.Pools {
		for i := range p.Count {
			cpus, memory := p.Local.Size()
			out[fmt.Sprintf("%s-%d", p.Name, i)] = local.Size{MilliCPUs: cpus, Memory: memory}
		}
	}
	return out
}

// identity is who a cluster is, whatever its file is called: two files of one name are told apart by what cannot change.
type identity struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	PodCIDR     string `json:"podCIDR"`
	ServiceCIDR string `json:"serviceCIDR"`
	Domain      string `json:"clusterDomain"`
	MachineCIDR string `json:"machineCIDR"`
}

func (c *Cluster) identityFile() string { return filepath.Join(c.Dir, "cluster.json") }

func (c *Cluster) wantIdentity() identity {
	n := c.Spec.Spec.Network
	return identity{Name: c.Spec.Metadata.Name, PodCIDR: n.PodCIDR, ServiceCIDR: n.ServiceCIDR, Domain: n.ClusterDomain,
		MachineCIDR: c.Spec.Spec.Provider.MachineCIDR()}
}

func (c *Cluster) loadIdentity() error {
	b, err := os.ReadFile(c.identityFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read what cluster %s is: %w", c.Spec.Metadata.Name, err)
	}
	var have identity
	if err := json.Unmarshal(b, &have); err != nil {
		return fmt.Errorf("read %s: %w", c.identityFile(), err)
	}
	want := c.wantIdentity()
	want.ID = have.ID
	if have != want {
		return InputError{fmt.Errorf("a cluster named %s exists already with another identity (%+v; the file says %+v): "+
			"choose another metadata.name, or remove the old one by `ashlar down` with its own file", have.Name, have, want)}
	}
	c.ID = have.ID
	return nil
}

// makeIdentity is the first thing that comes to be of a cluster.
func (c *Cluster) makeIdentity() error {
	if c.ID != "" {
		return nil
	}
	var r [8]byte
	_, _ = rand.Read(r[:]) // never fails (crypto/rand)
	id := c.wantIdentity()
	id.ID = hex.EncodeToString(r[:])
	b, err := json.Marshal(id)
	if err != nil {
		return err
	}
	if err := writeOperatorFile(c.identityFile(), b); err != nil {
		return err
	}
	c.ID = id.ID
	return nil
}

// Exists says whether anything of the cluster has come to be.
func (c *Cluster) Exists() bool { return c.ID != "" }

// Machines returns the machines that are declared, with address and state; without an address they are not reserved yet. Of a
// cloud, also the members of groups, and the balancer.
func (c *Cluster) Machines(ctx context.Context) ([]provider.Machine, error) {
	have, err := c.Provider.List(ctx)
	if err != nil {
		return nil, err
	}
	byName := map[string]provider.Machine{}
	for _, m := range have {
		byName[m.Name] = m
	}
	var out []provider.Machine
	for _, m := range c.Spec.Machines() {
		if h, ok := byName[m.Name]; ok {
			out = append(out, h)
			continue
		}
		out = append(out, provider.Machine{Name: m.Name, Role: m.Role, State: provider.Absent})
	}
	return c.withCloud(ctx, out, have)
}

// desiredFor is the document of one machine, or of nobody in particular. What is trusted is empty until Vault has it.
func (c *Cluster) desiredFor(self string, machines []provider.Machine, t trust) unit.Desired {
	me := provider.Machine{Name: self}
	if i := slices.IndexFunc(machines, func(m provider.Machine) bool { return m.Name == self }); i >= 0 {
		me = machines[i]
	}
	return c.desired(me, machines, t)
}

func (c *Cluster) desired(me provider.Machine, machines []provider.Machine, t trust) unit.Desired {
	s := c.Spec.Spec
	d := unit.Desired{
		Cluster: c.Spec.Metadata.Name, ID: c.ID, Self: me.Name, KubernetesVersion: s.KubernetesVersion,
		MachineCIDR: s.Provider.MachineCIDR(), PodCIDR: s.Network.PodCIDR, ServiceCIDR: s.Network.ServiceCIDR,
		ClusterDomain: s.Network.ClusterDomain, LeafTTL: s.PKI.LeafTTL.Duration, CAs: t.cas, Issuers: t.issuers, SSH: t.ssh,
	}
	if s.Provider.AWS != nil {
		d.Region = s.Provider.AWS.Region
	}
	for _, m := range machines {
		// Members of groups come and go, and no machine has to be told: each knows itself.
		if m.Pool == "" || m.Name == me.Name || me.Name == "" {
			d.Machines = append(d.Machines, unit.Machine{Name: m.Name, Role: m.Role, Address: m.Address})
		}
	}
	switch me.Role {
	case v1alpha1.RoleEtcd:
		d.NetworkPolicy = s.Network.Policy
	case v1alpha1.RoleControlPlane:
		d.NetworkPolicy = s.Network.Policy
		d.Isolation = s.Isolation
		d.ServiceAccountKeys = t.tokens
		d.Authentication, d.Authorization = s.Authentication, s.Authorization
	case v1alpha1.RoleWorker:
		d.Ceilings = unit.Ceilings(s.Isolation)
	case v1alpha1.RolePublicLB:
		d.PublicServices = c.publicServices(machines)
	}
	return d
}

// writeOperatorFile writes for the operator's eyes only, and is on disk when it returns.
func writeOperatorFile(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
