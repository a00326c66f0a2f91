// Package testvault starts a real Vault on loopback, with the layout of a cluster in it, for tests and measurements.
package testvault

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"ashlar.dev/ashlar/internal/vault"
)

// Server is a real Vault on loopback with the layout of a cluster in it.
type Server struct {
	// Dir holds its data and its audit logs; Address is host:port.
	Dir, Address string
	// Cert is its own certificate, as PEM.
	Cert    string
	Process *os.Process
	// Operator is logged in as `ashlar` is.
	Operator *vault.Client

	input   vault.Input
	command *exec.Cmd
	keys    vault.Keys
}

// config is a vault machine's.
const config = `ui            = false
disable_mlock = true
log_level     = "error"
api_addr      = "https://%[1]s"
cluster_addr  = "https://%[2]s"
listener "tcp" {
  address         = "%[1]s"
  cluster_address = "%[2]s"
  tls_cert_file   = "%[3]s/tls.crt"
  tls_key_file    = "%[3]s/tls.key"
  tls_min_version = "tls13"
}
storage "raft" {
  path                   = "%[3]s/data"
  node_id                = "vault-0"
  performance_multiplier = 1
}
`

// Start starts a server (binary is Vault's) and makes what `up` makes of it. input's audit logs are put into the
// server's directory. Stop must be called, also after an error.
func Start(ctx context.Context, binary string, input vault.Input) (*Server, error) {
	s := &Server{input: input}
	if err := s.start(ctx, binary); err != nil {
		return s, fmt.Errorf("start %s: %w", binary, err)
	}
	return s, s.furnish(ctx)
}

func (s *Server) start(ctx context.Context, binary string) error {
	dir, err := os.MkdirTemp("", "ashlar-vault-")
	if err != nil {
		return err
	}
	s.Dir, s.input.AuditDirectory = dir, dir
	var addresses [2]string
	for i := range addresses {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		addresses[i] = l.Addr().String()
		_ = l.Close() // was never used
	}
	s.Address = addresses[0]
	if err := s.selfSign(); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		return err
	}
	path := filepath.Join(dir, "config.hcl")
	if err := os.WriteFile(path, fmt.Appendf(nil, config, addresses[0], addresses[1], dir), 0o600); err != nil {
		return err
	}
	s.command = exec.CommandContext(ctx, binary, "server", "-config="+path)
	s.command.Env = []string{"HOME=" + dir}
	s.command.Stdout, s.command.Stderr = os.Stderr, os.Stderr
	if err := s.command.Start(); err != nil {
		return err
	}
	s.Process = s.command.Process
	return nil
}

// Stop leaves nothing behind.
func (s *Server) Stop() {
	if s.Process != nil {
		_ = s.Process.Kill()
		_ = s.command.Wait()
	}
	_ = os.RemoveAll(s.Dir)
}

func (s *Server) selfSign() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "vault"}, DNSNames: []string{"vault"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	s.Cert = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	if err := os.WriteFile(filepath.Join(s.Dir, "tls.crt"), []byte(s.Cert), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.Dir, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600)
}

// Client comes from a source address of its own, as machines do.
func (s *Server) Client(source net.IP) (*vault.Client, error) {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: source}}
	return vault.New(vault.Options{
		Cluster: s.input.Cluster, Addresses: []string{"vault:8200"}, CAs: s.Cert,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, s.Address)
		},
	})
}

// furnish initialises Vault and makes the layout, as `up` does.
func (s *Server) furnish(ctx context.Context) error {
	anonymous, err := s.Client(s.input.OperatorAddress.AsSlice())
	if err != nil {
		return err
	}
	for {
		if _, err = anonymous.Status(ctx); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for Vault: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
	var root string
	s.keys, root, err = anonymous.Initialise(ctx, filepath.Join(s.Dir, "keys.json"))
	if err != nil {
		return err
	}
	if err := anonymous.Unseal(ctx, s.keys); err != nil {
		return err
	}
	if err := anonymous.WaitActive(ctx); err != nil {
		return err
	}
	var credential vault.OperatorCredential
	err = anonymous.UseRoot(ctx, root, func(root *vault.Client) error {
		want := vault.Layout(s.input)
		have, err := vault.Observe(ctx, root, want)
		if err != nil {
			return err
		}
		if err := vault.Apply(ctx, root, vault.Diff(want, have)); err != nil {
			return err
		}
		credential, err = root.IssueOperatorCredential(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("make the layout: %w", err)
	}
	s.Operator, _, err = anonymous.LoginAppRole(ctx, credential.RoleID, credential.SecretID)
	return err
}

// AsRoot does by hand what somebody with the unseal keys might do.
func (s *Server) AsRoot(ctx context.Context, do func(root *vault.Client) error) error {
	anonymous, err := s.Client(s.input.OperatorAddress.AsSlice())
	if err != nil {
		return err
	}
	return anonymous.WithRoot(ctx, s.keys, do)
}
