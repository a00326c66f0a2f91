// Package backup is the format of a cluster's backup: one file, encrypted with age, which says what it holds and is read to its
// end before anything is done with it.
//
// Inside the encryption it is a tar archive, so that it can be opened without Ashlar too (age -d -i KEY FILE | tar x):
// manifest.json first, then the parts, then SHA256SUMS, which `sha256sum -c` understands.
package backup

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"filippo.io/age"
)

// Format is the version of this format.
const Format = 1

// Names of the entries that are no parts.
const (
	manifestEntry = "manifest.json"
	sumsEntry     = "SHA256SUMS"
)

// Vault is the part that holds Vault's raft snapshot; Vault's own barrier encrypts it, and the unseal keys open that.
const Vault = "vault.snap"

// Etcd is the part that holds an etcd cluster's snapshot.
func Etcd(cluster string) string { return "etcd-" + cluster + ".db" }

// Manifest says what a backup is of.
type Manifest struct {
	Format int `json:"format"`
	// Cluster is the name, ID the identity; a backup is good for that cluster only.
	Cluster string `json:"cluster"`
	ID      string `json:"id"`
	// Identity is what else cannot change about the cluster.
	Identity json.RawMessage `json:"identity"`
	// Time is when the backup began: all that was written before is in it.
	Time time.Time `json:"time"`
	// KubernetesVersion is what ran.
	KubernetesVersion string `json:"kubernetesVersion"`
	// UnsealKeys is a digest of the keys that open Vault's snapshot. The keys themselves are not in the backup.
	UnsealKeys string `json:"unsealKeys"`
	// Parts are in their order.
	Parts []string `json:"parts"`
}

// Writer writes a backup.
type Writer struct {
	sealed io.WriteCloser
	tar    *tar.Writer
	parts  []string // still to come
	time   time.Time
	sums   strings.Builder
}

// Create begins a backup that any of the recipients can open. The manifest's parts have to be added in their order.
func Create(w io.Writer, m Manifest, recipients ...age.Recipient) (*Writer, error) {
	sealed, err := age.Encrypt(w, recipients...)
	if err != nil {
		return nil, fmt.Errorf("encrypt the backup: %w", err)
	}
	m.Format = Format
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, err
	}
	out := &Writer{sealed: sealed, tar: tar.NewWriter(sealed), parts: m.Parts, time: m.Time}
	return out, out.entry(manifestEntry, int64(len(b)), bytes.NewReader(b))
}

// Add writes the next part, of that many bytes.
func (w *Writer) Add(part string, size int64, content io.Reader) error {
	if len(w.parts) == 0 || w.parts[0] != part {
		return fmt.Errorf("write the backup: %s is not the next of its parts %v", part, w.parts)
	}
	w.parts = w.parts[1:]
	return w.entry(part, size, content)
}

// Close ends the backup. What was not closed cannot be read.
func (w *Writer) Close() error {
	if len(w.parts) > 0 {
		return fmt.Errorf("write the backup: %s is missing", strings.Join(w.parts, ", "))
	}
	sums := w.sums.String()
	if err := w.entry(sumsEntry, int64(len(sums)), strings.NewReader(sums)); err != nil {
		return err
	}
	if err := w.tar.Close(); err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	if err := w.sealed.Close(); err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	return nil
}

func (w *Writer) entry(name string, size int64, content io.Reader) error {
	err := w.tar.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o600, ModTime: w.time, Format: tar.FormatPAX})
	hash := sha256.New()
	var n int64
	if err == nil {
		n, err = io.Copy(w.tar, io.TeeReader(content, hash))
	}
	if err == nil && n != size {
		err = fmt.Errorf("it ended after %d of %d bytes", n, size)
	}
	if err != nil {
		return fmt.Errorf("write %s into the backup: %w", name, err)
	}
	if name != sumsEntry {
		fmt.Fprintf(&w.sums, "%s  %s\n", hex.EncodeToString(hash.Sum(nil)), name)
	}
	return nil
}
