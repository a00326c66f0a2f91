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

// door is one of a machine's: to it, or only on to others.
type door struct {
	machine string
	passOn  bool
}

const (
	sshPort    = 22
	sshTimeout = 20 * time.Second
)

// shell is a connection to a machine's sshd: to the bastion's own from here, to all others from the bastion.
func (p *Provider) shell(ctx context.Context, m provider.Machine, passOn bool) (*ssh.Client, error) {
	door := door{m.Name, passOn}
	p.mu.Lock()
	c := p.shells[door]
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
	if c, err = p.enter(ctx, conn, door); err != nil {
		_ = conn.Close() // it is of no use
		return nil, fmt.Errorf("machine %s: ssh: %w", m.Name, err)
	}
	p.mu.Lock()
	p.shells[door] = c
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
		c, err := p.shell(ctx, m, true)
		if err != nil {
			return nil, err
		}
		return c.DialContext(ctx, network, address)
	}
	return nil, errors.New("there is no bastion, which is the way in: run `ashlar up`")
}

// entry is what a door opens by.
func (p *Provider) entry(ctx context.Context, d door) (Entry, error) {
	if d.passOn {
		return p.passOn(ctx, d.machine)
	}
	return p.Enter(ctx, d.machine)
}

// enter shows a certificate, and takes none of a host's but one for its name.
func (p *Provider) enter(ctx context.Context, conn net.Conn, d door) (*ssh.Client, error) {
	e, err := p.entry(ctx, d)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, sshTimeout)
	defer cancel()
	// A connection through another knows no deadline.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	checker := ssh.CertChecker{IsHostAuthority: func(key ssh.PublicKey, _ string) bool {
		for _, ca := range e.HostCAs {
			if bytes.Equal(ca.Marshal(), key.Marshal()) {
				return true
			}
		}
		return false
	}}
	c, channels, requests, err := ssh.NewClientConn(conn, net.JoinHostPort(d.machine, strconv.Itoa(sshPort)), &ssh.ClientConfig{
		User: e.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(e.Signer)}, HostKeyCallback: checker.CheckHostKey,
		HostKeyAlgorithms: []string{ssh.CertAlgoED25519v01},
	})
	if err != nil {
		return nil, errors.Join(err, ctx.Err())
	}
	if !stop() {
		return nil, ctx.Err()
	}
	return ssh.NewClient(c, channels, requests), nil
}
