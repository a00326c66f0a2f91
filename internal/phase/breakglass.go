package phase

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"time"

	"k8s.io/client-go/rest"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/webhook"
)

// BreakGlassMost is how long a break-glass token lives at most, should nobody be there any more to take it away.
const BreakGlassMost = time.Hour

// BreakGlass runs f with a way to the API that needs no Vault: a token whose hash is left on the control-plane machines
// for as long as f takes, or until it expires. Whoever can write there has the cluster already, so this gives nobody more.
func (c *Cluster) BreakGlass(ctx context.Context, reason string, life time.Duration, f func(Access, string) error) error {
	machines, err := c.Machines(ctx)
	if err != nil {
		return err
	}
	machines = slices.DeleteFunc(machines, func(m provider.Machine) bool {
		return m.Role != v1alpha1.RoleControlPlane || m.State != provider.Running
	})
	if len(machines) == 0 {
		return errors.New("no control-plane machine runs: power one on by `ashlar up`")
	}
	server, err := c.APIServerURL(ctx)
	if err != nil {
		return err
	}
	ca, err := c.Provider.Read(ctx, machines[0].Name, unit.CAFile(unit.CAKubernetes))
	if err != nil {
		return fmt.Errorf("read the Kubernetes CA of %s: %w", machines[0].Name, err)
	}
	token := rand.Text() + rand.Text()
	entry := webhook.BreakGlass{SHA256: webhook.Hash(token), Expires: time.Now().Add(life).UTC().Truncate(time.Second), Reason: reason}
	defer func() {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		for _, m := range machines {
			_ = c.editBreakGlass(late, m.Name, entry, false) // it expires all the same
		}
	}()
	for _, m := range machines {
		if err := c.editBreakGlass(ctx, m.Name, entry, true); err != nil {
			return fmt.Errorf("leave the token's hash on %s: %w", m.Name, err)
		}
	}
	access := Access{Server: server, CA: string(ca)}
	if err := c.awaitToken(ctx, access, token); err != nil {
		return err
	}
	return f(access, token)
}

// awaitToken returns once the API takes the token: a webhook that was just asked may be a moment behind.
func (c *Cluster) awaitToken(ctx context.Context, access Access, token string) error {
	config := c.RESTConfig(Credential{Access: access})
	config.BearerToken = token
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	for {
		answer := "it does not answer"
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, config.Host+"/version", nil)
		if err != nil {
			return err
		}
		if resp, err := client.Do(req); err == nil {
			resp.Body.Close()
			if answer = resp.Status; resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the API does not take the token: %s; see `ashlar logs`", answer)
		case <-time.After(look):
		}
	}
}

// editBreakGlass adds or removes an entry, and removes what has expired.
func (c *Cluster) editBreakGlass(ctx context.Context, machine string, entry webhook.BreakGlass, add bool) error {
	entries, err := c.BreakGlassTokens(ctx, machine)
	if err != nil {
		return err
	}
	kept := slices.DeleteFunc(entries, func(b webhook.BreakGlass) bool { return b.SHA256 == entry.SHA256 || time.Now().After(b.Expires) })
	if add {
		kept = append(kept, entry)
	}
	b, err := json.Marshal(append([]webhook.BreakGlass{}, kept...))
	if err != nil {
		return err
	}
	return c.Provider.Write(ctx, machine, []provider.File{{Path: unit.BreakGlassFile, Mode: 0o600, Content: b}})
}

// BreakGlassTokens are those whose hashes are on a machine.
func (c *Cluster) BreakGlassTokens(ctx context.Context, machine string) ([]webhook.BreakGlass, error) {
	b, err := c.Provider.Read(ctx, machine, unit.BreakGlassFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []webhook.BreakGlass
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", unit.BreakGlassFile, machine, err)
	}
	return out, nil
}
