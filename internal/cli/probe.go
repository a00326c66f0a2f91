package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/observe"
	"ashlar.dev/ashlar/internal/relay"
)

// probeCommand is what `verify` runs inside pods.
func probeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "probe", Short: "Try something from inside a pod", Hidden: true}
	var timeout time.Duration
	connect := &cobra.Command{
		Use:   "connect ADDRESS...",
		Short: "Open a TCP connection to each address at once, read what the other side says, and report as JSON",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return json.NewEncoder(cmd.OutOrStdout()).Encode(connectAll(ctx, args))
		},
	}
	connect.Flags().DurationVar(&timeout, "timeout", time.Second, "for the whole attempt")
	serve := &cobra.Command{
		Use:   "serve ADDRESS...",
		Short: "Greet whoever connects, until killed",
		Args:  cobra.MinimumNArgs(1),
		RunE:  func(cmd *cobra.Command, args []string) error { return serveAll(cmd.Context(), args) },
	}
	reach := &cobra.Command{
		Use:   "reach",
		Short: "Try connections from pods of this machine, as told on standard input",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return observe.Serve(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	pipe := &cobra.Command{
		Use:   "pipe ADDRESS",
		Short: "Hand a TCP connection on by standard input and output",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return relay.Pipe(cmd.Context(), args[0], cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	cmd.AddCommand(connect, serve, reach, pipe, firstCommand(), witnessCommand(), watchCommand(), sinkCommand(), speedCommand(), insideCommand(), hogCommand(), neighbourCommand())
	cmd.AddCommand(selinuxProbes()...)
	cmd.AddCommand(escapeCommand(), linkCommand())
	return cmd
}

// connectAll tries all addresses side by side: silence is what most attempts wait for.
func connectAll(ctx context.Context, addresses []string) []claim.Reached {
	out := make([]claim.Reached, len(addresses))
	var all sync.WaitGroup
	for i, a := range addresses {
		all.Go(func() {
			out[i].Address = a
			var err error
			if out[i].Connected, err = greeted(ctx, a); err != nil {
				out[i].Refusal = err.Error()
			}
		})
	}
	all.Wait()
	return out
}

// greeted connects, says whether it could, and reads to the end: a handshake alone could be the doing of something in between.
func greeted(ctx context.Context, address string) (bool, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	said, err := io.ReadAll(io.LimitReader(conn, 64))
	if err == nil && string(said) != greeting {
		err = fmt.Errorf("connected to something that says %q", said)
	}
	return true, err
}

const greeting = "hello\n"

func serveAll(ctx context.Context, addresses []string) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, a := range addresses {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", a)
		if err != nil {
			return err
		}
		defer context.AfterFunc(ctx, func() { l.Close() })()
		g.Go(func() error {
			for {
				conn, err := l.Accept()
				if ctx.Err() != nil {
					return nil
				}
				if err != nil {
					return err
				}
				_, _ = io.WriteString(conn, greeting)
				conn.Close()
			}
		})
	}
	return g.Wait()
}
