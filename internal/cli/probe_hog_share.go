package cli

import (
	"encoding/json"
	"runtime"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"ashlar.dev/ashlar/internal/share"
)

// forkCommand has each process make more.
func forkCommand() *cobra.Command {
	return &cobra.Command{Use: "fork", Short: "Have each process make more, until killed", Args: noArgs, RunE: func(*cobra.Command, []string) error {
		for {
			// A copy of a process of several threads has one, and no runtime: it can only do this again.
			_, _, _ = unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		}
	}}
}

// memoryCommand writes to ever more memory.
func memoryCommand() *cobra.Command {
	return &cobra.Command{Use: "memory", Short: "Write to ever more memory, until killed", Args: noArgs, RunE: func(*cobra.Command, []string) error {
		for {
			b, err := unix.Mmap(-1, 0, 16<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
			for i := 0; err == nil && i < len(b); i += 4096 {
				b[i] = 1
			}
		}
	}}
}

// cpuCommand computes with more threads than there are CPUs.
func cpuCommand() *cobra.Command {
	return &cobra.Command{Use: "cpu", Short: "Compute with more threads than there are CPUs, until killed", Args: noArgs, RunE: func(*cobra.Command, []string) error {
		threads := 8 * runtime.NumCPU()
		runtime.GOMAXPROCS(threads)
		for range threads {
			go func() {
				for n := uint64(1); n != 0; n = n*6364136223846793005 | 1 { //nolint:revive // this is the work
				}
			}()
		}
		select {}
	}}
}

// neighbourCommand is one beside it.
func neighbourCommand() *cobra.Command {
	var every, lasting time.Duration
	cmd := &cobra.Command{
		Use:   "neighbour",
		Short: "Do pieces of work for a while, and report as JSON how many and how long they took",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(share.Work(cmd.Context(), every, lasting, time.Now))
		},
	}
	cmd.Flags().DurationVar(&every, "every", 20*time.Millisecond, "when the next piece is due; 0: when the last is done")
	cmd.Flags().DurationVar(&lasting, "for", 5*time.Second, "how long")
	return cmd
}
