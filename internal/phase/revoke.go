package phase

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/audit"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// Revocation is what somebody wants taken back: one of the first three.
type Revocation struct {
	Machine, User, Serial string
	Reason                string
	// SeverAll ends every open connection to the servers concerned, not only those from where the credential belongs.
	SeverAll bool
}

// RevocationReport is what was taken back, and when the machines that are asked knew.
type RevocationReport struct {
	Of           string            `json:"of"`
	Tokens       int               `json:"tokens"`
	Certificates []unit.Revocation `json:"certificates"`
	Heard        []Heard           `json:"heard"`
	// Notes are what is left to do, or to know.
	Notes []string `json:"notes,omitempty"`
}

// Revoke takes back what a machine or somebody holds, or one certificate. What is shut out first gets nothing more; then what
// it was given is looked up in Vault's log, revoked there, and made known to whom it could be shown.
func (c *Cluster) Revoke(ctx context.Context, what Revocation) (RevocationReport, error) {
	if !c.Exists() {
		return RevocationReport{}, errors.New("there is no such cluster yet: run `ashlar up`")
	}
	switch {
	case what.Machine != "":
		return c.revokeDeclared(ctx, what)
	case what.User != "":
		return c.revokeUser(ctx, what)
	}
	return c.revokeSerial(ctx, what)
}

// revokeDeclared shuts a declared machine out.
func (c *Cluster) revokeDeclared(ctx context.Context, what Revocation) (RevocationReport, error) {
	machines, err := c.Machines(ctx)
	if err != nil {
		return RevocationReport{}, err
	}
	have, err := c.revoked(ctx)
	if err != nil {
		return RevocationReport{}, err
	}
	for _, m := range machines {
		if m.Name != what.Machine {
			continue
		}
		if last := lastOfItsRole(m.Name, m.Role, inService(machines, have)); last != nil {
			return RevocationReport{}, InputError{last}
		}
		return c.revokeMachine(ctx, what, m, true)
	}
	return RevocationReport{}, InputError{fmt.Errorf("the file declares no machine %q; one that it no longer declares is revoked by `ashlar up`", what.Machine)}
}

// lastOfItsRole refuses to take away what the cluster could not go on without, and nobody could make anew.
func lastOfItsRole(name string, role v1alpha1.Role, inService []v1alpha1.Machine) error {
	if role == v1alpha1.RoleWorker || slices.ContainsFunc(inService, func(m v1alpha1.Machine) bool { return m.Role == role && m.Name != name }) {
		return nil
	}
	return fmt.Errorf("%s is the only %s machine in service, and the cluster would end with it: revoke single certificates, or make the cluster anew", name, role)
}

// notes are what revoking a machine of a role does not do.
func notes(role v1alpha1.Role) []string {
	switch role {
	case v1alpha1.RoleControlPlane:
		return []string{"the key that signs ServiceAccount tokens was on it: whoever has that can go on making tokens",
			"API servers read no list for its front-proxy certificate: it is good until it expires"}
	case v1alpha1.RoleEtcd, v1alpha1.RoleVault:
		return []string{"the number of members is decided when a cluster is created: in this version it cannot be made anew"}
	}
	return nil
}

