package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"

	"ashlar.dev/ashlar/api/v1alpha1"
	"ashlar.dev/ashlar/internal/phase"
)

// networkReport is what `bench -part network` prints: how long policies take to be in force, and what the network carries.
type networkReport struct {
	Pods int `json:"pods"`
	// Latency is from the API's answer to the first connection that ends otherwise, on the slower of two workers, while so
	// many other policies are in force.
	Latency []latency `json:"policyMilliseconds"`
	// Speed is between two pods, on one worker and across, beside a bare pair of network namespaces.
	Speed map[string]comparison `json:"speed"`
}

// latency is what it takes of a policy to be in force.
type latency struct {
	Policies int          `json:"policies"`
	Refused  distribution `json:"refused"` // after the policy was made
	Allowed  distribution `json:"allowed"` // after it was removed
}

// distribution is of many measurements of one thing.
type distribution struct {
	N      int     `json:"n"`
	Median float64 `json:"median"`
	P95    float64 `json:"p95"`
	Most   float64 `json:"most"`
}

func distributionOf(s []float64) distribution {
	if len(s) == 0 {
		return distribution{}
	}
	s = slices.Sorted(slices.Values(s))
	return distribution{N: len(s), Median: s[len(s)/2], P95: s[int(math.Ceil(0.95*float64(len(s))))-1], Most: s[len(s)-1]}
}

// networkOptions say how much is measured.
type networkOptions struct {
	pods, toggles, rounds int
	policies              []int
}

func networkFlags() *networkOptions {
	o := &networkOptions{policies: []int{10, 100, 1000}}
	flag.IntVar(&o.pods, "pods", 40, "how many pods the policies select")
	flag.IntVar(&o.toggles, "toggles", 20, "how often a policy is made and removed, at each number of policies")
	flag.IntVar(&o.rounds, "rounds", 10, "how often throughput and latency are measured")
	flag.Func("policies", "at how many policies, separated by commas (default 10,100,1000)", func(s string) error {
		o.policies = nil
		for n := range strings.SplitSeq(s, ",") {
			i, err := strconv.Atoi(n)
			if err != nil {
				return err
			}
			o.policies = append(o.policies, i)
		}
		return nil
	})
	return o
}

// network measures a cluster of its own.
func network(o networkOptions) error {
	dir, err := os.MkdirTemp("", "ashlar-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "cluster.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, openCluster, name), 0o600); err != nil {
		return err
	}
	defer func() { _, _, _ = ashlar(file, "down") }()
	if _, _, err := ashlar(file, "up"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	spec, err := v1alpha1.Decode(fmt.Appendf(nil, openCluster, name), file)
	if err != nil {
		return err
	}
	c, err := phase.Open(spec, phase.Options{})
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	r := networkReport{Pods: o.pods}
	b, err := newBed(ctx, c, file)
	if err != nil {
		return err
	}
	if r.Speed, err = b.speeds(ctx, o.rounds); err != nil {
		return err
	}
	if r.Latency, err = b.latencies(ctx, o); err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	return out.Encode(r)
}

// openCluster is the same cluster, whose pods talk to each other unless a policy of the measurement says otherwise.
const openCluster = cluster + "  network: {policy: {open: [{namespace: " + benchNamespace + "}]}}\n"

// bed is where measurements of the network are made: a namespace with a server on each worker.
type bed struct {
	cluster *phase.Cluster
	file    string
	client  *kubernetes.Clientset
	image   string
	workers []string
	servers []string // addresses
}

const (
	benchNamespace = "bench"
	portServer     = 8080
	portSink       = 8081
)

var errImage = errors.New("the bundle has no image of ashlar")

func newBed(ctx context.Context, c *phase.Cluster, file string) (*bed, error) {
	config, err := c.Kube(ctx)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	b := &bed{cluster: c, file: file, client: client, workers: []string{"worker-0", "worker-1"}}
	if err := b.importImage(); err != nil {
		return nil, err
	}
	if err := b.namespace(ctx); err != nil {
		return nil, err
	}
	for _, w := range b.workers {
		at, err := b.start(ctx, b.pod("server-"+w, w, "server", "serve", fmt.Sprintf(":%d", portServer)))
		if err != nil {
			return nil, err
		}
		b.servers = append(b.servers, at)
	}
	return b, nil
}
