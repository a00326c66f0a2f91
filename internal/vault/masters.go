package vault

import (
	"context"
	"errors"
	"time"

	"ashlar.dev/ashlar/internal/unit"
)

// mastersTTL is how long the certificate for the first binding lives.
const mastersTTL = 10 * time.Minute

// SignMasters signs a CSR for system:masters, the group that needs no binding: there is no other way to make the first
// one. It needs a root token, and the PKI role that allows it exists only while this runs.
func (c *Client) SignMasters(ctx context.Context, csr string) (cert Certificate, err error) {
	p := unit.Profile{Name: "first-binding", CA: unit.CAKubernetes, CommonName: "ashlar:first-binding", Organizations: []string{"system:masters"}}
	role := PKIPath(c.cluster, p.CA) + "/roles/" + p.Name
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout)
		defer cancel()
		err = errors.Join(err, c.remove(ctx, role))
	}()
	err = c.put(ctx, role, map[string]any{
		"allowed_domains": []string{p.CommonName}, "allow_bare_domains": true, "enforce_hostnames": false, "allow_ip_sans": false,
		"use_csr_common_name": false, "use_csr_sans": false, "serial_number_source": "json", "organization": p.Organizations,
		"key_type": "ec", "key_bits": 256, "key_usage": []string{"DigitalSignature"},
		"client_flag": true, "server_flag": false, "ttl": seconds(mastersTTL), "max_ttl": seconds(mastersTTL),
	}, nil)
	if err != nil {
		return Certificate{}, err
	}
	return c.Sign(ctx, p, csr)
}
