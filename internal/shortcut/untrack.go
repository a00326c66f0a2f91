package shortcut

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// untracked keeps the VXLAN's own packets out of the connection table. Its two directions have different ports, so that
// every packet would be of a new connection for ever, and walk through all rules that are for new ones. Nothing decides
// by it: felix knows its peers by their addresses. A pod that sends to this port is none of it.
const untracked = `table ip ashlar-shortcut
flush table ip ashlar-shortcut
table ip ashlar-shortcut {
  chain prerouting { type filter hook prerouting priority raw; iifname != "%[1]s*" udp dport %[2]d notrack; }
  chain output { type filter hook output priority raw; udp dport %[2]d notrack; }
}
`

// untrack loads the rules, beside all others.
func untrack(ctx context.Context, port int) error {
	cmd := exec.CommandContext(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(fmt.Sprintf(untracked, podPrefix, port))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("keep VXLAN out of the connection table: nft: %w: %s", err, out)
	}
	return nil
}
