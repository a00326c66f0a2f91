package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"ashlar.dev/ashlar/internal/phase"
)

func breakGlassCommand(r *root) *cobra.Command {
	var reason string
	var life time.Duration
	cmd := &cobra.Command{
		Use:   "break-glass --reason TEXT [flags] -- ARGS",
		Short: "Run kubectl as an administrator when Vault is gone",
		Long: `Run the bundle's kubectl as an administrator without any credential of Vault's. The hash of a token is left on the control-plane
machines while kubectl runs, which takes nothing but the operator's hold on the machines. The audit log has the user
ashlar:break-glass, and the reason, with each request; status and verify name a token that was left behind.

Exits with kubectl's own code.`,
		Example: `  ashlar break-glass --reason "Vault lost its quorum, INC-42" -- get nodes`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(reason) < 10:
				return errors.New("say why, by --reason, in ten characters at least: the audit log keeps it")
			case life <= 0 || life > phase.BreakGlassMost:
				return fmt.Errorf("--for must be more than 0 and at most %s", phase.BreakGlassMost)
			}
			return cobra.MinimumNArgs(1)(cmd, args)
		},
		RunE: r.withCluster(func(ctx context.Context, cmd *cobra.Command, c *phase.Cluster, args []string) error {
			return c.BreakGlass(ctx, reason, life, func(access phase.Access, token string) error {
				config, err := writeKubeconfig(c, access, "break-glass", &clientcmdapi.AuthInfo{Token: token})
				if err != nil {
					return err
				}
				return runKubectl(ctx, cmd, c, config, args)
			})
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; it is recorded")
	cmd.Flags().DurationVar(&life, "for", 15*time.Minute, "how long kubectl may take")
	return cmd
}
