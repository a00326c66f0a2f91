package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/internal/network"
	"ashlar.dev/ashlar/internal/observe"
	"ashlar.dev/ashlar/internal/phase"
	"ashlar.dev/ashlar/internal/ui"
)

func networkCommand(r *root) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "network",
		Short: "Say who reaches whom, and measure it",
		Long: `Say who reaches whom: as spec.network.policy declares it, as the policies in force decide it, and as real connections find it. The
three must agree.`,
		Example: `  ashlar network matrix
  ashlar network why shop/client shop/web --port 8080`,
	}
	cmd.AddCommand(networkMatrixCommand(r), networkWhyCommand(r), networkTestCommand(r), networkRenderCommand(r))
	return cmd
}

func networkMatrixCommand(r *root) *cobra.Command {
	var measure bool
	var picture string
	cmd := &cobra.Command{
		Use:   "matrix",
		Short: "Show which workloads reach which, declared, simulated and observed",
		Long: `Show which workloads reach which. A row is who connects, a column who is connected to, a cell the ports that are open; "all" are also
those that nobody named. Pods are grouped by what runs them, machines by their role.

What is declared in the cluster's file is held against what the policies in force decide, and, where it was measured, against what
real connections found. What users' own NetworkPolicies add or take away is marked with "+" or "-", and is no disagreement.

Exits with 2 if they disagree.`,
		Example: `  ashlar network matrix
  ashlar network matrix --observe --svg network.svg`,
		Args: noArgs,
		RunE: r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, _ []string) error {
			m, err := matrix(ctx, c, measure)
			if err != nil {
				return err
			}
			if picture != "" {
				if err := drawMatrix(picture, c.Spec.Metadata.Name, m); err != nil {
					return err
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s\n", picture)
			}
			err = ui.Write(cmd.OutOrStdout(), r.format, m, func(w io.Writer) error { return matrixTable(w, m, time.Now()) })
			if err == nil && len(m.Differing()) > 0 {
				err = errDiffers
			}
			return err
		}),
	}
	cmd.Flags().BoolVar(&measure, "observe", false, "measure now, by real connections; without it, what was measured last is shown")
	cmd.Flags().StringVar(&picture, "svg", "", "also draw it, into this file")
	return cmd
}

// matrix looks at the cluster's network and, if told to, measures it.
func matrix(ctx context.Context, c *phase.Cluster, measure bool) (*network.Matrix, error) {
	n, err := phase.Network(ctx, c)
	if err != nil {
		return nil, err
	}
	s, err := n.Survey()
	if err != nil {
		return nil, err
	}
	if measure {
		if err := n.Observe(ctx, s); err != nil {
			return nil, err
		}
		if err := phase.KeepSurvey(c, s, time.Now()); err != nil {
			return nil, err
		}
	} else if err := phase.RecallSurvey(c, s); err != nil {
		return nil, err
	}
	m := network.Summarise(s.Classes, s.Connections, s.Found)
	m.Observed = s.Observed
	m.Notes = network.Notes(n.Inventory, n.World.Policies, n.Declared.Policy)
	return m, nil
}

func drawMatrix(path, cluster string, m *network.Matrix) error {
	f, err := os.Create(path)
	if err != nil {
		return phase.InputError{Err: err}
	}
	err = m.SVG(f, "Who reaches whom in "+cluster)
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

func networkTestCommand(r *root) *cobra.Command {
	return &cobra.Command{
		Use:   "test",
		Short: "Measure who reaches whom, and compare it with the simulation",
		Long: `Open real connections from the network of every workload to every other's ports, and to one that nobody named: by TCP and UDP, on one
machine and across, to pods, Services and machines. The workloads are not touched: machines try in their place, in their network.

Exits with 2 if anything is not as simulated or declared.`,
		Example: "  ashlar network test",
		Args:    noArgs,
		RunE: r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, _ []string) error {
			began := time.Now()
			m, err := matrix(ctx, c, true)
			if err != nil {
				return err
			}
			took := time.Since(began)
			err = ui.Write(cmd.OutOrStdout(), r.format, m, func(w io.Writer) error { return testTable(w, m, took) })
			if err == nil && len(m.Differing()) > 0 {
				err = errDiffers
			}
			return err
		}),
	}
}

func networkWhyCommand(r *root) *cobra.Command {
	var port string
	cmd := &cobra.Command{
		Use:   "why FROM TO",
		Short: "Say which policies decide whether one reaches another",
		Long: `Say which policies decide whether one reaches another, in both directions. FROM and TO are NAMESPACE/POD, NAMESPACE/NAME of what runs
pods (a Deployment, StatefulSet, DaemonSet or Job), a machine or its role, or an address; TO may be NAMESPACE/SERVICE, too. Without --port, it is about all
ports that TO is known to have.`,
		Example: `  ashlar network why shop/client shop/web --port 8080
  ashlar network why default/web 192.0.2.10 --port 53/UDP`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var p *network.Port
			if port != "" {
				parsed, err := network.ParsePort(port)
				if err != nil {
					return phase.InputError{Err: fmt.Errorf("--port: %w", err)}
				}
				p = &parsed
			}
			return r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, args []string) error {
				n, err := phase.Network(ctx, c)
				if err != nil {
					return err
				}
				answers, err := explain(n, args[0], args[1], p)
				if err != nil {
					return err
				}
				return ui.Write(cmd.OutOrStdout(), r.format, answers, func(w io.Writer) error { return whyTable(w, answers) })
			})(cmd, args)
		},
	}
	cmd.Flags().StringVar(&port, "port", "", "a port of TO, as 8080 or 53/UDP")
	return cmd
}

// explain asks in both directions.
func explain(n *observe.Network, from, to string, port *network.Port) ([]network.Answer, error) {
	classes := network.Classes(n.Inventory, n.World.Policies, n.Declared.Policy)
	a, err := network.Find(n.Inventory, classes, from)
	if err == nil && a.Service != nil {
		err = errors.New("a Service connects to nobody: name the pods behind it")
	}
	if err != nil {
		return nil, phase.InputError{Err: fmt.Errorf("%s: %w", from, err)}
	}
	b, err := network.Find(n.Inventory, classes, to)
	if err != nil {
		return nil, phase.InputError{Err: fmt.Errorf("%s: %w", to, err)}
	}
	return network.Explain(a, b, port, &n.Declared, &n.World)
}

func networkRenderCommand(r *root) *cobra.Command {
	return &cobra.Command{
		Use:   "render",
		Short: "Print what spec.network.policy compiles to",
		Long: `Print the policies that spec.network.policy compiles to: NetworkPolicies of Kubernetes, and of Calico what those cannot say. Without a
cluster, it is for an example of one.`,
		Example: `  ashlar network render
  ashlar network render > policies.yaml`,
		Args: noArgs,
		RunE: r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, _ []string) error {
			compiled, err := phase.CompiledNetwork(ctx, c)
			if err != nil {
				return err
			}
			text, err := renderPolicies(compiled)
			if err == nil {
				_, err = cmd.OutOrStdout().Write(text)
			}
			return err
		}),
	}
}
