// Package rotation is how a key that the whole cluster relies on is replaced without anybody being refused in between.
// It is pure: what is trusted, and what signs, follows from the stage that a journal names, and from nothing else.
package rotation

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ashlar.dev/ashlar/internal/unit"
)

// Target is something that can be rotated.
type Target string

// The targets: every CA, and the two keys that are no CA's.
const (
	Kubernetes     = Target(unit.CAKubernetes)
	EtcdKubernetes = Target(unit.CAEtcdKubernetes)
	EtcdOverlay    = Target(unit.CAEtcdOverlay)
	FrontProxy     = Target(unit.CAFrontProxy)
	// VaultTLS is the CA of Vault's own listeners.
	VaultTLS Target = "vault-tls"
	// SSHHosts signs the host keys of machines, SSHUsers what people come in by.
	SSHHosts Target = "ssh-host"
	SSHUsers Target = "ssh-user"
	// ServiceAccountKey signs the tokens of pods.
	ServiceAccountKey Target = "serviceaccount-key"
	// EncryptionKey, in Vault, seals what the API servers store.
	EncryptionKey Target = "encryption-key"
)

// Targets are all, in the order in which "all" rotates them: at the end those that people and pods have to be waited for with.
var Targets = []Target{VaultTLS, EtcdKubernetes, EtcdOverlay, FrontProxy, EncryptionKey, SSHHosts, SSHUsers, Kubernetes, ServiceAccountKey}

// SSH are the targets that there are where there is a bastion.
var SSH = []Target{SSHHosts, SSHUsers}

// All stands for every target.
const All = "all"

// SSHCA is the SSH CA that the target is, as Vault's layout calls it; empty for the others.
func (t Target) SSHCA() string {
	if !slices.Contains(SSH, t) {
		return ""
	}
	return strings.TrimPrefix(string(t), "ssh-")
}

// CA is the CA that the target is; empty for the keys that are none, and for the CAs of SSH.
func (t Target) CA() unit.CA {
	switch t {
	case VaultTLS:
		return unit.CAVault
	case ServiceAccountKey, EncryptionKey, SSHHosts, SSHUsers:
		return ""
	}
	return unit.CA(t)
}

// ParseTargets reads what a user named, once each, in the order of Targets.
func ParseTargets(names []string) ([]Target, error) {
	var out []Target
	for _, n := range names {
		switch {
		case n == All:
			out = append(out, Targets...)
		case slices.Contains(Targets, Target(n)):
			out = append(out, Target(n))
		default:
			return nil, fmt.Errorf("there is no %q to rotate, but there are %s, and %s", n, Join(Targets), All)
		}
	}
	slices.SortFunc(out, func(a, b Target) int { return slices.Index(Targets, a) - slices.Index(Targets, b) })
	return slices.Compact(out), nil
}

// Lifetimes are of what the old key signed and nobody renews.
type Lifetimes struct {
	// Admin is of the certificates of people, Token of the tokens of pods, SSH of people's SSH certificates.
	Admin, Token, SSH time.Duration
}

// podsSettle is how long pods take to see a new CA: their copy of it is renewed within a minute or two, and their clients
// read it every five.
const podsSettle = 7 * time.Minute

// waits says whether some stage lasts longer for the sake of pods and people.
func (t Target) waits() bool { return t == SSHUsers || t == Kubernetes || t == ServiceAccountKey }

// Together splits targets into those that go through the stages at the same time, so that what restarts does so once for all of
// them. Nobody is kept at a stage for the sake of pods and people who need not be.
func Together(targets []Target) [][]Target {
	var out [][]Target
	for i, t := range targets {
		if i == 0 || t.waits() != targets[i-1].waits() {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], t)
	}
	return out
}

// Join names targets, for people.
func Join(targets []Target) string {
	var names []string
	for _, t := range targets {
		names = append(names, string(t))
	}
	return strings.Join(names, ", ")
}

// Settle is how long a stage that every machine has confirmed must last before the next, for the sake of those that
// confirm nothing.
func (t Target) Settle(s Stage, l Lifetimes) time.Duration {
	switch {
	case t == Kubernetes && s == Trust:
		return podsSettle
	case t == Kubernetes && s == Issue:
		return l.Admin
	case t == ServiceAccountKey && s == Issue:
		return l.Token
	case t == SSHUsers && s == Issue:
		return l.SSH
	}
	return 0
}
