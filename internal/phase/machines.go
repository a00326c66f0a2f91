package phase

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/ui"
	"ashlar.dev/ashlar/internal/unit"
)

// preflight refuses what cannot work, all at once, before anything is touched.
func preflight(ctx context.Context, c *Cluster) ([]Drift, error) {
	var problems []error
	if err := c.unfinishedRestore(); err != nil {
		return nil, err
	}
	if want, have := c.Spec.Spec.KubernetesVersion, c.Bundle.Versions()["kubernetes"]; want != have {
		problems = append(problems, InputError{fmt.Errorf("spec.kubernetesVersion: the bundle has Kubernetes %s, not %s", have, want)})
	}
	if err := c.Bundle.VerifyQuick(ctx); err != nil {
		problems = append(problems, err)
	}
	if c.Spec.Spec.Provider.Local != nil { // elsewhere what would be lost has to be asked for
		problems = append(problems, c.fixedCounts(ctx)...)
	}
	problems = append(problems, c.Provider.Preflight(ctx, c.Spec.Machines())...)
	return nil, errors.Join(problems...)
}

// fixedCounts refuses what would need members to join or leave a running etcd or Vault.
func (c *Cluster) fixedCounts(ctx context.Context) []error {
	if c.vaultCA() == "" {
		return nil // it never came so far as to have members
	}
	have, err := c.Provider.List(ctx)
	if err != nil {
		return []error{err}
	}
	lost, err := c.lostMembers(ctx)
	if err != nil {
		return []error{err}
	}
	var problems []error
	for _, role := range []v1alpha1.Role{v1alpha1.RoleVault, v1alpha1.RoleEtcd} {
		left, declared := 0, 0
		for _, m := range have {
			if m.Role == role && m.State != provider.Absent {
				left++
			}
		}
		for _, m := range c.Spec.Machines() {
			if m.Role == role {
				declared++
			}
		}
		if err := membership(role, left, lost[role], declared); err != nil {
			problems = append(problems, err)
		}
	}
	return problems
}

// observeMachines compares hosts and the network between them with what the file says.
func observeMachines(ctx context.Context, c *Cluster) ([]Drift, error) {
	if c.Spec.Spec.Provider.AWS != nil {
		return observePlanned(ctx, c)
	}
	var drift []Drift
	if !c.Exists() {
		drift = append(drift, Drift{Object: c.Spec.Metadata.Name, Cause: "there is no such cluster", Action: "create it", hides: true})
	}
	have, err := c.Provider.List(ctx)
	if err != nil {
		return nil, err
	}
	want := c.Spec.Machines()
	for _, m := range want {
		i := slices.IndexFunc(have, func(h provider.Machine) bool { return h.Name == m.Name })
		switch {
		case i < 0 || have[i].State == provider.Absent:
			drift = append(drift, Drift{Object: m.Name, Cause: "the machine does not exist", Action: "create it as " + string(m.Role), hides: true})
		case have[i].Role != m.Role:
			return nil, fmt.Errorf("machine %s is a %s machine, the file says %s: name the pool differently, so that a new machine is made",
				m.Name, have[i].Role, m.Role)
		case have[i].State == provider.Stopped && !c.wasRevoked(m.Name):
			drift = append(drift, Drift{Object: m.Name, Cause: "the machine is powered off", Action: "power it on"})
		}
	}
	for _, h := range have {
		if !slices.ContainsFunc(want, func(m v1alpha1.Machine) bool { return m.Name == h.Name }) {
			drift = append(drift, Drift{Object: h.Name, Cause: "no pool declares this machine any more", Action: "power it off, revoke what it holds, and delete it", hides: true})
		}
	}
	if !c.Exists() {
		return drift, nil
	}
	network, err := c.Provider.NetworkDrift(ctx, have, c.network())
	for _, n := range network {
		object := n.Machine
		if object == "" {
			object = "network"
		}
		drift = append(drift, Drift{Object: object, Cause: n.Cause, Action: n.Action})
	}
	return drift, err
}

func applyMachines(ctx context.Context, c *Cluster, _ []Drift, _ *ui.Progress) error {
	if err := c.makeIdentity(); err != nil {
		return err
	}
	if c.Spec.Spec.Provider.AWS != nil {
		return applyPlanned(ctx, c)
	}
	if err := c.powerOffUndeclared(ctx); err != nil {
		return err
	}
	rejoin, err := c.lost(ctx)
	if err != nil {
		return err
	}
	machines, err := c.Provider.Reserve(ctx, c.Spec.Machines())
	if err != nil {
		return err
	}
	machines = declared(c, machines)
	if err := c.Provider.EnsureNetwork(ctx, machines, c.network()); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, m := range machines {
		if m.State == provider.Running || m.State == provider.Stopped && c.wasRevoked(m.Name) {
			continue
		}
		g.Go(func() error {
			b, err := c.knownBoot(ctx, m)
			if err != nil {
				return err
			}
			b.Desired, b.VaultCA = c.desiredFor(m.Name, machines, trust{}), c.vaultCA()
			c.restoring.mark(&b, m.Role)
			b.Rejoin = b.Rejoin || rejoin[m.Name]
			boot, err := c.bootFile(b)
			if err != nil {
				return err
			}
			if m.State == provider.Stopped {
				if err := c.Provider.Write(ctx, m.Name, []provider.File{boot}); err != nil {
					return err
				}
			}
			return c.Provider.Start(ctx, m, []provider.File{boot})
		})
	}
	return g.Wait()
}

func declared(c *Cluster, machines []provider.Machine) []provider.Machine {
	var out []provider.Machine
	for _, want := range c.Spec.Machines() {
		for _, m := range machines {
			if m.Name == want.Name {
				out = append(out, m)
			}
		}
	}
	return out
}

// bootFile renders a boot document under a new revision, which makes the agent look at everything again.
func (c *Cluster) bootFile(b agent.Boot) (provider.File, error) {
	b.Revision = strconv.FormatInt(time.Now().UnixNano(), 36)
	content, err := json.Marshal(b)
	return provider.File{Path: unit.BootFile, Mode: 0o600, Content: content}, err
}

// powerOffUndeclared ends machines that the file does not have any more. They are deleted once what they hold is revoked, for
// which Vault must be open.
func (c *Cluster) powerOffUndeclared(ctx context.Context) error {
	gone, err := c.undeclared(ctx)
	for _, m := range gone {
		if m.State == provider.Running && err == nil {
			err = c.Provider.PowerOff(ctx, m.Name)
		}
	}
	return err
}

// Down removes everything that was made for the cluster.
func Down(ctx context.Context, c *Cluster, progress *ui.Progress) error {
	progress.Begin("down")
	err := c.Provider.Destroy(ctx)
	if err == nil {
		err = os.RemoveAll(c.Dir)
	}
	progress.End(err)
	return err
}
