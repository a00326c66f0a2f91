package aws

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
)

// Entry is what one machine lets the operator in by, for minutes.
type Entry struct {
	User string
	// Signer is a key with its certificate.
	Signer ssh.Signer
	// HostCAs sign the keys of hosts; no host is taken on trust.
	HostCAs []ssh.PublicKey
}

const (
	sshPort    = 22
	sshTimeout = 20 * time.Second
)

// shell is a connection to a machine's sshd: to the bastion's own from here, to all others from the bastion.
func (p *Provider) shell(ctx context.Context, m provider.Machine) (*ssh.Client, error) {
	p.mu.Lock()
	c := p.shells[m.Name]
	p.mu.Unlock()
	if c != nil {
		if _, _, err := c.SendRequest("keepalive@openssh.com", true, nil); err == nil {
			return c, nil
		}
		_ = c.Close() // it is lost already
	}
	conn, err := p.knock(ctx, m)
	if err != nil {
		return nil, fmt.Errorf("machine %s: %w", m.Name, err)
	}
	if c, err = p.enter(ctx, conn, m.Name); err != nil {
		return nil, errors.Join(fmt.Errorf("machine %s: ssh: %w", m.Name, err), conn.Close())
	}
	p.mu.Lock()
	p.shells[m.Name] = c
	p.mu.Unlock()
	return c, nil
}

// knock connects to a machine's port for ssh.
func (p *Provider) knock(ctx context.Context, m provider.Machine) (net.Conn, error) {
	if m.Role == v1alpha1.RoleBastion {
		ctx, cancel := context.WithTimeout(ctx, sshTimeout)
		defer cancel()
		return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(m.Public.String(), strconv.Itoa(sshPort)))
	}
	return p.throughBastion(ctx, "tcp", net.JoinHostPort(m.Address.String(), strconv.Itoa(sshPort)))
}

// throughBastion connects to what the bastion reaches.
func (p *Provider) throughBastion(ctx context.Context, network, address string) (net.Conn, error) {
	all, err := p.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		if m.Role != v1alpha1.RoleBastion {
			continue
		}
		if m.State != provider.Running {
			return nil, fmt.Errorf("the bastion %s is %s: `ashlar up` powers it on", m.Name, m.State)
		}
		c, err := p.shell(ctx, m)
		if err != nil {
			return nil, err
		}
		return c.DialContext(ctx, network, address)
	}
	return nil, errors.New("there is no bastion, which is the way in: run `ashlar up`")
}

// enter shows a certificate, and takes none of a host's but one for its name.
func (p *Provider) enter(ctx context.Context, conn net.Conn, name string) (*ssh.Client, error) {
	e, err := p.Enter(ctx, name)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(sshTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	checker := ssh.CertChecker{IsHostAuthority: func(key ssh.PublicKey, _ string) bool {
		for _, ca := range e.HostCAs {
			if bytes.Equal(ca.Marshal(), key.Marshal()) {
				return true
			}
		}
		return false
	}}
	c, channels, requests, err := ssh.NewClientConn(conn, net.JoinHostPort(name, strconv.Itoa(sshPort)), &ssh.ClientConfig{
		User: e.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(e.Signer)}, HostKeyCallback: checker.CheckHostKey,
		HostKeyAlgorithms: []string{ssh.CertAlgoED25519v01},
	})
	if err != nil {
		return nil, err
	}
	return ssh.NewClient(c, channels, requests), conn.SetDeadline(time.Time{})
}
