package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sync/errgroup"

	"ashlar.dev/ashlar/internal/unit"
	"ashlar.dev/ashlar/internal/wire"
)

// comparison is of two pods with two bare namespaces. A ratio is of the medians: 1 is as good.
type comparison struct {
	Throughput pair `json:"gigabitsPerSecond"`
	RoundTrip  pair `json:"roundTripMicroseconds"`
}

type pair struct {
	Pods  distribution `json:"pods"`
	Bare  distribution `json:"bare"`
	Ratio float64      `json:"ratio"`
}

func compared(pods, bare []float64) pair {
	p := pair{Pods: distributionOf(pods), Bare: distributionOf(bare)}
	p.Ratio = p.Pods.Median / p.Bare.Median
	return p
}

// place is a network namespace, and how to run `ashlar probe` in it. It is the same program, outside of any pod's
// limits: only the network differs.
type place struct {
	address string
	probe   []string // a command, less the arguments of `ashlar probe`
}

// inPod runs a command in the network of the pod with an address: its namespace is one of those that containerd keeps.
const inPod = `for n in /run/netns/*; do
  if nsenter --net="$n" ip -4 -o address show | grep -qwF "$1"; then exec nsenter --net="$n" "${@:2}"; fi
done
echo "no pod here has the address $1" >&2
exit 1`

func (b *bed) podPlace(worker, address string) place {
	return place{address, []string{os.Getenv("ASHLAR"), "-f", b.file, "exec", worker, "--", "bash", "-c", inPod, "bash", address, unit.Bin + "/ashlar", "probe"}}
}

func barePlace(namespace, address string) place {
	return place{address, []string{"nsenter", "--net=/run/netns/" + namespace, os.Getenv("ASHLAR"), "probe"}}
}

func (p place) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, p.probe[0], append(p.probe[1:len(p.probe):len(p.probe)], args...)...)
}

// bare makes what Ashlar is measured against: two hosts, joined by a wire with VXLAN over it, two pods on the one and one
// on the other. There are no rules, nothing is tracked, and no address is translated.
const bare = `set -e
for n in host-0 host-1 pod-0 pod-1 pod-2; do ip netns add bench-$n; ip -n bench-$n link set lo up; done
ip link add wire netns bench-host-0 type veth peer name wire netns bench-host-1
for h in 0 1; do
  ip -n bench-host-$h address add 198.18.0.$((h+1))/30 dev wire
  ip -n bench-host-$h link set wire up
  ip -n bench-host-$h link add overlay type vxlan id 4096 local 198.18.0.$((h+1)) remote 198.18.0.$((2-h)) dstport 4789 dev wire
  ip -n bench-host-$h address add 198.18.1.$((h+1))/30 dev overlay
  ip -n bench-host-$h link set overlay up mtu %[1]d
  ip netns exec bench-host-$h sysctl -q -w net.ipv4.ip_forward=1
done
for p in 0 1 2; do
  h=$((p/2))
  ip link add pod-$p netns bench-host-$h mtu %[1]d type veth peer name eth0 netns bench-pod-$p mtu %[1]d
  ip -n bench-host-$h address add 198.18.2.$((4*p+1))/30 dev pod-$p
  ip -n bench-host-$h link set pod-$p up
  ip -n bench-pod-$p address add 198.18.2.$((4*p+2))/30 dev eth0
  ip -n bench-pod-$p link set eth0 up
  ip -n bench-pod-$p route add default via 198.18.2.$((4*p+1))
done
ip -n bench-host-0 route add 198.18.2.8/30 via 198.18.1.2
ip -n bench-host-1 route add 198.18.2.0/29 via 198.18.1.1
`

const noBare = `for n in host-0 host-1 pod-0 pod-1 pod-2; do ip netns delete bench-$n 2>/dev/null; done; true`

// podMTU is that of the cluster's pods, so that packets are as large.
const podMTU = 1450

// speeds measures by turns, so that whatever else the host does falls on both.
func (b *bed) speeds(ctx context.Context, rounds int) (map[string]comparison, error) {
	second, err := b.start(ctx, b.pod("second", b.workers[0], "second", "serve", fmt.Sprintf(":%d", portServer)))
	if err != nil {
		return nil, err
	}
	if err := script(ctx, noBare); err != nil {
		return nil, err
	}
	defer func() { _ = script(context.WithoutCancel(ctx), noBare) }()
	if err := script(ctx, fmt.Sprintf(bare, podMTU)); err != nil {
		return nil, fmt.Errorf("make bare network namespaces: %w", err)
	}
	from := [2]place{b.podPlace(b.workers[0], b.servers[0]), barePlace("bench-pod-0", "198.18.2.2")}
	ways := map[string][2]place{
		"same worker": {b.podPlace(b.workers[0], second), barePlace("bench-pod-1", "198.18.2.6")},
		"across":      {b.podPlace(b.workers[1], b.servers[1]), barePlace("bench-pod-2", "198.18.2.10")},
	}
	sinks, stop := context.WithCancel(ctx)
	var running errgroup.Group
	defer func() { stop(); _ = running.Wait() }()
	for _, to := range ways {
		for _, p := range to {
			running.Go(p.command(sinks, "sink", fmt.Sprintf("0.0.0.0:%d", portSink)).Run)
		}
	}
	out := map[string]comparison{}
	for way, to := range ways {
		var throughput, trip [2][]float64
		for round := range rounds + 1 {
			for i := range to {
				s, err := measure(ctx, from[i], to[i])
				if err != nil {
					return nil, fmt.Errorf("%s: %w", way, err)
				}
				if round > 0 { // the first is for warming up
					throughput[i] = append(throughput[i], s.BitsPerSecond/1e9)
					trip[i] = append(trip[i], float64(s.RoundTrip.Nanoseconds())/1e3)
				}
			}
		}
		out[way] = comparison{Throughput: compared(throughput[0], throughput[1]), RoundTrip: compared(trip[0], trip[1])}
	}
	return out, nil
}

// measure tries until the sink is there.
func measure(ctx context.Context, from, to place) (wire.Speed, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		var s wire.Speed
		var problems bytes.Buffer
		cmd := from.command(ctx, "speed", fmt.Sprintf("%s:%d", to.address, portSink))
		cmd.Stderr = &problems
		out, err := cmd.Output()
		if err == nil {
			return s, json.Unmarshal(out, &s)
		}
		if ctx.Err() != nil {
			return s, fmt.Errorf("measure from %s to %s: %w: %s", from.address, to.address, err, problems.Bytes())
		}
	}
}

func script(ctx context.Context, text string) error {
	if out, err := exec.CommandContext(ctx, "bash", "-c", text).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
