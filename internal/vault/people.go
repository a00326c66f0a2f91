package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ashlar.dev/ashlar/internal/unit"
)

// People log in with a password (userpass), and get from Vault a token that names them and their groups, which the API
// server trusts for minutes. Who there is, is no part of the layout: it is the operator's to say, one by one.

// RolePeople stands for them among policies.
const RolePeople = "people"

// Canary is the user that `ashlar verify` makes for its attacks, and removes. It is in no group.
const Canary = "ashlar-verify"

// IdentityTTL is how long the API server takes what Vault says of a person.
const IdentityTTL = 10 * time.Minute

// UsersPath is where people log in, below auth/.
func UsersPath(cluster string) string { return cluster + "/users" }

// userPath is a person's login.
func userPath(cluster, name string) string { return "auth/" + UsersPath(cluster) + "/users/" + name }

// personPath is who a person is: what tokens say, and groups hold on to.
func personPath(cluster, name string) string { return "identity/entity/name/" + name + "@" + cluster }

// template is what a token says. A claim is always there: what Vault does not have of somebody is "" (of groups, null).
func template(in Input) string {
	return `{"user": {{identity.entity.metadata.user}}, "groups": {{identity.entity.groups.names}}, ` +
		`"declared_groups": {{identity.entity.metadata.groups}}, ` + providerClaims(in) + "}"
}

// people is what Vault needs so that there can be people.
func people(in Input) []Object {
	c := in.Cluster
	return []Object{
		{KindAuth, "sys/auth/" + UsersPath(c), Fields{
			"type": "userpass", "description": "people", "default_lease_ttl": int64(0), "max_lease_ttl": seconds(in.AdminTTL),
			lockoutDisabled: false, // passwords can be guessed
		}},
		{KindPolicy, "sys/policies/acl/" + PolicyName(c, RolePeople), Fields{"policy": render(slices.Concat(selfRules(), []rule{
			allow("identity/oidc/token/"+c, "read").because("prove to the API server who one is")}, sshPeopleRules(in)))}},
		{KindSetting, "identity/oidc/config", Fields{"issuer": unit.VaultURL}},
		{KindSetting, "identity/oidc/key/" + c, Fields{
			"algorithm": "ES256", "rotation_period": seconds(24 * time.Hour), "verification_ttl": seconds(24 * time.Hour),
			"allowed_client_ids": []string{unit.Audience(c)},
		}},
		{KindIdentityRole, "identity/oidc/role/" + c, Fields{
			"key": c, "client_id": unit.Audience(c), "ttl": seconds(IdentityTTL),
			"template": template(in),
		}},
		{KindEntity, "identity/entity/name/" + c + "-" + Canary, Fields{
			"metadata": map[string]string{"user": Canary}, "policies": []string{}, "groups": []string{}, "disabled": false,
			"aliases": []string{"auth/" + UsersPath(c) + "/ " + Canary},
		}},
	}
}

// Person is somebody who may log in.
type Person struct {
	Name     string   `json:"name"`
	Groups   []string `json:"groups"`
	Disabled bool     `json:"disabled"`
}

// SetPerson makes a person, or gives one another password and other groups. Groups come to be as they are named. The
// client must hold a root token.
func (c *Client) SetPerson(ctx context.Context, p Person, password string) error {
	if err := c.free(ctx, robotEntityPath(c.cluster, p.Name), "robot", p.Name); err != nil {
		return fmt.Errorf("make %s: %w", p.Name, err)
	}
	path := personPath(c.cluster, p.Name)
	if err := c.put(ctx, path, map[string]any{"metadata": map[string]string{"user": p.Name}, "disabled": p.Disabled}, nil); err != nil {
		return fmt.Errorf("make %s: %w", p.Name, err)
	}
	var e entity
	if err := c.get(ctx, path, &e); err != nil {
		return fmt.Errorf("make %s: %w", p.Name, err)
	}
	mount := "auth/" + UsersPath(c.cluster) + "/"
	if !slices.Contains(e.fields(nil)["aliases"].([]string), mount+" "+p.Name) {
		if err := addAlias(ctx, c, e.ID, mount+" "+p.Name); err != nil {
			return fmt.Errorf("tie %s to a login: %w", p.Name, err)
		}
	}
	if err := c.setGroups(ctx, e, p.Groups); err != nil {
		return fmt.Errorf("groups of %s: %w", p.Name, err)
	}
	if password == "" {
		return nil
	}
	return c.setPassword(ctx, p.Name, password)
}

