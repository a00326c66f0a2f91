package shortcut

import (
	"encoding/binary"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// Reason is why a packet went the way it went.
type Reason int32

// The reasons: one for the shortcut, the others for the ordinary way.
const (
	Taken      Reason = iota
	OtherKind         // not a plain TCP or UDP packet over IPv4 to this machine
	Fragment          // only the first of the fragments names its ports
	Opening           // SYN, FIN, RST, or no ACK: what makes or ends a connection
	Foreign           // its source is not the pod at whose interface it came in
	NoPod             // it does not go to a pod, or not to one that a shortcut leads to
	Unknown           // no such connection
	Translated        // to or from a Service
	Unsettled         // not yet seen in both directions, or ending
	reasonCount
)

var reasonNames = [reasonCount]string{"taken", "other-kind", "fragment", "opening", "foreign", "no-pod", "unknown", "translated", "unsettled"}

func (r Reason) String() string { return reasonNames[r] }

// Bits of a connection's status (linux/netfilter/nf_conntrack_common.h): those that must be set, those that must not, and
// among these the ones of a translation.
const (
	settledBits    = 1<<1 | 1<<2 | 1<<3                          // seen reply, assured, confirmed
	translatedBits = 1<<4 | 1<<5                                 // source, destination
	otherBits      = 1<<6 | 1<<9 | 1<<10 | 1<<11 | 1<<12 | 1<<13 // sequence adjusted, dying, fixed timeout, template, clash, helper
	statusBits     = settledBits | translatedBits | otherBits
	tcpEstablished = 3
)

// Offsets in struct __sk_buff.
const (
	skbLength     = 0
	skbPacketType = 4
	skbProtocol   = 16
	skbVLAN       = 20
	skbIfindex    = 40
	skbData       = 76
	skbDataEnd    = 80
)

// Offsets in a packet: Ethernet, IPv4 without options, TCP or UDP.
const (
	atIP       = 14
	atFragment = atIP + 6
	atTTL      = atIP + 8
	atProtocol = atIP + 9
	atSource   = atIP + 12
	atPorts    = atIP + 20
	atFlags    = atPorts + 13
	udpHeaders = atPorts + 8
	tcpHeaders = atPorts + 20
)

// Offsets on the stack.
const (
	stackTuple   = -16 // struct bpf_sock_tuple's IPv4 part, 12 bytes
	stackOptions = -32 // struct bpf_ct_opts, 12 or 16 bytes
	stackKey     = -40 // of the pods' map
	stackIndex   = -48 // of an array
	stackService = -56 // the packet's second byte of IPv4: type of service
	stackHeader  = stackService - headerSize
)

// Offsets in an entry of the lifetimes, by protocol: how long a connection that is not used lives.
const (
	lifetimeMilliseconds = 0
	lifetimeJiffies      = 4
	lifetimeSize         = 8
)

// tables are the file descriptors of the program's maps.
type tables struct{ pods, lifetimes, counts int }

// next lets the packet go the ordinary way. A packet is dropped if it was changed and cannot be sent.
const (
	next = -1
	drop = 2
)

// instructions is the program. It sends a packet straight to where it goes if it belongs to a connection that the
// machine's rules have let through already, in both directions, and to which they would do nothing: what
// “ct state established accept” is about. All else goes on to the rules.
func instructions(k kernel, m tables) asm.Instructions {
	p := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}
	p = append(p, headers()...)
	p = append(p, ends(m)...)
	p = append(p, connection(k, m)...)
	p = append(p, send()...)
	return append(p, leave(k, m)...)
}

