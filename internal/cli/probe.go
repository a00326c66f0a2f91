package cli

import (
	"fmt"
	"io"
	"net"
	"time"

	"github.com/spf13/cobra"
)

// probeCommand is what `verify` runs inside pods.
func probeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "probe", Short: "Try something from inside a pod", Hidden: true}
	var timeout time.Duration
	connect := &cobra.Command{
		Use:   "connect ADDRESS",
		Short: "Open a TCP connection and read what the other side says",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			conn, err := (&net.Dialer{Timeout: timeout}).DialContext(cmd.Context(), "tcp", args[0])
			if err != nil {
				return err
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(timeout))
			said, err := io.ReadAll(io.LimitReader(conn, 64))
			fmt.Fprintln(cmd.OutOrStdout(), string(said))
			return err
		},
	}
	connect.Flags().DurationVar(&timeout, "timeout", 2*time.Second, "for the whole attempt")
	serve := &cobra.Command{
		Use:   "serve ADDRESS",
		Short: "Greet whoever connects, until killed",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := (&net.ListenConfig{}).Listen(cmd.Context(), "tcp", args[0])
			if err != nil {
				return err
			}
			go func() {
				<-cmd.Context().Done()
				l.Close()
			}()
			for cmd.Context().Err() == nil {
				conn, err := l.Accept()
				if err != nil {
					continue
				}
				_, _ = fmt.Fprintln(conn, "hello")
				conn.Close()
			}
			return nil
		},
	}
	cmd.AddCommand(connect, serve)
	return cmd
}
