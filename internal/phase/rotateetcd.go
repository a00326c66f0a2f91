package phase

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/provider"
	"ashlar.dev/ashlar/internal/unit"
)

// A member of etcd that leads and stops hands its lead over, and in that moment writes may be lost. Therefore those that
// lead restart last, and hand over beforehand to one that has restarted already: each cluster changes its leader once.

// leadersLast orders machines so that those which lead an etcd cluster come after the others.
func (c *Cluster) leadersLast(ctx context.Context, all []enrolled) []enrolled {
	leads := map[string]int{}
	for _, e := range all {
		for _, cluster := range restartingClusters(e) {
			if m, err := c.etcdMember(ctx, e.machine.Name, cluster); err == nil && m.leads {
				leads[e.machine.Name]++
			}
		}
	}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b enrolled) int { return leads[a.machine.Name] - leads[b.machine.Name] })
	return all
}

// handOver has a machine give away the lead of the etcd clusters whose members on it are about to restart: to one of those
// that have been told already, if there are any. Where that fails, stopping the member does the same, less gently.
func (c *Cluster) handOver(ctx context.Context, e enrolled, told []string) {
	for _, cluster := range restartingClusters(e) {
		if m, err := c.etcdMember(ctx, e.machine.Name, cluster); err != nil || !m.leads {
			continue
		}
		to := heir(e.want.WithRole(v1alpha1.RoleEtcd), e.machine.Name, told)
		if m, err := c.etcdMember(ctx, to, cluster); err == nil {
			_, _ = c.etcdctl(ctx, e.machine.Name, cluster, "move-leader", fmt.Sprintf("%x", m.id))
		}
	}
}

// restartingClusters are those whose members on a machine are about to restart, while others stand in.
func restartingClusters(e enrolled) []unit.EtcdCluster {
	if e.machine.Role != v1alpha1.RoleEtcd || len(e.want.WithRole(v1alpha1.RoleEtcd)) == 1 || e.machine.State != provider.Running {
		return nil
	}
	restarting := restarted(e.have, e.want)
	return slices.DeleteFunc(slices.Clone(unit.EtcdClusters), func(c unit.EtcdCluster) bool { return !slices.Contains(restarting, "etcd-"+c.Name) })
}

// heir is who takes the lead over from one of several.
func heir(members []unit.Machine, from string, told []string) string {
	var other string
	for _, m := range members {
		if m.Name == from {
			continue
		}
		if slices.Contains(told, m.Name) {
			return m.Name
		}
		other = m.Name
	}
	return other
}

// etcdMember is what a member says of itself.
type etcdMember struct {
	id    uint64
	leads bool
}

// etcdMember asks the member on a machine, from that machine: members' client ports are not open to each other.
func (c *Cluster) etcdMember(ctx context.Context, machine string, cluster unit.EtcdCluster) (etcdMember, error) {
	out, err := c.etcdctl(ctx, machine, cluster, "endpoint", "status", "--write-out=json")
	if err != nil {
		return etcdMember{}, err
	}
	return parseMember(out)
}

func parseMember(answer []byte) (etcdMember, error) {
	var all []struct {
		Status struct {
			Header struct {
				ID uint64 `json:"member_id"`
			}
			Leader uint64
		}
	}
	if err := json.Unmarshal(answer, &all); err != nil {
		return etcdMember{}, fmt.Errorf("read what etcd's member says: %w", err)
	}
	if len(all) != 1 {
		return etcdMember{}, fmt.Errorf("%d members of etcd answered for one", len(all))
	}
	s := all[0].Status
	return etcdMember{id: s.Header.ID, leads: s.Leader != 0 && s.Header.ID == s.Leader}, nil
}

// etcdctl asks the member on a machine.
func (c *Cluster) etcdctl(ctx context.Context, machine string, cluster unit.EtcdCluster, args ...string) ([]byte, error) {
	p := unit.Profile{CA: cluster.CA, Name: "server"}
	if cluster.CA == unit.CAEtcdOverlay {
		p.Name = "root" // it has users
	}
	var out, problems bytes.Buffer
	err := c.Provider.Exec(ctx, machine, provider.Exec{Stdout: &out, Stderr: &problems, Args: slices.Concat([]string{
		unit.Bin + "/etcdctl", fmt.Sprintf("--endpoints=https://%s:%d", machine, cluster.ClientPort), "--cacert=" + unit.CAFile(p.CA),
		"--cert=" + p.CertFile(), "--key=" + p.KeyFile(), "--command-timeout=5s"}, args)})
	if err != nil {
		return nil, fmt.Errorf("etcdctl %s on %s: %w: %s", args[0], machine, err, bytes.TrimSpace(problems.Bytes()))
	}
	return out.Bytes(), nil
}
