package agent

import (
	"context"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	shape "ashlar.dev/ashlar/internal/unit"
)

// How quickly an ended unit is started again: at once at first, never later than every five seconds.
const (
	backoffFirst = 100 * time.Millisecond
	backoffLast  = 4 * time.Second
	// steady is how long a unit must have run for its past failures to be forgotten.
	steady = 30 * time.Second
	// Health is looked at often until a unit is ready, and now and then after that.
	probeOften  = 50 * time.Millisecond
	probeSeldom = 10 * time.Second
)

// supervisor keeps units running. Units outlive it: it can be killed at any time, and the next one goes on.
type supervisor struct {
	logDir, recordDir string

	mu      sync.Mutex
	units   map[string]*supervised
	changed chan struct{} // closed, and replaced, at every change of any unit
	wg      sync.WaitGroup
}

type supervised struct {
	spec   shape.Unit
	cancel context.CancelFunc
	done   chan struct{}
	status UnitStatus
	proc   *process
	// gone is closed when what ran under the name before has stopped or was taken over; users must have come so far first.
	gone  chan struct{}
	users []*supervised
}

func newSupervisor(logDir, recordDir string) (*supervisor, error) {
	for _, dir := range []string{logDir, recordDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("prepare %s for units: %w", dir, err)
		}
	}
	return &supervisor{logDir: logDir, recordDir: recordDir, units: map[string]*supervised{}, changed: make(chan struct{})}, nil
}

// apply makes the units run, and no others. A unit is restarted when what it runs by has changed, or, with
// repair, when a file of it was edited on the machine.
func (s *supervisor) apply(ctx context.Context, units []shape.Unit, repair bool) {
	want, was := map[string]shape.Unit{}, map[string]UnitStatus{}
	for _, u := range units {
		want[u.Name] = u
	}
	for name, r := range s.snapshot() {
		u, keep := want[name]
		if keep && reflect.DeepEqual(u, r.spec) && (!repair || !edited(u)) {
			if repair {
				s.refresh(r, s.process(r))
			}
			delete(want, name)
			continue
		}
		r.cancel()
		<-r.done
		if !keep || repair && edited(u) {
			s.end(name, r.spec.Grace)
		}
		s.mu.Lock()
		was[name] = r.status
		delete(s.units, name)
		s.mu.Unlock()
	}
	launched := map[string]*supervised{}
	for _, u := range units {
		if _, new := want[u.Name]; new {
			r := &supervised{spec: u, done: make(chan struct{}), gone: make(chan struct{}),
				status: UnitStatus{Name: u.Name, State: UnitWaiting, Digest: u.Digest()}}
			if before := was[u.Name]; before.Digest == r.status.Digest {
				r.status = before // what only gets another file that it looks at by itself is as ready as it was
			}
			launched[u.Name] = r
		}
	}
	// What is used by others stops after them: an API server that drains still asks its webhook.
	for _, r := range launched {
		for _, name := range r.spec.After {
			if used, ok := launched[name]; ok {
				used.users = append(used.users, r)
			}
		}
	}
	for _, r := range launched {
		s.launch(ctx, r)
	}
}

// end stops what an earlier or this supervisor left running under a name.
func (s *supervisor) end(name string, grace time.Duration) {
	if p := adopt(s.recordDir, name); p != nil {
		p.stop(grace)
	}
	_ = os.Remove(recordPath(s.recordDir, name))
}

// edited says whether a file that the unit is restarted for is not as it should be.
func edited(u shape.Unit) bool {
	return slices.ContainsFunc(u.Files, func(f shape.File) bool {
		b, err := os.ReadFile(f.Path)
		return !f.Live && (err != nil || string(b) != f.Content)
	})
}

func (s *supervisor) launch(ctx context.Context, r *supervised) {
	ctx, r.cancel = context.WithCancel(ctx)
	s.mu.Lock()
	s.units[r.spec.Name] = r
	s.mu.Unlock()
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		defer close(r.done)
		s.run(ctx, r)
	}()
}

// run is the life of one unit, until ctx ends; its process goes on after that.
func (s *supervisor) run(ctx context.Context, r *supervised) {
	u := r.spec
	p := s.takeOver(ctx, r)
	if p != nil {
		s.refresh(r, p)
	}
	if old, ok := readRecord(s.recordDir, u.Name); ok && old.Done && old.Digest == u.Digest() {
		s.set(r, UnitDone, "", nil)
		return
	}
	for backoff := backoffFirst; ctx.Err() == nil; backoff = min(2*backoff, backoffLast) {
		var err error
		if p == nil {
			p, err = s.begin(ctx, r)
		}
		if err == nil && p == nil {
			return // files only, or the context ended
		}
		if err == nil {
			if s.watch(ctx, r, p) {
				return
			}
			if time.Since(p.Since) > steady {
				backoff = backoffFirst
			}
		} else {
			s.set(r, UnitFailed, err.Error(), nil)
		}
		p = nil
		select {
		case <-ctx.Done():
		case <-time.After(backoff):
		}
		s.mu.Lock()
		r.status.Restarts++
		s.mu.Unlock()
	}
}

// takeOver returns the process that runs under the unit's name, if it is what it should be; another it stops.
func (s *supervisor) takeOver(ctx context.Context, r *supervised) *process {
	defer close(r.gone)
	p := adopt(s.recordDir, r.spec.Name)
	if p == nil || p.Digest == r.spec.Digest() {
		return p
	}
	for _, user := range r.users {
		select {
		case <-user.gone:
		case <-ctx.Done():
			p.close()
			return nil
		}
	}
	s.set(r, UnitStarting, "restarting: its definition changed", nil)
	p.stop(r.spec.Grace)
	return nil
}

