package identity

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// AWS puts a public SSH key of somebody's into an instance's metadata, for a minute, if its own rules let them (EC2 Instance
// Connect). So somebody can come in before there is any other authority, and no key is kept anywhere.

// Keys are those that are good for a user of this instance now, as OpenSSH's public keys.
func Keys(ctx context.Context, service, user string, now time.Time) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, documentTimeout)
	defer cancel()
	token, err := session(ctx, service)
	if err != nil {
		return nil, err
	}
	instance, err := ask(ctx, service, "meta-data/instance-id", token)
	if err != nil {
		return nil, fmt.Errorf("ask the instance's metadata service which instance this is: %w", err)
	}
	text, err := ask(ctx, service, "meta-data/managed-ssh-keys/active-keys/"+user, token)
	if errors.Is(err, errNone) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ask the instance's metadata service for SSH keys: %w", err)
	}
	return activeKeys(text, instance, now), nil
}

// activeKeys reads what the service says: of each key until when it is good, for which instance, and whose; the key; and AWS's
// signature, which tells nothing that the service, on the instance's own host, does not.
func activeKeys(text, instance string, now time.Time) []string {
	var out []string
	var until int64
	var of string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if value, ok := strings.CutPrefix(line, "#Timestamp="); ok {
			until, _ = strconv.ParseInt(value, 10, 64) // what is no number is long over
		} else if value, ok := strings.CutPrefix(line, "#Instance="); ok {
			of = value
		} else if strings.HasPrefix(line, "ssh-ed25519 ") && of == instance && now.Unix() < until {
			out = append(out, line)
		} else if line == "" {
			until, of = 0, ""
		}
	}
	return out
}
