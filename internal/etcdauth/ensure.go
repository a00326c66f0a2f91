package etcdauth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Change is one difference between an etcd cluster and its Layout, and how it is removed.
type Change struct {
	Cause, Action string

	do func(context.Context, clientv3.Auth) error
}

func (c Change) String() string { return c.Cause + " → " + c.Action }

// Observe names every difference between the cluster and its Layout. The client must be root's.
func Observe(ctx context.Context, client *clientv3.Client) ([]Change, error) {
	live, enabled, err := read(ctx, client)
	if err != nil {
		return nil, err
	}
	return diff(Layout(), live, enabled), nil
}

// Ensure makes the cluster's users and roles what Layout says, then switches access control on, and returns what it
// changed. Several machines may do so at the same time. The client must be root's.
func Ensure(ctx context.Context, client *clientv3.Client) ([]Change, error) {
	changes, err := Observe(ctx, client)
	if err != nil {
		return nil, err
	}
	for _, c := range changes {
		if err := c.do(ctx, client); err != nil && !alreadyDone(err) {
			return nil, fmt.Errorf("etcd access control: %s: %w", c.Action, err)
		}
	}
	return changes, nil
}

// alreadyDone holds if another machine made the same change a moment earlier.
func alreadyDone(err error) bool {
	for _, done := range []error{
		rpctypes.ErrUserAlreadyExist, rpctypes.ErrUserNotFound,
		rpctypes.ErrRoleAlreadyExist, rpctypes.ErrRoleNotFound,
		rpctypes.ErrPermissionNotGranted, rpctypes.ErrRoleNotGranted,
	} {
		if errors.Is(err, done) {
			return true
		}
	}
	return false
}

// permission is a grant as etcd stores it.
type permission struct {
	key, end string
	kind     clientv3.PermissionType
}

func (p permission) String() string {
	kind := map[clientv3.PermissionType]string{
		clientv3.PermissionType(clientv3.PermRead): "read", clientv3.PermissionType(clientv3.PermWrite): "write",
		clientv3.PermissionType(clientv3.PermReadWrite): "read and write"}[p.kind]
	if p.end == "" {
		return fmt.Sprintf("%s %s", kind, p.key)
	}
	if p.end == clientv3.GetPrefixRangeEnd(p.key) {
		return fmt.Sprintf("%s %s*", kind, p.key)
	}
	return fmt.Sprintf("%s [%q, %q)", kind, p.key, p.end)
}

func (g Grant) permission() permission {
	kind := clientv3.PermissionType(clientv3.PermRead)
	if g.Access == ReadWrite {
		kind = clientv3.PermissionType(clientv3.PermReadWrite)
	}
	return permission{g.Prefix, clientv3.GetPrefixRangeEnd(g.Prefix), kind}
}

// live is what a cluster holds: roles of each user, permissions of each role.
type live struct {
	users map[string][]string
	roles map[string][]permission
}

func read(ctx context.Context, client clientv3.Auth) (live, bool, error) {
	l := live{users: map[string][]string{}, roles: map[string][]permission{}}
	status, err := client.AuthStatus(ctx)
	if err != nil {
		return l, false, fmt.Errorf("etcd access control: ask whether it is on: %w", err)
	}
	users, err := client.UserList(ctx)
	if err != nil {
		return l, false, fmt.Errorf("etcd access control: list users (the certificate must be root's): %w", err)
	}
	for _, name := range users.Users {
		user, err := client.UserGet(ctx, name)
		if err != nil {
			return l, false, fmt.Errorf("etcd access control: read user %s: %w", name, err)
		}
		l.users[name] = user.Roles
	}
	roles, err := client.RoleList(ctx)
	if err != nil {
		return l, false, fmt.Errorf("etcd access control: list roles: %w", err)
	}
	for _, name := range roles.Roles {
		role, err := client.RoleGet(ctx, name)
		if err != nil {
			return l, false, fmt.Errorf("etcd access control: read role %s: %w", name, err)
		}
		l.roles[name] = nil
		for _, p := range role.Perm {
			l.roles[name] = append(l.roles[name], permission{string(p.Key), string(p.RangeEnd), clientv3.PermissionType(p.PermType)})
		}
	}
	return l, status.Enabled, nil
}

