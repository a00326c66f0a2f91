package observe

import (
	"context"
	"fmt"
	"time"

	"ashlar.dev/ashlar/internal/network"
)

// Network is a live cluster's: what there is, what is declared of it, what decides, and how to measure it.
type Network struct {
	Machines  Machines
	Inventory *network.Inventory
	Declared  network.Declaration
	// World has all policies, Own those that are the cluster's own.
	World, Own network.World
}

// Survey is what is looked at of a network, and what was found.
type Survey struct {
	Classes     []network.Class
	Connections []network.Connection
	Found       []network.Found
	// Observed is when it was measured.
	Observed time.Time
}

// Survey lists all connections that are worth a look, and decides them.
func (n *Network) Survey() (*Survey, error) {
	s := &Survey{Classes: network.Classes(n.Inventory, n.World.Policies, n.Declared.Policy)}
	s.Connections = network.Connections(s.Classes, n.Inventory)
	return s, n.Simulate(s)
}

// Simulate decides the connections of a survey, by declaration and by the policies in force.
func (n *Network) Simulate(s *Survey) (err error) {
	s.Found = make([]network.Found, len(s.Connections))
	for i := range s.Connections {
		if s.Found[i], err = network.Look(&s.Connections[i], &n.Declared, &n.World, &n.Own); err != nil {
			return err
		}
	}
	return nil
}

// Silence is how long it is waited for, at first, and again where it is not what was simulated: a busy machine loses packets, too.
const (
	silence     = 1 * time.Second
	longSilence = 3 * time.Second
)

// Observe measures all connections of a survey, and those that differ from the simulation once more.
func (n *Network) Observe(ctx context.Context, s *Survey) error {
	all := make([]int, len(s.Connections))
	for i := range all {
		all[i] = i
	}
	for _, wait := range []time.Duration{silence, longSilence} {
		if err := n.measure(ctx, s, all, wait); err != nil {
			return err
		}
		var again []int
		for _, i := range all {
			if o := s.Found[i].Observed; o != network.Unknown && o != s.Found[i].Simulated && s.Found[i].Simulated != network.Partly {
				again = append(again, i)
			}
		}
		if all = again; len(all) == 0 {
			break
		}
	}
	return nil
}

func (n *Network) measure(ctx context.Context, s *Survey, those []int, wait time.Duration) error {
	tasks := make([]Task, len(those))
	for i, at := range those {
		tasks[i] = task(&s.Connections[at])
	}
	outcomes, err := Measure(ctx, n.Machines, tasks, wait)
	if err != nil {
		return fmt.Errorf("measure the network: %w", err)
	}
	for i, o := range outcomes {
		s.Found[those[i]].Observed = judge(&s.Connections[those[i]], s.Found[those[i]].Simulated, o)
		s.Found[those[i]].Answer = o.Answer
	}
	return nil
}

func task(c *network.Connection) Task {
	t := Task{Machine: c.From.Machine, Attempt: Attempt{To: c.Address, Protocol: string(c.Port.Protocol)}}
	if c.From.Namespace != "" {
		t.From = c.From.Address
	}
	if c.Service == "" && c.To.Namespace != "" {
		t.ListenOn = c.To.Machine
	}
	return t
}

// judge says what an outcome proves. Where nobody need be there to answer, silence proves nothing but that it is not open.
func judge(c *network.Connection, simulated network.Reach, o Outcome) network.Reach {
	pod := c.To.Namespace != ""
	switch {
	case o.State == Reached:
		return network.Yes
	case simulated == network.Yes && c.To.Machine == "":
		return network.Unknown // an address outside, where nobody need be
	case o.State == Silent && simulated == network.Yes && c.Port.Protocol != "TCP" && (!pod || c.Service != ""):
		return network.Unknown // a program that says nothing, where nobody can listen for what comes in
	}
	return network.No
}
