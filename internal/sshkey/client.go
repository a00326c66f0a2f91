package sshkey

import (
	"fmt"
	"strings"
)

// Host is where a client connects to.
type Host struct {
	// Name is what the host's certificate must be for.
	Name, Address, User string
}

// Client is what ssh is told: by files, which it is given the paths of, and nothing else of this host.
type Client struct {
	Key, Certificate, KnownHosts string
	// Bastion is gone through, by a command that connects to it; To is the same where it is itself the goal.
	Bastion, To Host
	Proxy       []string
}

// Config is a configuration of ssh that takes no key for a host's but one that is certified, and offers none but the given one.
func (c Client) Config() string {
	var b strings.Builder
	fmt.Fprintf(&b, `IdentityFile %s
CertificateFile %s
IdentitiesOnly yes
IdentityAgent none
UserKnownHostsFile %s
GlobalKnownHostsFile none
StrictHostKeyChecking yes
UpdateHostKeys no
CheckHostIP no
HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com
CASignatureAlgorithms ssh-ed25519
KexAlgorithms sntrup761x25519-sha512@openssh.com,curve25519-sha256
PubkeyAcceptedAlgorithms ssh-ed25519-cert-v01@openssh.com,ssh-ed25519
PreferredAuthentications publickey
ForwardAgent no
ForwardX11 no
ClearAllForwardings yes
PermitLocalCommand no
ControlMaster no
ControlPath none
ConnectTimeout 15
ServerAliveInterval 15
`, c.Key, c.Certificate, c.KnownHosts)
	var words []string
	for _, w := range c.Proxy {
		words = append(words, "'"+strings.NewReplacer("'", `'\''`, "%", "%%").Replace(w)+"'")
	}
	first := c.Bastion
	if c.To.Name == c.Bastion.Name {
		first = c.To
	}
	c.host(&b, first, "ProxyCommand "+strings.Join(words, " "))
	if c.To.Name != c.Bastion.Name {
		c.host(&b, c.To, "ProxyJump "+c.Bastion.Name)
	}
	return b.String()
}

func (c Client) host(b *strings.Builder, h Host, way string) {
	fmt.Fprintf(b, "Host %[1]s\n  HostName %[2]s\n  HostKeyAlias %[1]s\n  User %[3]s\n  %[4]s\n", h.Name, h.Address, h.User, way)
}
