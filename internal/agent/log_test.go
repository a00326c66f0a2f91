package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRotateLogs(t *testing.T) {
	dir := t.TempDir()
	large, small := filepath.Join(dir, "large.log"), filepath.Join(dir, "small.log")
	writer, err := os.OpenFile(large, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	write := func(s string) {
		t.Helper()
		if _, err := writer.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	write(strings.Repeat("x", 101))
	if err := os.WriteFile(small, []byte("y"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := rotateLogs(dir, 100); err != nil {
		t.Fatal(err)
	}
	write("after") // by the same open file, as a running unit does

	for path, want := range map[string]string{large: "after", large + ".1": strings.Repeat("x", 101), small: "y"} {
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("%s holds %q (%v), want %q", filepath.Base(path), got, err, want)
		}
	}
}
