package phase

import (
	"context"
	"slices"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/ui"
)

// undeclared are the machines that the file does not have any more.
func (c *Cluster) undeclared(ctx context.Context) ([]provider.Machine, error) {
	have, err := c.Provider.List(ctx)
	return slices.DeleteFunc(have, func(m provider.Machine) bool {
		return c.Spec.Spec.Provider.Grouped(m.Role) || // whose members come and go
			slices.ContainsFunc(c.Spec.Machines(), func(w v1alpha1.Machine) bool { return w.Name == m.Name })
	}), err
}

// observeRemoval finds machines that are off and not deleted yet: until then it is known what is to be revoked.
func observeRemoval(ctx context.Context, c *Cluster) ([]Drift, error) {
	gone, err := c.undeclared(ctx)
	var drift []Drift
	for _, m := range gone {
		drift = append(drift, Drift{Object: m.Name, Cause: "no pool declares this machine any more", Action: "revoke what it holds, and delete it"})
	}
	return drift, err
}

// applyRemoval takes back what a machine was given before it deletes the machine. Vault knows it no longer: the step before took
// its login and its identity away, and with it the use of its tokens.
func applyRemoval(ctx context.Context, c *Cluster, _ []Drift, progress *ui.Progress) error {
	gone, err := c.undeclared(ctx)
	if err != nil {
		return err
	}
	for _, m := range gone {
		progress.Detail("%s", m.Name)
		if _, err := c.revokeMachine(ctx, Revocation{Machine: m.Name, Reason: "removed from the file"}, m, false); err != nil {
			return err
		}
		if err := c.Provider.Delete(ctx, m.Name); err != nil {
			return err
		}
	}
	return nil
}
