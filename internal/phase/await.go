package phase

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"ashlar.dev/ashlar/internal/ui"
)

// await waits until nothing is lacking on any machine, and returns them. One that says nothing meanwhile gets another init
// token. prefix goes before what it says of its progress.
func (c *Cluster) await(ctx context.Context, limit time.Duration, prefix string, progress *ui.Progress, lacking func(enrolled, time.Time) []Drift) ([]enrolled, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	silent := silentSince(began)
	for {
		all, err := c.enrolment(ctx)
		if err != nil && ctx.Err() == nil && time.Since(began) > silence {
			return nil, err
		}
		var waiting []string
		var late []enrolled
		for _, e := range all {
			if drift := lacking(e, time.Now()); len(drift) > 0 {
				waiting, late = append(waiting, drift[0].Object+": "+drift[0].Cause), append(late, e)
			}
		}
		switch {
		case err != nil: // Vault may be electing, or restart
			waiting = []string{err.Error()}
		case len(waiting) == 0:
			return all, nil
		default:
			progress.Detail("%s%s", prefix, waiting[0])
			if err := silent.help(ctx, c, late); err != nil {
				return nil, err
			}
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil, ctx.Err()
			}
			return nil, fmt.Errorf("gave up after %s: %s; see `ashlar status` and `ashlar logs`", time.Since(began).Round(time.Second), strings.Join(waiting, "; "))
		case <-time.After(look):
		}
	}
}
