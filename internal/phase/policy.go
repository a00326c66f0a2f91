package phase

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/controller"
	"ashlar.dev/ashlar/internal/network"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/ui"
	"ashlar.dev/ashlar/internal/unit"
)

// policyTimeout is how long it may take to look at the overlay's etcd: without a majority it never answers.
const policyTimeout = 10 * time.Second

// Compiled is what is declared of pods, compiled for these machines.
func (c *Cluster) Compiled(machines []provider.Machine) (network.Compiled, error) {
	n := c.desiredFor("", machines, trust{}).Network()
	n.Policy = c.Spec.Spec.Network.Policy
	return network.CompileFor(n)
}

func (c *Cluster) policies(machines []provider.Machine) (controller.Policies, error) {
	compiled, err := c.Compiled(machines)
	return controller.Policies{Declared: c.Spec.Spec.Network.Policy, Compiled: compiled.Kubernetes}, err
}

// observePolicy has an etcd machine compare what Calico goes by with what is declared.
func observePolicy(ctx context.Context, c *Cluster) ([]Drift, error) {
	ctx, cancel := context.WithTimeout(ctx, policyTimeout)
	defer cancel()
	out, err := c.overlayAuth(ctx, "--observe")
	if err == nil {
		err = c.lookForNamespaces(ctx)
	}
	if err != nil {
		return []Drift{{Object: "pod network", Cause: err.Error(), Action: "look again"}}, nil
	}
	var drift []Drift
	for line := range strings.Lines(out) {
		if ofOneLeftAlone(line, c.LeftAlone()) {
			continue
		}
		cause, action, _ := strings.Cut(strings.TrimSpace(line), " → ")
		drift = append(drift, Drift{Object: "pod network", Cause: cause, Action: action})
	}
	return drift, nil
}

// ofOneLeftAlone says whether a record is that of a revoked machine: Calico's controllers remove it with the machine's node.
func ofOneLeftAlone(line string, machines []string) bool {
	return slices.ContainsFunc(machines, func(m string) bool { return strings.Contains(line, "/felixconfigurations/node."+m+" ") })
}

func applyPolicy(ctx context.Context, c *Cluster, drift []Drift, progress *ui.Progress) error {
	progress.Detail("%s", drift[0].Cause)
	_, err := c.overlayAuth(ctx)
	return err
}

// overlayAuth runs the command of the unit etcd-overlay-auth on an etcd machine, the first that can.
func (c *Cluster) overlayAuth(ctx context.Context, more ...string) (string, error) {
	machines, err := c.Machines(ctx)
	if err != nil {
		return "", err
	}
	failed := errors.New("no etcd machine runs: `ashlar up` starts them")
	for _, m := range machines {
		if m.Role != v1alpha1.RoleEtcd || m.State != provider.Running {
			continue
		}
		var out, said bytes.Buffer
		err := c.Provider.Exec(ctx, m.Name, provider.Exec{Stdout: &out, Stderr: &said,
			Args: slices.Concat(unit.OverlayAuth(c.desiredFor(m.Name, machines, trust{})), more)})
		if err == nil {
			return out.String(), nil
		}
		failed = fmt.Errorf("look at the pod network's policy from %s: %w: %s", m.Name, err, strings.TrimSpace(said.String()))
	}
	return "", failed
}
