package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/etcdsnap"
	"ashlar.dev/ashlar/internal/unit"
)

// The commands of this file run on etcd machines, for `ashlar backup` and `restore`.

func etcdSnapshotCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "etcd-snapshot CLUSTER",
		Short:  "Write a snapshot of this machine's member of an etcd cluster",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := etcdCluster(args[0])
			if err != nil {
				return err
			}
			boot, err := agent.LoadBoot()
			if err != nil {
				return err
			}
			client, err := membersOf(cmd.Context(), c, []string{fmt.Sprintf("https://%s:%d", boot.Desired.Self, c.ClientPort)})
			if err != nil {
				return err
			}
			defer client.Close()
			return etcdsnap.Save(cmd.Context(), client, cmd.OutOrStdout())
		},
	}
}

// membersOf connects an etcd machine to members of an etcd cluster.
func membersOf(ctx context.Context, c unit.EtcdCluster, endpoints []string) (*clientv3.Client, error) {
	name := "server"
	if c.CA == unit.CAEtcdOverlay {
		name = "root" // who may read all of it
	}
	p, err := profile(v1alpha1.RoleEtcd, c.CA, name)
	if err != nil {
		return nil, err
	}
	tls, err := transport.TLSInfo{CertFile: p.CertFile(), KeyFile: p.KeyFile(), TrustedCAFile: unit.CAFile(p.CA)}.ClientConfig()
	if err != nil {
		return nil, err
	}
	return clientv3.New(clientv3.Config{Context: ctx, Endpoints: endpoints, TLS: tls, Logger: zap.NewNop()})
}

func etcdRestoreCommand() *cobra.Command {
	var token string
	var bump int64
	cmd := &cobra.Command{
		Use:    "etcd-restore CLUSTER",
		Short:  "Replace this machine's member of an etcd cluster by the snapshot on standard input",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := etcdCluster(args[0])
			if err != nil {
				return err
			}
			boot, err := heldUnit(cmd.Context(), c.UnitName())
			if err != nil {
				return err
			}
			return etcdsnap.Restore(cmd.Context(), c.DataDir(), cmd.InOrStdin(), func(snapshot, into string) []string {
				return unit.EtcdRestore(boot.Desired, c, snapshot, token, bump, into)
			})
		},
	}
	cmd.Flags().StringVar(&token, "token", "", "what sets the new cluster apart from others")
	cmd.Flags().Int64Var(&bump, "bump", 0, "how far its revision is put ahead of the snapshot's")
	return cmd
}

// heldUnit waits until this machine's agent has stopped a unit that it was told to hold back.
func heldUnit(ctx context.Context, name string) (agent.Boot, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		boot, err := agent.LoadBoot()
		if err != nil {
			return boot, err
		}
		if !slices.Contains(boot.Hold, name) {
			return boot, errors.New("unit " + name + " is not held back")
		}
		if applied, err := os.ReadFile(unit.AppliedFile); err == nil && string(applied) == boot.Revision {
			return boot, nil
		}
		select {
		case <-ctx.Done():
			return boot, fmt.Errorf("the agent has not stopped unit %s: %w", name, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func etcdCluster(name string) (unit.EtcdCluster, error) {
	for _, c := range unit.EtcdClusters {
		if c.Name == name {
			return c, nil
		}
	}
	return unit.EtcdCluster{}, fmt.Errorf("there is no etcd cluster %s", name)
}
