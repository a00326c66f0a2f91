package share

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	var took []time.Duration
	for i := range 100 {
		took = append(took, time.Duration(100-i)*time.Millisecond)
	}
	if got, want := pace(took, 2*time.Second), (Pace{PerSecond: 50, Median: 51, P99: 100, Pieces: 100}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := pace(nil, time.Second); got != (Pace{}) {
		t.Errorf("nothing done: %+v", got)
	}
}

func TestKept(t *testing.T) {
	quiet := []Pace{{PerSecond: 100, P99: 4}, {PerSecond: 100, P99: 2}, {PerSecond: 1, P99: 900}}
	beside := []Pace{{PerSecond: 90, P99: 8}, {PerSecond: 90, P99: 6}, {PerSecond: 95, P99: 6}}
	if throughput, p99 := Kept(quiet, beside); throughput != 0.9 || p99 != 1.5 {
		t.Errorf("%v, %v", throughput, p99)
	}
}

// Work that is due at times is done about as often; and what is late counts from when it was due.
func TestWork(t *testing.T) {
	if p := Work(t.Context(), 10*time.Millisecond, 300*time.Millisecond, time.Now); p.Pieces == 0 || p.Pieces > 31 {
		t.Errorf("%+v", p)
	}
	clock := time.Unix(0, 0)
	slow := func() time.Time { clock = clock.Add(20 * time.Millisecond); return clock } // each look at the clock takes this long
	if p := Work(t.Context(), 10*time.Millisecond, time.Second, slow); p.P99 < 500 {
		t.Errorf("on a machine that does not keep up, the last pieces are no later than %v ms", p.P99)
	}
}
