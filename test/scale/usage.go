package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"ashlar.dev/ashlar/internal/testvault"
)

// server is the Vault that is measured.
type server struct{ *testvault.Server }

// usage is what Vault has used up to now.
type usage struct {
	cpu     time.Duration
	memory  float64 // resident, MiB
	storage float64 // of raft's state, without the free pages of its file, MiB
	audit   float64 // both logs, MiB
}

func (u usage) since(earlier usage) usage {
	return usage{cpu: u.cpu - earlier.cpu, memory: u.memory, storage: u.storage - earlier.storage, audit: u.audit - earlier.audit}
}

const mib = 1 << 20

// look measures; of the storage, what Vault last told its metrics (every ten seconds).
func (s server) look(ctx context.Context) (usage, error) {
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
	info, err := os.Stat(filepath.Join(s.Dir, "data", "vault.db"))
	if err != nil {
		return u, err
	}
	free, err := s.metric(ctx, `vault_raft_storage_bolt_freelist_free_pages\{[^}]*database="fsm"[^}]*\}`)
	if err != nil {
		return u, err
	}
	u.storage = (float64(info.Size()) - free*float64(os.Getpagesize())) / mib
	return u, nil
}

// metric reads one of Vault's own.
func (s server) metric(ctx context.Context, pattern string) (float64, error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(s.Cert))
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: "vault"}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: tlsConfig}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+s.Address+"/v1/sys/metrics?format=prometheus", nil)
	if err != nil {
		return 0, err
	}
	answer, err := client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("read Vault's metrics: %w", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err
	}
	m := regexp.MustCompile(`(?m)^` + pattern + ` (\S+)$`).FindSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("vault has no metric %s", pattern)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}
