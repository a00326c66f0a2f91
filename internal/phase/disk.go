package phase

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
)

// diskLeaf is a certificate as it is on a machine's disk, which needs no Vault to be read.
type diskLeaf struct {
	Machine             string
	CA                  unit.CA
	Name                string
	Serial              string
	NotBefore, NotAfter time.Time
	// Issued is false for what a machine made for itself.
	Issued bool
}

// leavesOnDisks reads the certificates of all machines that have a disk.
func (c *Cluster) leavesOnDisks(ctx context.Context) ([]diskLeaf, error) {
	machines, err := c.Machines(ctx)
	if err != nil {
		return nil, err
	}
	var out []diskLeaf
	for _, m := range machines {
		if m.State == provider.Absent {
			continue
		}
		for _, p := range unit.ProfilesOf(m.Role) {
			b, err := c.Provider.Read(ctx, m.Name, p.CertFile())
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("read certificate %s/%s of %s: %w", p.CA, p.Name, m.Name, err)
			}
			if l, ok := readLeaf(b); ok {
				l.Machine, l.CA, l.Name = m.Name, p.CA, p.Name
				out = append(out, l)
			}
		}
	}
	return out, nil
}

// readLeaf reads the first certificate of a file; a damaged one is none.
func readLeaf(text []byte) (diskLeaf, bool) {
	block, _ := pem.Decode(text)
	if block == nil {
		return diskLeaf{}, false
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return diskLeaf{}, false
	}
	return diskLeaf{Serial: serial(cert), NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, Issued: string(cert.RawIssuer) != string(cert.RawSubject)}, true
}
