package agent

import (
	"os"
	"path/filepath"
	"testing"

	shape "ashlar.dev/ashlar/internal/unit"
)

func TestBounds(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  bound
	}{
		"v2":           {map[string]string{"cpu.max": "150000 100000\n", "memory.max": "2147483648\n"}, bound{1500, 2 << 30}},
		"v2, all":      {map[string]string{"cpu.max": "max 100000\n", "memory.max": "max\n"}, bound{}},
		"v2, the root": {nil, bound{}},
		"v1": {map[string]string{"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n", "memory/memory.limit_in_bytes": "1073741824\n"},
			bound{500, 1 << 30}},
		"v1, all": {map[string]string{"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n", "memory/memory.limit_in_bytes": "9223372036854771712\n"},
			bound{0, 9223372036854771712}},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for file, text := range c.files {
				path := filepath.Join(root, file)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := bounds(root); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

func TestWithin(t *testing.T) {
	host := shape.Size{MilliCPUs: 8000, Memory: 32 << 30}
	if got := within(host, bound{memory: 9223372036854771712}); got != host {
		t.Errorf("no bound: %+v", got)
	}
	want := shape.Size{MilliCPUs: 1500, Memory: 4 << 30, BeyondMilliCPUs: 6500, BeyondMemory: 28 << 30}
	if got := within(host, bound{1500, 4 << 30}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// This machine has a size, and some of it is left for pods.
func TestMachineSize(t *testing.T) {
	s, err := MachineSize(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if cpu, memory := shape.ReserveOf(s).Allocatable(s); cpu <= 0 || memory <= 0 || s.Disk <= 0 || s.PIDs <= 0 {
		t.Errorf("%+v", s)
	}
}
