package vault

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
)

// What a caller may want to tell apart; use errors.Is.
var (
	// ErrDenied: the token may not do that, from here, or has expired.
	ErrDenied = errors.New("permission denied")
	// ErrNotFound: nothing is there.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the document changed since it was read.
	ErrConflict = errors.New("the document has changed in the meantime")
	// ErrSealed: the server is sealed, uninitialised or has no leader.
	ErrSealed = errors.New("sealed or without a leader")
)

// Error is a refusal by Vault.
type Error struct {
	Address, Method, Path string
	Status                int
	Messages              []string
}

func (e *Error) Error() string {
	msg := strings.Join(e.Messages, "; ")
	if msg == "" {
		msg = http.StatusText(e.Status)
	}
	return fmt.Sprintf("vault at %s: %s %s: %d %s", e.Address, e.Method, e.Path, e.Status, msg)
}

// Is maps statuses to the errors above.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrDenied:
		return e.Status == http.StatusForbidden
	case ErrNotFound:
		return e.Status == http.StatusNotFound
	case ErrConflict:
		return e.says("check-and-set parameter did not match")
	case ErrSealed:
		return e.Status == http.StatusServiceUnavailable || e.Status == 472 || e.Status == 473 || e.says("active cluster node not found")
	}
	return false
}

// leaderless says that the servers are there and none of them leads: they elect one within seconds. A standby then has
// nobody to forward to. (429 is how a standby answers about its health, and no sign of that.)
func leaderless(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Status == http.StatusTemporaryRedirect || e.says("active cluster node not found"))
}

func (e *Error) says(text string) bool { return strings.Contains(strings.Join(e.Messages, " "), text) }

// elsewhere says whether another server may be asked: this one is not in service, or was not reached at all. A write
// that may have arrived is not repeated.
func elsewhere(method string, err error) bool {
	var refused *Error
	if errors.As(err, &refused) {
		// 429 is how a standby answers about its health.
		return errors.Is(err, ErrSealed) || refused.Status == http.StatusTemporaryRedirect || refused.Status == http.StatusTooManyRequests
	}
	var op *net.OpError
	return method == http.MethodGet || method == "LIST" || (errors.As(err, &op) && op.Op == "dial")
}