func (c *Client) setPassword(ctx context.Context, name, password string) error {
	body := map[string]any{"password": password, "token_policies": []string{PolicyName(c.cluster, RolePeople)}, "token_no_default_policy": true}
	if err := c.put(ctx, userPath(c.cluster, name), body, nil); err != nil {
		return fmt.Errorf("set the password of %s: %w", name, err)
	}
	return nil
}

// setGroups makes the person a member of these groups and no others.
func (c *Client) setGroups(ctx context.Context, e entity, groups []string) error {
	for _, id := range e.Groups {
		if err := leaveGroup(ctx, c, id, e.ID); err != nil {
			return err
		}
	}
	for _, name := range groups {
		path := "identity/group/name/" + name
		var g struct {
			Members []string `json:"member_entity_ids"`
		}
		if err := c.get(ctx, path, &g); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if err := c.put(ctx, path, map[string]any{"type": "internal", "member_entity_ids": append(g.Members, e.ID)}, nil); err != nil {
			return err
		}
	}
	return nil
}

// People lists who may log in, by name. The client must hold a root token.
func (c *Client) People(ctx context.Context) ([]Person, error) {
	names, err := c.list(ctx, "identity/entity/name")
	if err != nil {
		return nil, fmt.Errorf("list people: %w", err)
	}
	var out []Person
	for _, n := range names {
		name, ok := strings.CutSuffix(n, "@"+c.cluster)
		if !ok {
			continue
		}
		p, err := c.person(ctx, name)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b Person) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// person reads one; ErrNotFound if there is none of that name.
func (c *Client) person(ctx context.Context, name string) (Person, error) {
	p := Person{Name: name}
	var e entity
	if err := c.get(ctx, personPath(c.cluster, name), &e); err != nil {
		return p, fmt.Errorf("read %s: %w", name, err)
	}
	p.Disabled = e.Disabled
	for _, id := range e.Groups {
		var g struct{ Name string }
		if err := c.get(ctx, "identity/group/id/"+id, &g); err != nil {
			return p, fmt.Errorf("read a group of %s: %w", name, err)
		}
		p.Groups = append(p.Groups, g.Name)
	}
	slices.Sort(p.Groups)
	return p, nil
}

// DisablePerson shuts a person out, or lets one in again: sessions that exist are refused from now on. The client must
// hold a root token.
func (c *Client) DisablePerson(ctx context.Context, name string, disabled bool) error {
	p, err := c.person(ctx, name)
	if err != nil {
		return err
	}
	return c.put(ctx, personPath(c.cluster, p.Name), map[string]any{"disabled": disabled}, nil)
}

// RemovePerson forgets a person. The client must hold a root token.
func (c *Client) RemovePerson(ctx context.Context, name string) error {
	if _, err := c.person(ctx, name); err != nil {
		return err
	}
	if err := c.remove(ctx, userPath(c.cluster, name)); err != nil {
		return fmt.Errorf("remove the login of %s: %w", name, err)
	}
	return c.remove(ctx, personPath(c.cluster, name))
}

// SetCanary makes the canary's login; RemoveCanary removes it. The operator may.
func (c *Client) SetCanary(ctx context.Context, password string) error {
	return c.setPassword(ctx, Canary, password)
}

// RemoveCanary ends what SetCanary began.
func (c *Client) RemoveCanary(ctx context.Context) error {
	return c.remove(ctx, userPath(c.cluster, Canary))
}

// UnlockCanary forgets the canary's wrong passwords. The operator may.
func (c *Client) UnlockCanary(ctx context.Context) error {
	accessor, err := c.accessor(ctx, "auth/"+UsersPath(c.cluster)+"/")
	if err != nil {
		return err
	}
	return c.put(ctx, "sys/locked-users/"+accessor+"/unlock/"+Canary, map[string]any{}, nil)
}

// LoginPerson logs in with a password, and returns a client that acts as that person.
func (c *Client) LoginPerson(ctx context.Context, name, password string) (*Client, Login, error) {
	r, err := c.WithToken("").do(ctx, "PUT", "auth/"+UsersPath(c.cluster)+"/login/"+name, map[string]any{"password": password})
	if err != nil {
		return nil, Login{}, fmt.Errorf("log in as %s: %w", name, err)
	}
	login, err := r.login()
	return c.WithToken(login.Token), login, err
}

// Identity has Vault say to the API server who the client's person is. The answer is a secret.
func (c *Client) Identity(ctx context.Context) (token string, ttl time.Duration, err error) {
	var out struct {
		Token string
		TTL   int64
	}
	if err := c.get(ctx, "identity/oidc/token/"+c.cluster, &out); err != nil {
		return "", 0, fmt.Errorf("have Vault say who one is: %w", err)
	}
	return out.Token, time.Duration(out.TTL) * time.Second, nil
}
