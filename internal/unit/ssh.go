package unit

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"ashlar.dev/ashlar/api/v1alpha1"
)

// SSH is whom sshd trusts, as lines of OpenSSH's public keys. Where there are two, one is about to go, and the first signs.
type SSH struct {
	// UserCA signs people's certificates, HostCA those of machines' host keys.
	UserCA string `json:"userCA"`
	HostCA string `json:"hostCA"`
	// HostEngine is the engine of Vault's that signs host keys: it has the first of HostCA.
	HostEngine string `json:"hostEngine,omitempty"`
}

// Where sshd finds things.
const (
	SSHHostKey     = "/etc/ssh/ssh_host_ed25519_key"
	sshPrincipals  = "/etc/ssh/principals/"
	SSHUserCA      = "/etc/ssh/user_ca.pub"
	SSHRevokedKeys = "/etc/ssh/revoked.krl"
	// SSHLog is where the agent keeps what sshd says.
	SSHLog = "/var/log/ashlar/sshd.log"
)

// SSHHostCert is the certificate of a host key.
func SSHHostCert(key string) string { return key + "-cert.pub" }

// JumpUser is who goes through the bastion: without a shell, and without a password.
const JumpUser = "jump"

// sshUsers are those that a certificate can be for: root of one machine, by its name, and the bastion's JumpUser.
func (d Desired) sshUsers() []string {
	if d.Me().Role == v1alpha1.RoleBastion {
		return []string{"root", JumpUser}
	}
	return []string{"root"}
}

// sshPrincipals are whom a certificate must be for, to make somebody root here.
func (d Desired) sshPrincipals() string {
	if d.Pool != "" {
		return d.Self + "\n" + PoolPrincipal(d.Pool) + "\n"
	}
	return d.Self + "\n"
}

// firstDoor says whether somebody must come in here before Vault can sign for anybody: through the bastion of a cloud, to Vault.
func (d Desired) firstDoor() bool { return d.Region != "" && d.Me().Role == v1alpha1.RoleBastion }

// InstanceKeys prints the keys that a user of this instance is let in by, because AWS says so.
const InstanceKeys = "instance-keys"

