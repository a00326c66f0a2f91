package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"ashlar.dev/ashlar/internal/testvault"
	"ashlar.dev/ashlar/internal/vault"
)

// server is the Vault that is measured.
type server struct{ *testvault.Server }

// usage is what Vault has used up to now.
type usage struct {
	cpu    time.Duration
	memory float64 // resident, MiB
	audit  float64 // both logs, MiB
}

func (u usage) since(earlier usage) usage {
	return usage{cpu: u.cpu - earlier.cpu, memory: u.memory, audit: u.audit - earlier.audit}
}

const mib = 1 << 20

func (s server) look() (usage, error) {
	var u usage
	proc := fmt.Sprintf("/proc/%d/", s.Process.Pid)
	stat, err := os.ReadFile(proc + "stat")
	if err != nil {
		return u, err
	}
	// After the command's name in parentheses; utime and stime are the 14th and 15th field (proc_pid_stat(5)), in
	// hundredths of a second.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	for _, f := range fields[11:13] {
		ticks, err := strconv.Atoi(f)
		if err != nil {
			return u, err
		}
		u.cpu += time.Duration(ticks) * 10 * time.Millisecond
	}
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		return u, err
	}
	if m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(status); m != nil {
		kb, _ := strconv.Atoi(string(m[1]))
		u.memory = float64(kb) / 1024
	}
	for _, n := range []string{"audit-1.log", "audit-2.log"} {
		info, err := os.Stat(filepath.Join(s.Dir, n))
		if err != nil {
			return u, err
		}
		u.audit += float64(info.Size()) / mib
	}
	return u, nil
}

// stored is the size of all that Vault keeps, in bytes: that of a snapshot, which is encrypted and does not shrink.
func (s server) stored(ctx context.Context) (float64, error) {
	var size counter
	err := s.AsRoot(ctx, func(root *vault.Client) error { return root.SaveSnapshot(ctx, &size) })
	return float64(size), err
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
