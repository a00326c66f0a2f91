package phase

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// revokeUser shuts a user, a robot or somebody of the provider's out.
func (c *Cluster) revokeUser(ctx context.Context, what Revocation) (RevocationReport, error) {
	began, out := time.Now(), RevocationReport{Of: what.User}
	v, err := c.operatorVault(ctx)
	if err != nil {
		return out, err
	}
	until, robot := began.Add(vault.IdentityTTL), false
	switch {
	case strings.HasPrefix(what.User, vault.ProviderPrefix):
		// Vault knows such people by what only the provider understands: the API refuses them for as long as a session lasts.
		until = began.Add(c.Spec.Spec.PKI.AdminTTL.Duration)
		if out.Tokens, err = v.EndProviderTokens(ctx, strings.TrimPrefix(what.User, vault.ProviderPrefix)); err != nil {
			return out, err
		}
		out.Notes = append(out.Notes, "who comes from the provider can log in there again: shut them out there, too")
	default:
		out.Tokens, err = v.ShutOutPerson(ctx, what.User)
		if errors.Is(err, vault.ErrNotFound) {
			robot = true
			out.Tokens, err = v.ShutOutRobot(ctx, what.User)
		}
		if errors.Is(err, vault.ErrNotFound) {
			return out, InputError{fmt.Errorf("there is no user and no robot %q: `ashlar user list` lists users", what.User)}
		}
		if err != nil {
			return out, err
		}
	}
	out.Certificates = []unit.Revocation{{User: what.User, Of: what.User, Reason: what.Reason, At: began.UTC(), Until: until.UTC()}}
	return c.spread(ctx, out, began, func(r *unit.Revoked) {
		if robot {
			r.Users = shut(r.Users, unit.ShutOut{Name: what.User, Reason: what.Reason, At: began.UTC()})
		}
	})
}

// Enable lets a user or a robot in again, also one that was revoked, or somebody of the provider's that was. The client must hold
// a root token.
func (c *Cluster) Enable(ctx context.Context, root *vault.Client, user string) error {
	if strings.HasPrefix(user, vault.ProviderPrefix) {
		return c.LetIn(ctx, user)
	}
	err := root.DisablePerson(ctx, user, false)
	if errors.Is(err, vault.ErrNotFound) {
		err = root.EnableRobot(ctx, user)
	}
	if err != nil {
		return err
	}
	return c.LetIn(ctx, user)
}

// LetIn takes back that a user was revoked: what they get from now on is good.
func (c *Cluster) LetIn(ctx context.Context, user string) error {
	have, err := c.revoked(ctx)
	if err != nil {
		return err
	}
	of := func(r unit.Revocation) bool { return r.User == user }
	if _, out := have.User(user); !out && !slices.ContainsFunc(have.Credentials, of) {
		return nil
	}
	began := time.Now()
	list, err := c.changeRevoked(ctx, began, func(r *unit.Revoked) {
		r.Users, r.Credentials = letIn(r.Users, user), slices.DeleteFunc(r.Credentials, of)
	})
	if err != nil {
		return err
	}
	_, err = c.tell(ctx, list, began)
	return err
}
