package claim

import (
	"context"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/audit"
)

// A certificate that nobody accounts for breaks the claim; a log without any certificate proves nothing.
func TestUnaccounted(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	until := now.Add(time.Hour)
	known := audit.Event{Kind: audit.Issued, NotAfter: &until}
	strange := known
	strange.Flag = "nobody knows it"
	for what, c := range map[string]struct {
		events []audit.Event
		want   Verdict
	}{
		"all known":  {[]audit.Event{known, known}, Holds},
		"one is not": {[]audit.Event{known, strange}, Broken},
		"none":       {nil, Untried},
	} {
		target := &Target{Now: func() time.Time { return now }, Audit: func(context.Context) ([]audit.Event, error) { return c.events, nil }}
		e, err := target.unaccounted(t.Context())
		if got, why := Decide([]Evidence{e}, err); got != c.want {
			t.Errorf("%s: %s %s, want %s", what, got, why, c.want)
		}
	}
}
