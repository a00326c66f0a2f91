package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/internal/exposure"
	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/ui"
)

func exposureCommand(r *root) *cobra.Command {
	var svg string
	cmd := &cobra.Command{
		Use:   "exposure",
		Short: "Say what the internet can reach, and whether that is what is declared",
		Long: `Say what the internet can reach: from the addresses, routes, translations and rules of the live network, as exact sets of
packets, held against what the cluster's file declares. Of each there is the path that makes it reachable. Whatever is not
understood of the network counts as open.

Exits with 2 if anything is reachable that is not declared, or the other way round.`,
		Example: `  ashlar exposure
  ashlar exposure -o json
  ashlar exposure --svg network.svg`,
		Args: noArgs,
		RunE: r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, _ []string) error {
			found, err := phase.Exposure(ctx, c)
			if err != nil {
				return err
			}
			if svg != "" {
				if err := draw(svg, c.Spec.Metadata.Name, found); err != nil {
					return err
				}
			}
			err = ui.Write(cmd.OutOrStdout(), r.format, found, func(w io.Writer) error { return exposureTable(w, &found.Comparison) })
			if err == nil && !found.Equal() {
				err = errDiffers
			}
			return err
		}),
	}
	cmd.Flags().StringVar(&svg, "svg", "", "also draw the network into this file, with what is public in colour")
	return cmd
}

func draw(file, title string, found *phase.Exposed) error {
	var b bytes.Buffer
	if err := exposure.Draw(&b, title, found.Graph, &found.Comparison); err != nil {
		return fmt.Errorf("draw the network: %w", err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		return phase.InputError{Err: fmt.Errorf("write the drawing: %w", err)}
	}
	return nil
}

// exposureTable has a line for each thing that is public, and below it how it comes to be.
func exposureTable(w io.Writer, c *exposure.Comparison) error {
	var rows [][]string
	var paths []string
	path := func(of string, steps []exposure.Step) {
		var b strings.Builder
		fmt.Fprintf(&b, "%s\n", of)
		for _, s := range steps {
			fmt.Fprintf(&b, "  %s\n", s)
		}
		paths = append(paths, b.String())
	}
	missing := 0
	for _, f := range c.Declared {
		row := func(good bool, verdict string, s exposure.Set) {
			for _, cell := range s.Cells() {
				rows = append(rows, []string{ui.Mark(w, good, verdict), f.Name, cell.Text(), f.Node, cell.Sources.String()})
			}
		}
		row(true, "declared", f.Reached)
		row(false, "missing", f.Missing)
		if !f.Missing.Empty() {
			missing++
		}
		if len(f.Path) > 0 {
			path(f.Name, f.Path)
		}
	}
	for _, e := range c.Extra {
		verdict := "extra"
		if e.Maybe {
			verdict = "unknown"
		}
		var to []string
		for _, cell := range e.Packets.Cells() {
			rows = append(rows, []string{ui.Mark(w, false, verdict), "", cell.Text(), e.Node, cell.Sources.String()})
			to = append(to, cell.Text())
		}
		path(ui.Mark(w, false, verdict)+" "+strings.Join(to, ", "), e.Path)
	}
	if len(rows) > 0 {
		if err := ui.Rows(w, []string{"VERDICT", "WHAT", "AT", "REACHES", "FROM"}, rows); err != nil {
			return err
		}
		fmt.Fprintf(w, "\n%s\n", strings.Join(paths, "\n"))
	}
	_, err := fmt.Fprintf(w, "%d declared, %d of them missing, %d extra\n", len(c.Declared), missing, len(c.Extra))
	return err
}
