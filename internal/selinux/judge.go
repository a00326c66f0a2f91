package selinux

import (
	"fmt"
	"maps"
	"slices"
)

// Container is one that a machine runs, as whoever declared it knows it.
type Container struct {
	Pod, Name string
	// Privileged: it was declared so, and SELinux is to forbid it nothing.
	Privileged bool
	// Level is the one that its pod asks for itself; empty: it is given a pair that nobody else has.
	Level string
}

// Finding is one thing that must be so on a machine that enforces.
type Finding struct {
	What, Answer string
	Held         bool
}

// pause holds a pod's namespaces, and no declaration names it.
const pause = "pause"

// Judge compares what the processes of containers are to SELinux with what was declared of these, by their ids.
func Judge(r Report, declared map[string]Container) []Finding {
	all := []Finding{{What: "turn SELinux off, or into a mere witness", Held: r.Mode == Enforcing, Answer: "it is " + string(r.Mode)}}
	owners := map[[2]int]map[string]bool{} // of pairs
	for _, p := range r.Processes {
		c, known := declared[p.Container]
		if !known && p.Command == pause {
			continue // what it may reach is an empty image
		}
		if !known {
			c = Container{Pod: "nobody knows which", Name: p.Container[:min(12, len(p.Container))]}
		}
		f := Finding{What: fmt.Sprintf("run %s of container %s, pod %s, unconfined", p.Command, c.Name, c.Pod), Answer: "it is " + p.Context.String()}
		pair, paired := p.Context.Pair()
		switch {
		case c.Privileged:
			f.What, f.Held = fmt.Sprintf("run privileged container %s, pod %s, as declared", c.Name, c.Pod), p.Context.Type == Unconfined
		case c.Level != "":
			f.Held = p.Context.Type == Confined && p.Context.Level == c.Level
		default:
			f.Held = p.Context.Type == Confined && paired
		}
		all = append(all, f)
		if paired && c.Level == "" {
			if owners[pair] == nil {
				owners[pair] = map[string]bool{}
			}
			owners[pair][c.Pod] = true
		}
	}
	for pair, pods := range owners {
		if names := slices.Sorted(maps.Keys(pods)); len(names) > 1 {
			all = append(all, Finding{What: fmt.Sprintf("have the categories c%d,c%d of another pod", pair[0], pair[1]), Answer: fmt.Sprintf("%s have them", names)})
		}
	}
	slices.SortStableFunc(all[1:], func(a, b Finding) int {
		switch {
		case a.Held == b.Held:
			return 0
		case b.Held:
			return -1
		}
		return 1
	})
	return all
}
