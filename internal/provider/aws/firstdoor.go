package aws

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"
	"golang.org/x/crypto/ssh"

	"ashlar.dev/ashlar/internal/sshkey"
	"ashlar.dev/ashlar/internal/unit"
)

// The bastion is the way to Vault, so that Vault cannot be who says that somebody may pass it. AWS does: its own rules say who
// may have a key put there (EC2 Instance Connect), which is good for a minute, and for nothing but being passed on. Whose host
// key it has, the bastion writes where nobody else can.

// passedOn is what the bastion lets the operator through by.
func (p *Provider) passedOn(ctx context.Context, machine string) (Entry, error) {
	id, err := p.instance(ctx, machine)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{User: unit.JumpUser}
	if e.HostCAs, err = p.hostAuthority(ctx, machine); err != nil {
		return e, err
	}
	pair, err := sshkey.New()
	if err != nil {
		return e, err
	}
	if e.Signer, err = ssh.ParsePrivateKey([]byte(pair.Private)); err != nil {
		return e, fmt.Errorf("read a key that was made for ssh: %w", err)
	}
	return e, p.sendKey(ctx, id, pair.Public)
}

// sendKey has AWS tell an instance of a public key.
func (p *Provider) sendKey(ctx context.Context, instance, public string) error {
	p.mu.Lock()
	c, err := p.aws(ctx)
	p.mu.Unlock()
	if err != nil {
		return err
	}
	user := unit.JumpUser
	_, err = ec2instanceconnect.NewFromConfig(c).SendSSHPublicKey(ctx, &ec2instanceconnect.SendSSHPublicKeyInput{
		InstanceId: &instance, InstanceOSUser: &user, SSHPublicKey: &public})
	if err != nil {
		return fmt.Errorf("have AWS let us through the bastion (ec2-instance-connect:SendSSHPublicKey): %w", err)
	}
	return nil
}

// hostAuthority is who signs the bastion's host key, as it says itself.
func (p *Provider) hostAuthority(ctx context.Context, machine string) ([]ssh.PublicKey, error) {
	name := "bastion/" + machine + ".pem"
	text, err := p.Published(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the bastion %s has not booted yet, or cannot write to the bucket: %w", machine, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read who signs the bastion's host key: %w", err)
	}
	ca, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return nil, fmt.Errorf("what the bastion has published as %s is no key: %w", name, err)
	}
	return []ssh.PublicKey{ca}, nil
}
