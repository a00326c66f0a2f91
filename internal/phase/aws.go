package phase

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/crypto/ssh"

	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/provider/aws"
	"ashlar.dev/ashlar/internal/unit"
	modules "ashlar.dev/ashlar/terraform/aws"
)

// onAWS is the provider of a cluster whose machines are EC2 instances.
func (c *Cluster) onAWS(root string, o Options) (provider.Provider, error) {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, err
	}
	plugins, err := filepath.Abs(filepath.Join(root, "plugins"))
	if err != nil {
		return nil, err
	}
	return aws.New(aws.Options{
		Cluster: c.Spec, Network: c.network(), Dir: dir, Plugins: plugins, Bundle: c.Bundle.Dir, Modules: modules.Files,
		Archive: func(ctx context.Context) (aws.Archive, error) {
			a, err := c.Bundle.Archive(ctx)
			return aws.Archive{File: a.File, Digest: a.Digest}, err
		},
		Replace: o.Replace, Unlock: o.Unlock, Enter: c.entry,
	})
}

// entry is what a machine lets the operator in by: to become root on it, or only to be passed on.
func (c *Cluster) entry(ctx context.Context, machine string, passOn bool) (aws.Entry, error) {
	access, err := c.SSH(ctx, machine, "")
	if err != nil {
		return aws.Entry{}, err
	}
	key, err := ssh.ParsePrivateKey([]byte(access.Pair.Private))
	if err != nil {
		return aws.Entry{}, fmt.Errorf("read a key that was made for ssh: %w", err)
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(access.Pair.Certificate))
	if err != nil {
		return aws.Entry{}, fmt.Errorf("read a certificate for ssh: %w", err)
	}
	certificate, ok := public.(*ssh.Certificate)
	if !ok {
		return aws.Entry{}, errors.New("read a certificate for ssh: it is none")
	}
	e := aws.Entry{User: "root"}
	if passOn {
		e.User = unit.JumpUser
	}
	if e.Signer, err = ssh.NewCertSigner(certificate, key); err != nil {
		return e, fmt.Errorf("use a certificate for ssh: %w", err)
	}
	for rest := []byte(access.KnownHosts); len(rest) > 0; {
		_, _, ca, _, next, err := ssh.ParseKnownHosts(rest)
		if err != nil {
			return e, fmt.Errorf("read the CA of host keys: %w", err)
		}
		e.HostCAs, rest = append(e.HostCAs, ca), next
	}
	return e, nil
}

// observePlanned has the provider say what it would do of machines and network, before anything exists, too.
func observePlanned(ctx context.Context, c *Cluster) ([]Drift, error) {
	var drift []Drift
	if !c.Exists() {
		drift = append(drift, Drift{Object: c.Spec.Metadata.Name, Cause: "there is no such cluster", Action: "create it", hides: true})
	}
	planned, err := c.Provider.NetworkDrift(ctx, nil, c.network())
	if err != nil {
		return nil, err
	}
	have, err := c.Machines(ctx)
	if err != nil {
		return nil, err
	}
	for _, d := range planned {
		object := d.Machine
		if object == "" {
			object = "network"
		}
		// A machine that is about to be made hides what comes after it.
		absent := slices.ContainsFunc(have, func(m provider.Machine) bool { return m.Name == d.Machine && m.State == provider.Absent })
		drift = append(drift, Drift{Object: object, Cause: d.Cause, Action: d.Action, hides: absent})
	}
	for _, m := range have {
		if m.State == provider.Stopped && !c.wasRevoked(m.Name) {
			drift = append(drift, Drift{Object: m.Name, Cause: "the machine is powered off", Action: "power it on"})
		}
	}
	return drift, nil
}

// applyPlanned has the provider do that.
func applyPlanned(ctx context.Context, c *Cluster) error {
	if err := c.Provider.EnsureNetwork(ctx, nil, c.network()); err != nil {
		return err
	}
	have, err := c.Machines(ctx)
	if err != nil {
		return err
	}
	for _, m := range have {
		if m.State == provider.Stopped && !c.wasRevoked(m.Name) {
			if err := c.Provider.Start(ctx, m, nil); err != nil {
				return err
			}
		}
	}
	return nil
}
