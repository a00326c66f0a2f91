package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/authz"
	"ashlar.dev/ashlar/internal/claim"
	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/ui"
)

// live is the policy of the cluster itself, where a file would be named.
const live = "live"

func authzCommand(r *root) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "authz",
		Short: "Say who may do what, and compare policies exactly",
		Long: `Say who may do what under a policy, and compare two policies over all requests there can be. A POLICY is a file, of
Kubernetes' ABAC lines or of RBAC objects; or "live", the RBAC objects of the cluster; or RBAC, ABAC or Shadow, what the cluster's
file declares for ServiceAccounts in that mode. What other authorizers would say, as the one for nodes, is no part of it.`,
		Example: "  ashlar authz diff abac.jsonl live",
	}
	cmd.AddCommand(authzDiffCommand(r), authzCanCommand(r), authzWhoCommand(r), authzRenderCommand(r), authzGapsCommand(r), authzMapCommand(r))
	return cmd
}

func authzDiffCommand(r *root) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "diff POLICY POLICY",
		Short: "Say what changes for whom when the second policy takes the place of the first",
		Long: `Divide all requests that either policy allows into what only the second allows (widened), what only the first does
(narrowed), and what both do (equal), each with one request as witness; the most dangerous first.

Exits with 2 if anything is widened.`,
		Example: `  ashlar authz diff ABAC RBAC
  ashlar authz diff old.yaml new.yaml
  ashlar authz diff abac.jsonl live -o json`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := r.policy(cmd, args[0])
			if err != nil {
				return err
			}
			b, err := r.policy(cmd, args[1])
			if err != nil {
				return err
			}
			c := authz.Compare(a, b)
			err = ui.Write(cmd.OutOrStdout(), r.format, c, func(w io.Writer) error { return comparisonTable(w, c, all) })
			if err == nil && len(c.Widened) > 0 {
				err = errDiffers
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "also show what is equal")
	return cmd
}

