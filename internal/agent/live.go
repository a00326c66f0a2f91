package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	shape "ashlar.dev/ashlar/internal/unit"
)

// refresh writes the files that a running process looks at without a restart, and tells it if it must be told. What it
// was told is written down, so that an agent which dies in between tells it again.
func (s *supervisor) refresh(r *supervised, p *process) {
	changed := false
	for _, f := range r.spec.Files {
		if !f.Live {
			continue
		}
		if b, err := os.ReadFile(f.Path); err != nil || string(b) != f.Content {
			changed = true
		}
		if err := writeFile(f.Path, []byte(f.Content), f.Mode); err != nil {
			s.complain(r, err)
		}
	}
	live := liveDigest(r.spec)
	if p == nil || live == "" || !changed && p.Live == live {
		return
	}
	if err := p.signal(unix.Signal(r.spec.ReloadSignal)); err != nil {
		s.complain(r, fmt.Errorf("tell the unit that its files changed: %w", err))
		return
	}
	p.Live = live
	if err := writeRecord(s.recordDir, r.spec.Name, p.record); err != nil {
		s.complain(r, err)
	}
}

// liveDigest stands for the Live files of a unit that must be told of a change; empty if it need not be.
func liveDigest(u shape.Unit) string {
	if u.ReloadSignal == 0 {
		return ""
	}
	h, any := sha256.New(), false
	for _, f := range u.Files {
		if f.Live {
			any = true
			fmt.Fprintf(h, "%q %q\n", f.Path, f.Content)
		}
	}
	if !any {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// process is the unit's, if it runs.
func (s *supervisor) process(r *supervised) *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return r.proc
}

func (s *supervisor) complain(r *supervised, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.status.Reason = err.Error()
	s.bumpLocked()
}