// sshUnits are sshd and its users, where there is a bastion to come through.
func sshUnits(d Desired) []Unit {
	if d.SSH == nil || !d.Complete() {
		if !d.firstDoor() {
			return nil
		}
		d.SSH = &SSH{} // nobody's certificate is good yet
	}
	// A password that nothing matches: with a "!", as useradd has it, an account is locked, and sshd lets nobody in that is. Of who is
	// not in /etc/shadow, which machines on this host begin without, systemd says the same.
	script := "pwconv && usermod --password '*' root"
	if d.Me().Role == v1alpha1.RoleBastion {
		script += " && { getent passwd " + JumpUser + " > /dev/null || useradd --system --password '*' --no-create-home " +
			"--home-dir /nonexistent --shell /usr/sbin/nologin " + JumpUser + "; }"
	}
	users := Unit{Name: "ssh-users", Args: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/usr/sbin:/usr/bin"}, Once: true}
	u := sshd(d)
	u.After = []string{users.Name}
	return append([]Unit{users, u}, endSessions(d)...)
}

// endSessions ends what revoked users have open, once for each revocation: they all come through the bastion.
func endSessions(d Desired) []Unit {
	if d.Me().Role != v1alpha1.RoleBastion {
		return nil
	}
	args := []string{Bin + "/ashlar", "ssh-end"}
	var newest time.Time
	for _, r := range d.Revoked {
		if r.User != "" && r.At.After(newest) {
			newest = r.At
		}
	}
	if newest.IsZero() {
		return nil
	}
	for _, id := range revokedIDs(d.Cluster, d.Revoked) {
		args = append(args, "--id="+id)
	}
	return []Unit{{
		Name: Sever,
		Args: args,
		// As sever's: another revocation of the same person is another run.
		Env:   []string{"REVOKED_AT=" + newest.UTC().Format(time.RFC3339Nano)},
		Files: []File{revokedKeysFile(d)}, // before it: who is ended must not come again
		After: []string{"sshd"},
		Once:  true,
	}}
}

func revokedKeysFile(d Desired) File {
	return File{Path: SSHRevokedKeys, Mode: 0o644, Content: string(revokedKeys(d.Cluster, d.Revoked)), Live: true}
}

func sshd(d Desired) Unit {
	// All that sshd reads at its start it reads again at the signal; connections go on.
	files := []File{
		{Path: "/etc/ssh/sshd_config", Mode: 0o600, Content: sshdConfig(d), Live: true},
		{Path: SSHUserCA, Mode: 0o644, Content: d.SSH.UserCA, Live: true},
		{Path: sshPrincipals + "root", Mode: 0o644, Content: d.sshPrincipals(), Live: true},
		{Path: "/run/sshd/.keep", Mode: 0o600},
	}
	if d.Me().Role == v1alpha1.RoleBastion {
		files = append(files,
			File{Path: sshPrincipals + JumpUser, Mode: 0o644, Content: JumpUser + "\n", Live: true},
			revokedKeysFile(d))
	}
	// Nobody asks whether it is ready: each time, its log would say that somebody came and said nothing. It ends if it cannot listen.
	return Unit{
		Name:         "sshd",
		Args:         []string{"/usr/sbin/sshd", "-D", "-e", "-f", "/etc/ssh/sshd_config"},
		Files:        files,
		HostKey:      SSHHostKey,
		ReloadSignal: int(syscall.SIGHUP),
		Grace:        2 * time.Second,
	}
}

// sshdConfig lets in who has a certificate of Vault's with the principal of this machine, and nobody else: there is no password,
// no key by itself, and no file in anybody's home that could add one. Of algorithms it has the best, for there is one client.
func sshdConfig(d Desired) string {
	var b strings.Builder
	fmt.Fprintf(&b, `AddressFamily inet
ListenAddress %[1]s:%[2]d
PidFile none
HostKey %[3]s
HostCertificate %[4]s
HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com
KexAlgorithms sntrup761x25519-sha512@openssh.com,curve25519-sha256
Ciphers chacha20-poly1305@openssh.com,aes256-gcm@openssh.com
MACs hmac-sha2-512-etm@openssh.com
PubkeyAcceptedAlgorithms ssh-ed25519-cert-v01@openssh.com
CASignatureAlgorithms ssh-ed25519
AuthenticationMethods publickey
TrustedUserCAKeys %[5]s
AuthorizedPrincipalsFile %[6]s%%u
AuthorizedKeysFile none
AllowUsers %[7]s
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
HostbasedAuthentication no
GSSAPIAuthentication no
KerberosAuthentication no
UsePAM no
StrictModes yes
LoginGraceTime 20
MaxAuthTries 3
MaxStartups 20:30:100
ClientAliveInterval 15
ClientAliveCountMax 4
LogLevel VERBOSE
AllowAgentForwarding no
AllowStreamLocalForwarding no
AllowTcpForwarding no
GatewayPorts no
PermitTunnel no
PermitUserEnvironment no
PermitUserRC no
X11Forwarding no
Compression no
PrintLastLog no
PrintMotd no
UseDNS no
SetEnv PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:%[8]s
`, d.Me().Address, PortSSH, SSHHostKey, SSHHostCert(SSHHostKey), SSHUserCA, sshPrincipals, strings.Join(d.sshUsers(), " "), Bin)
	if d.Me().Role != v1alpha1.RoleBastion {
		return b.String()
	}
	fmt.Fprintf(&b, "RevokedKeys %s\nMatch User %s\n  AllowTcpForwarding local\n  PermitOpen", SSHRevokedKeys, JumpUser)
	if d.Region != "" {
		// Members of groups come and go, and the operator has no other way to Vault and the API. The security groups say whereto.
		fmt.Fprintf(&b, " *:%d *:%d *:%d", PortSSH, PortVault, PortAPIServer)
	} else {
		for _, m := range d.Machines {
			if m.Name != d.Self {
				fmt.Fprintf(&b, " %s:%d", m.Address, PortSSH)
			}
		}
	}
	if d.firstDoor() {
		// Whom AWS's own rules let send a key, for a minute.
		fmt.Fprintf(&b, "\n  PubkeyAcceptedAlgorithms ssh-ed25519-cert-v01@openssh.com,ssh-ed25519\n  AuthorizedKeysCommand %s/ashlar %s %%u\n"+
			"  AuthorizedKeysCommandUser nobody", Bin, InstanceKeys)
	}
	// Without sessions there is nothing but what is forwarded.
	b.WriteString("\n  PermitTTY no\n  MaxSessions 0\n  ForceCommand /usr/sbin/nologin\n")
	return b.String()
}
