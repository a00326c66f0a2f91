package vault

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"ashlar.dev/ashlar/internal/unit"
)

// Taking back what was given. The operator may do all of this without the unseal key: who may shut out need not be able to
// let in again.

// RevokedDocument is where the list of what was revoked is kept.
const RevokedDocument = "revoked"

// Revoked reads the list of what was revoked, and its version; 0 if nothing ever was.
func (c *Client) Revoked(ctx context.Context) (unit.Revoked, int, error) {
	var r unit.Revoked
	version, err := c.readKV(ctx, SecretPath(c.cluster, RevokedDocument), &r)
	if err != nil {
		return r, 0, fmt.Errorf("read the list of what was revoked: %w", err)
	}
	return r, version, nil
}

// WriteRevoked replaces a version of the list. If somebody was faster, the error is ErrConflict.
func (c *Client) WriteRevoked(ctx context.Context, version int, r unit.Revoked) error {
	if _, err := c.writeKV(ctx, SecretPath(c.cluster, RevokedDocument), version, r); err != nil {
		return fmt.Errorf("write the list of what was revoked: %w", err)
	}
	return nil
}

// RevokeCertificate puts a certificate (PEM) on its CA's revocation list, also one that Vault did not keep.
func (c *Client) RevokeCertificate(ctx context.Context, ca unit.CA, certificate string) error {
	if err := c.put(ctx, PKIPath(c.cluster, ca)+"/revoke", map[string]any{"certificate": certificate}, nil); err != nil {
		return fmt.Errorf("revoke a certificate of CA %s: %w", ca, err)
	}
	return nil
}

// StoredCertificate returns a certificate (PEM) that Vault keeps, by its serial number; ErrNotFound if it keeps none. No token is
// needed.
func (c *Client) StoredCertificate(ctx context.Context, ca unit.CA, serial string) (string, error) {
	var out struct{ Certificate string }
	err := c.get(ctx, PKIPath(c.cluster, ca)+"/cert/"+hyphens(serial), &out)
	if err == nil && out.Certificate == "" {
		err = ErrNotFound
	}
	if err != nil {
		return "", fmt.Errorf("read certificate %s of CA %s: %w", serial, ca, err)
	}
	return out.Certificate, nil
}

// hyphens writes a serial number as Vault has it in paths, whatever is between its bytes; one that is none finds nothing.
func hyphens(serial string) string {
	digits := strings.NewReplacer(":", "", "-", "").Replace(serial)
	if len(digits)%2 == 1 {
		digits = "0" + digits // as numbers are written
	}
	b, err := hex.DecodeString(digits)
	if err != nil || len(b) == 0 {
		return "none"
	}
	var parts []string
	for _, x := range b {
		parts = append(parts, fmt.Sprintf("%02x", x))
	}
	return strings.Join(parts, "-")
}

// ShutOutMachine makes Vault refuse a machine, by whatever token, and returns how many tokens of it there were. One that
// Vault does not know any more is shut out already.
func (c *Client) ShutOutMachine(ctx context.Context, name string) (int, error) {
	if unit.IsMember(name) {
		return c.shutOutMember(ctx, name)
	}
	return c.shutOut(ctx, "identity/entity/name/"+RoleID(c.cluster, name), name)
}

// ShutOutPerson makes Vault refuse somebody with a password; ErrNotFound if there is nobody of that name.
func (c *Client) ShutOutPerson(ctx context.Context, name string) (int, error) {
	if err := c.get(ctx, personPath(c.cluster, name), &struct{}{}); err != nil {
		return 0, fmt.Errorf("shut out %s: %w", name, err)
	}
	return c.shutOut(ctx, personPath(c.cluster, name), name)
}

// ShutOutRobot makes Vault refuse a robot, and destroys the secrets that it logs in with; ErrNotFound if there is none of
// that name.
func (c *Client) ShutOutRobot(ctx context.Context, name string) (int, error) {
	if err := c.get(ctx, robotEntityPath(c.cluster, name), &struct{}{}); err != nil {
		return 0, fmt.Errorf("shut out %s: %w", name, err)
	}
	ended, err := c.shutOut(ctx, robotEntityPath(c.cluster, name), name)
	return ended, errors.Join(err, c.destroySecrets(ctx, robotRolePath(c.cluster, name)))
}

