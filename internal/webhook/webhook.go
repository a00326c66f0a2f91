// Package webhook answers the API server of its own machine: whose a static token is (a TokenReview), and what the
// declared ABAC policy says of a ServiceAccount, and whether a credential was revoked (SubjectAccessReviews).
// https://kubernetes.io/docs/reference/access-authn-authz/webhook
package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"

	"ashlar.dev/ashlar/internal/unit"
)

// Options configure the webhook.
type Options struct {
	// Listen is an address of the loopback interface.
	Listen string
	// AccessFile and BreakGlassFile are read again when they change. The second need not exist.
	AccessFile, BreakGlassFile string
	// RevokedFile lists what was revoked; it is read again when it changes, and need not exist.
	RevokedFile string
	// CertFile, KeyFile and ClientCAFile are read for each handshake, for the agent renews them.
	CertFile, KeyFile, ClientCAFile string
	// ClientGroup is the organization (O=) of those who may ask: API servers.
	ClientGroup string
	Log         *slog.Logger
	Now         func() time.Time
}

const (
	maxBody      = 1 << 20 // a SubjectAccessReview may carry long field selectors
	ioTimeout    = 10 * time.Second
	closeTimeout = 2 * time.Second
)

// Serve answers until ctx ends.
func Serve(ctx context.Context, o Options) error {
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	server := &http.Server{Handler: handler(o), ReadTimeout: ioTimeout, WriteTimeout: ioTimeout, IdleTimeout: 10 * time.Minute,
		ErrorLog:  slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn),
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return o.tls() }}}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		_ = server.Shutdown(late)
	})
	err = server.ServeTLS(listener, "", "")
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("webhook: serve on %s: %w", o.Listen, err)
}

func (o Options) tls() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(o.ClientCAFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s has no certificate", o.ClientCAFile)
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, ClientCAs: pool,
		ClientAuth: tls.RequireAndVerifyClientCert, NextProtos: []string{"h2", "http/1.1"}}, nil
}

func handler(o Options) http.Handler {
	s := &state{access: fileOf[access]{path: o.AccessFile}, breakGlass: fileOf[[]BreakGlass]{path: o.BreakGlassFile, optional: true},
		revoked: fileOf[[]unit.Revocation]{path: o.RevokedFile, optional: true}}
	mux := http.NewServeMux()
	mux.Handle("POST /authenticate", answer(o, func(r *authenticationv1.TokenReview) error {
		tokens, err := s.tokens()
		if err == nil {
			r.Status = authenticate(r.Spec.Token, tokens, o.Now())
		}
		return err
	}))
	authorize := func(last bool) http.Handler {
		return answer(o, func(r *authorizationv1.SubjectAccessReview) error {
			a, err := s.access.get()
			if err == nil {
				r.Status, err = s.authorize(a, r.Spec, last)
			}
			return err
		})
	}
	mux.Handle("POST /authorize/abac", authorize(true))
	mux.Handle("POST /authorize/shadow", authorize(false))
	mux.Handle("POST /authorize/revoked", answer(o, func(r *authorizationv1.SubjectAccessReview) error {
		list, err := s.revoked.get()
		if err == nil {
			r.Status = deny(r.Spec, list, o.Now())
		}
		return err
	}))
	return mux
}

// answer fills in a review for an API server, and for nobody else.
func answer[T any](o Options, fill func(*T) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.TLS == nil || len(q.TLS.VerifiedChains) == 0 || !slices.Contains(q.TLS.PeerCertificates[0].Subject.Organization, o.ClientGroup) {
			http.Error(w, "only API servers may ask", http.StatusForbidden)
			return
		}
		review := new(T)
		if err := json.NewDecoder(io.LimitReader(q.Body, maxBody)).Decode(review); err != nil {
			http.Error(w, "not a review: "+err.Error(), http.StatusBadRequest)
			return
		}
		if err := fill(review); err != nil {
			o.Log.Error("answer "+q.URL.Path, "error", err)
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(review) // who went away needs no answer
	})
}
