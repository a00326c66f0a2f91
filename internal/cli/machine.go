package cli

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/etcdauth"
	"ashlar.dev/ashlar/internal/kms"
	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/vault"
)

// The commands of this file run on machines, not for people.

func agentCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "agent",
		Short:  "Be the agent of this machine",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return agent.Run(cmd.Context(), slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)))
		},
	}
}

func kmsCommand() *cobra.Command {
	var socket string
	cmd := &cobra.Command{
		Use:    "kms",
		Short:  "Seal what the API server stores with a key that stays in Vault",
		Hidden: true,
		Args:   cobra.NoArgs,
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

func etcdAuthCommand() *cobra.Command {
	var endpoints, podCIDR, workers string
	cmd := &cobra.Command{
		Use:    "etcd-auth",
		Short:  "Define who may do what in the overlay's etcd, and what Calico finds there",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), 30*time.Second)
			defer cancel()
			client, err := overlayRoot(ctx, strings.Split(endpoints, ","))
			if err != nil {
				return err
			}
			defer client.Close()
			seeded, err := etcdauth.Seed(ctx, client, etcdauth.Calico{PodCIDR: podCIDR, Workers: strings.Split(workers, ",")})
			if err != nil {
				return err
			}
			changed, err := etcdauth.Ensure(ctx, client)
			for _, c := range append(seeded, changed...) {
				fmt.Fprintln(cmd.OutOrStdout(), c)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&endpoints, "endpoints", "", "client URLs, with a comma between")
	cmd.Flags().StringVar(&podCIDR, "pod-cidr", "", "range of pod addresses")
	cmd.Flags().StringVar(&workers, "workers", "", "machines that run pods, with a comma between")
	return cmd
}

// overlayRoot connects to the overlay's etcd as its administrator, with the certificate of this machine.
func overlayRoot(ctx context.Context, endpoints []string) (*clientv3.Client, error) {
	for _, p := range unit.ProfilesOf(v1alpha1.RoleEtcd) {
		if p.Name != "root" {
			continue
		}
		tls, err := transport.TLSInfo{CertFile: p.CertFile(), KeyFile: p.KeyFile(), TrustedCAFile: unit.CAFile(p.CA)}.ClientConfig()
		if err != nil {
			return nil, err
		}
		return clientv3.New(clientv3.Config{Context: ctx, Endpoints: endpoints, TLS: tls, Logger: zap.NewNop(),
			DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
				Backoff: backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 250 * time.Millisecond}, MinConnectTimeout: time.Second})},
		})
	}
	return nil, fmt.Errorf("there is no certificate profile for etcd's root")
}
