// Package hog takes as much as it can of a machine, and measures how much that is. It runs in pods, to try whether
// their neighbours notice.
package hog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Disk is how a disk is used.
type Disk struct {
	// Dir is where the files are, one of Size for each of the Streams that work side by side.
	Dir     string
	Streams int
	Size    int64
	// Block is what one operation reads or writes.
	Block int
	// Read what is there, past the kernel's cache, instead of writing it.
	Read bool
	// Direct: past the kernel's cache. Sync: each operation ends when the disk has the data. Neither: when the cache has it.
	Direct, Sync bool
	// Filled: the file is there in full before anything is measured, so that writing changes nothing but data, as in a database.
	Filled bool
	// Every is the time from the beginning of one operation to that of the next; 0: no pause.
	Every time.Duration
}

// Used is how much that was.
type Used struct {
	BytesPerSecond float64 `json:"bytesPerSecond"`
	PerSecond      float64 `json:"operationsPerSecond"`
	// Median and P99 are how long an operation took.
	Median time.Duration `json:"median"`
	P99    time.Duration `json:"p99"`
}

// Use uses the disk for so long.
func (d Disk) Use(ctx context.Context, lasting time.Duration) (Used, error) {
	var mu sync.Mutex
	var took []time.Duration
	g, ctx := errgroup.WithContext(ctx)
	start := make(chan struct{})
	var ready sync.WaitGroup
	ready.Add(d.Streams)
	for i := range d.Streams {
		g.Go(func() error {
			f, err := d.open(filepath.Join(d.Dir, fmt.Sprintf("hog-%d", i)))
			ready.Done()
			if err != nil {
				return err
			}
			defer f.Close()
			defer os.Remove(f.Name())
			<-start
			own, err := d.work(ctx, f, lasting)
			mu.Lock()
			defer mu.Unlock()
			took = append(took, own...)
			return err
		})
	}
	ready.Wait()
	close(start)
	began := time.Now()
	if err := g.Wait(); err != nil {
		return Used{}, err
	}
	seconds := time.Since(began).Seconds()
	if len(took) == 0 {
		return Used{}, errors.New("not one operation came to its end")
	}
	slices.Sort(took)
	return Used{
		BytesPerSecond: float64(len(took)*d.Block) / seconds, PerSecond: float64(len(took)) / seconds,
		Median: took[len(took)/2], P99: took[len(took)*99/100],
	}, nil
}

// open makes a file; one that is to be read has its data on the disk before anything is measured.
func (d Disk) open(path string) (*os.File, error) {
	flags := os.O_RDWR | os.O_CREATE
	if d.Direct || d.Read {
		flags |= unix.O_DIRECT
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	if d.Read || d.Filled {
		err = d.fill(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (d Disk) fill(f *os.File) error {
	b, err := buffer(d.Block)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Munmap(b) }()
	for at := int64(0); at < d.Size; at += int64(d.Block) {
		if _, err := f.WriteAt(b, at); err != nil {
			return err
		}
	}
	return f.Sync()
}

// buffer is aligned as the kernel wants it for what goes past its cache.
func buffer(size int) ([]byte, error) {
	return unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
}

// work does one operation after another, over the file again and again.
func (d Disk) work(ctx context.Context, f *os.File, lasting time.Duration) (took []time.Duration, err error) {
	b, err := buffer(d.Block)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Munmap(b) }()
	for i := range b {
		b[i] = byte(i * 131) // not what a disk may leave out
	}
	began := time.Now()
	for at := int64(0); time.Since(began) < lasting && ctx.Err() == nil; at = (at + int64(d.Block)) % d.Size {
		one := time.Now()
		switch {
		case d.Read:
			_, err = f.ReadAt(b, at)
		default:
			_, err = f.WriteAt(b, at)
		}
		if err == nil && d.Sync {
			err = unix.Fdatasync(int(f.Fd()))
		}
		if err != nil {
			return took, err
		}
		took = append(took, time.Since(one))
		if rest := d.Every - time.Since(one); rest > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(rest):
			}
		}
	}
	return took, nil
}
