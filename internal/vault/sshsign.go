package vault

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"ashlar.dev/ashlar/internal/unit"
)

// SSHMounts names all SSH engines of the cluster. The operator may.
func (c *Client) SSHMounts(ctx context.Context) ([]string, error) {
	var all map[string]mounted
	if err := c.get(ctx, "sys/mounts", &all); err != nil {
		return nil, fmt.Errorf("list SSH engines: %w", err)
	}
	var out []string
	for path := range all {
		if name, ok := strings.CutPrefix(strings.TrimSuffix(path, "/"), SSHPath(c.cluster, "")); ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// ReplaceSSHCA gives an engine another key at once. The client must hold a root token.
func (c *Client) ReplaceSSHCA(ctx context.Context, engine string) error {
	path := SSHPath(c.cluster, engine) + "/config/ca"
	if err := c.remove(ctx, path); err != nil {
		return fmt.Errorf("replace the SSH CA %s: %w", engine, err)
	}
	return writeSSHCA(ctx, c, Object{KindSSHCA, path, Fields{"key_type": sshKeyType}}, nil)
}

// SSHCAs are the public keys of both SSH CAs, and who signs. The operator may.
func (c *Client) SSHCAs(ctx context.Context, engines SSHEngines) (*unit.SSH, error) {
	out := unit.SSH{HostEngine: engines[SSHHosts][0]}
	for ca, keys := range map[string]*string{SSHUsers: &out.UserCA, SSHHosts: &out.HostCA} {
		for _, engine := range engines[ca] {
			text, err := c.sshCA(ctx, SSHPath(c.cluster, engine)+"/config/ca")
			if err == nil && text == "" {
				err = ErrNotFound
			}
			if err != nil {
				return nil, fmt.Errorf("read the SSH CA of %ss: %w", ca, err)
			}
			*keys += text + "\n"
		}
	}
	return &out, nil
}

// SignHostKey has the caller's host key signed by an engine: an OpenSSH public key, for the caller's own name.
func (c *Client) SignHostKey(ctx context.Context, engine, publicKey, machine string) (string, error) {
	role := sshMachineRole
	if unit.IsMember(machine) {
		role = sshMemberRole
	}
	return c.signSSH(ctx, engine, role, publicKey, machine)
}

// SignOperatorKey has an OpenSSH public key signed for the operator to become root on a machine.
func (c *Client) SignOperatorKey(ctx context.Context, engine, publicKey, machine string) (string, error) {
	return c.signSSH(ctx, engine, Operator, publicKey, machine, unit.JumpUser)
}

// SignBriefKey is SignOperatorKey for a second.
func (c *Client) SignBriefKey(ctx context.Context, engine, publicKey, machine string) (string, error) {
	return c.signSSH(ctx, engine, sshBriefRole, publicKey, machine, unit.JumpUser)
}

// SignUserKey is SignOperatorKey for a user who is in a group that may. Who is not, is refused: ErrDenied.
func (c *Client) SignUserKey(ctx context.Context, engine, group, publicKey, machine string) (string, error) {
	return c.signSSH(ctx, engine, sshGroupRole(group), publicKey, machine, unit.JumpUser)
}

// SignRobotKey is SignUserKey for a robot.
func (c *Client) SignRobotKey(ctx context.Context, engine, robot, publicKey, machine string) (string, error) {
	return c.signSSH(ctx, engine, robotID(c.cluster, robot), publicKey, machine, unit.JumpUser)
}

func (c *Client) signSSH(ctx context.Context, engine, role, publicKey string, principals ...string) (string, error) {
	var out struct {
		Key string `json:"signed_key"`
	}
	body := Fields{"public_key": publicKey, "cert_type": sshCAOf(engine), "valid_principals": strings.Join(principals, ",")}
	if err := c.put(ctx, SSHPath(c.cluster, engine)+"/sign/"+role, body, &out); err != nil {
		return "", fmt.Errorf("have an SSH key signed for %s: %w", strings.Join(principals, ", "), err)
	}
	return strings.TrimSpace(out.Key) + "\n", nil
}

// SSHGroupMachines are the machines that an engine signs for a group's users for. The operator may.
func (c *Client) SSHGroupMachines(ctx context.Context, engine, group string) ([]string, error) {
	var role struct {
		Users string `json:"allowed_users"`
	}
	if err := c.get(ctx, SSHPath(c.cluster, engine)+"/roles/"+sshGroupRole(group), &role); err != nil {
		return nil, fmt.Errorf("read which machines %s may enter: %w", group, err)
	}
	return slices.DeleteFunc(strings.Split(role.Users, ","), func(name string) bool { return name == unit.JumpUser }), nil
}

// Alive asks whether the client's token still is one.
func (c *Client) Alive(ctx context.Context) error {
	return c.get(ctx, "auth/token/lookup-self", &struct{}{})
}
