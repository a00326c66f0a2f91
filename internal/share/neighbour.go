package share

import (
	"context"
	"crypto/sha256"
	"slices"
	"time"
)

// Pace is what a pod got done, and how long each piece took.
type Pace struct {
	// PerSecond is how many pieces of work were done.
	PerSecond float64 `json:"perSecond"`
	// Median and P99 are times from when a piece was due to when it was done, in milliseconds.
	Median float64 `json:"median"`
	P99    float64 `json:"p99"`
	Pieces int     `json:"pieces"`
}

// piece is a piece of work: some arithmetic, over some memory.
const piece = 512 << 10

// Work does a piece of work every so often, or one after the other if every is 0, as long as it is told.
func Work(ctx context.Context, every, lasting time.Duration, now func() time.Time) Pace {
	memory := make([]byte, piece)
	var took []time.Duration
	begin := now()
	for due := begin; ctx.Err() == nil && now().Sub(begin) < lasting; {
		if wait := due.Sub(now()); wait > 0 {
			select {
			case <-ctx.Done():
				continue
			case <-time.After(wait):
			}
		}
		if every == 0 {
			due = now()
		}
		sum := sha256.Sum256(memory)
		copy(memory, sum[:])
		took = append(took, now().Sub(due))
		due = due.Add(every)
	}
	return pace(took, now().Sub(begin))
}

func pace(took []time.Duration, lasting time.Duration) Pace {
	if len(took) == 0 || lasting <= 0 {
		return Pace{}
	}
	slices.Sort(took)
	at := func(part float64) float64 {
		return float64(took[min(int(part*float64(len(took))), len(took)-1)]) / float64(time.Millisecond)
	}
	return Pace{PerSecond: float64(len(took)) / lasting.Seconds(), Median: at(0.5), P99: at(0.99), Pieces: len(took)}
}

// Kept is how much of a quiet pace is left beside a hog, and how much longer the slowest pieces take.
func Kept(quiet, beside []Pace) (throughput, p99 float64) {
	q, b := median(quiet), median(beside)
	if q.PerSecond == 0 || q.P99 == 0 {
		return 0, 0
	}
	return b.PerSecond / q.PerSecond, b.P99 / q.P99
}

// median is that of each value by itself: one window in which the machine did something else says nothing.
func median(of []Pace) Pace {
	middle := func(value func(Pace) float64) float64 {
		var all []float64
		for _, p := range of {
			all = append(all, value(p))
		}
		if len(all) == 0 {
			return 0
		}
		slices.Sort(all)
		return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
	}
	return Pace{PerSecond: middle(func(p Pace) float64 { return p.PerSecond }), P99: middle(func(p Pace) float64 { return p.P99 })}
}
