package phase

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// What was taken back after a backup must not be good again with it, also where the restored Vault has never heard of it. The
// machines that refuse it have it on their disks. Which machines and robots are shut out, the operator remembers.

// listAgain adds to the restored list of what was revoked what machines refuse already, and returns that; and shuts out who was.
func (c *Cluster) listAgain(ctx context.Context, root *vault.Client) ([]unit.Revocation, error) {
	refused, err := c.revokedOnDisks(ctx)
	if err != nil {
		return nil, err
	}
	r, version, err := root.Revoked(ctx)
	if err != nil {
		return nil, err
	}
	out, known := c.remembered()
	if len(refused) == 0 && !known {
		return nil, nil
	}
	now := time.Now()
	r.Credentials = slices.DeleteFunc(addRevocations(r.Credentials, refused), func(r unit.Revocation) bool { return !now.Before(r.Until) })
	if known {
		r.Machines, r.Users = out.Machines, out.Users
	}
	for _, robot := range r.Users { // the layout does the rest, but secrets are not its business
		if _, err := root.ShutOutRobot(ctx, robot.Name); err != nil && !errors.Is(err, vault.ErrNotFound) {
			return nil, err
		}
	}
	return refused, root.WriteRevoked(ctx, version, r)
}

// revokedOnDisks reads what the machines that have a disk were told last of what was revoked.
func (c *Cluster) revokedOnDisks(ctx context.Context) ([]unit.Revocation, error) {
	machines, err := c.Machines(ctx)
	if err != nil {
		return nil, err
	}
	var out []unit.Revocation
	for _, m := range machines {
		if m.State == provider.Absent {
			continue
		}
		b, err := c.Provider.Read(ctx, m.Name, agent.KeptFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read what %s refuses: %w", m.Name, err)
		}
		out = append(out, agent.ReadKept(b).Revoked...)
	}
	return out, nil
}
