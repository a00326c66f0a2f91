package contain

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// socket is a port that somebody takes.
type socket struct {
	protocol, inode string
	port            int
}

// listening reads /proc/PID/net/tcp and its like: sockets that wait for others to begin.
func listening(protocol, text string) []socket {
	// Of TCP those that listen; a UDP socket with no other end hears everybody.
	want := map[string]string{"TCP": "0A", "UDP": "07"}[protocol]
	var out []socket
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 10 || words[3] != want {
			continue
		}
		_, hex, ok := cutLast(words[1], ":")
		port, err := strconv.ParseUint(hex, 16, 16)
		if ok && err == nil {
			out = append(out, socket{protocol: protocol, inode: words[9], port: int(port)})
		}
	}
	return out
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// taken names the ports of the sockets that some processes have open.
func taken(sockets []socket, inodes map[string]bool) []string {
	slices.SortFunc(sockets, func(a, b socket) int { return cmp.Or(cmp.Compare(a.port, b.port), cmp.Compare(a.protocol, b.protocol)) })
	var out []string
	for _, s := range sockets {
		if name := fmt.Sprintf("%d/%s", s.port, s.protocol); inodes[s.inode] && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}
