package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"ashlar.dev/ashlar/internal/unit"
)

// Boot is what a machine is given before it first boots: who it is and where Vault is. It holds no secret.
type Boot struct {
	// Desired is as much as is known of the machine's desired document; Vault's own goes before it.
	Desired unit.Desired `json:"desired"`
	// VaultCA is the CA that Vault's listeners must show, as PEM. Until it is known the machine does not speak to Vault.
	VaultCA string `json:"vaultCA,omitempty"`
	// Attestation is how the machine proves which one it is; nil: by an init token.
	Attestation *Attestation `json:"attestation,omitempty"`
	// Pool is the group that it is one of, whose members share a desired document.
	Pool string `json:"pool,omitempty"`
	// Revision is raised to have the machine look at its units again, and repair what was edited by hand.
	Revision string `json:"revision,omitempty"`
	// Rejoin: the machine was made anew in the place of one that is lost. Its members join others that go on, and never begin.
	Rejoin bool `json:"rejoin,omitempty"`
	// Hold names units that must not run: what they keep is about to be replaced.
	Hold []string `json:"hold,omitempty"`
	// RenewBefore is since when certificates are good: those from before were signed by a Vault that is lost.
	RenewBefore time.Time `json:"renewBefore,omitzero"`
}

// document names whose desired document the machine goes by.
func (b Boot) document() string {
	if b.Pool != "" {
		return b.Pool
	}
	return b.Desired.Self
}

// stateDir is what the agent keeps across reboots.
const stateDir = "/var/lib/ashlar"

// kept is the newest desired document that the machine has had from Vault, so that it can boot with Vault away.
type kept struct {
	Version int          `json:"version"`
	Desired unit.Desired `json:"desired"`
}

// LoadBoot reads the machine's boot document.
func LoadBoot() (Boot, error) {
	var b Boot
	err := loadJSON(unit.BootFile, &b)
	if err == nil && (b.Desired.Self == "" || b.Desired.Cluster == "") {
		err = fmt.Errorf("%s names no machine or cluster", unit.BootFile)
	}
	return b, err
}

// KeptFile is where it is kept.
const KeptFile = stateDir + "/desired.json"

// ReadKept is the document in what was read off a machine's disk; the empty one if that is damaged.
func ReadKept(content []byte) unit.Desired {
	var k kept
	if json.Unmarshal(content, &k) != nil {
		return unit.Desired{}
	}
	return k.Desired
}

func loadKept() (kept, error) {
	var k kept
	err := loadJSON(KeptFile, &k)
	if errors.Is(err, fs.ErrNotExist) {
		return kept{}, nil
	}
	return k, err
}

func (k kept) save() error {
	b, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return writeFile(KeptFile, b, 0o600)
}

func loadJSON(path string, into any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// token is the machine's Vault token. It is kept on disk, since a rebooted machine is still the same one.
type token struct {
	Token string        `json:"token"`
	TTL   time.Duration `json:"ttl"`
	Since time.Time     `json:"since"` // of the login or the last renewal
}

// TokenFile is where a machine keeps its Vault token.
const TokenFile = stateDir + "/token.json"

// due says that the token is better renewed.
func (t token) due(now time.Time) bool { return now.Sub(t.Since) > t.TTL/2 }

func loadToken() (token, bool) {
	var t token
	if err := loadJSON(TokenFile, &t); err != nil || t.Token == "" {
		return token{}, false
	}
	return t, true
}

func (t token) save() error {
	b, err := json.Marshal(t)
	if err != nil {
		return err
	}
	if err := writeFile(TokenFile, b, 0o600); err != nil {
		return err
	}
	// For the units that speak to Vault themselves.
	return writeFile(unit.VaultTokenFile, []byte(t.Token), 0o600)
}
