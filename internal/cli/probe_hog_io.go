package cli

import (
	"encoding/json"
	"net/netip"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"ashlar.dev/ashlar/internal/hog"
)

// diskCommand uses a disk: as a hog would, or as its neighbour, who notices.
func diskCommand() *cobra.Command {
	var d hog.Disk
	var size, block string
	var lasting time.Duration
	cmd := &cobra.Command{
		Use:   "disk DIRECTORY",
		Short: "Use the disk that a directory is on, as much as there is, and report as JSON how much that was",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d.Dir = args[0]
			bytes, err := resource.ParseQuantity(size)
			if err != nil {
				return err
			}
			one, err := resource.ParseQuantity(block)
			if err != nil {
				return err
			}
			d.Size, d.Block = bytes.Value(), int(one.Value())
			used, err := d.Use(cmd.Context(), lasting)
			if err != nil {
				return err
			}
			return json.NewEncoder(cmd.OutOrStdout()).Encode(used)
		},
	}
	f := cmd.Flags()
	f.IntVar(&d.Streams, "streams", 1, "how many at once")
	f.StringVar(&size, "size", "256Mi", "of the file of each")
	f.StringVar(&block, "block", "1Mi", "what one operation reads or writes")
	f.BoolVar(&d.Read, "read", false, "read, past the kernel's cache")
	f.BoolVar(&d.Direct, "direct", false, "write past the kernel's cache")
	f.BoolVar(&d.Sync, "sync", false, "write until the disk has it")
	f.BoolVar(&d.Filled, "filled", false, "write over what is there already")
	f.DurationVar(&d.Every, "every", 0, "from the beginning of one operation to that of the next; 0: no pause")
	f.DurationVar(&lasting, "for", time.Minute, "how long")
	return cmd
}

// floodCommand uses the network as a hog would.
func floodCommand() *cobra.Command {
	var streams, floods int
	var lasting time.Duration
	cmd := &cobra.Command{
		Use:   "network ADDRESS:PORT",
		Short: "Send streams and datagrams to a `probe sink`, as many as there can be, and report as JSON how much that was",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			to, err := netip.ParseAddrPort(args[0])
			if err != nil {
				return err
			}
			sent, err := hog.Network(cmd.Context(), to, streams, floods, lasting)
			if err != nil {
				return err
			}
			return json.NewEncoder(cmd.OutOrStdout()).Encode(sent)
		},
	}
	f := cmd.Flags()
	f.IntVar(&streams, "streams", 8, "how many TCP streams")
	f.IntVar(&floods, "floods", 1, "how many floods of datagrams")
	f.DurationVar(&lasting, "for", time.Minute, "how long")
	return cmd
}