func authzCanCommand(r *root) *cobra.Command {
	var groups []string
	var policy string
	cmd := &cobra.Command{
		Use:   "can SUBJECT",
		Short: "Say all that somebody may do",
		Long: `Say all that somebody may do. SUBJECT is a user's name, or a ServiceAccount as NAMESPACE/NAME. The groups that
Kubernetes itself gives are added.`,
		Example: `  ashlar authz can alice --group developers
  ashlar authz can kube-system/coredns --policy rbac.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := r.policy(cmd, policy)
			if err != nil {
				return err
			}
			found := append([]authz.Difference{}, authz.Can(p, subject(args[0], groups))...)
			return ui.Write(cmd.OutOrStdout(), r.format, found, func(w io.Writer) error { return canTable(w, found) })
		},
	}
	cmd.Flags().StringSliceVar(&groups, "group", nil, "a group of the subject's, repeatable")
	cmd.Flags().StringVar(&policy, "policy", live, "a file, a mode, or live")
	return cmd
}

func authzWhoCommand(r *root) *cobra.Command {
	var namespace, name, policy string
	cmd := &cobra.Command{
		Use:   "who VERB RESOURCE",
		Short: "Say who may do something",
		Long: `Say who may do something. RESOURCE is as in RBAC, with its group after a dot and a subresource after a slash; one that
begins with a slash is a path of the API.`,
		Example: `  ashlar authz who create pods/exec
  ashlar authz who delete deployments.apps --namespace shop
  ashlar authz who get /metrics`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := r.policy(cmd, policy)
			if err != nil {
				return err
			}
			q := query(args[0], args[1])
			if cmd.Flags().Changed("namespace") {
				q.Namespace = &namespace
			}
			if cmd.Flags().Changed("name") {
				q.Name = &name
			}
			found := append([]authz.Holder{}, authz.Who(p, q)...)
			return ui.Write(cmd.OutOrStdout(), r.format, found, func(w io.Writer) error { return whoTable(w, found) })
		},
	}
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "", "in this namespace; none: in any")
	cmd.Flags().StringVar(&name, "name", "", "to the object of this name; none: to any")
	cmd.Flags().StringVar(&policy, "policy", live, "a file, a mode, or live")
	return cmd
}

// policy reads a file, or the cluster's own objects, and says what is legal in it but hardly meant.
func (r *root) policy(cmd *cobra.Command, source string) (*authz.Policy, error) {
	p, err := r.readPolicy(cmd, source)
	if err != nil {
		return nil, err
	}
	for _, w := range p.Warnings {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", source, w)
	}
	return p, nil
}

func (r *root) readPolicy(cmd *cobra.Command, source string) (*authz.Policy, error) {
	if source == live {
		var p *authz.Policy
		err := r.withCluster(func(ctx context.Context, _ *cobra.Command, c *phase.Cluster, _ []string) error {
			config, err := c.Kube(ctx)
			if err != nil {
				return err
			}
			objects, err := claim.LiveRBAC(ctx, config)
			if err != nil {
				return err
			}
			p, err = objects.Policy()
			return err
		})(cmd, nil)
		return p, err
	}
	if slices.Contains(v1alpha1.AuthorizationModes, v1alpha1.AuthorizationMode(source)) {
		m, accounts, err := r.model(cmd)
		if err != nil {
			return nil, err
		}
		return m.Policy(v1alpha1.AuthorizationMode(source), accounts)
	}
	b, err := os.ReadFile(source)
	if err != nil {
		return nil, phase.InputError{Err: err}
	}
	p, err := parsePolicy(b, source)
	if bad := (authz.Errors)(nil); errors.As(err, &bad) {
		return nil, phase.InputError{Err: err}
	}
	return p, err
}

// model is what the cluster's file declares, and the ServiceAccounts that the cluster has; without a cluster, one of each
// namespace that the file or Kubernetes names.
func (r *root) model(cmd *cobra.Command) (m authz.Model, accounts authz.Accounts, err error) {
	spec, err := r.read()
	if err != nil {
		return nil, nil, err
	}
	m = spec.Spec.Authorization.ServiceAccounts
	err = r.withCluster(func(ctx context.Context, _ *cobra.Command, c *phase.Cluster, _ []string) error {
		if !c.Exists() {
			accounts = m.Example()
			return nil
		}
		config, err := c.Kube(ctx)
		if err != nil {
			return err
		}
		accounts, err = claim.LiveAccounts(ctx, config)
		return err
	})(cmd, nil)
	return m, accounts, err
}

// parsePolicy tells the two kinds of file apart by what the API server would read: ABAC names its API on every line.
func parsePolicy(b []byte, name string) (*authz.Policy, error) {
	if bytes.Contains(b, []byte("abac.authorization.kubernetes.io")) {
		return authz.ReadABAC(b, name)
	}
	objects, err := authz.ReadRBAC(b, name)
	if err != nil {
		return nil, err
	}
	return objects.Policy()
}

// subject is somebody with the groups that Kubernetes gives.
func subject(who string, groups []string) authz.Subject {
	if namespace, name, ok := strings.Cut(who, "/"); ok {
		who = authz.ServiceAccountUser(namespace, name)
	}
	if rest, ok := strings.CutPrefix(who, "system:serviceaccount:"); ok {
		namespace, _, _ := strings.Cut(rest, ":")
		groups = append(groups, "system:serviceaccounts", authz.ServiceAccountGroup(namespace))
	}
	everybody := "system:authenticated"
	if who == "system:anonymous" {
		everybody = "system:unauthenticated"
	}
	return authz.Subject{User: who, Groups: append(groups, everybody)}
}

// query reads what is asked about: pods/exec, deployments.apps, /metrics.
func query(verb, what string) authz.Query {
	q := authz.Query{Request: authz.Request{Verb: verb}}
	if strings.HasPrefix(what, "/") {
		q.Path = what
		return q
	}
	q.ResourceRequest = true
	what, q.Subresource, _ = strings.Cut(what, "/")
	q.Resource, q.APIGroup, _ = strings.Cut(what, ".")
	return q
}

func comparisonTable(w io.Writer, c authz.Comparison, all bool) error {
	var rows [][]string
	add := func(change string, differences []authz.Difference) {
		for _, d := range differences {
			var who []string
			for _, p := range d.Principals {
				who = append(who, p.String())
			}
			mark := change
			if change != "equal" {
				mark = ui.Mark(w, change == "narrowed", change)
			}
			rows = append(rows, append([]string{mark, strings.Join(who, ", ")}, boxCells(&d)...))
		}
	}
	add("widened", c.Widened)
	add("narrowed", c.Narrowed)
	if all {
		add("equal", c.Equal)
	}
	if len(rows) > 0 {
		if err := ui.Rows(w, []string{"CHANGE", "WHO", "VERBS", "WHAT", "WHERE", "DANGERS", "FOR EXAMPLE"}, rows); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	_, err := fmt.Fprintf(w, "%d widened, %d narrowed, %d equal\n", len(c.Widened), len(c.Narrowed), len(c.Equal))
	return err
}

func canTable(w io.Writer, found []authz.Difference) error {
	if len(found) == 0 {
		_, err := fmt.Fprintln(w, "nothing")
		return err
	}
	var rows [][]string
	for _, d := range found {
		cells := boxCells(&d)
		rows = append(rows, cells[:len(cells)-1])
	}
	return ui.Rows(w, []string{"VERBS", "WHAT", "WHERE", "DANGERS"}, rows)
}

// boxCells are verbs, what, where, dangers, witness.
func boxCells(d *authz.Difference) []string {
	what, where := d.ResourceText(), d.Namespaces.Text("cluster")
	if len(d.Paths.In)+len(d.Paths.Out) > 0 {
		what, where = d.Paths.String(), ""
	}
	if !d.Names.All() {
		what += " named " + d.Names.Text("(none)")
	}
	if d.Own {
		where = "own namespace"
	}
	return []string{d.Verbs.Text(""), what, where, strings.Join(d.Dangers, ", "), d.Witness.String()}
}

func whoTable(w io.Writer, found []authz.Holder) error {
	if len(found) == 0 {
		_, err := fmt.Fprintln(w, "nobody")
		return err
	}
	var rows [][]string
	for _, h := range found {
		where := strings.Join(h.Namespaces, ", ")
		if h.Everywhere {
			where = "everywhere"
		}
		rows = append(rows, []string{h.String(), where, strings.Join(h.Names, ", "), strings.Join(h.Sources, ", ")})
	}
	return ui.Rows(w, []string{"WHO", "WHERE", "ONLY NAMED", "BY"}, rows)
}
