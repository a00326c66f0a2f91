package e2e

import (
	"fmt"
	"strings"
	"testing"

	"ashlar.dev/ashlar/internal/claim"
)

func init() {
	sabotages = append(sabotages,
		sabotage{"res-io", "the ceilings of disks are taken away again and again on one worker", ceilingsLifted("worker-1", liftDisk)},
		sabotage{"res-io", "the ceilings of the network are taken away again and again on one worker", func(t *testing.T, c *claim.Target) {
			own := file
			file = declared(t, "  isolation: {classes: [{name: restricted, network: {egress: 1G}}]}\n")
			t.Cleanup(func() { file = own })
			ceilingsLifted("worker-1", liftNetwork)(t, c)
		}},
	)
}

// What takes all ceilings of a kind away. Of the two versions of control groups, the files of one are there.
const (
	liftDisk = `for f in $(find /sys/fs/cgroup/blkio/kubepods* -name "blkio.throttle.*_device" 2>/dev/null); do
  while read -r disk limit; do echo "$disk 0" >"$f"; done <"$f"; done
for f in $(find /sys/fs/cgroup/kubepods* -name io.max 2>/dev/null); do
  while read -r disk limit; do echo "$disk rbps=max wbps=max riops=max wiops=max" >"$f"; done <"$f"; done`
	liftNetwork = `for ns in /run/netns/*; do nsenter --net="$ns" tc qdisc del dev eth0 root; done
for i in $(ls /sys/class/net | grep cali); do tc qdisc del dev "$i" root; done`
)

// ceilingsLifted takes ceilings away again and again: once would not do, they are put back.
func ceilingsLifted(machine, script string) func(*testing.T, *claim.Target) {
	return func(t *testing.T, _ *claim.Target) {
		again := fmt.Sprintf("(while :; do\n%s\nsleep 0.05; done) >/dev/null 2>&1 & echo $!", script)
		pid := strings.TrimSpace(ashlar(t, "exec", machine, "--", "bash", "-c", again))
		t.Cleanup(func() { ashlar(t, "exec", machine, "--", "kill", pid) })
	}
}
