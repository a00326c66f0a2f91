package v1alpha1

import (
	"fmt"
	"regexp"
	"slices"
)

// SSHGrant lets the users of a group become root on the machines of some roles.
type SSHGrant struct {
	// Group is one that `ashlar user set` puts users in; a name without a dot.
	Group string `json:"group"`
	// Roles are those of the machines, such as worker.
	Roles []Role `json:"roles"`
}

// sshGroupPattern is a group's name as it can stand in a path of Vault's templates, where a dot ends it.
const sshGroupPattern = `^[a-z0-9]([-_a-z0-9]*[a-z0-9])?$`

var sshGroup = regexp.MustCompile(sshGroupPattern)

// Bastion says whether a pool declares one.
func (s Spec) Bastion() bool {
	return slices.ContainsFunc(s.Pools, func(p Pool) bool { return p.Role == RoleBastion })
}

// MayEnter are the groups whose users may become root on a machine of a role.
func (s Spec) MayEnter(role Role) []string {
	var out []string
	for _, g := range s.SSH {
		if slices.Contains(g.Roles, role) {
			out = append(out, g.Group)
		}
	}
	return out
}

func (e *Errors) ssh(s Spec) {
	if len(s.SSH) > 0 && !s.Bastion() {
		e.add("spec.ssh", "needs a pool of role %s, which ssh goes through", RoleBastion)
	}
	groups := map[string]int{}
	for i, g := range s.SSH {
		path := fmt.Sprintf("spec.ssh[%d]", i)
		if first, taken := groups[g.Group]; taken {
			e.add(path+".group", "%s is that of spec.ssh[%d] already", quote(g.Group), first)
		} else if groups[g.Group] = i; !sshGroup.MatchString(g.Group) {
			e.add(path+".group", "must be the name of a group (small letters, digits, dashes and underscores), not %s", quote(g.Group))
		}
		if len(g.Roles) == 0 {
			e.add(path+".roles", "must name the roles of machines that the group may enter")
		}
		for j, role := range g.Roles {
			if !slices.Contains(Roles, role) {
				e.add(fmt.Sprintf("%s.roles[%d]", path, j), "must be %s, not %s", oneOf(Roles), quote(string(role)))
			}
		}
	}
}
