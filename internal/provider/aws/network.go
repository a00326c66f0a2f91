package aws

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-exec/tfexec"
	tfjson "github.com/hashicorp/terraform-json"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
)

// Preflight returns every reason why machines cannot be made from here.
func (p *Provider) Preflight(ctx context.Context, _ []v1alpha1.Machine) []error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var problems []error
	if _, err := p.program(); err != nil {
		problems = append(problems, err)
	}
	if _, err := p.whoAmI(ctx); err != nil {
		problems = append(problems, err)
	}
	return problems
}

// Reserve says what there is: addresses are AWS's to give, when EnsureNetwork makes the machines.
func (p *Provider) Reserve(ctx context.Context, machines []v1alpha1.Machine) ([]provider.Machine, error) {
	have, err := p.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range machines {
		if !slices.ContainsFunc(have, func(h provider.Machine) bool { return h.Name == m.Name }) {
			have = append(have, provider.Machine{Name: m.Name, Role: m.Role, State: provider.Absent})
		}
	}
	slices.SortFunc(have, func(a, b provider.Machine) int { return cmp.Compare(a.Name, b.Name) })
	return have, nil
}

// NetworkDrift names all that OpenTofu would do, of the machines, too.
func (p *Provider) NetworkDrift(ctx context.Context, _ []provider.Machine, network provider.Network) ([]provider.Drift, error) {
	plan, err := p.Plan(ctx, network)
	if err != nil {
		return nil, err
	}
	var out []provider.Drift
	for _, c := range Summarise(plan) {
		out = append(out, c.drift())
	}
	return out, nil
}

// Plan is what OpenTofu would do. Without anything that exists, it is all.
func (p *Provider) Plan(ctx context.Context, network provider.Network) (*tfjson.Plan, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, err := p.variables(ctx, network)
	if err != nil {
		return nil, err
	}
	planned, err := p.plan(ctx, v)
	if err != nil {
		return nil, err
	}
	return planned.plan, nil
}

func (p *Provider) variables(ctx context.Context, network provider.Network) (Variables, error) {
	archive, err := p.Archive(ctx)
	return NewVariables(p.Cluster, network, archive.Digest), err
}

// EnsureNetwork makes the machines and the network between them, as it was planned; what would lose data only where that was asked for.
func (p *Provider) EnsureNetwork(ctx context.Context, _ []provider.Machine, network provider.Network) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	had, err := p.hasState(ctx)
	if err != nil {
		return err
	}
	if err := p.makeState(ctx); err != nil {
		return err
	}
	v, err := p.variables(ctx, network)
	if err != nil {
		return err
	}
	plan := p.planned
	if !had || plan == nil || plan.variables != digestOf(v) {
		if plan, err = p.plan(ctx, v); err != nil {
			return err
		}
	}
	changes := Summarise(plan.plan)
	if err := refused(changes, p.Replace); err != nil {
		return err
	}
	if len(changes) > 0 {
		err = p.apply(ctx, plan.file)
		if err != nil && strings.Contains(err.Error(), "Saved plan is stale") { // somebody else was at work between
			if plan, err = p.plan(ctx, v); err == nil {
				if err = refused(Summarise(plan.plan), p.Replace); err == nil {
					err = p.apply(ctx, plan.file)
				}
			}
		}
		if err != nil {
			return fmt.Errorf("make the machines and their network: %w", err)
		}
	}
	return p.publish(ctx)
}

func digestOf(v Variables) string {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// NATGateways are those of a VPC of the cluster's own; of an existing one, Ashlar does not know them.
func (p *Provider) NATGateways(ctx context.Context) ([]netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out, err := p.readOutputs(ctx)
	if err != nil {
		return nil, err
	}
	var all []netip.Addr
	for _, a := range out.NATAddresses {
		all = append(all, a)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all, nil
}

// Destroy removes all that was made, and last of all the state that knows of it.
func (p *Provider) Destroy(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	state, err := p.hasState(ctx)
	if err != nil {
		return err
	}
	if state {
		v, err := p.variables(ctx, p.Network)
		if err != nil {
			return err
		}
		variables, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return err
		}
		tf, err := p.open(ctx, variables, true)
		if err != nil {
			return err
		}
		if p.Unlock != "" {
			if err := tf.ForceUnlock(ctx, p.Unlock); err != nil {
				return fmt.Errorf("take the lock %s off the state: %w", p.Unlock, explain(err))
			}
		}
		if err := tf.Destroy(ctx, tfexec.LockTimeout(lockTimeout)); err != nil {
			return fmt.Errorf("remove the machines and their network: %w", explain(err))
		}
	}
	p.outputs, p.planned, p.heard, p.ready, p.sealed = nil, nil, nil, "", ""
	return p.removeState(ctx)
}
