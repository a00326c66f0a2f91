package phase

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// vaultAccess is what one command keeps of its way to Vault.
type vaultAccess struct {
	client *vault.Client // logged in as the operator
	trust  *trust
}

// The operator's files. Whoever has the first two has the cluster.
func (c *Cluster) keysFile() string       { return filepath.Join(c.Dir, "operator", "unseal-keys.json") }
func (c *Cluster) credentialFile() string { return filepath.Join(c.Dir, "operator", "credential.json") }
func (c *Cluster) vaultCAFile() string    { return filepath.Join(c.Dir, "operator", "vault-ca.crt") }

// vaultCA is the CA of Vault's listeners; empty before there is one.
func (c *Cluster) vaultCA() string {
	b, err := os.ReadFile(c.vaultCAFile())
	if err != nil {
		return ""
	}
	return string(b)
}

// vaultMachines are those that run Vault.
func (c *Cluster) vaultMachines(ctx context.Context) ([]provider.Machine, error) {
	return c.withRole(ctx, v1alpha1.RoleVault)
}

// vaultClient speaks to Vault on some machines. Beside Vault's CA it trusts the certificates that these machines
// made for themselves: it reads them off their disks, which nobody can forge from the network.
func (c *Cluster) vaultClient(ctx context.Context, machines ...provider.Machine) (*vault.Client, error) {
	o := vault.Options{Cluster: c.Spec.Metadata.Name, CAs: c.vaultCA()}
	addresses := map[string]string{}
	for _, m := range machines {
		name := net.JoinHostPort(m.Name, strconv.Itoa(unit.PortVault))
		addresses[name] = net.JoinHostPort(m.Address.String(), strconv.Itoa(unit.PortVault))
		o.Addresses = append(o.Addresses, name)
		cert, err := c.listenerCertificate(ctx, m)
		if err != nil {
			return nil, err
		}
		if block, _ := pem.Decode(cert); block != nil {
			o.Pins = append(o.Pins, sha256.Sum256(block.Bytes))
		}
	}
	o.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		return c.Provider.Dial(ctx, provider.FromOperator, network, addresses[address])
	}
	return vault.New(o)
}

// listenerCertificate reads what a Vault machine listens with; nil if it has none yet.
func (c *Cluster) listenerCertificate(ctx context.Context, m provider.Machine) ([]byte, error) {
	cert, err := c.readListener(ctx, m.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return cert, err
}

// readListener reads it off the machine's disk; where nobody can, the machine has published it.
func (c *Cluster) readListener(ctx context.Context, machine string) ([]byte, error) {
	if p, ok := c.cloud(); ok {
		return p.Published(ctx, publishedListener(machine))
	}
	return c.Provider.Read(ctx, machine, unit.ProfilesOf(v1alpha1.RoleVault)[0].For(machine).CertFile())
}

var errNoCredential = errors.New("there is no operator's credential yet")

// operatorVault logs in as the operator, once for each command.
func (c *Cluster) operatorVault(ctx context.Context) (*vault.Client, error) {
	c.mu.Lock()
	have := c.vault
	c.mu.Unlock()
	if have != nil && have.client != nil {
		return have.client, nil
	}
	b, err := os.ReadFile(c.credentialFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoCredential
	}
	if err != nil {
		return nil, err
	}
	var cred vault.OperatorCredential
	if err := json.Unmarshal(b, &cred); err != nil {
		return nil, fmt.Errorf("read %s: %w", c.credentialFile(), err)
	}
	machines, err := c.vaultMachines(ctx)
	if err != nil {
		return nil, err
	}
	anonymous, err := c.vaultClient(ctx, machines...)
	if err != nil {
		return nil, err
	}
	client, _, err := anonymous.LoginAppRole(ctx, cred.RoleID, cred.SecretID)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.vault = &vaultAccess{client: client}
	c.mu.Unlock()
	return client, nil
}

// forgetVault makes the next access log in anew.
func (c *Cluster) forgetVault() {
	c.mu.Lock()
	c.vault, c.kube = nil, nil
	c.mu.Unlock()
}

// Close ends what a command held open, and its Vault token, even if the command was interrupted.
func (c *Cluster) Close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	c.mu.Lock()
	have := c.vault
	c.vault, c.kube = nil, nil
	c.mu.Unlock()
	if have != nil && have.client != nil {
		_ = have.client.RevokeSelf(ctx) // it would die within the hour anyway
		have.client.Close()
	}
}
