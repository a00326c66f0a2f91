package vault

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// callbackURL is where the provider sends a person's browser back to: to `ashlar`, on the person's own machine.
const callbackURL = "http://localhost:8250/oidc/callback"

const callbackAddress = "localhost:8250"

// callbackTimeout is for how long Vault remembers a login that has begun.
const callbackTimeout = 10 * time.Minute

// callback is the page that a browser comes back to.
type callback struct {
	server  *http.Server
	answers chan answer
}

// answer is what the provider lets a browser bring.
type answer struct{ state, code, problem string }

func listen(ctx context.Context) (*callback, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", callbackAddress)
	if err != nil {
		return nil, fmt.Errorf("wait for the browser: %w", err)
	}
	c := &callback{answers: make(chan answer)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /oidc/callback", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		a := answer{q.Get("state"), q.Get("code"), q.Get("error")}
		if a.problem != "" && q.Get("error_description") != "" {
			a.problem += ": " + q.Get("error_description")
		}
		select {
		case c.answers <- a:
			fmt.Fprintln(w, "The terminal says how it went. This page can be closed.")
		case <-r.Context().Done():
		}
	})
	c.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = c.server.Serve(l) }() // until Close
	return c, nil
}

// wait returns the code that comes with this state. With another, it is of a login that somebody else began, who would
// have it ended in our name: it is passed over.
func (c *callback) wait(ctx context.Context, state string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callbackTimeout)
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("nobody came back from the provider: %w", ctx.Err())
		case a := <-c.answers:
			switch {
			case state == "" || subtle.ConstantTimeCompare([]byte(a.state), []byte(state)) == 0:
			case a.problem != "":
				return "", fmt.Errorf("the provider refuses: %q", a.problem)
			case a.code == "":
				return "", errors.New("the provider sends no code")
			default:
				return a.code, nil
			}
		}
	}
}

// Close ends listening, once the last page is delivered.
func (c *callback) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.server.Shutdown(ctx)
}
