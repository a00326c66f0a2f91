// Package load puts a cluster under a steady load, through its API and directly against each etcd, and counts what fails:
// a request that was answered with an error, a read that differs from what was written, an event that a watcher missed.
package load

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"ashlar.dev/ashlar/internal/claim"
)

// Open returns the cluster as it is now, and closes the way that it took there. It is asked again and again, as people log
// in anew: what clients hold is no older than fresh, unless there is nothing newer to be had.
type Open func(ctx context.Context) (*claim.Target, error)

const (
	// fresh is how long a client keeps its connection and its credential.
	fresh = 10 * time.Second
	// pace is how often each writer and reader asks: steady, not as fast as it goes, for the machine has other work.
	pace = 40 * time.Millisecond
	// patience limits one request.
	patience = 30 * time.Second
	// kept is how many failures are kept in words.
	kept = 20
)

// Load is a load that runs.
type Load struct {
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu     sync.Mutex
	report Report
	target *claim.Target
	began  time.Time
}

// Report is what came of it.
type Report struct {
	// Requests by who made them, and Failed ones.
	Requests, Failed map[string]int
	// Repeated is how often a client of etcd had to ask another member, or again; or one of the API, for etcd handed its lead over.
	Repeated map[string]int
	// Events that watchers saw, and those that they should have seen and did not.
	Events, Lost int
	// Failures in words, the first ones.
	Failures []string
	Took     time.Duration
}

// Total is how many requests were made.
func (r Report) Total() int {
	n := 0
	for _, of := range r.Requests {
		n += of
	}
	return n
}

// Flawless says what was not; nil if nothing failed and nothing was lost, and if there was any load at all.
func (r Report) Flawless() error {
	failed := 0
	for _, n := range r.Failed {
		failed += n
	}
	switch {
	case failed > 0 || r.Lost > 0:
		return fmt.Errorf("%s\n%s", r, strings.Join(r.Failures, "\n"))
	case r.Events == 0:
		return errors.New("no watcher saw anything")
	}
	for who, n := range r.Requests {
		if n == 0 {
			return fmt.Errorf("%s asked for nothing", who)
		}
		if who == "writers" && r.Repeated[who]*1000 > mostRepeated*n+1000 {
			return fmt.Errorf("%d of %d requests of %s were asked for again: etcd's lead does not last\n%s", r.Repeated[who], n, who, r)
		}
	}
	return nil
}

func (r Report) String() string {
	var by []string
	failed := 0
	for _, who := range slices.Sorted(maps.Keys(r.Requests)) {
		of := fmt.Sprintf("%s %d of %d", who, r.Failed[who], r.Requests[who])
		if n := r.Repeated[who]; n > 0 {
			of += fmt.Sprintf(" with %d repeated", n)
		}
		by = append(by, of)
		failed += r.Failed[who]
	}
	return fmt.Sprintf("%d of %d requests failed (%s); %d of %d events were lost; in %s", failed, r.Total(), strings.Join(by, ", "),
		r.Lost, r.Events+r.Lost, r.Took.Round(time.Second))
}

// Start puts the cluster under load until Stop.
func Start(ctx context.Context, open Open) (*Load, error) {
	ctx, stop := context.WithCancel(ctx)
	target, err := open(ctx)
	if err != nil {
		stop()
		return nil, fmt.Errorf("load: %w", err)
	}
	l := &Load{stop: stop, target: target, report: Report{Requests: map[string]int{}, Failed: map[string]int{}, Repeated: map[string]int{}}, began: time.Now()}
	for i := range 2 {
		w := newWriter(l, fmt.Sprintf("load-%d", i))
		if err := w.begin(ctx); err != nil {
			stop()
			return nil, fmt.Errorf("load: %w", err)
		}
		l.wg.Go(func() { w.run(ctx) })
	}
	l.wg.Go(func() { l.read(ctx) })
	for _, e := range etcds {
		l.wg.Go(func() { l.etcd(ctx, e) })
	}
	go each(ctx, fresh, func() { // a Vault that does not answer must not be waited for
		if target, err := open(ctx); err == nil {
			l.mu.Lock()
			l.target = target
			l.mu.Unlock()
		}
	})
	return l, nil
}

// Stop ends the load and says what came of it.
func (l *Load) Stop() Report {
	l.stop()
	l.wg.Wait()
	l.report.Took = time.Since(l.began)
	return l.report
}

// now is the cluster as it was last opened.
func (l *Load) now() *claim.Target {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.target
}

// count notes a request, and why it failed if it did.
func (l *Load) count(ctx context.Context, who string, err error) {
	if err != nil && ctx.Err() != nil {
		return // the load ends, and with it what was under way
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Requests[who]++
	if err != nil {
		l.report.Failed[who]++
		l.note(fmt.Sprintf("%s: %s: %v", time.Now().Format(time.TimeOnly), who, err))
	}
}

func (l *Load) repeated(who string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Repeated[who]++
}

func (l *Load) saw(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Events += n
}

func (l *Load) lost(n int, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Lost += n
	l.note(why)
}

func (l *Load) note(what string) {
	if len(l.report.Failures) < kept {
		l.report.Failures = append(l.report.Failures, what)
	}
}

// each calls f at a pace until ctx ends.
func each(ctx context.Context, every time.Duration, f func()) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f()
		}
	}
}
