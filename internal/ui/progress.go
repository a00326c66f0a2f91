// Package ui is what a user sees: progress, tables, documents, errors.
package ui

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// Progress shows long work: a line for each phase with its time, and on a terminal a spinner while it runs.
type Progress struct {
	out   io.Writer
	fancy bool
	width int // of names
	start time.Time

	mu      sync.Mutex
	name    string
	detail  string
	began   time.Time
	stop    chan struct{}
	stopped sync.WaitGroup
	times   []Timing
}

// Timing is how long a phase took.
type Timing struct {
	Phase   string        `json:"phase"`
	Seconds float64       `json:"seconds"`
	Took    time.Duration `json:"-"`
}

// NewProgress writes to out; colours and motion only if out is a terminal. Names longer than a phase's get room.
func NewProgress(out io.Writer, names ...string) *Progress {
	p := &Progress{out: out, fancy: IsTerminal(out), width: 14, start: time.Now()}
	for _, n := range names {
		p.width = max(p.width, width(n))
	}
	return p
}

// IsTerminal says whether w is one, and may be coloured (https://no-color.org).
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// Begin starts a phase.
func (p *Progress) Begin(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.name, p.detail, p.began = name, "", time.Now()
	if !p.fancy {
		return
	}
	p.stop = make(chan struct{})
	p.stopped.Add(1)
	go p.spin(p.stop)
}

// Detail says what the phase is at or what it found.
func (p *Progress) Detail(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.detail = fmt.Sprintf(format, args...)
}

// End finishes the phase that runs.
func (p *Progress) End(err error) {
	p.halt()
	p.mu.Lock()
	defer p.mu.Unlock()
	took := time.Since(p.began)
	p.times = append(p.times, Timing{Phase: p.name, Seconds: took.Seconds(), Took: took})
	p.line(err == nil, p.name, took, p.paint(dim, p.detail))
}

// Step says what became of one part of the phase that runs. Parts may run at once, each by its own clock.
func (p *Progress) Step(good bool, name string, took time.Duration, detail string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line(good, name, took, oneLine(detail))
}

// Done says how long all of it took.
func (p *Progress) Done(format string, args ...any) {
	p.line(true, "done", time.Since(p.start), fmt.Sprintf(format, args...))
}

// line is what is left to read of something that has ended.
func (p *Progress) line(good bool, name string, took time.Duration, detail string) {
	mark := p.paint(green, "✓")
	if !good {
		mark = p.paint(red, "✗")
	}
	if detail != "" {
		detail = "  " + detail
	}
	fmt.Fprintf(p.out, "%s%s %-*s %6.2fs%s\n", p.clear(), mark, p.width, name, took.Seconds(), detail)
}

// Timings are those of the phases so far, in order.
func (p *Progress) Timings() []Timing {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Timing(nil), p.times...)
}

func (p *Progress) halt() {
	p.mu.Lock()
	stop := p.stop
	p.stop = nil
	p.mu.Unlock()
	if stop != nil {
		close(stop)
		p.stopped.Wait()
	}
}

func (p *Progress) spin(stop <-chan struct{}) {
	defer p.stopped.Done()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	frames := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		p.mu.Lock()
		fmt.Fprintf(p.out, "%s%s %-*s %6.1fs  %s", p.clear(), p.paint(blue, string(frames[i%len(frames)])),
			p.width, p.name, time.Since(p.began).Seconds(), p.paint(dim, p.detail))
		p.mu.Unlock()
	}
}

func (p *Progress) clear() string {
	if p.fancy {
		return "\r\x1b[K"
	}
	return ""
}

func (p *Progress) paint(c colour, s string) string {
	if !p.fancy || s == "" {
		return s
	}
	return c.wrap(s)
}

type colour string

const (
	red   colour = "31"
	green colour = "32"
	blue  colour = "34"
	dim   colour = "2"
)

func (c colour) wrap(s string) string { return "\x1b[" + string(c) + "m" + s + "\x1b[0m" }
