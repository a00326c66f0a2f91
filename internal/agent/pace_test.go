package agent

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPace(t *testing.T) {
	for _, c := range []struct {
		machines  int
		ttl       time.Duration
		ask, beat time.Duration
	}{
		{4, day, 10 * time.Second, 30 * time.Second},
		{200, day, 10 * time.Second, 30 * time.Second},
		{1000, day, 50 * time.Second, 150 * time.Second},
		{5000, day, 250 * time.Second, 750 * time.Second},
		{5000, 15 * time.Minute, 15 * time.Minute / 8, 15 * time.Minute / 8},
		{4, 15 * time.Minute, 10 * time.Second, 30 * time.Second},
	} {
		if ask, beat := Pace(c.machines, c.ttl); ask != c.ask || beat != c.beat {
			t.Errorf("%d machines, certificates of %s: asks every %s, reports every %s; want %s and %s", c.machines, c.ttl, ask, beat, c.ask, c.beat)
		}
	}
}

// TestPaceKeepsTokens: however many machines, each is heard of before it is thought lost (phase: half of the life of
// certificates), and long before its token ends.
func TestPaceKeepsTokens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		machines := rapid.IntRange(1, 100_000).Draw(t, "machines")
		ttl := time.Duration(rapid.Int64Range(int64(15*time.Minute), int64(30*day)).Draw(t, "ttl"))
		ask, beat := Pace(machines, ttl)
		if ask < interval || ask > beat {
			t.Fatalf("asks every %s, reports every %s", ask, beat)
		}
		if s := Silence(machines, ttl); s > ttl/2 || s <= beat {
			t.Fatalf("reports every %s, silent after %s, with certificates of %s", beat, s, ttl)
		}
		if perSecond := float64(machines) / ask.Seconds(); perSecond > questions && beat < ttl/8 {
			t.Fatalf("%.1f questions a second", perSecond)
		}
	})
}
