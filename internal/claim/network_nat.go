package claim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
)

var expNAT = Claim{
	ID:    "exp-nat",
	Says:  "All compute instances with the exception of the Bastion instance use a NAT gateway for accessing external networks",
	Holds: "whatever leaves a machine for the outside comes from the NAT gateway, from the roles that have reason to go there, and to the ports they need",
	Probe: probeNAT,
}

// outward says who may open connections to a port of the outside.
func outward(role v1alpha1.Role, port string) bool {
	switch role {
	case v1alpha1.RoleWorker, v1alpha1.RoleHub:
		return true // what pods may is for their policies
	case v1alpha1.RoleVault, v1alpha1.RoleControlPlane:
		return port == "443" // who knows people and programs: identity providers
	}
	return false
}

// probeNAT has every machine connect to servers on the internet, which answer with who they see.
func probeNAT(ctx context.Context, t *Target) ([]Evidence, error) {
	if t.Planned != nil {
		return t.proved(ctx, provedNAT)
	}
	gateways, err := t.Provider.NATGateways(ctx)
	if err != nil {
		return nil, err
	}
	var out []Evidence
	for _, port := range []string{"443", "8443"} {
		server, stop, err := t.serveMirror(ctx, provider.FromInternet, ":"+port)
		if err != nil {
			return nil, err
		}
		for _, m := range t.Desired.Machines {
			want := Refused
			if outward(m.Role, port) {
				want = Allowed
			}
			out = append(out, t.seenFrom(ctx, m.Name, server, want, gateways))
		}
		if err := stop(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// serveMirror has a mirror at a vantage, and returns its address, until stop.
func (t *Target) serveMirror(ctx context.Context, vantage, address string) (server string, stop func() error, err error) {
	l, err := t.Provider.Listen(ctx, vantage, "tcp", address)
	if err != nil {
		return "", nil, fmt.Errorf("serve %s at %s: %w", address, vantage, err)
	}
	done := make(chan error, 1)
	go func() { done <- mirror(l) }()
	return l.Addr().String(), func() error { return errors.Join(l.Close(), <-done) }, nil
}

// mirror tells whoever connects which address it comes from, until the listener is closed.
func mirror(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
		_, _ = io.WriteString(conn, host)
		_ = conn.Close()
	}
}

// seenFrom connects to a mirror. To be seen as anybody but a NAT gateway is as if it had been let through where it must not.
func (t *Target) seenFrom(ctx context.Context, machine, server string, want Expectation, gateways []netip.Addr) Evidence {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	e := Evidence{Attempt: "connect to " + server + " on the internet", From: machine, As: "nobody", Want: want, Got: Refused}
	conn, err := t.Provider.Dial(ctx, machine, "tcp", server)
	if err != nil {
		e.Answer = err.Error()
		return e
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetReadDeadline(deadline)
	}
	said, err := io.ReadAll(conn)
	seen, parsed := netip.ParseAddr(string(said))
	switch {
	case err != nil || parsed != nil:
		e.Answer = fmt.Sprintf("it connected, and was told %q: %v", said, errors.Join(err, parsed))
	case slices.Contains(gateways, seen):
		e.Got, e.Answer = Allowed, "seen as the NAT gateway "+seen.String()
	case want == Allowed:
		e.Want, e.Got, e.Answer = Refused, Allowed, "seen as "+seen.String()+", which is no NAT gateway"
	default:
		e.Got, e.Answer = Allowed, "seen as "+seen.String()
	}
	return e
}