// headers reads the packet: its addresses and ports into the tuple, its protocol into R9.
func headers() asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R2, asm.R6, skbProtocol, asm.Word),
		asm.JNE.Imm(asm.R2, network16(unix.ETH_P_IP), OtherKind.label()),
		asm.LoadMem(asm.R2, asm.R6, skbVLAN, asm.Word),
		asm.JNE.Imm(asm.R2, 0, OtherKind.label()),
		asm.LoadMem(asm.R2, asm.R6, skbPacketType, asm.Word),
		asm.JNE.Imm(asm.R2, 0, OtherKind.label()), // PACKET_HOST: to this machine's hardware address
		asm.LoadMem(asm.R2, asm.R6, skbData, asm.Word),
		asm.LoadMem(asm.R3, asm.R6, skbDataEnd, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, udpHeaders),
		asm.JGT.Reg(asm.R4, asm.R3, OtherKind.label()),
		asm.LoadMem(asm.R4, asm.R2, atIP, asm.Byte),
		asm.JNE.Imm(asm.R4, 0x45, OtherKind.label()), // version 4, no options
		asm.LoadMem(asm.R4, asm.R2, atFragment, asm.Half),
		asm.And.Imm(asm.R4, network16(0xbfff)), // all but “don't fragment”
		asm.JNE.Imm(asm.R4, 0, Fragment.label()),
		asm.LoadMem(asm.R4, asm.R2, atIP+1, asm.Byte),
		asm.StoreMem(asm.RFP, stackService, asm.R4, asm.Byte),
		asm.LoadMem(asm.R4, asm.R2, atTTL, asm.Byte),
		asm.JLE.Imm(asm.R4, 1, OtherKind.label()), // a router answers it

		asm.LoadMem(asm.R4, asm.R2, atSource, asm.Word),
		asm.StoreMem(asm.RFP, stackTuple, asm.R4, asm.Word),
		asm.LoadMem(asm.R4, asm.R2, atSource+4, asm.Word),
		asm.StoreMem(asm.RFP, stackTuple+4, asm.R4, asm.Word),
		asm.LoadMem(asm.R4, asm.R2, atPorts, asm.Word),
		asm.StoreMem(asm.RFP, stackTuple+8, asm.R4, asm.Word),

		asm.LoadMem(asm.R9, asm.R2, atProtocol, asm.Byte),
		asm.JEq.Imm(asm.R9, unix.IPPROTO_UDP, "ends"),
		asm.JNE.Imm(asm.R9, unix.IPPROTO_TCP, OtherKind.label()),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, tcpHeaders),
		asm.JGT.Reg(asm.R4, asm.R3, OtherKind.label()),
		asm.LoadMem(asm.R4, asm.R2, atFlags, asm.Byte),
		asm.And.Imm(asm.R4, 0x17),
		asm.JNE.Imm(asm.R4, 0x10, Opening.label()), // of ACK, RST, SYN and FIN: ACK
	}
}

// ends looks up who sent the packet, which must be the pod behind the interface by which it came in, and where it goes (R8).
func ends(m tables) asm.Instructions {
	return asm.Instructions{
		asm.StoreImm(asm.RFP, stackKey, 32, asm.Word).WithSymbol("ends"),
		asm.LoadMem(asm.R2, asm.RFP, stackTuple, asm.Word),
		asm.StoreMem(asm.RFP, stackKey+4, asm.R2, asm.Word),
		asm.LoadMapPtr(asm.R1, m.pods),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, stackKey),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, Foreign.label()),
		asm.LoadMem(asm.R2, asm.R0, podIfindex, asm.Word),
		asm.LoadMem(asm.R3, asm.R6, skbIfindex, asm.Word),
		asm.JNE.Reg(asm.R2, asm.R3, Foreign.label()),
		asm.LoadMem(asm.R7, asm.R0, podKind, asm.Word),

		asm.LoadMem(asm.R2, asm.RFP, stackTuple+4, asm.Word),
		asm.StoreMem(asm.RFP, stackKey+4, asm.R2, asm.Word),
		asm.LoadMapPtr(asm.R1, m.pods),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, stackKey),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, NoPod.label()),
		asm.Mov.Reg(asm.R8, asm.R0),
		asm.LoadMem(asm.R2, asm.R8, podKind, asm.Word),
		asm.JEq.Imm(asm.R2, int32(here), "local"),
		asm.JNE.Imm(asm.R2, int32(elsewhere), NoPod.label()),
		asm.JNE.Imm(asm.R7, int32(here), NoPod.label()), // what came from another worker goes no further, so there is no loop
		asm.Ja.Label("connection"),
		asm.LoadMem(asm.R2, asm.R8, podIfindex, asm.Word).WithSymbol("local"),
		asm.LoadMem(asm.R3, asm.R6, skbIfindex, asm.Word),
		asm.JEq.Reg(asm.R2, asm.R3, NoPod.label()), // to itself
	}
}

