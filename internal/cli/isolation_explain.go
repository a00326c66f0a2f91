package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/internal/authz"
	"ashlar.dev/ashlar/internal/contain"
	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/ui"
)

func isolationExplainCommand(r *root) *cobra.Command {
	var namespace, manifest string
	var differing bool
	var as authz.Subject
	cmd := &cobra.Command{
		Use:   "explain [POD]",
		Short: "Say which class a pod is of, and what its machine's kernel enforces on it",
		Long: `Say which class a pod is of and why, who made it and whether they or its ServiceAccount may use that class, and what the kernel
of its machine enforces on each container: its user, the filter of system calls, privileges, capabilities, the label of SELinux or
AppArmor, namespaces, files and mounts, and the values of its cgroup. All of that is read on the machine, from the processes
themselves, and stands beside what the pod says. A process can always give up what it was given: only what it has beyond
the pod's words is a difference; limits of resources and mounts must be just as the pod says.

With --manifest it is about pods that are not there yet, of a file: pods themselves, or what makes them. The API is asked whether it would take
them, as the operator, or as what makes them, or as --as; nothing is made.

Exits with 2 if the kernel does not do what the pod says, or nobody concerned may use the class, or the API would refuse a pod.`,
		Example: `  ashlar isolation explain web-0 --namespace shop
  ashlar isolation explain web-0 -n shop --differing
  ashlar isolation explain --manifest web.yaml --as alice --group developers`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return fmt.Errorf("%q is an argument too many", args[1])
			case len(args) == 1 && manifest != "":
				return errors.New("either a pod or --manifest")
			case len(args) == 0 && manifest == "":
				return errors.New("which pod? Name it, or a file by --manifest")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if manifest != "" {
				return r.foresee(cmd, manifest, namespace, as)
			}
			return r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, args []string) error {
				e, err := phase.Explain(ctx, c, namespace, args[0])
				if err != nil {
					return err
				}
				return explained(cmd, r.format, *e, differing)
			})(cmd, args)
		},
	}
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "default", "the pod's; of a file, where it names none")
	cmd.Flags().BoolVar(&differing, "differing", false, "of what the kernel does, show only what the pod does not say")
	cmd.Flags().StringVar(&manifest, "manifest", "", "a file of pods that are not there yet; - for standard input")
	cmd.Flags().StringVar(&as.User, "as", "", "with --manifest: who would make them")
	cmd.Flags().StringSliceVar(&as.Groups, "group", nil, "with --as: a group of theirs, repeatable")
	return cmd
}

func explained(cmd *cobra.Command, format ui.Format, e phase.Explanation, differing bool) error {
	wrong, held := contain.Differing(e.Facts), e.Held()
	if differing {
		e.Facts = append([]contain.Fact{}, wrong...)
	}
	err := ui.Write(cmd.OutOrStdout(), format, e, func(w io.Writer) error { return explanationTable(w, &e) })
	if err == nil && (len(wrong) > 0 || !held) {
		err = errDiffers
	}
	return err
}

func explanationTable(w io.Writer, e *phase.Explanation) error {
	fmt.Fprintf(w, "pod %s on %s is of class %s: %s\n", e.Pod, e.Node, ui.Mark(w, e.Held(), e.Class), e.Because)
	if err := usesTable(w, e.Uses, e.Holders); err != nil {
		return err
	}
	for _, v := range e.Refuses {
		fmt.Fprintf(w, "  %s\n", ui.Mark(w, false, "the class does not allow "+v.String()))
	}
	fmt.Fprintf(w, "\n%s\n", kernelLine(e.Kernel))
	return factsTable(w, e.Facts)
}

// usesTable says who asked for the class, what the API says to that, and who else may use it.
func usesTable(w io.Writer, uses []phase.Use, holders []authz.Holder) error {
	for _, u := range uses {
		fmt.Fprintf(w, "  %s\n", useLine(w, u))
	}
	if len(uses) == 1 {
		fmt.Fprintln(w, "  who made it: no audit log of the API servers has that any more")
	}
	_, err := fmt.Fprintf(w, "  who may use it here: %s\n", holderNames(holders))
	return err
}

func useLine(w io.Writer, u phase.Use) string {
	may := "may not use it"
	if u.Allowed {
		may = "may use it"
	}
	return fmt.Sprintf("%s, %s: %s%s", u.Role, u.Name(), ui.Mark(w, u.Allowed, may), after(": ", u.Reason))
}

func holderNames(holders []authz.Holder) string {
	var who []string
	for _, h := range holders {
		if h.Group == "system:authenticated" && h.User == "" {
			return "everybody"
		}
		if !slices.Contains(who, h.String()) {
			who = append(who, h.String())
		}
	}
	if len(who) == 0 {
		return "nobody"
	}
	return strings.Join(who, ", ")
}

// after puts something between, where there is something to put it before.
func after(between, text string) string {
	if text == "" {
		return ""
	}
	return between + text
}

func kernelLine(k contain.Kernel) string {
	module := "SELinux " + k.SELinux
	if k.AppArmor {
		module += ", AppArmor"
	}
	return fmt.Sprintf("kernel %s, cgroups of version %d, %s", k.Release, k.Cgroups, module)
}

func factsTable(w io.Writer, facts []contain.Fact) error {
	differ := contain.Differing(facts)
	header := []string{"CONTAINER", "WHAT", "THE POD SAYS", "THE KERNEL DOES"}
	if len(differ) > 0 {
		header = append(header, "DIFFERENCE")
	}
	var rows [][]string
	for _, f := range facts {
		name := f.Container
		if f.Process != "" {
			name += ", process " + f.Process
		}
		row := []string{name, f.What, f.Says, ui.Mark(w, f.Differs == "", f.Kernel)}
		if len(differ) > 0 {
			row = append(row, f.Differs)
		}
		rows = append(rows, row)
	}
	if len(rows) > 0 {
		if err := ui.Rows(w, header, rows); err != nil {
			return err
		}
	}
	verdict := "the kernel does what the pod says"
	if len(differ) > 0 {
		verdict = fmt.Sprintf("the kernel does otherwise than the pod says: %d of %d", len(differ), len(facts))
	}
	_, err := fmt.Fprintf(w, "\n%s\n", ui.Mark(w, len(differ) == 0, verdict))
	return err
}
