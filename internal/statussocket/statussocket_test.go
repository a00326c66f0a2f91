package statussocket

import (
	"bytes"
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"
)

func TestServe(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	socket := filepath.Join(t.TempDir(), "run", "status.sock")
	ended := make(chan error, 1)
	broken := errors.New("broken")
	told := 0
	go func() {
		ended <- Serve(ctx, socket, func() (map[string]int, error) {
			if told++; told > 3 {
				return nil, broken
			}
			return map[string]int{"told": told}, nil
		})
	}()
	if err := Ask(ctx, filepath.Join(t.TempDir(), "none"), &bytes.Buffer{}); err == nil {
		t.Error("nobody answers, and that is no error")
	}
	ask := func() string {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Second); ; {
			var out bytes.Buffer
			if err := Ask(ctx, socket, &out); err == nil || time.Now().After(deadline) {
				return out.String()
			}
		}
	}
	if got := ask(); got != "{\"told\":1}\n" {
		t.Errorf("it tells %q", got)
	}
	if conn, err := net.Dial("unix", socket); err != nil { // somebody who does not listen
		t.Error(err)
	} else if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if got := ask(); got != "{\"told\":3}\n" {
		t.Errorf("after somebody who did not listen it tells %q", got)
	}
	_ = Ask(ctx, socket, &bytes.Buffer{})
	if err := <-ended; !errors.Is(err, broken) {
		t.Errorf("it ended with %v", err)
	}
	go func() { ended <- Serve(ctx, socket, func() (int, error) { return 4, nil }) }()
	if got := ask(); got != "4\n" {
		t.Errorf("in the place of an old socket it tells %q", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("told to end, it ended with %v", err)
	}
}
