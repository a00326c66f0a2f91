package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/internal/authz"
	"ashlar.dev/ashlar/internal/contain"
	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/ui"
)

// foresee says what would become of the pods of a file.
func (r *root) foresee(cmd *cobra.Command, manifest, namespace string, as authz.Subject) error {
	var content []byte
	var err error
	if manifest == "-" {
		content, err = io.ReadAll(cmd.InOrStdin())
	} else {
		content, err = os.ReadFile(manifest)
	}
	if err != nil {
		return phase.InputError{Err: err}
	}
	planned, err := contain.ParsePlanned(content)
	if err != nil {
		return phase.InputError{Err: fmt.Errorf("%s: %w", manifest, err)}
	}
	if as.User != "" {
		as = subject(as.User, as.Groups)
	}
	return r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, _ []string) error {
		found, err := phase.Foresee(ctx, c, namespace, as, planned)
		if err != nil {
			return err
		}
		err = ui.Write(cmd.OutOrStdout(), r.format, found, func(w io.Writer) error { return foresightTable(w, found) })
		for _, f := range found {
			if err == nil && !f.Accepted {
				err = errDiffers
			}
		}
		return err
	})(cmd, nil)
}

func foresightTable(w io.Writer, found []phase.Foresight) error {
	for i, f := range found {
		if i > 0 {
			fmt.Fprintln(w)
		}
		answer := ui.Mark(w, true, "accepted")
		if !f.Accepted {
			answer = ui.Mark(w, false, "refused: ") + f.Answer
		}
		fmt.Fprintf(w, "%s is of class %s: %s\n  %s\n", f.Object, f.Class, f.Because, answer)
		for _, u := range f.Uses {
			fmt.Fprintf(w, "  %s\n", useLine(w, u))
		}
		if err := optionsTable(w, f.Options); err != nil {
			return err
		}
	}
	return nil
}

// optionsTable says how a pod would fare in each class.
func optionsTable(w io.Writer, options []phase.Option) error {
	var rows [][]string
	for _, o := range options {
		allows := ui.Mark(w, true, "yes")
		var against []string
		for _, v := range o.Refuses {
			against = append(against, v.String())
		}
		if len(against) > 0 {
			allows = ui.Mark(w, false, "no")
		}
		rows = append(rows, []string{o.Class, allows, holderNames(o.Holders), strings.Join(against, "; ")})
	}
	if len(rows) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	return ui.Rows(w, []string{"CLASS", "ALLOWS IT", "WHO MAY USE IT THERE", "WHAT IT REFUSES"}, rows)
}
