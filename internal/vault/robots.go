package vault

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// Robots are programs that log in (AppRole) from addresses they are bound to. Which there are, the cluster's file says;
// the secrets they log in with are made by the operator, one by one, and kept by nobody but the robot.

// RobotSecretTTL is how long a robot's secret is good for.
const RobotSecretTTL = 90 * 24 * time.Hour

// RobotsPath is where robots log in, below auth/.
func RobotsPath(cluster string) string { return cluster + "/robots" }

// robotName is a robot's among machines', which have no dot: a machine robot-0 is not the robot 0.
func robotName(name string) string { return "robot." + name }

// robotID names a robot's entity, and is what it calls itself when it logs in.
func robotID(cluster, name string) string { return RoleID(cluster, robotName(name)) }

func robotRolePath(cluster, name string) string {
	return "auth/" + RobotsPath(cluster) + "/role/" + name
}

func robotEntityPath(cluster, name string) string {
	return "identity/entity/name/" + robotID(cluster, name)
}

// robots are an AppRole role and an entity for each. Their groups are metadata, so that no robot is a member of what
// people are.
func robots(in Input) []Object {
	c := in.Cluster
	out := []Object{{KindAuth, "sys/auth/" + RobotsPath(c), Fields{
		// Vault would cut the life of a secret to that of the mount's leases. Tokens have the role's.
		"type": "approle", "description": "robots", "default_lease_ttl": int64(0), "max_lease_ttl": seconds(max(RobotSecretTTL, in.AdminTTL)),
		lockoutDisabled: true, // as for machines
	}}}
	for _, r := range in.Robots {
		_, disabled := in.Revoked.User(r.Name)
		out = append(out,
			Object{KindAppRole, robotRolePath(c, r.Name), robotRole(in, r)},
			Object{KindEntity, robotEntityPath(c, r.Name), Fields{
				"metadata": map[string]string{"user": r.Name, "groups": strings.Join(slices.Sorted(slices.Values(r.Groups)), ",")},
				"policies": []string{}, "groups": []string{}, "disabled": disabled,
				"aliases": []string{"auth/" + RobotsPath(c) + "/ " + robotID(c, r.Name)},
			}})
	}
	return out
}

func robotRole(in Input, r v1alpha1.Robot) Fields {
	f := appRole(in.Cluster, robotName(r.Name), RolePeople, netip.IPv4Unspecified(), Fields{
		"secret_id_ttl": seconds(RobotSecretTTL), "token_ttl": seconds(in.AdminTTL), "token_max_ttl": seconds(in.AdminTTL),
	})
	var secrets, tokens []string
	for _, cidr := range r.CIDRs {
		secret, token := cidr, cidr // if it is none, Vault refuses it and says why
		if p, err := netip.ParsePrefix(cidr); err == nil {
			secret, token = p.Masked().String(), p.Masked().String()
			if p.IsSingleIP() {
				token = p.Addr().String() // as Vault has one address
			}
		}
		secrets, tokens = append(secrets, secret), append(tokens, token)
	}
	f["secret_id_bound_cidrs"], f["token_bound_cidrs"] = secrets, tokens
	return f
}

// RobotSecret makes a robot a secret to log in with; replace destroys its earlier ones. The client must hold a root token.
func (c *Client) RobotSecret(ctx context.Context, name string, replace bool) (string, error) {
	path := robotRolePath(c.cluster, name)
	if err := c.get(ctx, path, &struct{}{}); err != nil {
		return "", fmt.Errorf("read robot %s: %w", name, err)
	}
	return c.secretID(ctx, path, replace)
}

// LoginRobot logs in with a secret of RobotSecret's, and returns a client that acts as that robot.
func (c *Client) LoginRobot(ctx context.Context, name, secret string) (*Client, Login, error) {
	return c.loginAppRole(ctx, RobotsPath(c.cluster), robotID(c.cluster, name), secret)
}

// free refuses a name that a robot and a person would share: to the API server they would be one.
func (c *Client) free(ctx context.Context, path, what, name string) error {
	err := c.get(ctx, path, &struct{}{})
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err == nil:
		return fmt.Errorf("there is a %s of the name %s, whom the API could not tell from this one", what, name)
	}
	return err
}
