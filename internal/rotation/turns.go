package rotation

import (
	"slices"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// Machine is what matters of a machine when a stage is told to it.
type Machine struct {
	Name string
	Role v1alpha1.Role
	// Restarts: something on it has to restart.
	Restarts bool
}

// inTurn are the roles whose machines stand in for each other, so that one by one may restart: in this order, servers
// before their clients. Of the others all restart together: nobody else does their work anyway.
var inTurn = []v1alpha1.Role{v1alpha1.RoleVault, v1alpha1.RoleEtcd, v1alpha1.RoleControlPlane, v1alpha1.RoleLB}

// Turns says which machines are told together. Those where nothing restarts are told first, all at once.
func Turns(machines []Machine) [][]string {
	var first, last []string
	var turns [][]string
	for _, m := range machines {
		switch {
		case !m.Restarts:
			first = append(first, m.Name)
		case !slices.Contains(inTurn, m.Role):
			last = append(last, m.Name)
		}
	}
	if first != nil {
		turns = append(turns, first)
	}
	for _, role := range inTurn {
		for _, m := range machines {
			if m.Restarts && m.Role == role {
				turns = append(turns, []string{m.Name})
			}
		}
	}
	if last != nil {
		turns = append(turns, last)
	}
	return turns
}

// Interrupts are the machines that have to restart something which nobody does meanwhile.
func Interrupts(machines []Machine) []string {
	count := map[v1alpha1.Role]int{}
	for _, m := range machines {
		count[m.Role]++
	}
	var out []string
	for _, m := range machines {
		if m.Restarts && slices.Contains(inTurn, m.Role) && count[m.Role] == 1 {
			out = append(out, m.Name)
		}
	}
	return out
}
