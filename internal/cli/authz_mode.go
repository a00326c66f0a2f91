package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/authz"
	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/ui"
)

func authzRenderCommand(r *root) *cobra.Command {
	return &cobra.Command{
		Use:   "render MODE",
		Short: "Print what the cluster's file declares for ServiceAccounts, as Kubernetes would read it",
		Long: `Print what the cluster's file declares for ServiceAccounts: for ABAC the lines of a policy file, for RBAC manifests. They are for
the namespaces and ServiceAccounts that the cluster has now; without a cluster, for an example of each.`,
		Example: `  ashlar authz render ABAC
  ashlar authz render RBAC > rbac.yaml`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.ExactArgs(1)(cmd, args); err != nil {
				return err
			}
			if m := v1alpha1.AuthorizationMode(args[0]); m != v1alpha1.ModeABAC && m != v1alpha1.ModeRBAC {
				return fmt.Errorf("%q cannot be printed: RBAC and ABAC can", args[0])
			}
			return nil
		},
		ValidArgs: []string{string(v1alpha1.ModeRBAC), string(v1alpha1.ModeABAC)},
		RunE: func(cmd *cobra.Command, args []string) error {
			m, accounts, err := r.model(cmd)
			if err != nil {
				return err
			}
			var text []byte
			if v1alpha1.AuthorizationMode(args[0]) == v1alpha1.ModeABAC {
				text, err = m.ABAC(accounts)
			} else {
				text, err = m.RBAC(accounts).YAML()
			}
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
}

func authzGapsCommand(r *root) *cobra.Command {
	var since time.Duration
	var manifests bool
	cmd := &cobra.Command{
		Use:   "gaps",
		Short: "Say what RBAC still lacks, from the audit log of Shadow mode",
		Long: `Say what RBAC still lacks. In Shadow mode RBAC decides first and ABAC after it; the audit log has each request that only ABAC
allowed. Those that RBAC allows by now are left out. With --manifests, print the least roles that allow the others, to look at
and then to apply.

Exits with 2 if RBAC lacks anything.`,
		Example: `  ashlar authz gaps
  ashlar authz gaps --since 24h --manifests > gaps.yaml`,
		Args: noArgs,
		RunE: r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, _ []string) error {
			gaps, err := gaps(ctx, c, since)
			if err != nil {
				return err
			}
			if manifests {
				var text []byte
				if text, err = authz.RBACFor(gaps).YAML(); err == nil {
					_, err = cmd.OutOrStdout().Write(text)
				}
			} else {
				err = ui.Write(cmd.OutOrStdout(), r.format, gaps, func(w io.Writer) error { return gapsTable(w, c.Spec.Spec.Authorization.Mode, gaps) })
			}
			if err == nil && len(gaps) > 0 {
				err = errDiffers
			}
			return err
		}),
	}
	cmd.Flags().DurationVar(&since, "since", 0, "only requests of so long ago or less; 0: all that the log has")
	cmd.Flags().BoolVar(&manifests, "manifests", false, "print the roles to add")
	return cmd
}

func gaps(ctx context.Context, c *phase.Cluster, since time.Duration) ([]authz.Gap, error) {
	config, err := c.Kube(ctx)
	if err != nil {
		return nil, err
	}
	objects, err := claim.LiveRBAC(ctx, config)
	if err != nil {
		return nil, err
	}
	current, err := objects.Policy()
	if err != nil {
		return nil, err
	}
	machines, err := c.Machines(ctx)
	if err != nil {
		return nil, err
	}
	var observed []authz.Observed
	err = claim.Audit(ctx, c.Provider, machines, []string{authz.ReasonABAC}, func(o authz.Observed) {
		if o.Allowed && (since == 0 || time.Since(o.Time) <= since) {
			observed = append(observed, o)
		}
	})
	if err != nil {
		return nil, err
	}
	accounts, err := claim.LiveAccounts(ctx, config)
	return slices.DeleteFunc(append([]authz.Gap{}, authz.Gaps(slices.Values(observed), current)...), func(g authz.Gap) bool { return gone(g, accounts) }), err
}

