package claim

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/vault"
)

// TestRefusal: what Vault did not say itself is no evidence, for or against.
func TestRefusal(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want Expectation // empty: an error
	}{
		"success":             {nil, Allowed},
		"permission denied":   {&vault.Error{Status: 403}, Refused},
		"bad request":         {&vault.Error{Status: 400}, Refused},
		"said further down":   {fmt.Errorf("log in: %w", &vault.Error{Status: 403}), Refused},
		"not found":           {&vault.Error{Status: 404}, ""},
		"sealed":              {&vault.Error{Status: 503}, ""},
		"a fault":             {&vault.Error{Status: 500}, ""},
		"not to be reached":   {errors.New("connection refused"), ""},
		"not reached in time": {context.DeadlineExceeded, ""},
	} {
		e, err := refusal("log in", "worker-0", "worker-0", Refused, c.err)
		if (err != nil) != (c.want == "") || e.Got != c.want {
			t.Errorf("%s: got %q, %v; want %q", name, e.Got, err, c.want)
		}
		if err != nil && !errors.Is(err, c.err) {
			t.Errorf("%s: %v does not say why", name, err)
		}
	}
}

func TestVictims(t *testing.T) {
	of := func(names ...string) *Target {
		t := &Target{}
		for _, m := range machines(names...).Machines {
			t.Machines = append(t.Machines, provider.Machine{Name: m.Name, Role: m.Role})
		}
		return t
	}
	own, other, err := of("vault-0", "worker-0", "etcd-0", "worker-1", "worker-2").victims()
	if err != nil || own.Name != "worker-0" || other.Name != "worker-1" {
		t.Errorf("%s and %s, %v", own.Name, other.Name, err)
	}
	if own, other, err = of("vault-0", "worker-0").victims(); err == nil {
		t.Errorf("of one worker: %q and %q", own.Name, other.Name)
	}
}
