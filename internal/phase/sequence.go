// Package phase is how a cluster comes to be: a list of steps, each of which observes, says what differs, and
// repairs just that. `plan` is the same list without the repair.
package phase

import (
	"context"
	"fmt"
	"slices"

	"ashlar.dev/ashlar/internal/ui"
)

// Drift is one thing that is not as the file says, for people to read.
type Drift struct {
	Phase  string `json:"phase"`
	Object string `json:"object"`
	Cause  string `json:"cause"`
	Action string `json:"action"`

	hides bool // nothing that comes after it can be observed
}

// step is one phase. Observing changes nothing.
type step struct {
	name    string
	observe func(context.Context, *Cluster) ([]Drift, error)
	apply   func(context.Context, *Cluster, []Drift, *ui.Progress) error
}

// sequence reads as the table of contents of a cluster.
var sequence = []step{
	{"preflight", preflight, nil},
	{"machines", observeMachines, applyMachines},
	{"vault", observeVault, applyVault},
	{"removal", observeRemoval, applyRemoval},
	{"rotation", observeRotation, applyRotation},
	{"enrolment", observeEnrolment, applyEnrolment},
	{"baseline", observeBaseline, applyBaseline},
	{"units", observeUnits, applyUnits},
	{"policy", observePolicy, applyPolicy},
	{"access", observeAccess, applyAccess},
	{"nodes", observeNodes, applyNodes},
	{"quorum", observeQuorum, applyQuorum},
}

// Plan says what differs. It changes nothing.
func Plan(ctx context.Context, c *Cluster) ([]Drift, error) {
	var all []Drift
	for _, s := range sequence {
		drift, err := s.observe(ctx, c)
		if err != nil {
			return all, fmt.Errorf("%s: %w", s.name, err)
		}
		all = append(all, named(s.name, drift)...)
		if slices.ContainsFunc(drift, func(d Drift) bool { return d.hides }) {
			all = append(all, Drift{Phase: "then", Object: "everything after", Cause: "cannot be observed before " + s.name, Action: "look again"})
			break
		}
	}
	return all, nil
}

// Up observes and repairs phase by phase, and returns what differed.
func Up(ctx context.Context, c *Cluster, progress *ui.Progress) ([]Drift, error) {
	var all []Drift
	for _, s := range sequence {
		progress.Begin(s.name)
		drift, err := s.run(ctx, c, progress)
		progress.End(err)
		if err != nil {
			return all, fmt.Errorf("%s: %w", s.name, err)
		}
		all = append(all, named(s.name, drift)...)
	}
	return all, nil
}

func (s step) run(ctx context.Context, c *Cluster, progress *ui.Progress) ([]Drift, error) {
	drift, err := s.observe(ctx, c)
	if err != nil || len(drift) == 0 || s.apply == nil {
		return drift, err
	}
	return drift, s.apply(ctx, c, drift, progress)
}

func named(phase string, drift []Drift) []Drift {
	out := make([]Drift, len(drift))
	for i, d := range drift {
		d.Phase = phase
		out[i] = d
	}
	return out
}
