package claim

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/internal/provider"
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
		return lifetimes(leaves, t.Spec.Spec.PKI.LeafTTL.Duration, t.Now()), nil
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
		for _, file := range []string{"audit-1", "audit-2"} {
			issued, err := t.issued(ctx, "/var/log/vault/"+file+".log")
			if err != nil {
				return nil, err
			}
			logs = append(logs, issued)
		}
		return append(origins(leaves, logs), keyOwners(leaves)...), nil
	},
}

// leaf is a certificate in use: in a file of a machine, or shown on one of its ports.
type leaf struct {
	machine, where string
	cert           *x509.Certificate
}

// collect prints every certificate file, and what each listening port shows.
const collect = `for f in $(find ` + unit.PKIDir + ` -name '*.crt' ! -name ca.crt); do echo "@ $f"; cat "$f"; done
for a in $(ss -Hltn | awk '{print $4}' | sort -u); do (
  b=$(timeout 10 openssl s_client -connect "$(echo "$a" | sed 's/^\(\*\|0\.0\.0\.0\):/127.0.0.1:/; s/^\[::\]:/127.0.0.1:/')" </dev/null 2>/dev/null)
  if [ $? = 124 ]; then printf '@ port %s, which says nothing\n' "$a"; exit; fi # parseLeaves refuses it: not seen is not proved
  c=$(echo "$b" | openssl x509 2>/dev/null) && printf '@ port %s\n%s\n' "$a" "$c"
) & done; wait`

// leaves walks all machines.
func (t *Target) leaves(ctx context.Context) ([]leaf, error) {
	found := make([][]leaf, len(t.Machines))
	g, ctx := errgroup.WithContext(ctx)
	for i, m := range t.Machines {
		g.Go(func() (err error) {
			var out bytes.Buffer
			if err := t.Provider.Exec(ctx, m.Name, provider.Exec{Args: []string{"/bin/sh", "-c", collect}, Stdout: &out}); err != nil {
				return fmt.Errorf("collect the certificates of %s: %w", m.Name, err)
			}
			found[i], err = parseLeaves(m.Name, out.String())
			return err
		})
	}
	err := g.Wait()
	var all []leaf
	for _, f := range found {
		all = append(all, f...)
	}
	if err == nil && len(all) == 0 {
		err = errors.New("no machine has a certificate")
	}
	return all, err
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

// issued are the serial numbers, in hexadecimal, that an audit log says were issued.
func (t *Target) issued(ctx context.Context, path string) (map[string]bool, error) {
	m, err := t.vaultMachine()
	if err != nil {
		return nil, err
	}
	b, err := t.Provider.Read(ctx, m.Name, path)
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", path, m.Name, err)
	}
	return serials(b), nil
}

// serials finds what was signed in an audit log.
func serials(log []byte) map[string]bool {
	out := map[string]bool{}
	for line := range bytes.Lines(log) {
		if !bytes.Contains(line, []byte("/sign/")) {
			continue // nearly all of a log is agents asking for news
		}
		var entry struct {
			Type    string
			Request struct{ Path string }
			// Other engines put anything here.
			Response struct {
				Data struct {
					Serial any `json:"serial_number"`
				}
			}
		}
		if json.Unmarshal(line, &entry) != nil || entry.Type != "response" || !strings.Contains(entry.Request.Path, "/sign/") {
			continue
		}
		if s, ok := entry.Response.Data.Serial.(string); ok {
			out[strings.TrimLeft(strings.ReplaceAll(s, ":", ""), "0")] = true
		}
	}
	return out
}

func origins(leaves []leaf, logs []map[string]bool) []Evidence {
	var out []Evidence
	for _, l := range leaves {
		e := Evidence{Attempt: "find the issuance of " + l.where, From: l.machine, As: l.cert.Subject.CommonName, Want: Allowed, Got: Allowed, Answer: "in both logs"}
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