// EnableRobot lets a robot in again, by a secret that it has yet to be given. The client must hold a root token.
func (c *Client) EnableRobot(ctx context.Context, name string) error {
	if err := c.get(ctx, robotEntityPath(c.cluster, name), &struct{}{}); err != nil {
		return fmt.Errorf("let in %s: %w", name, err)
	}
	return c.put(ctx, robotEntityPath(c.cluster, name), map[string]any{"disabled": false}, nil)
}

func (c *Client) shutOut(ctx context.Context, path, name string) (int, error) {
	var e entity
	err := c.get(ctx, path, &e)
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	if err == nil {
		err = c.put(ctx, path, map[string]any{"disabled": true}, nil)
	}
	if err != nil {
		return 0, fmt.Errorf("shut out %s: %w", name, err)
	}
	ended, err := c.endTokens(ctx, func(t issuedToken) bool { return t.Entity == e.ID })
	if err != nil {
		return ended, fmt.Errorf("end the tokens of %s: %w", name, err)
	}
	return ended, nil
}

// EndProviderTokens ends the sessions of somebody from the provider, and returns how many there were. That they log in there
// again, Vault cannot keep them from.
func (c *Client) EndProviderTokens(ctx context.Context, name string) (int, error) {
	ended, err := c.endTokens(ctx, func(t issuedToken) bool {
		return strings.HasPrefix(t.Path, "auth/"+ProviderPath(c.cluster)+"/") && t.Meta["user"] == name
	})
	if err != nil {
		return ended, fmt.Errorf("end the tokens of %s%s: %w", ProviderPrefix, name, err)
	}
	return ended, nil
}

// issuedToken is what Vault says of a token.
type issuedToken struct {
	Entity string            `json:"entity_id"`
	Path   string            `json:"path"` // where it was got
	Meta   map[string]string `json:"meta"`
}

// endTokens revokes every token that is meant.
func (c *Client) endTokens(ctx context.Context, meant func(issuedToken) bool) (int, error) {
	accessors, err := c.list(ctx, "auth/token/accessors")
	if err != nil {
		return 0, err
	}
	ended, err := gather(ctx, accessors, func(ctx context.Context, accessor string) ([]string, error) {
		var t issuedToken
		there, err := c.lookUp(ctx, accessor, &t)
		if err != nil || !there || !meant(t) {
			return nil, err
		}
		return []string{accessor}, c.EndToken(ctx, accessor)
	})
	return len(ended), err
}

// lookUp reads what Vault says of a token into out, and says whether the token is still there. Of one that ends in that very moment
// Vault says that permission is denied, and a moment later that it knows of none.
func (c *Client) lookUp(ctx context.Context, accessor string, out any) (there bool, err error) {
	for range 3 {
		err = c.put(ctx, "auth/token/lookup-accessor", map[string]any{"accessor": accessor}, out)
		if !errors.Is(err, ErrDenied) {
			break
		}
	}
	if refused := (*Error)(nil); errors.As(err, &refused) && !errors.Is(err, ErrDenied) {
		return false, nil
	}
	return err == nil, err
}

// EndToken revokes a token by its accessor; one that has ended is no error.
func (c *Client) EndToken(ctx context.Context, accessor string) error {
	err := c.put(ctx, "auth/token/revoke-accessor", map[string]any{"accessor": accessor}, nil)
	var refused *Error
	if errors.As(err, &refused) && !errors.Is(err, ErrDenied) {
		return nil
	}
	return err
}

// destroySecrets ends what an AppRole role logs in with.
func (c *Client) destroySecrets(ctx context.Context, role string) error {
	accessors, err := c.list(ctx, role+"/secret-id")
	if err != nil {
		return fmt.Errorf("list secrets: %w", err)
	}
	for _, accessor := range accessors {
		err := c.put(ctx, role+"/secret-id-accessor/destroy", map[string]any{"secret_id_accessor": accessor}, nil)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("destroy a secret: %w", err)
		}
	}
	return nil
}
