package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"ashlar.dev/ashlar/internal/wire"
)

func group(i int) metav1.LabelSelector {
	return metav1.LabelSelector{MatchLabels: map[string]string{"group": strconv.Itoa(i % groups)}}
}

func tcp(port int) networkingv1.NetworkPolicyPort {
	protocol, number := corev1.ProtocolTCP, intstr.FromInt(port)
	return networkingv1.NetworkPolicyPort{Protocol: &protocol, Port: &number}
}

// latencies measures, at each number of policies, how long one more takes until it is in force on every worker, and how
// long until it is forgotten.
func (b *bed) latencies(ctx context.Context, o networkOptions) ([]latency, error) {
	if err := b.fill(ctx, o.pods); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes, err := b.watch(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.settled(ctx, changes, true, time.Time{}, nil); err != nil {
		return nil, err
	}
	var out []latency
	for _, n := range o.policies {
		if err := b.policies(ctx, n); err != nil {
			return nil, fmt.Errorf("make %d policies: %w", n, err)
		}
		// The first one after many is in force only after them.
		if err := b.toggle(ctx, changes, nil, nil); err != nil {
			return nil, err
		}
		var refused, allowed []float64
		for range o.toggles {
			if err := b.toggle(ctx, changes, &refused, &allowed); err != nil {
				return nil, fmt.Errorf("with %d policies: %w", n, err)
			}
		}
		out = append(out, latency{n, distributionOf(refused), distributionOf(allowed)})
	}
	return out, nil
}

// toggle makes and removes a policy under which nothing reaches the servers.
func (b *bed) toggle(ctx context.Context, changes <-chan wire.Change, refused, allowed *[]float64) error {
	policies := b.client.NetworkingV1().NetworkPolicies(benchNamespace)
	policy := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "cut-off"}, Spec: networkingv1.NetworkPolicySpec{
		PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "server"}}, PolicyTypes: bothWays[:1]}}
	if _, err := policies.Create(ctx, policy, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make a policy: %w", err)
	}
	if err := b.settled(ctx, changes, false, time.Now(), refused); err != nil {
		return fmt.Errorf("a policy that was made: %w", err)
	}
	if err := policies.Delete(ctx, policy.Name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("remove a policy: %w", err)
	}
	if err := b.settled(ctx, changes, true, time.Now(), allowed); err != nil {
		return fmt.Errorf("a policy that was removed: %w", err)
	}
	return nil
}

// enforcedWithin is how long the slowest may take.
const enforcedWithin = 2 * time.Minute

// settled waits until connections to all servers are open, or not, and notes how many milliseconds after began the last
// was the first to be so. One that a busy host lost is open again with the next.
func (b *bed) settled(ctx context.Context, changes <-chan wire.Change, open bool, began time.Time, took *[]float64) error {
	ctx, cancel := context.WithTimeout(ctx, enforcedWithin)
	defer cancel()
	state := map[netip.AddrPort]wire.Change{}
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("not seen by all within %s: %v", enforcedWithin, state)
		case c, ok := <-changes:
			if !ok {
				return io.ErrUnexpectedEOF
			}
			state[c.To] = c
		}
		last, all := time.Time{}, len(state) == len(b.servers)
		for _, c := range state {
			all = all && c.Open == open
			if c.At.After(last) {
				last = c.At
			}
		}
		if all {
			if took != nil {
				*took = append(*took, last.Sub(began).Seconds()*1000)
			}
			return nil
		}
	}
}

// watch has a pod on each worker connect to the server of the other, and returns what they notice.
func (b *bed) watch(ctx context.Context) (<-chan wire.Change, error) {
	config, err := b.cluster.Kube(ctx)
	if err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.Timeout = 0 // what they say has no end
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	changes := make(chan wire.Change)
	g, ctx := errgroup.WithContext(ctx)
	for i, w := range b.workers {
		name, to := "watcher-"+w, b.servers[(i+1)%len(b.servers)]
		if _, err := b.start(ctx, b.pod(name, w, "watcher", "watch", fmt.Sprintf("%s:%d", to, portServer))); err != nil {
			return nil, err
		}
		log, err := client.CoreV1().Pods(benchNamespace).GetLogs(name, &corev1.PodLogOptions{Follow: true}).Stream(ctx)
		if err != nil {
			return nil, fmt.Errorf("follow what %s says: %w", name, err)
		}
		g.Go(func() error {
			defer log.Close()
			for lines := json.NewDecoder(log); ; {
				var c wire.Change
				if err := lines.Decode(&c); err != nil {
					return err
				}
				select {
				case changes <- c:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		})
	}
	go func() { _ = g.Wait(); close(changes) }()
	return changes, nil
}
