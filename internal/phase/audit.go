package phase

import (
	"context"
	"time"

	"ashlar.dev/ashlar/internal/agent"
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
	if err := c.reveal(ctx, events); err != nil {
		return nil, err
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
		OperatorAddress: c.operatorAddress(machines).String(), Now: time.Now()}), nil
}

// reveal finds what was issued and is not in the log: Vault keeps every certificate until it has expired.
func (c *Cluster) reveal(ctx context.Context, events []audit.Event) error {
	concealed := audit.Concealed(events)
	if len(concealed) == 0 {
		return nil
	}
	v, err := c.operatorVault(ctx)
	if err != nil {
		return err
	}
	kept := map[unit.CA][]string{}
	for ca := range concealed {
		if kept[ca], err = v.Kept(ctx, ca); err != nil {
			return err
		}
	}
	audit.Reveal(events, kept, agent.Backdating)
	return nil
}
