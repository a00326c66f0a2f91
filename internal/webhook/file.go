package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
)

// fileOf is a JSON file in memory, read again when it has changed.
type fileOf[T any] struct {
	path string
	// optional: a file that is not there is as good as an empty one.
	optional bool

	mu    sync.Mutex
	size  int64
	when  time.Time
	value T
}

func (f *fileOf[T]) get() (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var none T
	info, err := os.Stat(f.path)
	if f.optional && errors.Is(err, fs.ErrNotExist) {
		f.when, f.value = time.Time{}, none
		return none, nil
	}
	if err != nil {
		return none, err
	}
	if info.ModTime().Equal(f.when) && info.Size() == f.size {
		return f.value, nil
	}
	b, err := os.ReadFile(f.path)
	if err != nil {
		return none, err
	}
	var value T
	if err := json.Unmarshal(b, &value); err != nil {
		return none, fmt.Errorf("read %s: %w", f.path, err)
	}
	f.size, f.when, f.value = info.Size(), info.ModTime(), value
	return value, nil
}
