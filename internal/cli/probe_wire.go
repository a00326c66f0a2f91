package cli

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/internal/wire"
)

// firstCommand and witnessCommand are the two sides of a question: what passes between a pod and others before the pod's
// policy is in force.
func firstCommand() *cobra.Command {
	var port uint16
	var every, lasting time.Duration
	cmd := &cobra.Command{
		Use:   "first ADDRESS...",
		Short: "Talk to all addresses at once, for a while, and report as JSON how many packets passed",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			to, err := addresses(args)
			if err != nil {
				return err
			}
			start, err := wire.First(cmd.Context(), port, to, every, lasting)
			if err != nil {
				return err
			}
			return json.NewEncoder(cmd.OutOrStdout()).Encode(start)
		},
	}
	cmd.Flags().Uint16Var(&port, "port", 9000, "of both sides, TCP and UDP")
	cmd.Flags().DurationVar(&every, "every", 5*time.Millisecond, "between two datagrams to one address")
	cmd.Flags().DurationVar(&lasting, "for", 2*time.Second, "how long")
	return cmd
}

func witnessCommand() *cobra.Command {
	var port uint16
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "witness ADDRESS...",
		Short: "Talk to all addresses, existing or not, until killed, and report a line of JSON at a time what passed",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			to, err := addresses(args)
			if err != nil {
				return err
			}
			return wire.Witness(cmd.Context(), port, to, every, cmd.OutOrStdout())
		},
	}
	cmd.Flags().Uint16Var(&port, "port", 9000, "of both sides, TCP and UDP")
	cmd.Flags().DurationVar(&every, "every", 5*time.Millisecond, "between two datagrams to one address")
	return cmd
}

func addresses(args []string) ([]netip.Addr, error) {
	out := make([]netip.Addr, len(args))
	for i, a := range args {
		var err error
		if out[i], err = netip.ParseAddr(a); err != nil {
			return nil, fmt.Errorf("argument %d: %w", i+1, err)
		}
	}
	return out, nil
}

// watchCommand, sinkCommand and speedCommand measure a network: test/bench.
func watchCommand() *cobra.Command {
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "watch ADDRESS:PORT...",
		Short: "Connect to each address again and again, and report each change as a line of JSON",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			to := make([]netip.AddrPort, len(args))
			for i, a := range args {
				var err error
				if to[i], err = netip.ParseAddrPort(a); err != nil {
					return err
				}
			}
			return wire.Watch(cmd.Context(), to, every, cmd.OutOrStdout())
		},
	}
	cmd.Flags().DurationVar(&every, "every", 5*time.Millisecond, "between two connections to one address")
	return cmd
}

func sinkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "sink ADDRESS:PORT",
		Short: "Take what `probe speed` sends, until killed",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := netip.ParseAddrPort(args[0])
			if err != nil {
				return err
			}
			return wire.Sink(cmd.Context(), at)
		},
	}
}

func speedCommand() *cobra.Command {
	var lasting time.Duration
	cmd := &cobra.Command{
		Use:   "speed ADDRESS:PORT",
		Short: "Measure throughput and latency to a `probe sink`, and report as JSON",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			to, err := netip.ParseAddrPort(args[0])
			if err != nil {
				return err
			}
			speed, err := wire.Measure(cmd.Context(), to, lasting)
			if err != nil {
				return err
			}
			return json.NewEncoder(cmd.OutOrStdout()).Encode(speed)
		},
	}
	cmd.Flags().DurationVar(&lasting, "for", time.Second, "how long, each")
	return cmd
}
