package phase

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/audit"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/ui"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// Groups grow and shrink without `up`: a new instance proves itself, and one that is terminated can renew nothing. What it was
// given is good for some hours more, unless it is taken back, which is done here.

// settled is how long ago an instance must have logged in before the cloud's not naming it means that it is gone: a cloud tells
// of new ones with delay.
const settled = 5 * time.Minute

// departed are the instances that have logged in and are gone.
func departed(loggedIn []vault.Instance, live []string, now time.Time) []vault.Instance {
	return slices.DeleteFunc(slices.Clone(loggedIn), func(i vault.Instance) bool {
		return slices.Contains(live, i.ID) || now.Sub(i.Since) < settled
	})
}

// lockedOut are the instances of named machines that have no token, and may not log in: each does so once, and has. Either they
// were off until it expired, or it was lost on its way, and they have said nothing since. They are there, at their own addresses,
// from where alone they may log in. A member is replaced instead: it keeps nothing.
func lockedOut(loggedIn []vault.Instance, live []string, seen map[string]time.Time, ttl time.Duration, now time.Time) []vault.Instance {
	return slices.DeleteFunc(slices.Clone(loggedIn), func(i vault.Instance) bool {
		expired := now.Sub(i.Since) > ttl && now.Sub(seen[i.Of]) > ttl
		lost := now.Sub(i.Since) > settled && seen[i.Of].Before(i.Since)
		return i.Member || !slices.Contains(live, i.ID) || !expired && !lost
	})
}

// instances are those that something is to be done about.
type instances struct{ gone, out []vault.Instance }

// instances asks Vault before it asks the cloud: whoever logs in meanwhile is there by then.
func (c *Cluster) instances(ctx context.Context) (out instances, err error) {
	p, ok := c.Provider.(provider.Instances)
	if !ok {
		return out, nil
	}
	v, err := c.operatorVault(ctx)
	if err != nil {
		return out, err
	}
	loggedIn, err := v.Instances(ctx)
	if err != nil {
		return out, err
	}
	live, err := p.Instances(ctx)
	if err != nil {
		return out, err
	}
	seen := map[string]time.Time{}
	for _, i := range loggedIn {
		var status agent.Status
		if !i.Member {
			if _, err := v.ReadDocument(ctx, i.Of, vault.Status, &status); err != nil {
				return out, err
			}
			seen[i.Of] = status.Seen
		}
	}
	now := time.Now()
	return instances{departed(loggedIn, live, now), lockedOut(loggedIn, live, seen, c.Spec.Spec.PKI.LeafTTL.Duration, now)}, nil
}

func observeInstances(ctx context.Context, c *Cluster) ([]Drift, error) {
	all, err := c.instances(ctx)
	var drift []Drift
	for _, i := range all.gone {
		drift = append(drift, Drift{Object: c.instanceName(i), Cause: fmt.Sprintf("its instance %s is gone, and what it was given may still be good", i.ID),
			Action: "revoke it"})
	}
	for _, i := range all.out {
		drift = append(drift, Drift{Object: c.instanceName(i), Cause: fmt.Sprintf("its instance %s has logged in, and has no live Vault token", i.ID),
			Action: "end what it has, and let it log in once more"})
	}
	return drift, err
}

func (c *Cluster) instanceName(i vault.Instance) string {
	if aws := c.Spec.Spec.Provider.AWS; aws != nil {
		return i.Name(aws.Region)
	}
	return i.Of
}

func applyInstances(ctx context.Context, c *Cluster, progress *ui.Progress) error {
	all, err := c.instances(ctx)
	if err != nil || len(all.gone)+len(all.out) == 0 {
		return err
	}
	v, err := c.operatorVault(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, i := range all.out {
		_, err := v.EndInstance(ctx, i.ID) // whoever has it, if it is not the machine
		if err == nil {
			err = v.ForgetInstance(ctx, i)
		}
		errs = append(errs, err)
	}
	if len(all.gone) == 0 {
		return errors.Join(errs...)
	}
	events, err := c.Audit(ctx)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	for _, i := range all.gone {
		progress.Detail("%s", i.ID)
		errs = append(errs, c.revokeInstance(ctx, i, events))
	}
	return errors.Join(errs...)
}

// revokeInstance takes back what an instance was given that is gone: nothing of its successor's, if it has one. That it has
// logged in is forgotten last: until then the next `up` does it all again.
func (c *Cluster) revokeInstance(ctx context.Context, i vault.Instance, events []audit.Event) error {
	now, name := time.Now(), c.instanceName(i)
	v, err := c.operatorVault(ctx)
	if err != nil {
		return err
	}
	if _, err := v.EndInstance(ctx, i.ID); err != nil {
		return err
	}
	issued := audit.Filter{Instance: i.ID}.Select(events)
	if i.Member {
		if _, err := v.ShutOutMachine(ctx, name); err != nil {
			return err
		}
		more, err := c.reported(ctx, v, name, issued)
		if err != nil {
			return err
		}
		issued = append(issued, more...)
	}
	certs := revocations(issued, Revocation{Reason: "its instance is gone"}, netip.Prefix{}, now)
	if err := c.revokeInVault(ctx, issued, certs); err != nil {
		return err
	}
	list, err := c.changeRevoked(ctx, now, func(r *unit.Revoked) {
		r.Credentials = addRevocations(r.Credentials, certs)
		r.Machines = slices.DeleteFunc(r.Machines, func(s unit.ShutOut) bool { return i.Member && s.Name == name })
	})
	if err == nil {
		_, err = c.write(ctx, list)
	}
	if err == nil && i.Member {
		err = v.ForgetStatus(ctx, name)
	}
	if err != nil {
		return fmt.Errorf("take back what instance %s of %s was given: %w", i.ID, i.Of, err)
	}
	return v.ForgetInstance(ctx, i)
}