// revokeMachine takes back all that a machine holds. One that stays declared is kept out until it is made anew.
func (c *Cluster) revokeMachine(ctx context.Context, what Revocation, m provider.Machine, declared bool) (RevocationReport, error) {
	began, out := time.Now(), RevocationReport{Of: what.Machine}
	v, err := c.operatorVault(ctx)
	if err != nil {
		return out, err
	}
	if out.Tokens, err = v.ShutOutMachine(ctx, what.Machine); err != nil {
		return out, err
	}
	events, err := c.Audit(ctx)
	if err != nil {
		return out, err
	}
	sever := netip.Prefix{}
	if m.Address.IsValid() {
		sever = netip.PrefixFrom(m.Address, m.Address.BitLen())
	}
	issued := audit.Filter{Machine: what.Machine}.Select(events)
	more, err := c.reported(ctx, v, what.Machine, issued)
	if err != nil {
		return out, err
	}
	issued = append(issued, more...)
	out.Certificates = revocations(issued, what, sever, began)
	// No plane asks Vault: if it cannot list one, the others must still hear.
	unlisted := c.revokeInVault(ctx, issued, out.Certificates)
	if !declared { // `up` goes on, and waits for machines and nodes as ever
		list, err := c.list(ctx, out, began, func(r *unit.Revoked) { r.Machines = letIn(r.Machines, what.Machine) })
		if err == nil {
			_, err = c.write(ctx, list)
		}
		return out, errors.Join(err, unlisted)
	}
	out.Notes = notes(m.Role)
	out, err = c.spread(ctx, out, began, func(r *unit.Revoked) {
		r.Machines = shut(r.Machines, unit.ShutOut{Name: what.Machine, Reason: what.Reason, At: began.UTC()})
	})
	if err == nil && m.Role == v1alpha1.RoleWorker {
		err = c.dropNode(ctx, what.Machine)
	}
	return out, errors.Join(err, unlisted)
}

// reported are the certificates that a machine says it uses, and the log does not have any more.
func (c *Cluster) reported(ctx context.Context, v *vault.Client, machine string, logged []audit.Event) ([]audit.Event, error) {
	var status agent.Status
	if _, err := v.ReadDocument(ctx, machine, vault.Status, &status); err != nil {
		return nil, err
	}
	var out []audit.Event
	for _, s := range status.Certificates {
		if slices.ContainsFunc(logged, func(e audit.Event) bool { return e.CA == s.CA && audit.SameSerial(e.Serial, s.Serial) }) {
			continue
		}
		text, err := v.StoredCertificate(ctx, s.CA, s.Serial)
		if errors.Is(err, vault.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, audit.Stored(s.CA, machine, text))
	}
	return out, nil
}

// dropNode takes a node out of Kubernetes.
func (c *Cluster) dropNode(ctx context.Context, name string) error {
	client, err := c.clientset(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, heardTimeout)
	defer cancel()
	return deleteNode(ctx, client, name)
}

// revocations are of the certificates that are still good.
func revocations(events []audit.Event, what Revocation, sever netip.Prefix, now time.Time) []unit.Revocation {
	if what.SeverAll {
		sever = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	var out []unit.Revocation
	for _, e := range events {
		if !e.Alive(now) {
			continue
		}
		out = append(out, unit.Revocation{CA: e.CA, Serial: e.Serial, SHA256: e.SHA256, Name: e.Name, Of: e.Who, Reason: what.Reason,
			At: now.UTC(), Until: e.NotAfter.UTC(), Sever: sever})
	}
	return out
}

// revokeInVault puts certificates on Vault's own lists.
func (c *Cluster) revokeInVault(ctx context.Context, events []audit.Event, certs []unit.Revocation) error {
	v, err := c.operatorVault(ctx)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, r := range certs {
		g.Go(func() error {
			i := slices.IndexFunc(events, func(e audit.Event) bool { return e.Serial == r.Serial && e.CA == r.CA && e.Certificate != "" })
			return v.RevokeCertificate(ctx, r.CA, events[i].Certificate)
		})
	}
	return g.Wait()
}

// spread lists what was revoked, and has every machine that is asked know of it.
func (c *Cluster) spread(ctx context.Context, out RevocationReport, began time.Time, more func(*unit.Revoked)) (RevocationReport, error) {
	list, err := c.list(ctx, out, began, more)
	if err != nil {
		return out, err
	}
	out.Heard, err = c.tell(ctx, list, began)
	return out, err
}

// list writes down what was revoked.
func (c *Cluster) list(ctx context.Context, out RevocationReport, now time.Time, more func(*unit.Revoked)) (unit.Revoked, error) {
	return c.changeRevoked(ctx, now, func(r *unit.Revoked) {
		r.Credentials = addRevocations(r.Credentials, out.Certificates)
		more(r)
	})
}
