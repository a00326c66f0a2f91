package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/ui"
)

func verifyCommand(r *root) *cobra.Command {
	var only []string
	var evidence bool
	var claims []claim.Claim
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Attack every claim, and print the evidence",
		Long: `Attack the live cluster, a probe for each claim: it tries what must be refused, and its legitimate twin that must be
allowed. A claim for which nothing could be tried does not hold. On aws, what the network is made to be is proved from
OpenTofu's plan instead of attacked, and the table says so.

Exits with 2 if any claim does not hold. One about what no kernel of these machines can do is void, and no reason to.`,
		Example: `  ashlar verify
  ashlar verify --claim pki-init-token --evidence`,
		Args: noArgs,
		PreRunE: func(*cobra.Command, []string) (err error) {
			claims, err = chosen(only)
			return err
		},
		RunE: r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, _ []string) error {
			target, err := phase.Target(ctx, c)
			if err != nil {
				return err
			}
			results, err := verify(ctx, cmd.ErrOrStderr(), target, claims)
			if err != nil {
				return err
			}
			err = ui.Write(cmd.OutOrStdout(), r.format, results, func(w io.Writer) error { return verifyTable(w, results, evidence) })
			if err != nil {
				return err
			}
			if slices.ContainsFunc(results, func(r claim.Result) bool { return !r.Verdict.Good() }) {
				return errDiffers
			}
			return nil
		}),
	}
	cmd.Flags().StringSliceVar(&only, "claim", nil, "only these claims")
	cmd.Flags().BoolVar(&evidence, "evidence", false, "print every attempt")
	must(cmd.RegisterFlagCompletionFunc("claim", claimIDs))
	return cmd
}

// verify tries the claims, and shows each as it is decided.
func verify(ctx context.Context, w io.Writer, target *claim.Target, claims []claim.Claim) ([]claim.Result, error) {
	progress := ui.NewProgress(w, ids(claims)...)
	progress.Begin("verify")
	results, err := claim.Verify(ctx, target, claims, func(r claim.Result) {
		progress.Step(r.Verdict.Good(), r.ID, time.Duration(r.Seconds*float64(time.Second)), r.Reason)
	})
	if err == nil {
		progress.Detail("%s", summary(results))
	}
	progress.End(err)
	return results, err
}

func chosen(only []string) ([]claim.Claim, error) {
	all := claim.All()
	if len(only) == 0 {
		return all, nil
	}
	var out []claim.Claim
	for _, id := range only {
		i := slices.IndexFunc(all, func(c claim.Claim) bool { return c.ID == id })
		if i < 0 {
			return nil, phase.InputError{Err: fmt.Errorf("there is no claim %q; there are %s", id, strings.Join(ids(all), ", "))}
		}
		out = append(out, all[i])
	}
	return out, nil
}

func ids(claims []claim.Claim) []string {
	var out []string
	for _, c := range claims {
		out = append(out, c.ID)
	}
	return out
}

func with(results []claim.Result, verdict claim.Verdict) int {
	n := 0
	for _, r := range results {
		if r.Verdict == verdict {
			n++
		}
	}
	return n
}

func summary(results []claim.Result) string {
	s := fmt.Sprintf("%d of %d claims hold", with(results, claim.Holds), len(results))
	if n := with(results, claim.Void); n > 0 {
		s += fmt.Sprintf(", %d cannot be tried on these machines", n)
	}
	return s
}

func verifyTable(w io.Writer, results []claim.Result, evidence bool) error {
	var rows [][]string
	for _, r := range results {
		note := r.Claim
		if r.Reason != "" {
			note = r.Reason
		}
		rows = append(rows, []string{ui.Mark(w, r.Verdict.Good(), string(r.Verdict)), r.ID, string(r.Kind),
			fmt.Sprint(len(r.Evidence)), fmt.Sprintf("%.1fs", r.Seconds), note})
	}
	if err := ui.Rows(w, []string{"VERDICT", "CLAIM", "HOW", "ATTEMPTS", "TIME", "PROMISE, OR WHAT BROKE IT"}, rows); err != nil {
		return err
	}
	if evidence {
		if err := evidenceTable(w, results); err != nil {
			return err
		}
	}
	fmt.Fprintln(w)
	for _, r := range results {
		for _, e := range r.Evidence {
			if e.Notice {
				fmt.Fprintf(w, "%s %s: %s\n", ui.Mark(w, false, "note"), r.ID, e.Answer)
			}
		}
	}
	_, err := fmt.Fprintln(w, summary(results))
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
