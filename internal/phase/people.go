package phase

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/vault"
)

// WithPeople runs f with a client that may say who there is. It acts by the unseal keys: the operator's own credential
// must not be able to make somebody up.
func (c *Cluster) WithPeople(ctx context.Context, f func(*vault.Client) error) error {
	keys, err := vault.ReadKeys(c.keysFile())
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("there is no such cluster yet: run `ashlar up`")
	}
	if err != nil {
		return err
	}
	client, err := c.anyVault(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	return client.WithRoot(ctx, keys, f)
}

// anyVault speaks to Vault without a token.
func (c *Cluster) anyVault(ctx context.Context) (*vault.Client, error) {
	machines, err := c.vaultMachines(ctx)
	if err != nil {
		return nil, err
	}
	if len(machines) == 0 {
		return nil, errors.New("there is no such cluster yet: run `ashlar up`")
	}
	return c.vaultClient(ctx, machines...)
}

// session is what a login leaves: a Vault token, which is a secret, and how long it lives.
type session struct {
	Token string    `json:"token"`
	Until time.Time `json:"until"`
}

func (c *Cluster) sessionFile(person string) string {
	return filepath.Join(c.Dir, "sessions", url.PathEscape(person)+".json")
}

// Login logs a person in, and returns until when.
func (c *Cluster) Login(ctx context.Context, person, password string) (time.Time, error) {
	client, err := c.anyVault(ctx)
	if err != nil {
		return time.Time{}, err
	}
	defer client.Close()
	_, login, err := client.LoginPerson(ctx, person, password)
	if err != nil {
		return time.Time{}, err
	}
	return c.keep(person, login)
}

// LoginRobot logs a robot in, and returns until when.
func (c *Cluster) LoginRobot(ctx context.Context, robot, secret string) (time.Time, error) {
	client, err := c.anyVault(ctx)
	if err != nil {
		return time.Time{}, err
	}
	defer client.Close()
	_, login, err := client.LoginRobot(ctx, robot, secret)
	if err != nil {
		return time.Time{}, err
	}
	return c.keep(robot, login)
}

// LoginProvider logs in somebody whom the company's provider knows, and returns who that is and until when. show is given the
// address that is to be opened in a browser.
func (c *Cluster) LoginProvider(ctx context.Context, show func(address string)) (string, time.Time, error) {
	if c.Spec.Spec.Authentication.IdentityProvider == nil {
		return "", time.Time{}, InputError{errors.New("spec.authentication.identityProvider: there is none to log in at")}
	}
	client, err := c.anyVault(ctx)
	if err != nil {
		return "", time.Time{}, err
	}
	defer client.Close()
	_, login, name, err := client.LoginProvider(ctx, show)
	if err != nil {
		return "", time.Time{}, err
	}
	until, err := c.keep(vault.ProviderPrefix+name, login)
	return vault.ProviderPrefix + name, until, err
}

// keep records a session, and returns until when it lasts.
func (c *Cluster) keep(who string, login vault.Login) (time.Time, error) {
	s := session{Token: login.Token, Until: time.Now().Add(login.TTL)}
	b, err := json.Marshal(s)
	if err != nil {
		return time.Time{}, err
	}
	if err := os.MkdirAll(filepath.Dir(c.sessionFile(who)), 0o700); err != nil {
		return time.Time{}, err
	}
	return s.Until, writeOperatorFile(c.sessionFile(who), b)
}

// NotLoggedIn says that somebody has no session, or one that has ended.
type NotLoggedIn struct {
	// Name is whose session it would be.
	Name string
	// Again is what to give `ashlar login`.
	Again string
	// Err is what Vault says about the session, if it was asked.
	Err error
}

func (e NotLoggedIn) Error() string {
	text := fmt.Sprintf("not logged in as %s: run `ashlar login %s`", e.Name, e.Again)
	if e.Err != nil {
		text += " (" + e.Err.Error() + ")"
	}
	return text
}

// Unwrap returns what Vault says.
func (e NotLoggedIn) Unwrap() error { return e.Err }

// ByPassword says that a password is what it takes.
func (e NotLoggedIn) ByPassword() bool { return e.Again == e.Name }

// again is what to give `ashlar login`.
func (c *Cluster) again(who string) string {
	isRobot := func(r v1alpha1.Robot) bool { return r.Name == who }
	switch {
	case strings.HasPrefix(who, vault.ProviderPrefix):
		return "--provider"
	case slices.ContainsFunc(c.Spec.Spec.Authentication.Robots, isRobot):
		return who + " --robot"
	}
	return who
}

// Identity returns what proves to the API server who a person is, and until when it does. It is a secret.
func (c *Cluster) Identity(ctx context.Context, person string) (string, time.Time, error) {
	client, err := c.asPerson(ctx, person)
	if err != nil {
		return "", time.Time{}, err
	}
	defer client.Close()
	token, ttl, err := client.Identity(ctx)
	if errors.Is(err, vault.ErrDenied) {
		return "", time.Time{}, NotLoggedIn{Name: person, Again: c.again(person), Err: err}
	}
	return token, time.Now().Add(ttl), err
}

// asPerson speaks to Vault by the session that a person's login has left.
func (c *Cluster) asPerson(ctx context.Context, person string) (*vault.Client, error) {
	none := NotLoggedIn{Name: person, Again: c.again(person)}
	b, err := os.ReadFile(c.sessionFile(person))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, none
	}
	if err != nil {
		return nil, err
	}
	var s session
	if err := json.Unmarshal(b, &s); err != nil || time.Now().After(s.Until) {
		return nil, none
	}
	client, err := c.anyVault(ctx)
	if err != nil {
		return nil, err
	}
	return client.WithToken(s.Token), nil
}