// begin waits for all that the unit needs and starts it.
func (s *supervisor) begin(ctx context.Context, r *supervised) (*process, error) {
	u := r.spec
	if !s.await(ctx, r) {
		return nil, nil
	}
	for _, f := range u.Files {
		if err := writeFile(f.Path, []byte(f.Content), f.Mode); err != nil {
			return nil, fmt.Errorf("unit %s: %w", u.Name, err)
		}
	}
	if len(u.Args) == 0 {
		s.set(r, UnitDone, "", nil)
		return nil, writeRecord(s.recordDir, u.Name, record{Digest: u.Digest(), Done: true, Since: time.Now()})
	}
	p, err := start(u, s.logDir, s.recordDir, time.Now())
	if err != nil {
		return nil, err
	}
	s.set(r, UnitStarting, "", p)
	return p, nil
}

// await returns true once everything that the unit depends on is there.
func (s *supervisor) await(ctx context.Context, r *supervised) bool {
	for {
		change := s.changes()
		missing := s.missing(ctx, r.spec)
		if ctx.Err() != nil {
			return false
		}
		if missing == "" {
			return true
		}
		s.set(r, UnitWaiting, missing, nil)
		select {
		case <-ctx.Done():
			return false
		case <-change:
		case <-time.After(probeOften):
		}
	}
}

// missing names the first thing that a unit still needs.
func (s *supervisor) missing(ctx context.Context, u shape.Unit) string {
	for _, name := range u.After {
		if st := s.state(name); st != UnitReady && st != UnitDone {
			return "unit " + name
		}
	}
	for _, c := range u.Certificates {
		if _, err := os.Stat(c.Profile.CertFile()); err != nil {
			return fmt.Sprintf("certificate %s/%s", c.Profile.CA, c.Profile.Name)
		}
	}
	if u.HostKey != "" {
		if _, err := os.Stat(shape.SSHHostCert(u.HostKey)); err != nil {
			return "the host key's certificate"
		}
	}
	for _, secret := range u.Secrets {
		if _, err := os.Stat(secret.Path); err != nil {
			return "secret " + secret.Document
		}
	}
	// A probe over TLS may need this very unit's copy of the CA.
	for _, f := range u.Files {
		if strings.HasPrefix(f.Path, shape.PKIDir) {
			if err := writeFile(f.Path, []byte(f.Content), f.Mode); err != nil {
				return err.Error()
			}
		}
	}
	for _, p := range u.Wait {
		if err := probe(ctx, p); err != nil {
			return p.URL
		}
	}
	return ""
}

// watch follows a process to its end; true means that there is nothing more to do for the unit.
func (s *supervisor) watch(ctx context.Context, r *supervised, p *process) bool {
	u := r.spec
	s.mu.Lock()
	r.proc = p
	s.mu.Unlock()
	health, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	if !u.Once {
		wg.Go(func() { s.health(health, r, p) })
	}
	code, err := p.wait(ctx)
	stop()
	wg.Wait()
	s.mu.Lock()
	r.proc = nil
	s.mu.Unlock()
	p.close()
	if err != nil {
		return true // the context ended; the process goes on
	}
	if u.Once && code == 0 {
		rec := p.record
		rec.Done = true
		_ = writeRecord(s.recordDir, u.Name, rec)
		s.set(r, UnitDone, "", nil)
		return true
	}
	s.set(r, UnitFailed, fmt.Sprintf("exited with code %d; its last words are in %s/%s.log", code, s.logDir, u.Name), nil)
	return false
}

// health keeps the state of a running unit true.
func (s *supervisor) health(ctx context.Context, r *supervised, p *process) {
	for {
		interval := probeOften
		err := probe(ctx, r.spec.Ready)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			s.set(r, UnitReady, "", p)
			interval = probeSeldom
		default:
			s.set(r, UnitStarting, err.Error(), p)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(interval):
		}
	}
}

// reload tells the units that hold a certificate in memory to read it again.
func (s *supervisor) reload(renewed func(shape.Certificate) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.units {
		if r.proc != nil && r.spec.ReloadSignal != 0 && slices.ContainsFunc(r.spec.Certificates, renewed) {
			_ = r.proc.signal(unix.Signal(r.spec.ReloadSignal))
		}
	}
}

func (s *supervisor) set(r *supervised, state UnitState, reason string, p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := r.status
	st.State, st.Reason, st.PID, st.Since = state, reason, 0, time.Time{}
	if p != nil {
		st.PID, st.Since = p.PID, p.Since
	}
	if st == r.status {
		return
	}
	r.status = st
	s.bumpLocked()
}

func (s *supervisor) bumpLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// bump wakes all that wait, after something outside of the supervisor changed.
func (s *supervisor) bump() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bumpLocked()
}

func (s *supervisor) changes() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *supervisor) state(name string) UnitState {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.units[name]; ok {
		return r.status.State
	}
	return ""
}

func (s *supervisor) snapshot() map[string]*supervised {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.units)
}

// statuses returns every unit's, sorted by name.
func (s *supervisor) statuses() []UnitStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []UnitStatus
	for _, r := range s.units {
		out = append(out, r.status)
	}
	slices.SortFunc(out, func(a, b UnitStatus) int { return strings.Compare(a.Name, b.Name) })
	return out
}
