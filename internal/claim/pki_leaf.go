package claim

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/internal/unit"
)

var pkiShortLived = Claim{
	ID:    "pki-short-lived",
	Says:  "Short-lived X.509 certificates and instance tokens make sure that credentials expire after an EC2 instance is no longer available",
	Holds: "no certificate in use lives longer than its limit, and each is renewed by half of its life",
	Probe: func(ctx context.Context, t *Target) ([]Evidence, error) {
		leaves, err := t.leaves(ctx)
		if err != nil {
			return nil, err
		}
		pki := t.Spec.Spec.PKI
		admin := certificates(string(t.Admin.CertData))
		if len(admin) == 0 {
			return nil, errors.New("the administrator has no certificate")
		}
		evidence := lifetimes(leaves, pki.LeafTTL.Duration, t.Now())
		evidence = append(evidence, lifetimes([]leaf{{"operator", "the administrator's certificate", admin[0]}}, pki.AdminTTL.Duration, t.Now())...)
		for _, ca := range unit.CAs {
			for _, cert := range certificates(t.Desired.CAs[ca]) {
				evidence = append(evidence, lifetimes([]leaf{{"vault", "the CA " + string(ca), cert}}, pki.CATTL.Duration, t.Now())...)
			}
		}
		return evidence, nil
	},
}

var pkiVaultOnly = Claim{
	ID:    "pki-vault-only",
	Says:  "The Toolkit uses X.509 Certificates … Hashicorp's Vault provides a well featured PKI backend",
	Holds: "every certificate in use was issued by Vault, is in both of its logs, and its key is on one machine only",
	Probe: func(ctx context.Context, t *Target) ([]Evidence, error) {
		leaves, err := t.leaves(ctx)
		if err != nil {
			return nil, err
		}
		var logs []map[string]bool
		for _, device := range unit.AuditLogs {
			log, err := t.vaultLog(ctx, device, "/sign/") // nearly all of a log is agents asking for news
			if err != nil {
				return nil, err
			}
			logs = append(logs, serials(log))
		}
		return append(origins(leaves, logs), keyOwners(leaves)...), nil
	},
}

// leaf is a certificate in use: in a file of a machine, or shown on one of its ports.
type leaf struct {
	machine, where string
	cert           *x509.Certificate
}

// collect prints what a machine listens on, and every certificate file.
const collect = `ss -Hltn | awk '{print $4}' | sort -u; for f in $(find ` + unit.PKIDir + ` -name '*.crt' ! -name ca.crt); do echo "@ $f"; cat "$f"; done`

