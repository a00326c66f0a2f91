package shortcut

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"ashlar.dev/ashlar/internal/statussocket"
)

// TestRunWithoutBPF: where the kernel does not take the program, here because it is not asked by root, the shortcut runs on,
// and says why it does nothing.
func TestRunWithoutBPF(t *testing.T) {
	if socket := os.Getenv("SHORTCUT_SOCKET"); socket != "" {
		if err := Run(t.Context(), allPods, 4789, socket, slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
			t.Fatal(err)
		}
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	socket := filepath.Join(t.TempDir(), "socket")
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestRunWithoutBPF$")
	cmd.Env = append(os.Environ(), "SHORTCUT_SOCKET="+socket)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{Size: 1}}, GidMappings: []syscall.SysProcIDMap{{Size: 1}},
	}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	defer func() { cancel(); <-ended }()
	for {
		var out bytes.Buffer
		if err := statussocket.Ask(ctx, socket, &out); err == nil {
			var s Status
			if err := json.Unmarshal(out.Bytes(), &s); err != nil || s.Unable == "" || s.Packets != nil {
				t.Errorf("%s: %v", out.Bytes(), err)
			}
			return
		}
		select {
		case <-ended:
			t.Fatalf("it ended: %s", said.Bytes())
		case <-time.After(10 * time.Millisecond):
		}
	}
}
