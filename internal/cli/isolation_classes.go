package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"ashlar.dev/ashlar/internal/isolation"
	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/ui"
)

func isolationClassesCommand(r *root) *cobra.Command {
	var live bool
	cmd := &cobra.Command{
		Use:   "classes",
		Short: "List the classes of pods: what each allows, and who may use it where",
		Long: `List the classes of pods. A row is a control of the Pod Security Standards, a column a class: by which standard the class keeps the
control, and but for what; "-" is not at all. Below is who may use which class where: as spec.isolation.grants has it, and with --live
by bindings that somebody made by hand in the cluster, too.`,
		Example: `  ashlar isolation classes
  ashlar isolation classes --live -o json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if live {
				return r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, _ []string) error {
					bindings, clusterBindings, err := classBindings(ctx, c)
					if err != nil {
						return err
					}
					return r.classes(cmd, isolation.Rows(c.Spec.Spec.Isolation, bindings, clusterBindings))
				})(cmd, args)
			}
			spec, err := r.read()
			if err != nil {
				return err
			}
			return r.classes(cmd, isolation.Rows(spec.Spec.Isolation, nil, nil))
		},
	}
	cmd.Flags().BoolVar(&live, "live", false, "ask the cluster who may use them by hand, too")
	return cmd
}

func (r *root) classes(cmd *cobra.Command, rows []isolation.Row) error {
	return ui.Write(cmd.OutOrStdout(), r.format, rows, func(w io.Writer) error { return classesTable(w, rows) })
}

// classBindings are what a cluster binds.
func classBindings(ctx context.Context, c *phase.Cluster) ([]rbacv1.RoleBinding, []rbacv1.ClusterRoleBinding, error) {
	config, err := c.Kube(ctx)
	if err != nil {
		return nil, nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, nil, err
	}
	bindings, err := client.RbacV1().RoleBindings("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, nil, fmt.Errorf("list who may use classes: %w", err)
	}
	clusterBindings, err := client.RbacV1().ClusterRoleBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, nil, fmt.Errorf("list who may use classes: %w", err)
	}
	return bindings.Items, clusterBindings.Items, nil
}

func classesTable(w io.Writer, rows []isolation.Row) error {
	header, table := []string{"CONTROL"}, [][]string{}
	line := func(name string, cell func(isolation.Row) string) {
		cells := []string{name}
		for _, row := range rows {
			cells = append(cells, cell(row))
		}
		table = append(table, cells)
	}
	for _, row := range rows {
		header = append(header, row.Class)
	}
	line("(Pod Security level)", func(row isolation.Row) string { return row.Level })
	for _, control := range isolation.Controls() {
		line(control.Name, func(row isolation.Row) string { return orDash(row.Controls[control.Name]) })
	}
	if slices.ContainsFunc(rows, func(row isolation.Row) bool { return row.Controls[isolation.ReadOnlyRoot] != "" }) {
		line(isolation.ReadOnlyRoot, func(row isolation.Row) string { return orDash(row.Controls[isolation.ReadOnlyRoot]) })
	}
	if err := ui.Rows(w, header, table); err != nil {
		return err
	}
	fmt.Fprintln(w)
	uses := [][]string{}
	for _, row := range rows {
		for _, u := range row.Uses {
			where := u.Namespace
			if where == "" {
				where = "*"
			}
			uses = append(uses, []string{row.Class, where, u.By, strings.Join(u.Who, ", ")})
		}
		if len(row.Uses) == 0 {
			uses = append(uses, []string{row.Class, "-", "-", "nobody"})
		}
	}
	return ui.Rows(w, []string{"CLASS", "NAMESPACE", "BY", "WHO MAY USE IT"}, uses)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