// leaves walks all machines, once for all claims of a run.
func (t *Target) leaves(ctx context.Context) ([]leaf, error) {
	t.leavesOnce.Lock()
	defer t.leavesOnce.Unlock()
	if t.leavesSeen != nil {
		return t.leavesSeen, nil
	}
	found := make([][]leaf, len(t.Machines))
	g, ctx := errgroup.WithContext(ctx)
	for i, m := range t.Machines {
		g.Go(func() (err error) {
			found[i], err = t.leavesOf(ctx, m.Name)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	t.leavesSeen = slices.Concat(found...)
	if len(t.leavesSeen) == 0 {
		return nil, errors.New("no machine has a certificate")
	}
	return t.leavesSeen, nil
}

func (t *Target) leavesOf(ctx context.Context, machine string) ([]leaf, error) {
	out, err := run(ctx, t, machine, "/bin/sh", "-c", collect)
	if err != nil {
		return nil, fmt.Errorf("collect the certificates of %s: %w", machine, err)
	}
	listening, _, _ := strings.Cut(string(out), "@ ")
	leaves, err := parseLeaves(machine, string(out))
	if err != nil {
		return nil, err
	}
	ports := strings.Fields(listening)
	shown := make([]*x509.Certificate, len(ports))
	g, ctx := errgroup.WithContext(ctx)
	for i, p := range ports {
		g.Go(func() (err error) {
			shown[i], err = t.shown(ctx, machine, p)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for i, cert := range shown {
		if cert != nil {
			leaves = append(leaves, leaf{machine, "port " + ports[i], cert})
		}
	}
	return leaves, nil
}

// shown is the certificate that a port of a machine shows to the machine itself, or nil if it does not speak TLS.
func (t *Target) shown(ctx context.Context, machine, address string) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("%s listens on %q: %w", machine, address, err)
	}
	host, _, _ = strings.Cut(host, "%") // of an interface
	if a, err := netip.ParseAddr(host); err != nil || a.IsUnspecified() {
		host = "127.0.0.1"
	}
	conn, err := t.Provider.Dial(ctx, machine, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("%s listens on %s, but cannot be connected to: %w", machine, address, err)
	}
	defer conn.Close()
	//nolint:gosec // whatever it shows is what is looked for
	client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: machine})
	err = client.HandshakeContext(ctx)
	if certs := client.ConnectionState().PeerCertificates; len(certs) > 0 {
		return certs[0], nil // also if it went on to refuse a client without a certificate
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s listens on %s and says nothing: not seen is not proved", machine, address)
	}
	if err == nil {
		return nil, fmt.Errorf("%s speaks TLS on %s without a certificate", machine, address)
	}
	return nil, nil
}

// parseLeaves reads "@ where" lines, each followed by PEM, of which the first is the leaf.
func parseLeaves(machine, text string) ([]leaf, error) {
	var out []leaf
	for _, part := range strings.Split("\n"+text, "\n@ ")[1:] {
		where, rest, _ := strings.Cut(part, "\n")
		block, _ := pem.Decode([]byte(rest))
		if block == nil {
			return nil, fmt.Errorf("%s on %s is no certificate", where, machine)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s on %s: %w", where, machine, err)
		}
		out = append(out, leaf{machine, where, cert})
	}
	return out, nil
}

// backdating is how far Vault sets a certificate's beginning back, with some room.
const backdating = time.Minute

// lifetimes judges how long each leaf lives, and whether it should have been renewed: at half of its life, give or
// take a tenth.
func lifetimes(leaves []leaf, limit time.Duration, now time.Time) []Evidence {
	var out []Evidence
	for _, l := range leaves {
		life := l.cert.NotAfter.Sub(l.cert.NotBefore)
		e := Evidence{Attempt: "use " + l.where, From: l.machine, As: l.cert.Subject.CommonName, Want: Allowed, Got: Allowed,
			Answer: "lives for " + life.String()}
		switch {
		case life > limit+backdating:
			e.Got, e.Answer = Refused, fmt.Sprintf("lives for %s, the limit is %s", life, limit)
		case now.After(l.cert.NotBefore.Add(life * 6 / 10)):
			e.Got, e.Answer = Refused, "half of its life is over, and it was not renewed"
		}
		out = append(out, e)
	}
	return out
}

// serials are those of all certificates that a log says were issued.
func serials(log []logged) map[string]bool {
	out := map[string]bool{}
	for _, l := range log {
		if s := l.Serial(); s != "" && l.Error == "" && strings.Contains(l.Request.Path, "/sign/") {
			out[s] = true
		}
	}
	return out
}

func origins(leaves []leaf, logs []map[string]bool) []Evidence {
	var out []Evidence
	for _, l := range leaves {
		e := Evidence{Attempt: "find the issuance of " + l.where, From: l.machine, As: l.cert.Subject.CommonName, Want: Allowed, Got: Allowed, Answer: "in both logs"}
		if len(logs) == 0 {
			e.Got, e.Answer = Refused, "there is no log"
		}
		for i, log := range logs {
			if !log[l.cert.SerialNumber.Text(16)] {
				e.Got, e.Answer = Refused, fmt.Sprintf("serial %x is not in audit log %d", l.cert.SerialNumber, i+1)
			}
		}
		out = append(out, e)
	}
	return out
}

// keyOwners finds keys that more than one machine, or more than one certificate, uses. The load balancer, which passes
// TLS through unopened, shows what the API servers do.
func keyOwners(leaves []leaf) []Evidence {
	owner := map[string]leaf{}
	var out []Evidence
	for _, l := range leaves {
		if strings.HasPrefix(l.where, "port ") {
			continue
		}
		key := string(l.cert.RawSubjectPublicKeyInfo)
		if first, ok := owner[key]; ok {
			out = append(out, Evidence{Attempt: "use the key of " + first.machine + " " + first.where, From: l.machine, Want: Refused, Got: Allowed, Answer: l.where + " has the same key"})
			continue
		}
		owner[key] = l
	}
	return append(out, Evidence{Attempt: "find a key that two certificates share", Want: Refused, Got: Refused, Answer: fmt.Sprintf("%d keys, each used once", len(owner))})
}
