package sandbox

import (
	"errors"
	"fmt"
	"sort"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// row permits one system call, or answers it with ENOSYS. Rows of the same
// call are alternatives: one whose conditions all hold is enough.
type row struct {
	name string
	nr   uint32
	when []cond
	deny bool // answer ENOSYS: Go only asks whether the kernel has it
	why  string
}

// cond is a condition on one argument, of its low 32 bits or of all 64.
type cond struct {
	arg  int
	op   condOp
	vals []uint32 // oneOf: any of them; noneOf: one mask of bits that must be 0
	wide bool     // the upper half must be 0 as well
}

type condOp uint8

const (
	opOneOf condOp = iota
	opNoBits
)

// is holds when the int argument is one of vals. The kernel reads an int
// argument's low half only, so only that half is compared.
func is(arg int, vals ...uint32) cond { return cond{arg: arg, op: opOneOf, vals: vals} }

// isWide is for arguments of 64 bits (pointers, unsigned long).
func isWide(arg int, vals ...uint32) cond {
	return cond{arg: arg, op: opOneOf, vals: vals, wide: true}
}

// only holds when no bit outside mask is set in the int argument.
func only(arg int, mask uint32) cond { return cond{arg: arg, op: opNoBits, vals: []uint32{^mask}} }

// no holds when no bit of mask is set.
func no(arg int, mask uint32) cond { return cond{arg: arg, op: opNoBits, vals: []uint32{mask}} }

// Offsets in the kernel's struct seccomp_data, on little-endian machines.
const (
	offNr   = 0
	offArch = 4
	offArgs = 16
)

const (
	retAllow  = unix.SECCOMP_RET_ALLOW
	retTrap   = unix.SECCOMP_RET_TRAP
	retNoSys  = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	retKill   = unix.SECCOMP_RET_KILL_PROCESS
	x32Bit    = 0x40000000 // amd64's second set of numbers: never ours
	maxInsns  = 4096       // the kernel's limit, BPF_MAXINSNS
	maxInJump = 255        // a conditional jump's reach
)

// assemble makes the program: the architecture, then one block per call.
func assemble(rows []row) ([]bpf.RawInstruction, error) {
	prog := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
		bpf.RetConstant{Val: retKill}, // 32-bit calls: the numbers would mean other calls
		bpf.LoadAbsolute{Off: offNr, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: x32Bit, SkipTrue: 1},
		bpf.RetConstant{Val: retKill},
	}
	for _, group := range grouped(rows) {
		block, err := callBlock(group)
		if err != nil {
			return nil, err
		}
		prog = append(prog, bpf.JumpIf{Cond: bpf.JumpEqual, Val: group[0].nr, SkipFalse: uint8(len(block))})
		prog = append(prog, block...)
	}
	prog = append(prog, bpf.RetConstant{Val: retTrap})
	if len(prog) > maxInsns {
		return nil, fmt.Errorf("sandbox: filter has %d instructions, limit %d", len(prog), maxInsns)
	}
	return bpf.Assemble(prog)
}

// grouped puts the rows of one call together. Calls with conditions come
// first: the kernel remembers which calls pass whatever their arguments and
// never runs the program for those.
func grouped(rows []row) [][]row {
	place := map[uint32]int{}
	var groups [][]row
	for _, r := range rows {
		i, ok := place[r.nr]
		if !ok {
			i = len(groups)
			place[r.nr] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], r)
	}
	conditional := func(g []row) bool {
		for _, r := range g {
			if len(r.when) == 0 {
				return false
			}
		}
		return true
	}
	sort.SliceStable(groups, func(i, j int) bool { return conditional(groups[i]) && !conditional(groups[j]) })
	return groups
}

// callBlock is the program part for one call; it never falls out of its end.
func callBlock(group []row) ([]bpf.Instruction, error) {
	var block []bpf.Instruction
	for _, r := range group {
		verdict := bpf.RetConstant{Val: retAllow}
		if r.deny {
			verdict.Val = retNoSys
		}
		block = append(block, alternative(r.when, verdict)...)
	}
	block = append(block, bpf.RetConstant{Val: retTrap})
	if len(block) > maxInJump {
		return nil, errors.New("sandbox: too many conditions on " + group[0].name)
	}
	return block, nil
}

// alternative gives verdict if all conditions hold and falls out otherwise.
func alternative(conds []cond, verdict bpf.Instruction) []bpf.Instruction {
	tail := []bpf.Instruction{verdict}
	for i := len(conds) - 1; i >= 0; i-- {
		tail = append(conditionBlock(conds[i], len(tail)), tail...)
	}
	return tail
}

// conditionBlock falls into the next condition if c holds and jumps over the
// rest of the alternative, rest instructions, if not.
func conditionBlock(c cond, rest int) []bpf.Instruction {
	low := uint32(offArgs + 8*c.arg)
	var test []bpf.Instruction
	if c.op == opNoBits {
		test = []bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: c.vals[0], SkipTrue: uint8(rest)}}
	} else {
		for i, v := range c.vals {
			after := len(c.vals) - 1 - i // comparisons that are still to come
			j := bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipTrue: uint8(after)}
			if after == 0 {
				j.SkipFalse = uint8(rest)
			}
			test = append(test, j)
		}
	}
	test = append([]bpf.Instruction{bpf.LoadAbsolute{Off: low, Size: 4}}, test...)
	if c.wide {
		over := uint8(len(test) + rest)
		test = append([]bpf.Instruction{
			bpf.LoadAbsolute{Off: low + 4, Size: 4},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipFalse: over},
		}, test...)
	}
	return test
}
