package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/controller"
	"ashlar.dev/ashlar/internal/kms"
	"ashlar.dev/ashlar/internal/provider/aws"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
	"ashlar.dev/ashlar/internal/webhook"
)

// The commands of this file run on control-plane machines, not for people.

func kmsCommand() *cobra.Command {
	var socket string
	cmd := &cobra.Command{
		Use:    "kms",
		Short:  "Seal what the API server stores with a key that stays in Vault",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			boot, err := agent.LoadBoot()
			if err != nil {
				return err
			}
			client, err := agent.NewClient(boot, "")
			if err != nil {
				return err
			}
			return kms.Serve(cmd.Context(), kms.Options{
				Socket: socket, TokenFile: unit.VaultTokenFile,
				Mount: vault.TransitPath(boot.Desired.Cluster), Key: vault.TransitKey,
				Connect: func(token string) (kms.Transit, error) { return client.WithToken(token), nil },
			})
		},
	}
	cmd.Flags().StringVar(&socket, "socket", "", "path to listen on")
	return cmd
}

func webhookCommand() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:    "webhook",
		Short:  "Answer the API server of this machine about static tokens, and about ServiceAccounts under ABAC",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			boot, err := agent.LoadBoot()
			if err != nil {
				return err
			}
			serving, err := profile(v1alpha1.RoleControlPlane, unit.CAKubernetes, "control-plane")
			if err != nil {
				return err
			}
			serving = serving.For(boot.Desired.Self)
			return webhook.Serve(cmd.Context(), webhook.Options{
				Listen: listen, AccessFile: unit.AccessFile, BreakGlassFile: unit.BreakGlassFile, RevokedFile: unit.RevokedFile,
				CertFile: serving.CertFile(), KeyFile: serving.KeyFile(), ClientCAFile: unit.CAFile(unit.CAKubernetes), ClientGroup: unit.GroupAPIServers,
				Log: slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)), Now: time.Now,
			})
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "address to listen on")
	return cmd
}

func baselineControllerCommand() *cobra.Command {
	var kubeconfig, identity, region string
	cmd := &cobra.Command{
		Use:    "baseline-controller",
		Short:  "Give every namespace what each must have",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
			if err != nil {
				return err
			}
			config.QPS, config.Burst = 50, 200
			o := controller.Options{
				Config: config, Identity: identity, Access: readAccess, Policies: readPolicies, Isolation: readIsolation, Log: slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)),
			}
			if region != "" {
				o.Gone = goneFrom(region)
			}
			return controller.Run(cmd.Context(), o)
		},
	}
	cmd.Flags().StringVar(&kubeconfig, "kubeconfig", "", "the controller's")
	cmd.Flags().StringVar(&identity, "identity", "", "the machine's name")
	cmd.Flags().StringVar(&region, "region", "", "of AWS, whose instances come and go")
	return cmd
}

// goneFrom asks EC2 as the role of this instance.
func goneFrom(region string) func(context.Context, []string) ([]string, error) {
	c := awssdk.Config{Region: region, Credentials: awssdk.NewCredentialsCache(ec2rolecreds.New())}
	return func(ctx context.Context, instances []string) ([]string, error) {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		return aws.Gone(ctx, c, instances)
	}
}

func readAccess() (unit.Access, error) {
	var a unit.Access
	b, err := os.ReadFile(unit.AccessFile)
	if err == nil {
		err = json.Unmarshal(b, &a)
	}
	if err != nil {
		return a, fmt.Errorf("read %s: %w", unit.AccessFile, err)
	}
	return a, nil
}

func readIsolation() (v1alpha1.Isolation, error) {
	var i v1alpha1.Isolation
	b, err := os.ReadFile(unit.IsolationFile)
	if err == nil {
		err = json.Unmarshal(b, &i)
	}
	if err != nil {
		return i, fmt.Errorf("read %s: %w", unit.IsolationFile, err)
	}
	return i, nil
}

// profile looks a certificate's profile up.
func profile(role v1alpha1.Role, ca unit.CA, name string) (unit.Profile, error) {
	for _, p := range unit.ProfilesOf(role) {
		if p.CA == ca && p.Name == name {
			return p, nil
		}
	}
	return unit.Profile{}, fmt.Errorf("there is no certificate profile %s/%s for a machine of role %s", ca, name, role)
}
