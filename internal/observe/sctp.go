package observe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"

	"golang.org/x/sys/unix"
)

// Policies can name ports of SCTP, of which a kernel need not have more than what its rules for packets know. So an association is
// not opened by a socket, but begun by its first packet, which is sent as it is: what matters of it is whether it comes in.

// Of RFC 9260.
const (
	sctpHeader    = 12
	sctpInit      = 1
	sctpInitAck   = 2
	sctpAbort     = 6
	sctpParameter = 0xbf01 // of a type that nobody knows, to be skipped in silence
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// initiate is an INIT with a token in it.
func initiate(from, to uint16, token string) []byte {
	padded := (len(token) + 3) / 4 * 4
	chunk := make([]byte, 20+4+padded)
	chunk[0] = sctpInit
	binary.BigEndian.PutUint16(chunk[2:], uint16(20+4+len(token)))
	binary.BigEndian.PutUint32(chunk[4:], rand.Uint32()|1) // the tag that answers have
	binary.BigEndian.PutUint32(chunk[8:], 1<<16)           // window
	binary.BigEndian.PutUint16(chunk[12:], 1)              // streams out and in
	binary.BigEndian.PutUint16(chunk[14:], 1)
	binary.BigEndian.PutUint32(chunk[16:], rand.Uint32())
	binary.BigEndian.PutUint16(chunk[20:], sctpParameter)
	binary.BigEndian.PutUint16(chunk[22:], uint16(4+len(token)))
	copy(chunk[24:], token)
	packet := make([]byte, sctpHeader, sctpHeader+len(chunk))
	binary.BigEndian.PutUint16(packet, from)
	binary.BigEndian.PutUint16(packet[2:], to)
	packet = append(packet, chunk...)
	binary.LittleEndian.PutUint32(packet[8:], crc32.Checksum(packet, castagnoli)) // of itself with zeros there
	return packet
}

// launchSCTP begins an attempt by SCTP.
func launchSCTP(a Attempt, o *Outcome) *flight {
	f := &flight{fd: -1, sctp: a.To.Port(), from: uint16(49152 + rand.IntN(16384)), udp: true, outcome: o}
	o.State, o.Answer, o.Token = Silent, "no answer", newToken()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		f.land(fmt.Errorf("make a socket for packets of SCTP: %w", err))
		return f
	}
	f.fd = fd
	if err = unix.Connect(fd, &unix.SockaddrInet4{Addr: a.To.Addr().As4()}); err == nil {
		_, err = unix.Write(fd, initiate(f.from, f.sctp, o.Token))
	}
	if err != nil {
		f.land(err)
	}
	return f
}

// answeredSCTP reads what came back, and says whether it is an answer to this attempt: an association, or a refusal of one, of the
// other end's own.
func (f *flight) answeredSCTP() bool {
	packet := make([]byte, 2048)
	for {
		n, _, err := unix.Recvfrom(f.fd, packet, 0)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return false
		case errors.Is(err, unix.ENOPROTOOPT):
			// The other end has no SCTP, and that it says so is because the packet came there.
			f.outcome.State, f.outcome.Answer = Reached, "it came in, and there is no SCTP"
			f.end()
			return true
		case err != nil:
			f.land(err)
			return true
		}
		if what := sctpAnswer(packet[:n], f.sctp, f.from); what != "" {
			f.outcome.State, f.outcome.Answer = Reached, what
			f.end()
			return true
		}
	}
}

// sctpAnswer reads a packet with its IP header: what it says to an INIT that was sent to a port from another; empty if nothing.
func sctpAnswer(packet []byte, port, own uint16) string {
	if len(packet) < 20 || len(packet) < int(packet[0]&15)*4+sctpHeader+1 {
		return ""
	}
	p := packet[int(packet[0]&15)*4:]
	if binary.BigEndian.Uint16(p) != port || binary.BigEndian.Uint16(p[2:]) != own {
		return ""
	}
	switch p[sctpHeader] {
	case sctpInitAck:
		return "connected"
	case sctpAbort:
		return "closed port"
	}
	return ""
}
