package phase

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

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
			if members, err := c.etcdMembers(ctx, e, cluster); err == nil && members[e.machine.Name].leads {
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
		members, err := c.etcdMembers(ctx, e, cluster)
		if err != nil || !members[e.machine.Name].leads {
			continue
		}
		if to := heir(members, e.machine.Name, told); to != "" {
			_, _ = c.etcdctl(ctx, e, cluster, e.machine.Name, "move-leader", fmt.Sprintf("%x", members[to].id))
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

// heir is who takes the lead over; empty if nobody can.
func heir(members map[string]etcdMember, from string, told []string) string {
	var others []string
	for name := range members {
		if name != from {
			others = append(others, name)
		}
	}
	slices.Sort(others)
	for _, name := range others {
		if slices.Contains(told, name) {
			return name
		}
	}
	if len(others) == 0 {
		return ""
	}
	return others[len(others)-1]
}

// etcdMember is what a member says of itself.
type etcdMember struct {
	id    uint64
	leads bool
}

// etcdMembers asks every member of a cluster, from one of them; who does not answer is missing.
func (c *Cluster) etcdMembers(ctx context.Context, e enrolled, cluster unit.EtcdCluster) (map[string]etcdMember, error) {
	var names []string
	for _, m := range e.want.WithRole(v1alpha1.RoleEtcd) {
		names = append(names, m.Name)
	}
	out, err := c.etcdctl(ctx, e, cluster, strings.Join(names, ","), "endpoint", "status", "--write-out=json")
	if len(out) == 0 {
		return nil, err
	}
	return parseMembers(out)
}

func parseMembers(answer []byte) (map[string]etcdMember, error) {
	var all []struct {
		Endpoint string
		Status   struct {
			Header struct {
				ID uint64 `json:"member_id"`
			}
			Leader uint64
		}
	}
	if err := json.Unmarshal(answer, &all); err != nil {
		return nil, fmt.Errorf("read what etcd's members say: %w", err)
	}
	members := map[string]etcdMember{}
	for _, m := range all {
		name, _, _ := strings.Cut(strings.TrimPrefix(m.Endpoint, "https://"), ":")
		members[name] = etcdMember{id: m.Status.Header.ID, leads: m.Status.Header.ID == m.Status.Leader && m.Status.Leader != 0}
	}
	return members, nil
}

// etcdctl runs it on a machine of etcd against some members.
func (c *Cluster) etcdctl(ctx context.Context, e enrolled, cluster unit.EtcdCluster, members string, args ...string) ([]byte, error) {
	p := unit.Profile{CA: cluster.CA, Name: "server"}
	if cluster.CA == unit.CAEtcdOverlay {
		p.Name = "root" // it has users
	}
	var endpoints []string
	for _, m := range strings.Split(members, ",") {
		endpoints = append(endpoints, fmt.Sprintf("https://%s:%d", m, cluster.ClientPort))
	}
	var out, problems bytes.Buffer
	err := c.Provider.Exec(ctx, e.machine.Name, provider.Exec{Stdout: &out, Stderr: &problems, Args: slices.Concat([]string{
		unit.Bin + "/etcdctl", "--endpoints=" + strings.Join(endpoints, ","), "--cacert=" + unit.CAFile(p.CA), "--cert=" + p.CertFile(), "--key=" + p.KeyFile(),
		"--command-timeout=5s"}, args)})
	if err != nil {
		err = fmt.Errorf("etcdctl %s on %s: %w: %s", args[0], e.machine.Name, err, bytes.TrimSpace(problems.Bytes()))
	}
	return out.Bytes(), err
}
