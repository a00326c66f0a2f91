package cli

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/selinux"
)

// selinuxProbes are run on machines and in their pods to see what SELinux does there.
func selinuxProbes() []*cobra.Command {
	look := &cobra.Command{
		Use:   "selinux",
		Short: "Say, as JSON, what SELinux does on this machine, what pods' processes are to it, and what it refused",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := selinux.Look()
			if err != nil {
				return err
			}
			return json.NewEncoder(cmd.OutOrStdout()).Encode(r)
		},
	}
	hold := &cobra.Command{
		Use:   "hold FILE WORDS",
		Short: "Write a file that everybody may read, and stay until killed",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.WriteFile(args[0], []byte(args[1]), 0o644); err != nil { //nolint:gosec // that all may read it is the point
				return err
			}
			<-cmd.Context().Done()
			return nil
		},
	}
	read := &cobra.Command{
		Use:   "read FILE...",
		Short: "Read each file, or connect to it if it is a socket, and report as JSON",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var all []claim.Read
			for _, path := range args {
				r := claim.Read{Path: path}
				words, err := readFile(cmd.Context(), path)
				if err != nil {
					r.Refusal = err.Error()
				}
				r.Words = string(words)
				all = append(all, r)
			}
			return json.NewEncoder(cmd.OutOrStdout()).Encode(all)
		},
	}
	return []*cobra.Command{look, hold, read}
}

// readFile returns the first words of a file; of a socket, nothing but that somebody listens.
func readFile(ctx context.Context, path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Mode()&os.ModeSocket != 0 {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path)
		if err != nil {
			return nil, err
		}
		return nil, conn.Close()
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 64))
}
