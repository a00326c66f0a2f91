package phase

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ashlar.dev/ashlar/internal/rotation"
	"ashlar.dev/ashlar/internal/ui"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// turnTimeout is how long the machines of one turn may take until they confirm.
const turnTimeout = 5 * time.Minute

// tellMachines has every machine take over what the present stage of the rotation makes of its desired state, those that
// stand in for each other one by one, and returns once all have confirmed it.
func (c *Cluster) tellMachines(ctx context.Context, what string, progress *ui.Progress) error {
	c.forgetTrust()
	all, err := c.enrolment(ctx)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(c.leadersLast(ctx, all), func(e enrolled) bool { return e.out })
	var told []string
	for _, turn := range rotation.Turns(restarts(all)) {
		var mine []enrolled
		roles := map[string]bool{}
		for _, e := range all {
			if slices.Contains(turn, e.machine.Name) {
				mine = append(mine, e)
				roles[string(e.machine.Role)] = true
			}
		}
		progress.Detail("%s: %s", what, strings.Join(turn, ", "))
		// Those who stand in for them meanwhile must be able to, by whatever they have been told.
		standIn := func(e enrolled, now time.Time) []Drift {
			if !roles[string(e.machine.Role)] || slices.Contains(turn, e.machine.Name) {
				return nil
			}
			e.want = e.have
			return unready(e, now)
		}
		if _, err := c.await(ctx, turnTimeout, what+": ", progress, standIn); err != nil {
			return err
		}
		for _, e := range mine {
			c.handOver(ctx, e, told)
			err := c.instruct(ctx, e)
			if errors.Is(err, vault.ErrConflict) && ctx.Err() == nil {
				return c.tellMachines(ctx, what, progress) // it was told of something revoked just then
			}
			if err != nil {
				return fmt.Errorf("tell %s: %w", e.machine.Name, err)
			}
		}
		confirmed := func(e enrolled, now time.Time) []Drift {
			if !slices.Contains(turn, e.machine.Name) {
				return nil
			}
			return unready(e, now)
		}
		if _, err := c.await(ctx, turnTimeout, what+": ", progress, confirmed); err != nil {
			return err
		}
		told = append(told, turn...)
	}
	_, err = c.await(ctx, turnTimeout, what+": ", progress, unready)
	return err
}

// restarts says on which machines something has to restart, for what they are about to be told.
func restarts(all []enrolled) []rotation.Machine {
	var out []rotation.Machine
	for _, e := range all {
		out = append(out, rotation.Machine{Name: e.machine.Name, Role: e.machine.Role, Restarts: len(restarted(e.have, e.want)) > 0})
	}
	return out
}

// restarted names the units that restart when one desired state follows another.
func restarted(from, to unit.Desired) []string {
	was := map[string]string{}
	for _, u := range unit.For(from) {
		was[u.Name] = u.Digest()
	}
	var out []string
	for _, u := range unit.For(to) {
		if digest, ok := was[u.Name]; !ok || digest != u.Digest() {
			out = append(out, u.Name)
		}
	}
	return out
}
