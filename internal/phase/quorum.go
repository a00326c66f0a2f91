package phase

import (
	"context"
	"errors"
	"slices"
	"time"

	"ashlar.dev/ashlar/internal/ui"
)

// quorumTimeout is how long Vault's autopilot may take to make new members voters: it looks every ten seconds.
const quorumTimeout = time.Minute

// observeQuorum names members of Vault that raft does not count yet. Before it does, the loss of another is one too many.
func observeQuorum(ctx context.Context, c *Cluster) ([]Drift, error) {
	machines, err := c.vaultMachines(ctx)
	if err != nil || len(machines) == 1 {
		return nil, err
	}
	v, err := c.operatorVault(ctx)
	if err != nil {
		return nil, err
	}
	voters, err := v.Voters(ctx)
	if err != nil {
		return nil, err
	}
	var drift []Drift
	for _, m := range machines {
		if !slices.Contains(voters, m.Name) {
			drift = append(drift, Drift{Object: m.Name, Cause: "Vault on it has no vote yet", Action: "wait for it"})
		}
	}
	return drift, nil
}

func applyQuorum(ctx context.Context, c *Cluster, drift []Drift, progress *ui.Progress) error {
	ctx, cancel := context.WithTimeout(ctx, quorumTimeout)
	defer cancel()
	for {
		progress.Detail("waiting for %s to vote", drift[0].Object)
		select {
		case <-ctx.Done():
			return errors.New(drift[0].Object + ": " + drift[0].Cause + "; see `ashlar logs " + drift[0].Object + " vault`")
		case <-time.After(look):
		}
		again, err := observeQuorum(ctx, c)
		if err != nil {
			return err
		}
		if len(again) == 0 {
			progress.Detail("")
			return nil
		}
		drift = again
	}
}
