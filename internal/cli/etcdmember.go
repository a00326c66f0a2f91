package cli

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"ashlar.dev/ashlar/internal/agent"
	"ashlar.dev/ashlar/internal/etcdjoin"
	"ashlar.dev/ashlar/internal/unit"
)

func etcdMemberCommand() *cobra.Command {
	var others []string
	cmd := &cobra.Command{
		Use:    "etcd-member CLUSTER -- COMMAND",
		Short:  "Become etcd; one that has lost its data comes back as a new member of its cluster",
		Hidden: true,
		Args:   cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := etcdCluster(args[0])
			if err != nil {
				return err
			}
			command := args[1:]
			if _, err := os.Stat(c.DataDir() + "/member/wal"); err != nil {
				if command, err = joining(cmd.Context(), c, others, command); err != nil {
					return err
				}
			}
			return fmt.Errorf("become %s: %w", command[0], syscall.Exec(command[0], command, os.Environ()))
		},
	}
	cmd.Flags().StringSliceVar(&others, "others", nil, "where the other members are")
	return cmd
}

// joining asks the other members how this one, which has no data, is to start, and has them take it in again if need be.
func joining(ctx context.Context, c unit.EtcdCluster, others, command []string) ([]string, error) {
	boot, err := agent.LoadBoot()
	if err != nil {
		return nil, err
	}
	self := boot.Desired.Self
	var endpoints []string
	for _, o := range others {
		endpoints = append(endpoints, "https://"+o)
	}
	client, err := membersOf(ctx, c, endpoints)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	peer := fmt.Sprintf("https://%s:%d", self, c.PeerPort)
	var known []etcdjoin.Member
	if boot.Rejoin {
		known, err = etcdjoin.Await(ctx, client)
	} else if listens(ctx, others) {
		known = etcdjoin.Members(ctx, client)
	}
	if err != nil {
		return nil, err
	}
	plan := etcdjoin.Decide(self, peer, known)
	if !plan.Existing {
		return command, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := etcdjoin.Join(ctx, client, plan, peer); err != nil {
		return nil, err
	}
	out := make([]string, len(command))
	for i, a := range command {
		switch {
		case strings.HasPrefix(a, "--initial-cluster="):
			a = "--initial-cluster=" + plan.Initial
		case strings.HasPrefix(a, "--initial-cluster-state="):
			a = "--initial-cluster-state=existing"
		}
		out[i] = a
	}
	return out, nil
}

// listens says whether any of the others can be connected to. When a cluster begins none can, and nobody waits for it.
func listens(ctx context.Context, addresses []string) bool {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	found := make(chan bool)
	for _, a := range addresses {
		go func() {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", a)
			if err == nil {
				_ = conn.Close()
			}
			found <- err == nil
		}()
	}
	any := false
	for range addresses {
		any = <-found || any
	}
	return any
}