// diff lists what to change, in an order that can stop anywhere and be taken up again.
func diff(want State, have live, enabled bool) []Change {
	var out []Change
	for _, role := range want.Roles {
		out = append(out, diffRole(role, have)...)
	}
	for _, user := range want.Users {
		out = append(out, diffUser(user, have)...)
	}
	for _, name := range sorted(have.users) {
		if !slices.ContainsFunc(want.Users, func(u User) bool { return u.Name == name }) {
			out = append(out, Change{"unknown user " + name, "delete user " + name,
				func(ctx context.Context, c clientv3.Auth) error { _, err := c.UserDelete(ctx, name); return err }})
		}
	}
	for _, name := range sorted(have.roles) {
		if _, ok := want.Role(name); !ok {
			out = append(out, Change{"unknown role " + name, "delete role " + name,
				func(ctx context.Context, c clientv3.Auth) error { _, err := c.RoleDelete(ctx, name); return err }})
		}
	}
	if !enabled {
		out = append(out, Change{"access control is off", "switch access control on",
			func(ctx context.Context, c clientv3.Auth) error { _, err := c.AuthEnable(ctx); return err }})
	}
	return out
}

func diffRole(role Role, have live) []Change {
	var out []Change
	perms, exists := have.roles[role.Name]
	if !exists {
		out = append(out, Change{"no role " + role.Name, "create role " + role.Name,
			func(ctx context.Context, c clientv3.Auth) error { _, err := c.RoleAdd(ctx, role.Name); return err }})
	}
	var wanted []permission
	for _, g := range role.Grants {
		wanted = append(wanted, g.permission())
	}
	if role.Name == userRoot {
		return out // built in: may do everything, whatever it lists
	}
	for _, p := range perms {
		// Permissions are told apart by their range: granting one again with another access replaces it.
		if !slices.ContainsFunc(wanted, func(w permission) bool { return w.key == p.key && w.end == p.end }) {
			out = append(out, Change{fmt.Sprintf("role %s may also %s", role.Name, p), "revoke it",
				func(ctx context.Context, c clientv3.Auth) error {
					_, err := c.RoleRevokePermission(ctx, role.Name, p.key, p.end)
					return err
				}})
		}
	}
	for _, p := range wanted {
		if !slices.Contains(perms, p) {
			out = append(out, Change{fmt.Sprintf("role %s may not %s", role.Name, p), "grant just that",
				func(ctx context.Context, c clientv3.Auth) error {
					_, err := c.RoleGrantPermission(ctx, role.Name, p.key, p.end, p.kind)
					return err
				}})
		}
	}
	return out
}

func diffUser(user User, have live) []Change {
	var out []Change
	roles, exists := have.users[user.Name]
	if !exists {
		out = append(out, Change{"no user " + user.Name, "create user " + user.Name,
			func(ctx context.Context, c clientv3.Auth) error {
				_, err := c.UserAddWithOptions(ctx, user.Name, "", &clientv3.UserAddOptions{NoPassword: true})
				return err
			}})
	}
	for _, r := range user.Roles {
		if !slices.Contains(roles, r) {
			out = append(out, Change{fmt.Sprintf("user %s lacks role %s", user.Name, r), "grant it",
				func(ctx context.Context, c clientv3.Auth) error {
					_, err := c.UserGrantRole(ctx, user.Name, r)
					return err
				}})
		}
	}
	for _, r := range roles {
		if !slices.Contains(user.Roles, r) {
			out = append(out, Change{fmt.Sprintf("user %s has role %s", user.Name, r), "revoke it",
				func(ctx context.Context, c clientv3.Auth) error {
					_, err := c.UserRevokeRole(ctx, user.Name, r)
					return err
				}})
		}
	}
	return out
}

func sorted[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.SortFunc(names, strings.Compare)
	return names
}
