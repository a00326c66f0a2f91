package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"ashlar.dev/ashlar/internal/unit"
)

const probeTimeout = 2 * time.Second

// probe tries once whether something answers; nil if it does.
func probe(ctx context.Context, p unit.Probe) error {
	if p.URL == "" {
		return nil
	}
	u, err := url.Parse(p.URL)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	switch u.Scheme {
	case "tcp", "unix":
		c, err := (&net.Dialer{}).DialContext(ctx, u.Scheme, u.Host+u.Path)
		if err != nil {
			return err
		}
		return c.Close()
	default:
		return probeHTTP(ctx, p)
	}
}

func probeHTTP(ctx context.Context, p unit.Probe) error {
	t := &http.Transport{DisableKeepAlives: true}
	if p.CA != "" {
		pem, err := os.ReadFile(unit.CAFile(p.CA))
		if err != nil {
			return err
		}
		t.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
		t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem)
		if p.CA == unit.CAKubernetes {
			// Whichever machine answers, it is the API by that name; the components' own listeners are localhost.
			if u, _ := url.Parse(p.URL); u.Port() == fmt.Sprint(unit.PortAPIServer) {
				t.TLSClientConfig.ServerName = unit.APIServerName
			}
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: t}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s answers %s", p.URL, resp.Status)
	}
	return nil
}
