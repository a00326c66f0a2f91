package shortcut

import "github.com/cilium/ebpf/asm"

// roomFlags make room for the header as of a UDP tunnel with Ethernet inside (enum bpf_adj_room_flags): the segments of
// a large packet stay as large as they are.
const (
	roomFixedGSO = 1 << 0
	roomIPv4     = 1 << 1
	roomUDP      = 1 << 4
	roomEthernet = 1 << 6
	roomInner    = (headerSize - innerFrame) << 56
	roomAtMAC    = 1
	roomFlags    = roomFixedGSO | roomIPv4 | roomUDP | roomEthernet | roomInner
)

// encapsulate puts the VXLAN's header of the pod in R8 before the packet, as the kernel's VXLAN does.
func encapsulate() asm.Instructions {
	var p asm.Instructions
	for i := int16(0); i < headerSize; i += 8 {
		p = append(p, asm.LoadMem(asm.R2, asm.R8, podHeader+i, asm.DWord), asm.StoreMem(asm.RFP, stackHeader+i, asm.R2, asm.DWord))
	}
	return append(p,
		asm.LoadMem(asm.R9, asm.R6, skbLength, asm.Word),
		asm.Add.Imm(asm.R9, headerGrowth-14),
		asm.JGT.Imm(asm.R9, 0xffff, OtherKind.label()),
		// The port differs by connection, so that routers keep the order within one.
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.FnGetHashRecalc.Call(),
		asm.Or.Imm(asm.R0, 0xc000),
		asm.HostTo(asm.BE, asm.R0, asm.Half),
		asm.StoreMem(asm.RFP, stackHeader+outerUDP, asm.R0, asm.Half),
		asm.FnGetPrandomU32.Call(),
		asm.And.Imm(asm.R0, 0xffff),
		asm.StoreMem(asm.RFP, stackHeader+outerID, asm.R0, asm.Half),
		asm.Mov.Reg(asm.R3, asm.R9),
		asm.HostTo(asm.BE, asm.R3, asm.Half),
		asm.StoreMem(asm.RFP, stackHeader+outerLength, asm.R3, asm.Half),
		asm.LoadMem(asm.R4, asm.RFP, stackService, asm.Byte),
		asm.And.Imm(asm.R4, 3), // its ECN
		asm.StoreMem(asm.RFP, stackHeader+outerIP+1, asm.R4, asm.Byte),
		asm.LoadMem(asm.R4, asm.RFP, stackHeader+outerIP, asm.Half),

		asm.LoadMem(asm.R2, asm.R8, podSum, asm.Word),
		asm.Add.Reg(asm.R2, asm.R0),
		asm.Add.Reg(asm.R2, asm.R3),
		asm.Add.Reg(asm.R2, asm.R4),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.RSh.Imm(asm.R4, 16),
		asm.And.Imm(asm.R2, 0xffff),
		asm.Add.Reg(asm.R2, asm.R4),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.RSh.Imm(asm.R4, 16),
		asm.Add.Reg(asm.R2, asm.R4),
		asm.Xor.Imm(asm.R2, 0xffff),
		asm.StoreMem(asm.RFP, stackHeader+outerSum, asm.R2, asm.Half),

		asm.Sub.Imm(asm.R9, outerUDP-outerIP),
		asm.HostTo(asm.BE, asm.R9, asm.Half),
		asm.StoreMem(asm.RFP, stackHeader+udpLength, asm.R9, asm.Half),

		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Imm(asm.R2, headerGrowth),
		asm.Mov.Imm(asm.R3, roomAtMAC),
		asm.LoadImm(asm.R4, roomFlags, asm.DWord),
		asm.FnSkbAdjustRoom.Call(),
		asm.JNE.Imm(asm.R0, 0, OtherKind.label()),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Imm(asm.R2, 0),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, stackHeader),
		asm.Mov.Imm(asm.R4, headerSize),
		asm.Mov.Imm(asm.R5, 0),
		asm.FnSkbStoreBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, "spoilt"),
	)
}
