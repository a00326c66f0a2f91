package phase

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/sshkey"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// SSHAccess is what an ssh client needs to become root on a machine, for the minutes that its certificate is good.
type SSHAccess struct {
	Machine, Bastion provider.Machine
	// Pair is a secret.
	Pair sshkey.Pair
	// KnownHosts has the CA of host keys, and no host key.
	KnownHosts string
	// engine is the one that signs.
	engine string
}

// SSH gets a certificate for a user, or for the operator if there is no name, to become root on a machine.
func (c *Cluster) SSH(ctx context.Context, machine, user string) (SSHAccess, error) {
	bastion, err := c.bastion(ctx)
	if err != nil {
		return SSHAccess{}, err
	}
	machines, err := c.Machines(ctx)
	if err != nil {
		return SSHAccess{}, err
	}
	i := slices.IndexFunc(machines, func(m provider.Machine) bool { return m.Name == machine })
	if i < 0 {
		return SSHAccess{}, InputError{fmt.Errorf("there is no machine %q: `ashlar status` lists them", machine)}
	}
	access := SSHAccess{Machine: machines[i], Bastion: bastion}
	if s := access.Machine.State; s != provider.Running {
		return access, fmt.Errorf("machine %s is %s: `ashlar up` powers it on", machine, s)
	}
	trust, err := c.trust(ctx)
	if err != nil {
		return access, err
	}
	if trust.ssh == nil {
		return access, errors.New("vault has no SSH CA yet: run `ashlar up`")
	}
	if access.Pair, err = sshkey.New(); err != nil {
		return access, err
	}
	access.engine = trustedSSH(trust.journal)[vault.SSHUsers][0]
	if user == "" {
		access.Pair.Certificate, err = c.signAsOperator(ctx, access)
	} else {
		access.Pair.Certificate, err = c.signAsUser(ctx, access, user)
	}
	access.KnownHosts = knownHosts(trust.ssh.HostCA, bastion.Name, machine)
	return access, err
}

// bastion is the machine that ssh goes through.
func (c *Cluster) bastion(ctx context.Context) (provider.Machine, error) {
	if !c.Spec.Spec.Bastion() {
		return provider.Machine{}, InputError{fmt.Errorf("the file has no pool of role %s, which ssh goes through: declare one, such as "+
			"{name: bastion, role: bastion, count: 1}, and run `ashlar up`; `ashlar exec` needs none", v1alpha1.RoleBastion)}
	}
	all, err := c.withRole(ctx, v1alpha1.RoleBastion)
	if err != nil {
		return provider.Machine{}, err
	}
	if len(all) == 0 {
		return provider.Machine{}, errors.New("there is no bastion yet: run `ashlar up`")
	}
	if all[0].State != provider.Running {
		return all[0], fmt.Errorf("the bastion %s is %s: `ashlar up` powers it on", all[0].Name, all[0].State)
	}
	return all[0], nil
}

// principal is what the certificate must be for.
func (a SSHAccess) principal() string {
	if a.Machine.Pool != "" {
		return unit.PoolPrincipal(a.Machine.Pool)
	}
	return a.Machine.Name
}

func (c *Cluster) signAsOperator(ctx context.Context, a SSHAccess) (string, error) {
	v, err := c.operatorVault(ctx)
	if err != nil {
		return "", err
	}
	return v.SignOperatorKey(ctx, a.engine, a.Pair.Public, a.principal())
}

// signAsUser tries each group that may: which of them a user is in, Vault knows.
func (c *Cluster) signAsUser(ctx context.Context, a SSHAccess, user string) (string, error) {
	v, err := c.asPerson(ctx, user)
	if err != nil {
		return "", err
	}
	defer v.Close()
	groups := c.Spec.Spec.MayEnter(a.Machine.Role)
	if c.robotIn(user, groups) {
		cert, err := v.SignRobotKey(ctx, a.engine, user, a.Pair.Public, a.Machine.Name)
		if err == nil || !errors.Is(err, vault.ErrDenied) {
			return cert, err
		}
	}
	for _, group := range groups {
		cert, err := v.SignUserKey(ctx, a.engine, group, a.Pair.Public, a.principal())
		if err == nil || !errors.Is(err, vault.ErrDenied) {
			return cert, err
		}
	}
	if err := v.Alive(ctx); errors.Is(err, vault.ErrDenied) {
		return "", NotLoggedIn{Name: user, Again: c.again(user), Err: err}
	} else if err != nil {
		return "", err
	}
	if len(groups) == 0 {
		return "", fmt.Errorf("%s may not enter %s: spec.ssh lets no group enter machines of role %s", user, a.Machine.Name, a.Machine.Role)
	}
	return "", fmt.Errorf("%s may not enter %s: only who is in %s may (spec.ssh, and `ashlar user list`)", user, a.Machine.Name, strings.Join(groups, " or "))
}

// robotIn says whether somebody is a robot in one of some groups.
func (c *Cluster) robotIn(name string, groups []string) bool {
	return slices.ContainsFunc(c.Spec.Spec.Authentication.Robots, func(r v1alpha1.Robot) bool {
		return r.Name == name && slices.ContainsFunc(r.Groups, func(g string) bool { return slices.Contains(groups, g) })
	})
}

// knownHosts trusts the CA of host keys for two names, and nothing else.
func knownHosts(cas string, names ...string) string {
	slices.Sort(names)
	var b strings.Builder
	for line := range strings.Lines(cas) {
		fmt.Fprintf(&b, "@cert-authority %s %s", strings.Join(slices.Compact(names), ","), line)
	}
	return b.String()
}

// DialBastion connects to the bastion's sshd as who is outside and trusted does.
func (c *Cluster) DialBastion(ctx context.Context) (net.Conn, error) {
	m, err := c.bastion(ctx)
	if err != nil {
		return nil, err
	}
	vantage, address := provider.FromTrusted, m.Public
	if !address.IsValid() {
		vantage, address = provider.FromOperator, m.Address
	}
	return c.Provider.Dial(ctx, vantage, "tcp", sshAddress(address))
}

func sshAddress(a netip.Addr) string {
	return net.JoinHostPort(a.String(), strconv.Itoa(unit.PortSSH))
}
