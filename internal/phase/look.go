package phase

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/relay"
	"ashlar.dev/ashlar/internal/webhook"
)

// ToEverybody is what people are told as long as it is so, though they have declared it.
const ToEverybody = "everybody on the internet may knock here: spec.exposure.trustedCIDRs holds 0.0.0.0/0, acknowledged"

// MachineReport is a machine as its provider sees it and as it reports itself.
type MachineReport struct {
	Name    string         `json:"name"`
	Role    v1alpha1.Role  `json:"role"`
	Address netip.Addr     `json:"address"`
	Public  netip.Addr     `json:"public,omitzero"`
	State   provider.State `json:"state"`
	Status  agent.Status   `json:"status"`
	// Revoked: it is shut out, and left alone.
	Revoked bool `json:"revoked,omitempty"`
}

// Look reads what all machines report. Without Vault, there is still what the provider knows.
func Look(ctx context.Context, c *Cluster) ([]MachineReport, error) {
	machines, err := c.Machines(ctx)
	if err != nil {
		return nil, err
	}
	all, err := c.enrolment(ctx)
	if err != nil && !c.Exists() {
		return nil, errors.New("there is no such cluster yet: run `ashlar up`")
	}
	var out []MachineReport
	for i, m := range machines {
		r := MachineReport{Name: m.Name, Role: m.Role, Address: m.Address, Public: m.Public, State: m.State}
		if err == nil {
			r.Status = all[i].status
			r.Revoked = all[i].out
		} else {
			r.Status.Problems = []string{"unknown: " + err.Error()}
		}
		if r.Revoked {
			r.Status.Problems = append(r.Status.Problems, "revoked: everybody refuses it, and `ashlar up` leaves it alone until it is made anew")
		}
		if m.Public.IsValid() && c.Spec.Spec.Exposure.ToEverybody() {
			r.Status.Problems = append(r.Status.Problems, ToEverybody)
		}
		if m.Role == v1alpha1.RoleControlPlane {
			r.Status.Problems = append(r.Status.Problems, c.staticTokens(ctx, m)...)
		}
		out = append(out, r)
	}
	if err != nil {
		hurts, err := c.whileAway(ctx, time.Now())
		if err != nil {
			return nil, err
		}
		for i, r := range out {
			if r.Role == v1alpha1.RoleVault && hurts != "" {
				out[i].Status.Problems = append(out[i].Status.Problems, hurts)
				break
			}
		}
	}
	return out, nil
}

// staticTokens names those that the API server of a machine takes.
func (c *Cluster) staticTokens(ctx context.Context, m provider.Machine) []string {
	var left []webhook.BreakGlass
	if m.State != provider.Absent {
		var err error
		if left, err = c.BreakGlassTokens(ctx, m.Name); err != nil {
			return []string{err.Error()}
		}
	}
	var out []string
	for _, t := range webhook.Tokens(c.Spec.Spec.Authentication.StaticTokens, left) {
		out = append(out, t.Describe(time.Now()))
	}
	return out
}

// inside is a provider whose network is on this host.
type inside interface {
	RunIn(vantage string, f func() error) error
}

// RunInside runs f where connections are opened from a vantage, as for a program that dials by itself.
func (c *Cluster) RunInside(vantage string, f func() error) error {
	if p, ok := c.Provider.(inside); ok {
		return p.RunIn(vantage, f)
	}
	return f()
}

// NearAPI runs f where a program that dials by itself reaches the API, whose address it is given: inside the cluster's network, or
// where nobody can be, by a port of this host's that leads there.
func (c *Cluster) NearAPI(ctx context.Context, f func(server string) error) error {
	server, err := c.APIServerURL(ctx)
	if err != nil {
		return err
	}
	if _, ok := c.Provider.(inside); ok {
		return c.RunInside(provider.FromOperator, func() error { return f(server) })
	}
	at, err := url.Parse(server)
	if err != nil {
		return err
	}
	local, stop, err := relay.Serve(ctx, func(ctx context.Context) (net.Conn, error) {
		return c.Provider.Dial(ctx, provider.FromOperator, "tcp", at.Host)
	})
	if err != nil {
		return err
	}
	defer stop()
	return f("https://" + local)
}
