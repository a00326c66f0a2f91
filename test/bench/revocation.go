package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"time"

	"k8s.io/client-go/rest"

	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/unit"
)

const (
	// revokedAtOnce is how many certificates are revoked while requests are measured, pairsMeasured how many pairs of requests, each
	// time.
	revokedAtOnce = 100
	pairsMeasured = 1000
)

// revocation measures what the look at what was revoked costs everybody else. A request takes longer at one moment than at the next
// by more than that, so each is measured beside another, to an API server on the same machine that knows of no revocation:
// the median of their differences while much is revoked, less what it is while nothing is.
func revocation(file string, sample func(string, float64)) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	t, done, err := opened(ctx, file)
	if err != nil {
		return err
	}
	defer done()
	taken, stolen, err := throwaways(ctx, t)
	if err != nil {
		return err
	}
	beside, stop, err := startBeside(ctx, t)
	if err != nil {
		return err
	}
	defer stop()
	var without, with pairs
	for range 3 {
		if err := without.measure(ctx, beside); err != nil {
			return err
		}
		if err := t.Revoke(ctx, taken); err != nil {
			return err
		}
		if err := await(ctx, stolen, http.StatusForbidden); err != nil {
			return err
		}
		if err := with.measure(ctx, beside); err != nil {
			return err
		}
		if err := t.Forget(ctx, taken); err != nil {
			return err
		}
		if err := await(ctx, stolen, http.StatusOK); err != nil {
			return err
		}
	}
	sample("request/none", median(without.own))
	sample("request/revoked", median(with.own))
	sample("request/difference", median(with.difference)-median(without.difference))
	return nil
}

// throwaways has Vault sign certificates to revoke, and returns them and the access of one of them.
func throwaways(ctx context.Context, t *claim.Target) ([]claim.Taken, *rest.Config, error) {
	stolen := rest.CopyConfig(t.Admin)
	var taken []claim.Taken
	for range revokedAtOnce {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
		if err != nil {
			return nil, nil, err
		}
		private, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, nil, err
		}
		cert, err := t.Vault.Sign(ctx, unit.ProfilesOf(unit.RoleOperator)[0], string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})))
		if err != nil {
			return nil, nil, err
		}
		taken = append(taken, claim.Taken{CA: unit.CAKubernetes, Certificate: cert.Chain})
		stolen.CertData, stolen.KeyData = []byte(cert.Chain), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	}
	return taken, stolen, nil
}

func get(ctx context.Context, client *http.Client, host string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, host+"/api/v1/namespaces/default", nil)
	if err != nil {
		return 0, err
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// await waits until somebody's requests are answered like this.
func await(ctx context.Context, config *rest.Config, want int) error {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	for {
		status, err := get(ctx, client, config.Host)
		if err == nil && status == want {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the answer is %d, not %d: %w", status, want, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}
