package vault

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ServerStatus is what a server says about itself, sealed or not.
type ServerStatus struct {
	Initialized bool   `json:"initialized"`
	Sealed      bool   `json:"sealed"`
	Version     string `json:"version"`
	ClusterName string `json:"cluster_name"`
	// RecoverySeal says that a key outside opens the server, as KMS's: it opens itself, and what operators keep opens nothing.
	RecoverySeal bool `json:"recovery_seal"`
}

// Status asks the server how far it is. Give the client one address: each server has a status of its own.
func (c *Client) Status(ctx context.Context) (ServerStatus, error) {
	var s ServerStatus
	err := c.get(ctx, "sys/seal-status", &s)
	var refused *Error
	if errors.As(err, &refused) && refused.says("initialized but no seal configuration") {
		return ServerStatus{Initialized: true, Sealed: true}, nil // in the middle of it, or whoever began it is gone
	}
	if err != nil {
		return s, fmt.Errorf("ask for the seal status: %w", err)
	}
	return s, nil
}

// ErrNeverRecorded says that Vault was initialised by a run of ours that ended before the unseal keys reached the
// disk. Nobody can ever open that Vault, and nothing can be in it: recreate its machine, and initialise again.
var ErrNeverRecorded = errors.New("vault was initialised, but the run that did it died before the unseal keys were written; nothing is in it yet: its machine has to be created anew")

// ErrForeignKeys says that Vault and the keys do not belong together. Nothing may be wiped then.
var ErrForeignKeys = errors.New("vault and the unseal keys do not belong together")

// Initialise initialises Vault and records the unseal keys at path, unless both has been done, and returns them.
// The root token is returned only by the call that initialised.
//
// There is a moment between Vault's making of the keys and their safe arrival on disk. To tell a crash in that moment
// from keys that somebody lost, the intention is recorded first: an initialised Vault with an intention and no keys
// is ErrNeverRecorded, and empty; one with neither is ErrForeignKeys, and must be left alone.
func (c *Client) Initialise(ctx context.Context, path string) (keys Keys, root string, err error) {
	status, err := c.Status(ctx)
	if err != nil {
		return Keys{}, "", err
	}
	keys, err = ReadKeys(path)
	if err != nil {
		return Keys{}, "", err
	}
	switch {
	case status.Initialized && keys.recorded():
		return keys, "", nil
	case status.Initialized && keys.Intended:
		return Keys{}, "", ErrNeverRecorded
	case status.Initialized:
		return Keys{}, "", fmt.Errorf("%w: the server is initialised, and there are no keys at %s; restore that file", ErrForeignKeys, path)
	case keys.recorded():
		return Keys{}, "", fmt.Errorf("%w: %s holds keys, but the server is empty: its disk is gone, and with it the CAs; `ashlar down` and `up` make a new cluster", ErrForeignKeys, path)
	}
	before := keys
	keys, root, err = c.initialise(ctx, path)
	var refused *Error
	if before.Intended && errors.As(err, &refused) {
		err = ErrNeverRecorded // what an earlier run began went on without it
	}
	return keys, root, err
}

func (c *Client) initialise(ctx context.Context, path string) (Keys, string, error) {
	if err := (Keys{Intended: true}).write(path); err != nil {
		return Keys{}, "", err
	}
	keys, root, err := c.InitialiseToReplace(ctx)
	if err != nil {
		return Keys{}, "", err
	}
	if err := keys.write(path); err != nil {
		return Keys{}, "", fmt.Errorf("vault is initialised, but: %w; %w", err, ErrNeverRecorded)
	}
	return keys, root, nil
}

// InitialiseToReplace initialises Vault with keys that nobody records: all that it holds is about to be replaced by a snapshot.
func (c *Client) InitialiseToReplace(ctx context.Context) (Keys, string, error) {
	var out struct {
		Keys     []string `json:"keys_base64"`
		Recovery []string `json:"recovery_keys_base64"`
		Root     string   `json:"root_token"`
	}
	s, err := c.Status(ctx)
	if err != nil {
		return Keys{}, "", err
	}
	// One share: whoever holds the operator's directory holds all of them anyway.
	body := map[string]any{"secret_shares": 1, "secret_threshold": 1}
	if s.RecoverySeal {
		body = map[string]any{"recovery_shares": 1, "recovery_threshold": 1}
	}
	if err := c.put(ctx, "sys/init", body, &out); err != nil {
		return Keys{}, "", fmt.Errorf("initialise vault: %w", err)
	}
	if s.RecoverySeal {
		out.Keys = out.Recovery // which open nothing, but make root tokens all the same
	}
	return Keys{Shares: out.Keys, Threshold: 1}, out.Root, nil
}

