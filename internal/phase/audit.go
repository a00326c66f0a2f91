package phase

import (
	"context"
	"time"

	"ashlar.dev/ashlar/internal/audit"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// Audit reads from Vault's log who got what, and flags what nobody accounts for.
func (c *Cluster) Audit(ctx context.Context) ([]audit.Event, error) {
	machines, err := c.Machines(ctx)
	if err != nil {
		return nil, err
	}
	d := c.desiredFor("", machines, trust{})
	vaults := audit.Vaults(d.Machines)
	var events []audit.Event
	for _, log := range unit.AuditLogs { // each has everything; one may have been switched off
		lines, err := audit.Search(ctx, c.Provider, vaults, log, audit.Texts(d.Cluster)...)
		if err != nil {
			return nil, err
		}
		if events = audit.Events(d.Cluster, lines); len(events) > 0 {
			break
		}
	}
	held := map[string][]string{}
	all, err := c.enrolment(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		held[e.machine.Name] = e.status.Held
	}
	return audit.Account(events, audit.Known{Machines: d.Machines, Held: held, Operator: vault.Operator,
		OperatorAddress: operatorAddress(d.MachineCIDR).String(), Now: time.Now()}), nil
}
