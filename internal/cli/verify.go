package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/ui"
)

func verifyCommand(r *root) *cobra.Command {
	var only []string
	var evidence bool
	cmd := &cobra.Command{
		Use:     "verify",
		Short:   "Attack every claim, and print the evidence",
		Example: "  ashlar verify --claim pki-init-token --evidence",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			claims, err := chosen(only)
			if err != nil {
				return err
			}
			c, err := r.cluster()
			if err != nil {
				return err
			}
			defer c.Close(cmd.Context())
			target, err := phase.Target(cmd.Context(), c)
			if err != nil {
				return err
			}
			results, err := claim.Verify(cmd.Context(), target, claims, func(claim.Result) {})
			if err != nil {
				return err
			}
			err = ui.Write(cmd.OutOrStdout(), r.format, results, func(w io.Writer) error { return verifyTable(w, results, evidence) })
			if err != nil {
				return err
			}
			if slices.ContainsFunc(results, func(r claim.Result) bool { return r.Verdict != claim.Holds }) {
				return errDiffers
			}
			return nil
		},
	}
	cmd.Flags().StringSliceVar(&only, "claim", nil, "only these claims")
	cmd.Flags().BoolVar(&evidence, "evidence", false, "print every attempt")
	return cmd
}

func chosen(ids []string) ([]claim.Claim, error) {
	all := claim.All()
	if len(ids) == 0 {
		return all, nil
	}
	var out []claim.Claim
	for _, id := range ids {
		i := slices.IndexFunc(all, func(c claim.Claim) bool { return c.ID == id })
		if i < 0 {
			var known []string
			for _, c := range all {
				known = append(known, c.ID)
			}
			return nil, inputError{fmt.Errorf("there is no claim %q; there are %s", id, strings.Join(known, ", "))}
		}
		out = append(out, all[i])
	}
	return out, nil
}

func verifyTable(w io.Writer, results []claim.Result, evidence bool) error {
	var rows [][]string
	held := 0
	for _, r := range results {
		if r.Verdict == claim.Holds {
			held++
		}
		note := r.Claim
		if r.Reason != "" {
			note = r.Reason
		}
		rows = append(rows, []string{ui.Mark(w, r.Verdict == claim.Holds, string(r.Verdict)), r.ID,
			fmt.Sprint(len(r.Evidence)), fmt.Sprintf("%.1fs", r.Seconds), note})
	}
	if err := ui.Rows(w, []string{"VERDICT", "CLAIM", "ATTEMPTS", "TIME", "PROMISE, OR WHAT BROKE IT"}, rows); err != nil {
		return err
	}
	if evidence {
		if err := evidenceTable(w, results); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "\n%d of %d claims hold\n", held, len(results))
	return err
}

func evidenceTable(w io.Writer, results []claim.Result) error {
	var rows [][]string
	for _, r := range results {
		for _, e := range r.Evidence {
			rows = append(rows, []string{r.ID, e.Attempt, e.From, e.As, string(e.Want), string(e.Got), e.Answer})
		}
	}
	fmt.Fprintln(w)
	return ui.Rows(w, []string{"CLAIM", "ATTEMPT", "FROM", "AS", "WANTED", "GOT", "ANSWER"}, rows)
}
