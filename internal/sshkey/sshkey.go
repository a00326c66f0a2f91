// Package sshkey makes SSH keys, and has a client use one for a single connection.
package sshkey

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// Pair is a key as OpenSSH writes it. Private is a secret.
type Pair struct {
	Public, Private string
	// Certificate is Public, signed.
	Certificate string
}

// New makes a key.
func New() (Pair, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("make an SSH key: %w", err)
	}
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		return Pair{}, fmt.Errorf("make an SSH key: %w", err)
	}
	private, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return Pair{}, fmt.Errorf("make an SSH key: %w", err)
	}
	return Pair{Public: string(ssh.MarshalAuthorizedKey(public)), Private: string(pem.EncodeToMemory(private))}, nil
}
