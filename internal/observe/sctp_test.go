package observe

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestInitiate: the packet is what the RFC says, so that no rule for packets takes it for broken; and has its token.
func TestInitiate(t *testing.T) {
	token := newToken()
	p := initiate(50000, 8080, token)
	sum := binary.LittleEndian.Uint32(p[8:])
	copy(p[8:], []byte{0, 0, 0, 0})
	if sum != crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)) {
		t.Error("its checksum is wrong")
	}
	chunk := p[sctpHeader:]
	length := int(binary.BigEndian.Uint16(chunk[2:]))
	if binary.BigEndian.Uint16(p) != 50000 || binary.BigEndian.Uint16(p[2:]) != 8080 || binary.BigEndian.Uint32(p[4:]) != 0 || chunk[0] != sctpInit ||
		(length+3)/4*4 != len(chunk) || binary.BigEndian.Uint32(chunk[4:]) == 0 {
		t.Errorf("% x", p)
	}
	if got, ok := tokenIn(p); !ok || got != token {
		t.Errorf("it has the token %q", got)
	}
	answer := func(kind byte, from, to uint16) []byte {
		p := append(bytes.Repeat([]byte{0x45}, 20), make([]byte, 16)...)
		binary.BigEndian.PutUint16(p[20:], from)
		binary.BigEndian.PutUint16(p[22:], to)
		p[32] = kind
		return p
	}
	for _, c := range []struct {
		packet []byte
		want   string
	}{{answer(sctpInitAck, 8080, 50000), "connected"}, {answer(sctpAbort, 8080, 50000), "closed port"}, {answer(sctpInit, 8080, 50000), ""},
		{answer(sctpAbort, 8081, 50000), ""}, {answer(sctpAbort, 8080, 50001), ""}, {[]byte{0x4f}, ""}, {nil, ""}} {
		if got := sctpAnswer(c.packet, 8080, 50000); got != c.want {
			t.Errorf("% x: %q, want %q", c.packet, got, c.want)
		}
	}
}

// TestSCTPThroughRules sends to ports of this very machine, in a network of its own whose rules let one in and not the other: as
// policies do, by the connections that the kernel tracks.
func TestSCTPThroughRules(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("takes root")
	}
	done := make(chan struct{})
	go func() { // its thread ends with it
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		rules := `add table inet t
add chain inet t c { type filter hook input priority 0; policy drop; }
add rule inet t c ct state invalid drop
add rule inet t c meta l4proto sctp sctp dport 8080 ct state new accept
add rule inet t c meta l4proto icmp accept`
		for _, args := range [][]string{{"ip", "link", "set", "lo", "up"}, {"nft", "-f", "-"}} {
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Stdin = bytes.NewReader([]byte(rules))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %v: %s", args, err, out)
				return
			}
		}
		// Whoever has a socket for such packets is handed those that the rules let in.
		ear, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
		if err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(ear)
		here := netip.MustParseAddr("127.0.0.1")
		var outcomes [2]Outcome
		var flights []*flight
		for i, port := range []uint16{8080, 8081} {
			flights = append(flights, launch(Attempt{To: netip.AddrPortFrom(here, port), Protocol: "SCTP"}, &outcomes[i]))
		}
		if err := watch(t.Context(), flights, time.Now().Add(300*time.Millisecond)); err != nil {
			t.Error(err)
		}
		var heard []string
		for packet := make([]byte, 2048); ; {
			n, _, err := unix.Recvfrom(ear, packet, 0)
			if err != nil {
				break
			}
			if token, ok := tokenIn(packet[:n]); ok {
				heard = append(heard, token)
			}
		}
		if !slices.Equal(heard, []string{outcomes[0].Token}) || outcomes[1].State != Silent {
			t.Errorf("heard %v of %+v", heard, outcomes)
		}
	}()
	<-done
}
