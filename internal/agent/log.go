package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// maxLog is how large a unit's log may grow. One older part of it is kept beside it.
const maxLog = 64 << 20

// rotateLogs shortens logs that have grown too large. A unit holds its log open across restarts of the agent, so the
// file stays and its content moves; what is written in that moment may be lost.
func rotateLogs(dir string, limit int64) error {
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return err
	}
	var errs []error
	for _, log := range logs {
		if st, err := os.Stat(log); err != nil || st.Size() <= limit {
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
			continue
		}
		if err := moveAway(log); err != nil {
			errs = append(errs, fmt.Errorf("shorten %s: %w", log, err))
		}
	}
	return errors.Join(errs...)
}

const (
	// maxOwnLog is how large a log may grow that a unit writes itself, in bytes.
	maxOwnLog = 256 << 20
	// KeptLogs is how many older parts of such a log there may be: its name with .1, the newest, and so on.
	KeptLogs = 4
)

// rotateOwnLogs gives units that write logs of their own new files. Nothing is lost: a unit writes on into the old file,
// under its new name, until it hears the signal.
func (s *supervisor) rotateOwnLogs(limit int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, r := range s.units {
		moved := false
		for _, log := range r.spec.Logs {
			st, err := os.Stat(log)
			if err != nil || st.Size() <= limit || r.proc == nil {
				continue
			}
			for n := KeptLogs; n > 1; n-- {
				err := os.Rename(fmt.Sprintf("%s.%d", log, n-1), fmt.Sprintf("%s.%d", log, n))
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					errs = append(errs, err)
				}
			}
			if err := os.Rename(log, log+".1"); err != nil {
				errs = append(errs, err)
				continue
			}
			moved = true
		}
		if moved {
			errs = append(errs, r.proc.signal(unix.Signal(r.spec.ReloadSignal)))
		}
	}
	return errors.Join(errs...)
}

func moveAway(log string) error {
	from, err := os.OpenFile(log, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(log+".1", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	if err := errors.Join(err, to.Close()); err != nil {
		return err
	}
	return from.Truncate(0) // writers append, so they go on at the new end
}
