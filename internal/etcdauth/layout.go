// Package etcdauth is who may do what in the overlay's etcd. Calico keeps everything there, policy included, and
// every worker writes to it; etcd's own access control sees to it that a worker writes its addresses and endpoints,
// and cannot write the policy that binds it.
//
// A user of etcd is the common name of a client certificate (see unit.Profiles); nobody has a password.
// The key ranges follow https://docs.tigera.io/calico/latest/reference/etcd-rbac, and are narrower where Calico
// was seen to work with less.
package etcdauth

import (
	"fmt"
	"slices"
)

// Access is what a grant allows on its keys.
type Access string

// The two kinds of access that are ever granted.
const (
	Read      Access = "read"
	ReadWrite Access = "read and write"
)

// Grant allows access to all keys with a prefix, and says why.
type Grant struct {
	Prefix string
	Access Access
	Why    string
}

func (g Grant) String() string { return fmt.Sprintf("%s %s*", g.Access, g.Prefix) }

// Role is a named list of grants. The role root is built in: it may do everything.
type Role struct {
	Name   string
	Grants []Grant
}

// User is a common name and the roles it has.
type User struct {
	Name  string
	Roles []string
}

// State is all users and roles of an etcd cluster. What is not in it does not exist.
type State struct {
	Users []User
	Roles []Role
}

// Names of users; each but root has a role of the same name.
const (
	userRoot            = "root"
	userNode            = "calico-node"
	userKubeControllers = "calico-kube-controllers"
)

// Where Calico keeps what: libcalico-go/lib/backend/model.
const (
	resources = "/calico/resources/v3/projectcalico.org/"
	ipam      = "/calico/ipam/v2/"
)

// Layout is what the overlay's etcd shall hold.
func Layout() State {
	return State{
		Users: []User{
			{Name: userRoot, Roles: []string{userRoot}},
			{Name: userNode, Roles: []string{userNode}},
			{Name: userKubeControllers, Roles: []string{userKubeControllers}},
		},
		Roles: []Role{
			{Name: userRoot},
			{Name: userNode, Grants: []Grant{
				{resources, Read, "felix watches policy, profiles, sets, pools, nodes and endpoints"},
				{resources + "nodes/", ReadWrite, "a machine announces its own address and that of its tunnel"},
				{resources + "workloadendpoints/", ReadWrite, "the CNI plugin records each pod's interface"},
				{ipam, Read, "IPAM reads its configuration"},
				{ipam + "assignment/", ReadWrite, "blocks of addresses, and who has which"},
				{ipam + "handle/", ReadWrite, "all addresses of one pod"},
				{ipam + "host/", ReadWrite, "which machine has which blocks"},
			}},
			{Name: userKubeControllers, Grants: []Grant{
				{resources, Read, "what there is already"},
				{resources + "networkpolicies/", ReadWrite, "Kubernetes' NetworkPolicies, translated"},
				{resources + "profiles/", ReadWrite, "labels of namespaces and ServiceAccounts"},
				{resources + "ippools/", ReadWrite, "the pool of pod addresses"},
				{resources + "nodes/", ReadWrite, "labels of nodes; nodes that are gone"},
				{resources + "felixconfigurations/node.", ReadWrite, "what was configured for nodes that are gone"},
				{resources + "bgpconfigurations/node.", ReadWrite, "the same"},
				{resources + "workloadendpoints/", ReadWrite, "labels of pods; pods that are gone"},
				{resources + "clusterinformations/", ReadWrite, "marks the datastore as initialised"},
				{resources + "kubecontrollersconfigurations/", ReadWrite, "its own configuration and status"},
				{ipam, ReadWrite, "frees addresses whose pod is gone"},
			}},
		},
	}
}

// Role finds a role by name.
func (s State) Role(name string) (Role, bool) {
	i := slices.IndexFunc(s.Roles, func(r Role) bool { return r.Name == name })
	if i < 0 {
		return Role{}, false
	}
	return s.Roles[i], true
}