// gone says that there is no such ServiceAccount or namespace any more, and nobody left to give a role.
func gone(g authz.Gap, accounts authz.Accounts) bool {
	if _, there := accounts[g.Namespace]; g.Namespace != "" && !there {
		return true
	}
	return g.Subject.Kind == rbacv1.ServiceAccountKind && !slices.Contains(accounts[g.Subject.Namespace], g.Subject.Name)
}

func gapsTable(w io.Writer, mode v1alpha1.AuthorizationMode, gaps []authz.Gap) error {
	if len(gaps) == 0 {
		hint := ""
		if mode != v1alpha1.ModeShadow {
			hint = fmt.Sprintf(" (the mode is %s: only Shadow records what RBAC lacks)", mode)
		}
		_, err := fmt.Fprintln(w, "RBAC lacks nothing that was asked for"+hint)
		return err
	}
	var rows [][]string
	for _, g := range gaps {
		where := g.Namespace
		if where == "" {
			where = "cluster"
		}
		who := g.Subject.Name
		if g.Subject.Kind == rbacv1.ServiceAccountKind {
			who = g.Subject.Namespace + "/" + who
		}
		for i, rule := range g.Rules {
			row := []string{who, where, strings.Join(rule.Verbs, ","), ruleText(rule), "", "", ""}
			if i > 0 {
				row[0], row[1] = "", ""
			} else {
				row[4], row[5], row[6] = strings.Join(g.Dangers, ","), fmt.Sprint(g.Count), age(g.Last, time.Now())
			}
			rows = append(rows, row)
		}
	}
	if err := ui.Rows(w, []string{"WHO", "WHERE", "VERBS", "WHAT", "DANGERS", "TIMES", "LAST"}, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d gaps; `ashlar authz gaps --manifests` prints the roles that would close them\n", len(gaps))
	return err
}

func ruleText(r rbacv1.PolicyRule) string {
	if len(r.NonResourceURLs) > 0 {
		return strings.Join(r.NonResourceURLs, ",")
	}
	text := strings.Join(r.Resources, ",")
	if g := strings.Join(r.APIGroups, ","); g != "" {
		text += " of " + g
	}
	if len(r.ResourceNames) > 0 {
		text += " named " + strings.Join(r.ResourceNames, ",")
	}
	return text
}

func authzMapCommand(r *root) *cobra.Command {
	var policy, output string
	cmd := &cobra.Command{
		Use:   "map",
		Short: "Draw who may do what, as a page for a browser",
		Long: `Write a page that shows who may do what to which resource, the dangerous in strong colours: all whom the policy names, and the
ServiceAccounts of the cluster. It needs nothing but a browser.`,
		Example: "  ashlar authz map --to authz.html",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output == "" {
				return phase.InputError{Err: errors.New("say where to write the page, by --to")}
			}
			p, err := r.policy(cmd, policy)
			if err != nil {
				return err
			}
			_, accounts, err := r.model(cmd)
			if err != nil {
				return err
			}
			// A policy names some ServiceAccounts itself.
			subjects := append(authz.Subjects(p), accounts.Subjects()...)
			slices.SortStableFunc(subjects, func(a, b authz.Subject) int { return strings.Compare(a.String(), b.String()) })
			subjects = slices.CompactFunc(subjects, func(a, b authz.Subject) bool { return a.String() == b.String() })
			f, err := os.Create(output)
			if err != nil {
				return phase.InputError{Err: err}
			}
			err = authz.HeatMap(f, "Who may do what: "+policy, p, subjects)
			if e := f.Close(); err == nil {
				err = e
			}
			if err == nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s\n", output)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&policy, "policy", live, "a file, a mode, or live")
	cmd.Flags().StringVar(&output, "to", "", "the file to write")
	return cmd
}
