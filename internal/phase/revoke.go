package phase

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/audit"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
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
		return c.RevokeMachine(ctx, what)
	case what.User != "":
		return c.revokeUser(ctx, what)
	}
	return c.revokeSerial(ctx, what)
}

// RevokeMachine shuts a declared machine out.
func (c *Cluster) RevokeMachine(ctx context.Context, what Revocation) (RevocationReport, error) {
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
		if last := lastOfItsRole(m.Name, m.Role, c.inService(have)); last != nil {
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
	out.Certificates = revocations(issued, what, sever, began)
	if err := c.revokeInVault(ctx, issued, out.Certificates); err != nil {
		return out, err
	}
	if !declared { // `up` goes on, and waits for machines and nodes as ever
		list, err := c.list(ctx, out, began, func(r *unit.Revoked) { r.Machines = letIn(r.Machines, what.Machine) })
		if err == nil {
			_, err = c.write(ctx, list)
		}
		return out, err
	}
	out.Notes = notes(m.Role)
	out, err = c.spread(ctx, out, began, func(r *unit.Revoked) {
		r.Machines = shut(r.Machines, unit.ShutOut{Name: what.Machine, Reason: what.Reason, At: began.UTC()})
	})
	if err == nil && m.Role == v1alpha1.RoleWorker {
		err = c.dropNode(ctx, what.Machine)
	}
	return out, err
}

// dropNode takes a node out of Kubernetes.
func (c *Cluster) dropNode(ctx context.Context, name string) error {
	config, err := c.Kube(ctx)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
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

// revokeSerial takes one certificate back.
func (c *Cluster) revokeSerial(ctx context.Context, what Revocation) (RevocationReport, error) {
	began, out := time.Now(), RevocationReport{Of: what.Serial}
	events, err := c.Audit(ctx)
	if err != nil {
		return out, err
	}
	var found []audit.Event
	for _, e := range (audit.Filter{Serial: what.Serial}).Select(events) {
		if e.Kind == audit.Issued && e.Refused == "" {
			found = append(found, e)
		}
	}
	switch {
	case len(found) == 0:
		return out, InputError{fmt.Errorf("vault's log knows of no certificate with the serial %s: `ashlar pki audit` lists what was issued", what.Serial)}
	case len(found) > 1:
		return out, InputError{fmt.Errorf("%d certificates have serials that begin with %s: give it in full", len(found), what.Serial)}
	case !found[0].Alive(began):
		return out, InputError{fmt.Errorf("the certificate %s of %s has expired already", found[0].Serial, found[0].Who)}
	}
	sever := netip.Prefix{}
	if from, err := netip.ParseAddr(found[0].From); err == nil {
		sever = netip.PrefixFrom(from, from.BitLen())
	}
	out.Certificates = revocations(found, what, sever, began)
	if err := c.revokeInVault(ctx, found, out.Certificates); err != nil {
		return out, err
	}
	return c.spread(ctx, out, began, func(*unit.Revoked) {})
}
