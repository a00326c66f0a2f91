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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/etcdauth"
	"ashlar.dev/ashlar/internal/unit"
)

// The commands of this file run on machines, not for people.

func agentCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "agent",
		Short:  "Be the agent of this machine",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return agent.Run(cmd.Context(), slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)))
		},
	}
}

func etcdAuthCommand() *cobra.Command {
	var endpoints, file string
	var observe, follow bool
	cmd := &cobra.Command{
		Use:    "etcd-auth",
		Short:  "Define who may do what in the overlay's etcd, and what Calico finds there",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			declared, err := readNetwork(file)
			if err != nil {
				return err
			}
			want, err := overlayOf(declared)
			if err != nil {
				return err
			}
			if follow {
				return followMembers(cmd, strings.Split(endpoints, ","), want)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), 30*time.Second)
			defer cancel()
			client, err := overlay(ctx, v1alpha1.RoleEtcd, "root", strings.Split(endpoints, ","))
			if err != nil {
				return err
			}
			defer client.Close()
			seed, ensure := etcdauth.Seed, etcdauth.Ensure
			if observe {
				seed, ensure = etcdauth.ObserveSeed, etcdauth.Observe
			}
			seeded, err := seed(ctx, client, want)
			if err != nil {
				return err
			}
			changed, err := ensure(ctx, client)
			for _, c := range append(seeded, changed...) {
				fmt.Fprintln(cmd.OutOrStdout(), c)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&endpoints, "endpoints", "", "client URLs, with a comma between")
	cmd.Flags().StringVar(&file, "network", unit.NetworkFile, "what is declared of pods")
	cmd.Flags().BoolVar(&observe, "observe", false, "say what differs, and change nothing")
	cmd.Flags().BoolVar(&follow, "follow", false, "go on for workers that come and go")
	return cmd
}

func followMembers(cmd *cobra.Command, endpoints []string, want etcdauth.Calico) error {
	client, err := overlay(cmd.Context(), v1alpha1.RoleEtcd, "root", endpoints)
	if err != nil {
		return err
	}
	defer client.Close()
	return etcdauth.Follow(cmd.Context(), client, want, func(c etcdauth.Change) { fmt.Fprintln(cmd.OutOrStdout(), c) })
}

func calicoWaitCommand() *cobra.Command {
	var endpoints, kubeconfig, worker string
	var unannounced bool
	cmd := &cobra.Command{
		Use:    "calico-wait",
		Short:  "Wait for all that Calico on a worker needs and does not wait for itself",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
			defer cancel()
			client, err := overlay(ctx, v1alpha1.RoleWorker, "calico-node", strings.Split(endpoints, ","))
			if err != nil {
				return err
			}
			defer client.Close()
			known := worker
			if unannounced {
				known = ""
			}
			if err := etcdauth.Await(ctx, client, known); err != nil {
				return err
			}
			return awaitNode(ctx, kubeconfig, worker)
		},
	}
	cmd.Flags().StringVar(&endpoints, "endpoints", "", "client URLs of the overlay's etcd, with a comma between")
	cmd.Flags().StringVar(&kubeconfig, "kubeconfig", "", "the kubelet's")
	cmd.Flags().StringVar(&worker, "worker", "", "the machine's name")
	cmd.Flags().BoolVar(&unannounced, "unannounced", false, "nothing can be there of just this machine yet")
	return cmd
}

// awaitNode returns once the kubelet has registered the machine: Calico's controllers take the addresses of a machine
// that is no node for left over, and give them to others.
func awaitNode(ctx context.Context, kubeconfig, name string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the kubelet has not registered %s: %w", name, err)
		case <-tick.C:
		}
	}
}

// overlay connects to the overlay's etcd with a certificate of this machine.
func overlay(ctx context.Context, role v1alpha1.Role, name string, endpoints []string) (*clientv3.Client, error) {
	p, err := profile(role, unit.CAEtcdOverlay, name)
	if err != nil {
		return nil, err
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
