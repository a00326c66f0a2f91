package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/exposure"
	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/ui"
	modules "ashlar.dev/ashlar/terraform/aws"
)

func exposureCommand(r *root) *cobra.Command {
	var svg, plan, root string
	show := func(cmd *cobra.Command, title string, found *phase.Exposed) error {
		if svg != "" {
			if err := draw(svg, title, found); err != nil {
				return err
			}
		}
		err := ui.Write(cmd.OutOrStdout(), r.format, found, func(w io.Writer) error { return exposureTable(w, found) })
		if err == nil && !found.Equal() {
			err = errDiffers
		}
		return err
	}
	live := r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, _ []string) error {
		found, err := phase.Exposure(ctx, c)
		if err != nil {
			return err
		}
		return show(cmd, c.Spec.Metadata.Name, found)
	})
	cmd := &cobra.Command{
		Use:   "exposure",
		Short: "Say what the internet can reach, and whether that is what is declared",
		Long: `Say what the internet can reach: from the addresses, routes, translations and rules of the live network, as exact sets of
packets, held against what the cluster's file declares. Of each there is the path that makes it reachable. Whatever is not
understood of the network counts as open.

With --plan it is the network on AWS that a plan of OpenTofu would make, before anything exists, which takes no credentials.

Exits with 2 if anything is reachable that is not declared, or the other way round.`,
		Example: `  ashlar exposure
  ashlar exposure -o json
  ashlar exposure --svg network.svg
  ashlar exposure --plan plan.json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if plan == "" {
				return live(cmd, args)
			}
			spec, err := r.read()
			if err != nil {
				return err
			}
			found, err := planned(spec, plan, root)
			if err != nil {
				return err
			}
			return show(cmd, spec.Metadata.Name, found)
		},
	}
	cmd.Flags().StringVar(&plan, "plan", "", "read this plan of OpenTofu (`FILE` of `tofu show -json`) instead of the live network")
	cmd.Flags().StringVar(&root, "modules", "", "the root module that the plan was made from (default: the one in ashlar)")
	cmd.Flags().StringVar(&svg, "svg", "", "also draw the network into this file, with what is public in colour")
	return cmd
}

// planned reads a plan's network.
func planned(spec *v1alpha1.Cluster, file, dir string) (*phase.Exposed, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, phase.InputError{Err: fmt.Errorf("read the plan: %w", err)}
	}
	plan := &tfjson.Plan{}
	if err := json.Unmarshal(b, plan); err != nil {
		return nil, phase.InputError{Err: fmt.Errorf("%s is no plan as JSON (make one by `tofu show -json PLAN`): %w", file, err)}
	}
	var from fs.FS = modules.Files
	if dir != "" {
		from = os.DirFS(dir)
	}
	return phase.ExposurePlanned(spec, plan, from)
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
func exposureTable(w io.Writer, c *phase.Exposed) error {
	cellText := func(cell exposure.Cell) string {
		text := cell.Text()
		if first := cell.Destination.First(); first == cell.Destination.Last() {
			text = strings.Replace(text, first.String(), c.Graph.Text(first), 1)
		}
		return text
	}
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
	missing, shown := 0, map[string]bool{}
	for _, f := range c.Declared {
		row := func(good bool, verdict string, s exposure.Set) {
			for _, cell := range s.Cells() {
				rows = append(rows, []string{ui.Mark(w, good, verdict), f.Name, cellText(cell), f.Node, cell.Sources.String()})
			}
		}
		row(true, "declared", f.Reached)
		row(false, "missing", f.Missing)
		if !f.Missing.Empty() {
			missing++
		}
		if len(f.Path) > 0 && !shown[f.Name] { // by another address it is much the same
			path(f.Name, f.Path)
			shown[f.Name] = true
		}
	}
	for _, e := range c.Extra {
		verdict := "extra"
		if e.Maybe {
			verdict = "unknown"
		}
		var to []string
		for _, cell := range e.Packets.Cells() {
			rows = append(rows, []string{ui.Mark(w, false, verdict), "", cellText(cell), e.Node, cell.Sources.String()})
			to = append(to, cellText(cell))
		}
		path(ui.Mark(w, false, verdict)+" "+strings.Join(to, ", "), e.Path)
	}
	if len(rows) > 0 {
		if err := ui.Rows(w, []string{"VERDICT", "WHAT", "AT", "REACHES", "FROM"}, rows); err != nil {
			return err
		}
		fmt.Fprintf(w, "\n%s\n", strings.Join(paths, "\n"))
	}
	for _, a := range c.Assumed {
		fmt.Fprintf(w, "taken for granted: %s\n", a)
	}
	_, err := fmt.Fprintf(w, "%d declared, %d of them missing, %d extra\n", len(c.Declared), missing, len(c.Extra))
	return err
}
