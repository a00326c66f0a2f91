package etcdauth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"ashlar.dev/ashlar/internal/calico"
	"ashlar.dev/ashlar/internal/network"
)

// forbidden is a key that no worker may read, so that being refused it shows that access control is on.
const forbidden = "/ashlar/forbidden"

// Await returns once a worker finds in the datastore all that Calico needs there, and access control in force. Calico
// itself does not wait: without a pool it takes no address for the machine's tunnel, says so to nobody, and the
// machine's pods are cut off from those of all others. Without a worker's name it is only what all workers share. The client must be a worker's.
func Await(ctx context.Context, client clientv3.KV, worker string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var known error // the last that was learnt, not that time was over while asking again
	for {
		err := lacks(ctx, client, worker)
		if err == nil {
			return nil
		}
		if known == nil || ctx.Err() == nil {
			known = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the overlay's etcd is not prepared: %w", known)
		case <-tick.C:
		}
	}
}

// lacks says what is not there yet.
func lacks(ctx context.Context, client clientv3.KV, worker string) error {
	switch _, err := client.Get(ctx, forbidden); {
	case err == nil:
		return errors.New("its access control is off")
	case !errors.Is(err, rpctypes.ErrPermissionDenied):
		return fmt.Errorf("it does not answer: %w", err)
	}
	keys := []string{"ippools/pods", "felixconfigurations/node." + worker,
		"globalnetworkpolicies/" + network.Prefix + "default", "hostendpoints/" + calico.HostEndpoint(worker)}
	if worker == "" {
		keys = []string{keys[0], keys[2]}
	}
	for _, key := range keys {
		kv, err := get(ctx, client, resources+key)
		if err == nil && kv.revision == 0 {
			err = errors.New("not there")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}