// Unseal opens a server, and returns once it is open; nothing happens if it is. One that has just joined others opens
// only after it has heard from their leader; one whose seal is outside opens itself.
func (c *Client) Unseal(ctx context.Context, keys Keys) error {
	if len(keys.Shares) < max(1, keys.Threshold) {
		return fmt.Errorf("unseal vault: %d keys are not enough", len(keys.Shares))
	}
	s, err := c.Status(ctx)
	for i := 0; err == nil && s.Sealed && !s.RecoverySeal && i < keys.Threshold; i++ {
		err = c.put(ctx, "sys/unseal", map[string]any{"key": keys.Shares[i]}, &s)
	}
	if err != nil {
		return fmt.Errorf("unseal vault: %w", err)
	}
	return poll(ctx, startPause, "vault is unsealed", func() (bool, error) {
		s, err := c.Status(ctx)
		return err == nil && !s.Sealed, err
	})
}

// RaftJoin makes an empty server a member of leader's cluster (leader: host:port; ca: what its certificate is
// recognised by, as PEM; a self-signed one is its own). The server then has to be unsealed, and is a member a moment
// after that. Nothing happens if it is initialised already.
func (c *Client) RaftJoin(ctx context.Context, leader, ca string) error {
	s, err := c.Status(ctx)
	if err != nil || s.Initialized {
		return err
	}
	var out struct{ Joined bool }
	body := map[string]any{"leader_api_addr": "https://" + leader, "leader_ca_cert": ca}
	if err := c.put(ctx, "sys/storage/raft/join", body, &out); err != nil {
		return fmt.Errorf("join the cluster of %s: %w", leader, err)
	}
	if !out.Joined {
		return fmt.Errorf("join the cluster of %s: refused", leader)
	}
	return nil
}

// PromoteSoon has autopilot make a new member a voter once it was healthy for a second, not for ten: until then a
// cluster of three does not survive the loss of one. The client must hold a root token.
func (c *Client) PromoteSoon(ctx context.Context) error {
	if err := c.put(ctx, "sys/storage/raft/autopilot/configuration", map[string]any{"server_stabilization_time": "1s"}, nil); err != nil {
		return fmt.Errorf("configure raft's autopilot: %w", err)
	}
	return nil
}

// Leads says whether the client's server is the one that works on requests.
func (c *Client) Leads(ctx context.Context) (bool, error) {
	var out struct {
		IsSelf bool `json:"is_self"`
	}
	err := c.get(ctx, "sys/leader", &out)
	return out.IsSelf, err
}

// raftMember is a server as raft knows it.
type raftMember struct {
	NodeID string `json:"node_id"`
	Voter  bool
}

func (c *Client) members(ctx context.Context) ([]raftMember, error) {
	var out struct {
		Config struct{ Servers []raftMember }
	}
	if err := c.get(ctx, "sys/storage/raft/configuration", &out); err != nil {
		return nil, fmt.Errorf("read the members of vault's cluster: %w", err)
	}
	return out.Config.Servers, nil
}

// Voters are the members that raft counts, by name.
func (c *Client) Voters(ctx context.Context) ([]string, error) {
	members, err := c.members(ctx)
	var voters []string
	for _, s := range members {
		if s.Voter {
			voters = append(voters, s.NodeID)
		}
	}
	return voters, err
}

// WaitActive returns when one of the client's servers is unsealed and leads, which is when Vault takes requests.
func (c *Client) WaitActive(ctx context.Context) error {
	return poll(ctx, startPause, "vault is active", func() (bool, error) {
		err := c.get(ctx, "sys/health", &struct{}{})
		return err == nil, err
	})
}

// startPause is how often a server is asked that is just starting.
const startPause = 10 * time.Millisecond

// poll asks every now and then until the answer is yes; Vault has no way to tell by itself.
func poll(ctx context.Context, every time.Duration, what string, ask func() (bool, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		yes, err := ask()
		if yes {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w", what, errors.Join(ctx.Err(), err))
		case <-tick.C:
		}
	}
}
