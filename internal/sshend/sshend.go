// Package sshend ends the SSH sessions of those who were revoked. sshd asks who somebody is when they come, and never again: who came
// as whom, its log says, and by that their connections are found.
package sshend

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// accepted is what sshd says when it lets somebody in. Whatever a client made up is written by sshd later in a line than this, and
// never at its beginning.
var accepted = regexp.MustCompile(`^Accepted publickey for \S+ from (\S+) port (\d+) ssh2: .* ID (.+) \(serial \d+\) CA `)

// Who says by which name whoever is connected from an address came in, by sshd's log, oldest part first. The same address may have
// been another's before.
func Who(log io.Reader) (map[netip.AddrPort]string, error) {
	out := map[netip.AddrPort]string{}
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		m := accepted.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		address, err := netip.ParseAddr(m[1])
		port, err2 := strconv.ParseUint(m[2], 10, 16)
		if err == nil && err2 == nil {
			out[netip.AddrPortFrom(address, uint16(port))] = m[3]
		}
	}
	return out, lines.Err()
}

// Doomed are the connections of those who were revoked, and of whom nobody knows who they are: they come again.
func Doomed(open []netip.AddrPort, who map[netip.AddrPort]string, revoked []string) []netip.AddrPort {
	return slices.DeleteFunc(slices.Clone(open), func(a netip.AddrPort) bool {
		name, known := who[a]
		return known && !slices.Contains(revoked, name)
	})
}

// Open are the ends of the connections to a port of this machine.
func Open(ctx context.Context, port int) ([]netip.AddrPort, error) {
	out, err := exec.CommandContext(ctx, "/usr/bin/ss", "--no-header", "--numeric", "--tcp", "state", "established",
		fmt.Sprintf("sport = :%d", port)).Output()
	if err != nil {
		return nil, fmt.Errorf("list connections to port %d: %w", port, err)
	}
	return parseOpen(string(out))
}

// parseOpen reads what ss says: two queues, and both ends.
func parseOpen(out string) ([]netip.AddrPort, error) {
	var ends []netip.AddrPort
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		end, err := netip.ParseAddrPort(f[3])
		if err != nil {
			return nil, fmt.Errorf("read what ss says, %q: %w", line, err)
		}
		ends = append(ends, netip.AddrPortFrom(end.Addr().Unmap(), end.Port()))
	}
	return ends, nil
}

// End ends connections to a port of this machine.
func End(ctx context.Context, port int, ends []netip.AddrPort) error {
	for _, e := range ends {
		out, err := exec.CommandContext(ctx, "/usr/bin/ss", "--kill", "--no-header", "--tcp", "state", "established",
			fmt.Sprintf("sport = :%d and dst %s", port, e)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("end the connection of %s: %w: %s", e, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}
