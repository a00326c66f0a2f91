package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

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

// place is a network namespace, and how to run `ashlar probe` in it. It is the same program in the same control group, and
// both ends of a connection have one CPU: only the network differs, and no CPU has to wake another.
type place struct {
	address string
	probe   []string // a command, less the arguments of `ashlar probe`
}

// inPod runs a command in the network of the cluster's pod with an address.
const inPod = `for p in $(lsns --type=net --noheadings --raw --output=PID); do
  if grep -qF "/ashlar/$1/" "/proc/$p/cgroup" && nsenter --target="$p" --net ip -4 -o address show | grep -qwF "$2"; then
    exec nsenter --target="$p" --net "${@:3}"
  fi
done
echo "no pod of $1 has the address $2" >&2
exit 1`

func probe() []string {
	return []string{"taskset", "--cpu-list", strconv.Itoa(runtime.NumCPU() - 1), os.Getenv("ASHLAR"), "probe"}
}

func podPlace(address string) place {
	return place{address, append([]string{"bash", "-c", inPod, "bash", name, address}, probe()...)}
}

func barePlace(namespace, address string) place {
	return place{address, append([]string{"nsenter", "--net=/run/netns/" + namespace}, probe()...)}
}

func (p place) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, p.probe[0], append(p.probe[1:len(p.probe):len(p.probe)], args...)...)
}

// bare makes what Ashlar is measured against: two pods on one host, and one on each of two more, joined with the first by
// VXLAN: over one wire, and over two with a router between, as machines are. There are no rules, nothing is tracked, and
// no address is translated.
const bare = `set -e
for n in host-0 host-1 host-2 pod-0 pod-1 pod-2 pod-3 router; do
  ip netns add bench-$n
  ip -n bench-$n link set lo up
  ip netns exec bench-$n sysctl -q -w net.ipv4.ip_forward=1
done
wire() { # namespace address namespace address
  ip link add to-${3#bench-} netns $1 type veth peer name to-${1#bench-} netns $3
  ip -n $1 address add $2 dev to-${3#bench-}; ip -n $1 link set to-${3#bench-} up
  ip -n $3 address add $4 dev to-${1#bench-}; ip -n $3 link set to-${1#bench-} up
}
overlay() { # namespace own-address its-address name inside number
  ip -n $1 link add $4 type vxlan id $6 local $2 remote $3 dstport 4789
  ip -n $1 address add $5 dev $4
  ip -n $1 link set $4 up mtu %[1]d
}
wire bench-host-0 198.18.0.1/30 bench-host-1 198.18.0.2/30
overlay bench-host-0 198.18.0.1 198.18.0.2 direct 198.18.1.1/30 4096
overlay bench-host-1 198.18.0.2 198.18.0.1 direct 198.18.1.2/30 4096
wire bench-host-0 198.18.0.5/30 bench-router 198.18.0.6/30
wire bench-host-2 198.18.0.9/30 bench-router 198.18.0.10/30
ip -n bench-host-0 route add 198.18.0.8/30 via 198.18.0.6
ip -n bench-host-2 route add 198.18.0.4/30 via 198.18.0.10
overlay bench-host-0 198.18.0.5 198.18.0.9 routed 198.18.1.5/30 4097
overlay bench-host-2 198.18.0.9 198.18.0.5 routed 198.18.1.6/30 4097
for p in 0 1 2 3; do
  h=$((p/2 + p/3))
  ip link add pod-$p netns bench-host-$h mtu %[1]d type veth peer name eth0 netns bench-pod-$p mtu %[1]d
  ip -n bench-host-$h address add 198.18.2.$((4*p+1))/30 dev pod-$p
  ip -n bench-host-$h link set pod-$p up
  ip -n bench-pod-$p address add 198.18.2.$((4*p+2))/30 dev eth0
  ip -n bench-pod-$p link set eth0 up
  ip -n bench-pod-$p route add default via 198.18.2.$((4*p+1))
done
ip -n bench-host-0 route add 198.18.2.8/30 via 198.18.1.2
ip -n bench-host-0 route add 198.18.2.12/30 via 198.18.1.6
ip -n bench-host-1 route add 198.18.2.0/29 via 198.18.1.1
ip -n bench-host-2 route add 198.18.2.0/29 via 198.18.1.5
`

const noBare = `for n in host-0 host-1 host-2 pod-0 pod-1 pod-2 pod-3 router; do ip netns delete bench-$n 2>/dev/null; done; true`

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
	from := [2]place{podPlace(b.servers[0]), barePlace("bench-pod-0", "198.18.2.2")}
	across := podPlace(b.servers[1])
	ways := map[string][2]place{
		"same worker":                  {podPlace(second), barePlace("bench-pod-1", "198.18.2.6")},
		"across, beside one wire":      {across, barePlace("bench-pod-2", "198.18.2.10")},
		"across, beside a bare router": {across, barePlace("bench-pod-3", "198.18.2.14")},
	}
	sinks, stop := context.WithCancel(ctx)
	var running errgroup.Group
	listens := map[string]bool{}
	defer func() { stop(); _ = running.Wait() }()
	for _, to := range ways {
		for _, p := range to {
			if listens[p.address] {
				continue
			}
			listens[p.address] = true
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
