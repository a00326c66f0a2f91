package etcdauth

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"path"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"ashlar.dev/ashlar/internal/calico"
)

// nodes is where each machine that runs pods announces itself, before anything of Calico's runs there.
const nodes = resources + "nodes/"

// withMembers adds the machines that have announced themselves to those that are declared. In a cloud they come and go by
// themselves, and `ashlar up` need not run for it. What a machine says of itself decides by no policy: it gets the records that
// every machine has, under its own name. Who has a name already in what is declared is left alone.
func (c Calico) withMembers(ctx context.Context, client clientv3.KV) (Calico, []clientv3.Cmp, error) {
	response, err := client.Get(ctx, nodes, clientv3.WithPrefix())
	if err != nil {
		return c, nil, fmt.Errorf("read %s from the overlay's etcd: %w", nodes, err)
	}
	c.Workers, c.Policy = slices.Clone(c.Workers), slices.Clone(c.Policy)
	var seen []clientv3.Cmp
	for _, kv := range response.Kvs {
		name := path.Base(string(kv.Key))
		address, ok := announced(kv.Value)
		if !ok || slices.Contains(c.Workers, name) {
			continue
		}
		c.Workers = append(c.Workers, name)
		c.Policy = append(c.Policy, calico.Member(name, address))
		seen = append(seen, clientv3.Compare(clientv3.CreateRevision(string(kv.Key)), "=", kv.CreateRevision))
	}
	return c, seen, nil
}

// announced is the address in a node's record.
func announced(value []byte) (netip.Addr, bool) {
	var node struct {
		Spec struct {
			BGP struct {
				Address string `json:"ipv4Address"`
			} `json:"bgp"`
		} `json:"spec"`
	}
	if json.Unmarshal(value, &node) != nil {
		return netip.Addr{}, false
	}
	p, err := netip.ParsePrefix(node.Spec.BGP.Address)
	return p.Addr(), err == nil
}

// Follow keeps the records of machines that come and go, until ctx ends or something fails. told hears of each change.
func Follow(ctx context.Context, client *clientv3.Client, want Calico, told func(Change)) error {
	// From before the first look: nothing is missed in between.
	now, err := client.Get(ctx, nodes, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return fmt.Errorf("read %s from the overlay's etcd: %w", nodes, err)
	}
	announcements := client.Watch(clientv3.WithRequireLeader(ctx), nodes, clientv3.WithPrefix(), clientv3.WithRev(now.Header.Revision+1))
	for {
		changes, err := Seed(ctx, client, want)
		if err != nil {
			return err
		}
		for _, c := range changes {
			told(c)
		}
		event, ok := <-announcements
		if !ok {
			return ctx.Err()
		}
		if err := event.Err(); err != nil {
			return fmt.Errorf("watch the overlay's etcd for machines that come and go: %w", err)
		}
	}
}
