package vault

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/unit"
)

// noGroups are what a token has of somebody who is not from the provider.
var noGroups = slices.Repeat([]any{""}, ProviderGroups)

// said are the claims of what Vault says of a client, but for those that every token has.
func (c *cluster) said(client *Client) map[string]any {
	c.t.Helper()
	token, ttl, err := client.Identity(c.ctx)
	c.must(err)
	if ttl != IdentityTTL {
		c.t.Errorf("Vault's word is good for %s", ttl)
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	c.must(err)
	var claims map[string]any
	c.must(json.Unmarshal(b, &claims))
	maps.DeleteFunc(claims, func(name string, _ any) bool {
		return name == "aud" || name == "exp" || name == "iat" || name == "iss" || name == "namespace" || name == "sub"
	})
	return claims
}

func (c *cluster) claims(client *Client, want map[string]any) {
	c.t.Helper()
	if diff := cmp.Diff(want, c.said(client)); diff != "" {
		c.t.Errorf("claims (-want +got):\n%s", diff)
	}
}

func TestRobots(t *testing.T) {
	c := startCluster(t)
	robot := c.client(fromRobot, "")
	var first, second, third string
	secret := func(into *string, replace bool) {
		t.Helper()
		c.asRoot(func(root *Client) (err error) {
			*into, err = root.RobotSecret(c.ctx, "ci", replace)
			return err
		})
	}
	secret(&first, false)
	secret(&second, false)
	session, login, err := robot.LoginRobot(c.ctx, "ci", first)
	c.must(err)
	if login.TTL != c.input.AdminTTL {
		t.Errorf("a robot's session lasts %s", login.TTL)
	}
	c.claims(session, map[string]any{"user": "ci", "groups": nil, "declared_groups": "auditors,deployers",
		"provider_user": "", "provider_groups": noGroups})
	if err := session.get(c.ctx, "auth/demo/robots/role/ci", &struct{}{}); !errors.Is(err, ErrDenied) {
		t.Errorf("a robot reads its role: %v", err)
	}
	if _, _, err := c.anonymous.LoginRobot(c.ctx, "ci", first); err == nil {
		t.Error("a robot logs in from an address that it is not bound to")
	}
	if _, _, err := c.anonymous.WithToken(session.Token()).Identity(c.ctx); !errors.Is(err, ErrDenied) {
		t.Errorf("a robot's session is used from elsewhere: %v", err)
	}
	if _, _, err := robot.LoginAppRole(c.ctx, robotID("demo", "ci"), first); err == nil {
		t.Error("a robot logs in where machines do")
	}
	if _, err := c.operator.RobotSecret(c.ctx, "ci", false); !errors.Is(err, ErrDenied) {
		t.Errorf("the operator's credential makes a robot's secret: %v", err)
	}
	// The secret is good for as long as is promised, whatever Vault's own limits.
	c.asRoot(func(root *Client) error {
		var out struct {
			TTL int64 `json:"secret_id_ttl"`
		}
		err := root.put(c.ctx, robotRolePath("demo", "ci")+"/secret-id/lookup", Fields{"secret_id": second}, &out)
		if out.TTL != seconds(RobotSecretTTL) {
			t.Errorf("a secret lives for %d s", out.TTL)
		}
		return err
	})
	secret(&third, true)
	for what, s := range map[string]string{"first": first, "second": second} {
		if _, _, err := robot.LoginRobot(c.ctx, "ci", s); err == nil {
			t.Errorf("the %s secret was replaced, and still opens", what)
		}
	}
	if _, _, err := robot.LoginRobot(c.ctx, "ci", third); err != nil {
		t.Error(err)
	}

	c.asRoot(func(root *Client) error {
		if err := root.SetPerson(c.ctx, Person{Name: "ci"}, "password"); err == nil {
			t.Error("a person has a robot's name")
		}
		if _, err := root.RobotSecret(c.ctx, "nobody", false); !errors.Is(err, ErrNotFound) {
			t.Errorf("a robot that is not there: %v", err)
		}
		people, err := root.People(c.ctx)
		if len(people) > 0 {
			t.Errorf("people: %v", people)
		}
		return err
	})
	if d := c.drift(); len(d) > 0 {
		t.Errorf("a robot at work is drift: %v", d)
	}

	c.input.Robots = nil
	c.want = Layout(c.input)
	drifts := c.drift()
	if len(drifts) != 2 {
		t.Errorf("want role and entity named: %v", drifts)
	}
	c.asRoot(func(root *Client) error { return Apply(c.ctx, root, drifts) })
	if _, _, err := session.Identity(c.ctx); !errors.Is(err, ErrDenied) {
		t.Errorf("a removed robot's session: %v", err)
	}
	if _, _, err := robot.LoginRobot(c.ctx, "ci", third); err == nil {
		t.Error("a removed robot logs in")
	}
}

// TestRobotsAndMachinesAreApart: no pool's name makes one of a robot and a machine, and addresses keep their length.
func TestRobotsAndMachinesAreApart(t *testing.T) {
	in := testInput("")
	in.Machines = append(in.Machines, unit.Machine{Name: "robot-0", Role: v1alpha1.RoleWorker, Address: netip.MustParseAddr(fromA)})
	in.Robots = []v1alpha1.Robot{{Name: "0", CIDRs: []string{"10.0.0.1/32", "10.1.0.0/16", "2001:db8::/32", "2001:db8::1/128"}}}
	paths := map[string]bool{}
	for _, o := range Layout(in).Objects {
		if paths[o.Path] {
			t.Errorf("two are at %s", o.Path)
		}
		paths[o.Path] = true
	}
	f := robotRole(in, in.Robots[0])
	if diff := cmp.Diff([]string{"10.0.0.1", "10.1.0.0/16", "2001:db8::/32", "2001:db8::1"}, f["token_bound_cidrs"]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(in.Robots[0].CIDRs, f["secret_id_bound_cidrs"]); diff != "" {
		t.Error(diff)
	}
}

func TestPeople(t *testing.T) {
	c := startCluster(t)
	c.asRoot(func(root *Client) error {
		return errors.Join(
			root.SetPerson(c.ctx, Person{Name: "alice", Groups: []string{"developers", "on-call"}}, "correct horse"),
			root.SetPerson(c.ctx, Person{Name: "bob"}, "battery staple"),
			root.SetPerson(c.ctx, Person{Name: "demo-eve"}, "named like a machine's entity"),
		)
	})
	alice, _, err := c.anonymous.LoginPerson(c.ctx, "alice", "correct horse")
	c.must(err)
	got := c.said(alice)
	if groups, _ := got["groups"].([]any); len(groups) != 2 || got["user"] != "alice" || got["declared_groups"] != "" {
		t.Errorf("alice: %v", got)
	}
	bob, _, err := c.anonymous.LoginPerson(c.ctx, "bob", "battery staple")
	c.must(err)
	c.claims(bob, map[string]any{"user": "bob", "groups": nil, "declared_groups": "", "provider_user": "", "provider_groups": noGroups})

	if d := c.drift(); len(d) > 0 {
		t.Errorf("people are drift: %v", d)
	}

	// A robot of a person's name is refused, and keeps nobody else from being made.
	c.input.Robots = append(c.input.Robots, c.input.Robots[0])
	c.input.Robots[1].Name = "bob"
	c.want = Layout(c.input)
	drifts := c.drift()
	c.asRoot(func(root *Client) error {
		if err := Apply(c.ctx, root, drifts); err == nil || !strings.Contains(err.Error(), "person of the name bob") {
			t.Errorf("a robot has a person's name: %v", err)
		}
		return nil
	})
}
