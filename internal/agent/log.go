package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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