// connection looks the connection up. The packets that take the shortcut do not refresh it in the kernel's table, so the
// program does, as the kernel would, once a second.
func connection(k kernel, m tables) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Imm(asm.R2, 0).WithSymbol("connection"),
		asm.StoreMem(asm.RFP, stackOptions, asm.R2, asm.DWord),
		asm.StoreMem(asm.RFP, stackOptions+8, asm.R2, asm.DWord),
		asm.StoreImm(asm.RFP, stackOptions, -1, asm.Word), // the network namespace of the interface
		asm.StoreMem(asm.RFP, stackOptions+8, asm.R9, asm.Byte),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, stackTuple),
		asm.Mov.Imm(asm.R3, 12),
		asm.Mov.Reg(asm.R4, asm.RFP),
		asm.Add.Imm(asm.R4, stackOptions),
		asm.Mov.Imm(asm.R5, int32(k.optionsSize)),
		call(k.lookup),
		asm.JEq.Imm(asm.R0, 0, Unknown.label()),
		asm.Mov.Reg(asm.R7, asm.R0),

		asm.LoadMem(asm.R2, asm.R7, int16(k.status), asm.DWord),
		asm.Mov.Reg(asm.R3, asm.R2),
		asm.And.Imm(asm.R3, translatedBits),
		asm.JNE.Imm(asm.R3, 0, "release-translated"),
		asm.And.Imm(asm.R2, statusBits),
		asm.JNE.Imm(asm.R2, settledBits, "release-unsettled"),
		asm.JNE.Imm(asm.R9, unix.IPPROTO_TCP, "lifetime"),
		asm.LoadMem(asm.R2, asm.R7, int16(k.tcpState), asm.Byte),
		asm.JNE.Imm(asm.R2, tcpEstablished, "release-unsettled"),

		asm.StoreMem(asm.RFP, stackIndex, asm.R9, asm.Word).WithSymbol("lifetime"),
		asm.LoadMapPtr(asm.R1, m.lifetimes),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, stackIndex),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "release-unsettled"),
		asm.Mov.Reg(asm.R9, asm.R0),
		asm.FnJiffies64.Call(),
		asm.LoadMem(asm.R2, asm.R7, int16(k.timeout), asm.Word),
		asm.Sub.Reg32(asm.R2, asm.R0), // what is left
		asm.JSLE.Imm32(asm.R2, 0, "release-unsettled"),
		asm.LoadMem(asm.R3, asm.R9, lifetimeJiffies, asm.Word),
		asm.JEq.Imm(asm.R3, 0, "release-unsettled"),
		asm.Sub.Reg32(asm.R3, asm.R2), // since it was refreshed
		asm.JLT.Imm32(asm.R3, int32(k.ticks), "fresh"),
		asm.Mov.Reg(asm.R1, asm.R7),
		asm.LoadMem(asm.R2, asm.R9, lifetimeMilliseconds, asm.Word),
		call(k.extend),
		asm.Mov.Reg(asm.R1, asm.R7).WithSymbol("fresh"),
		call(k.release),
	}
}

// send moves the packet: into the network namespace of a pod of this machine, or to another worker.
func send() asm.Instructions {
	p := asm.Instructions{
		asm.LoadMem(asm.R2, asm.R8, podKind, asm.Word),
		asm.JEq.Imm(asm.R2, int32(here), "peer"),
	}
	p = append(p, encapsulate()...)
	return append(p,
		asm.LoadMem(asm.R1, asm.R8, podOut, asm.Word),
		asm.Mov.Imm(asm.R2, 0),
		asm.Mov.Imm(asm.R3, 0),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnRedirectNeigh.Call(),
		asm.Ja.Label("taken"),
		asm.LoadMem(asm.R1, asm.R8, podIfindex, asm.Word).WithSymbol("peer"),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnRedirectPeer.Call(),
		asm.Mov.Reg(asm.R8, asm.R0).WithSymbol("taken"),
		asm.Mov.Imm(asm.R7, int32(Taken)),
		asm.Ja.Label("count"),
	)
}

// leave counts the packet by its reason (R7) and ends with what becomes of it (R8).
func leave(k kernel, m tables) asm.Instructions {
	p := asm.Instructions{}
	for _, r := range []Reason{Translated, Unsettled} {
		p = append(p,
			asm.Mov.Reg(asm.R1, asm.R7).WithSymbol("release-"+r.String()),
			call(k.release),
			asm.Ja.Label(r.label()))
	}
	for r := OtherKind; r < reasonCount; r++ {
		p = append(p, asm.Mov.Imm(asm.R7, int32(r)).WithSymbol(r.label()), asm.Ja.Label("slow"))
	}
	return append(p,
		asm.Mov.Imm(asm.R8, drop).WithSymbol("spoilt"),
		asm.Mov.Imm(asm.R7, int32(OtherKind)),
		asm.Ja.Label("count"),
		asm.Mov.Imm(asm.R8, next).WithSymbol("slow"),
		asm.StoreMem(asm.RFP, stackIndex, asm.R7, asm.Word).WithSymbol("count"),
		asm.LoadMapPtr(asm.R1, m.counts),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, stackIndex),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "end"),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
		asm.Mov.Reg(asm.R0, asm.R8).WithSymbol("end"),
		asm.Return(),
	)
}

func (r Reason) label() string { return "slow-" + r.String() }

// call is a call of a kernel function by its type's number.
func call(id btf.TypeID) asm.Instruction {
	return asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Call), Src: asm.PseudoKfuncCall, Constant: int64(id)}
}

// network16 is how the program sees a number of the packet's byte order that it reads as two bytes of its own.
func network16(v uint16) int32 {
	return int32(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v)))
}
