package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"ashlar.dev/ashlar/internal/hog"
)

func init() {
	checks = append(checks, check{"cgroup v2: a pod's disk is held to its class' ceiling by io.max", held})
}

// mostWritten is what the desired document of this machine lets a restricted pod write, in bytes a second.
const mostWritten = 4 << 20

// held has a pod write all that it can past the cache. This is the one kernel of the tests whose control groups are of version 2.
func held(ctx context.Context, m *machine) error {
	if err := limited("poda", fmt.Sprintf("wbps=%d", mostWritten)); err != nil {
		return err
	}
	out, err := m.ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: m.pods["a"].container, Timeout: 120,
		Cmd: []string{"/ashlar", "probe", "hog", "disk", "/shared", "--direct", "--size=16Mi", "--for=8s"}})
	if err != nil {
		return fmt.Errorf("write in pod a: %w", err)
	}
	var used hog.Used
	if err := json.Unmarshal(out.Stdout, &used); err != nil {
		return fmt.Errorf("pod a answered %q and %q: %w", out.Stdout, out.Stderr, err)
	}
	if used.BytesPerSecond > 1.25*mostWritten || used.BytesPerSecond < mostWritten/4 {
		return fmt.Errorf("it wrote %.2g MiB a second, the ceiling is %d", used.BytesPerSecond/(1<<20), mostWritten>>20)
	}
	return nil
}

// limited says whether a pod's group, wherever it is, has a limit in its io.max.
func limited(pod, limit string) error {
	var found []string
	err := filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // groups come and go
		}
		if err != nil || !d.IsDir() || d.Name() != pod {
			return err
		}
		b, err := os.ReadFile(filepath.Join(path, "io.max"))
		found = append(found, path+": "+strings.TrimSpace(string(b)))
		return err
	})
	if err == nil && !strings.Contains(strings.Join(found, "\n"), limit) {
		err = fmt.Errorf("no io.max of %s has %s: %q", pod, limit, found)
	}
	return err
}
