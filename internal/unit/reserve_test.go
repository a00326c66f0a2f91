package unit_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ashlar.dev/ashlar/internal/unit"
)

const gibibyte = 1 << 30

// TestReserve shows what machines of several sizes keep for themselves.
func TestReserve(t *testing.T) {
	for name, size := range map[string]unit.Size{
		"smallest":  {MilliCPUs: 1000, Memory: gibibyte, Disk: 8 * gibibyte, PIDs: 32768},
		"small":     {MilliCPUs: 2000, Memory: 4 * gibibyte, Disk: 20 * gibibyte, PIDs: 32768},
		"middling":  {MilliCPUs: 8000, Memory: 32 * gibibyte, Disk: 100 * gibibyte, PIDs: 4 << 20},
		"large":     {MilliCPUs: 96000, Memory: 384 * gibibyte, Disk: 1000 * gibibyte, PIDs: 4 << 20},
		"container": {MilliCPUs: 1000, Memory: 4 * gibibyte, Disk: 250 * gibibyte, PIDs: 4 << 20, BeyondMilliCPUs: 7000, BeyondMemory: 28 * gibibyte},
	} {
		t.Run(name, func(t *testing.T) {
			got := unit.ReserveOf(size).KubeletConfig()
			golden := filepath.Join("testdata", "reserve", name+".yaml")
			if *update {
				if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("differs from %s (go test ./internal/unit -update, and review):\n%s", golden, d)
			}
		})
	}
}

// On whatever machine, something is left for pods and something is not; and who has more keeps no less.
func TestReserveIsSensible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := unit.Size{MilliCPUs: rapid.Int64Range(500, 256_000).Draw(t, "cpus"), Memory: rapid.Int64Range(gibibyte, 1024*gibibyte).Draw(t, "memory"),
			Disk: rapid.Int64Range(4*gibibyte, 4000*gibibyte).Draw(t, "disk"), PIDs: rapid.Int64Range(16384, 4<<20).Draw(t, "pids")}
		r := unit.ReserveOf(s)
		cpu, memory := r.Allocatable(s)
		if cpu < s.MilliCPUs*3/4 || cpu >= s.MilliCPUs {
			t.Fatalf("%d of %d thousandths of CPUs are for pods", cpu, s.MilliCPUs)
		}
		if memory < s.Memory/2 || memory >= s.Memory {
			t.Fatalf("%d of %d bytes of memory are for pods", memory, s.Memory)
		}
		if taken := r.Kube.Disk + r.System.Disk + r.Hard.Disk; taken > s.Disk/2 {
			t.Fatalf("%d of %d bytes of disk are not for pods", taken, s.Disk)
		}
		if r.Kube.PIDs+r.System.PIDs+4*r.PodPIDs > s.PIDs {
			t.Fatalf("of %d processes, four pods may have %d each", s.PIDs, r.PodPIDs)
		}
		seen := s
		seen.BeyondMilliCPUs, seen.BeyondMemory = 4000, 16*gibibyte
		if c, m := unit.ReserveOf(seen).Allocatable(seen); c != cpu || m != memory {
			t.Fatalf("a machine that sees its host lets pods have %d, %d, and not %d, %d", c, m, cpu, memory)
		}
		more := s
		more.Memory *= 2
		if unit.ReserveOf(more).Kube.Memory < r.Kube.Memory {
			t.Fatal("with more memory, less is reserved")
		}
	})
}
