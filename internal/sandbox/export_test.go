package sandbox

import (
	"encoding/binary"
	"slices"

	"golang.org/x/net/bpf"
)

// Verdicts of a filter, for tests.
const (
	Allow = uint32(retAllow)
	Trap  = uint32(retTrap)
	NoSys = retNoSys
	Kill  = uint32(retKill)
	Arch  = uint32(auditArch)
)

// TestRow is what tests see of a row.
type TestRow struct {
	Name, Why string
	NR        uint32
	Deny      bool
	Args      bool // has conditions
}

// TableOf gives a role's table; stage 1 includes a spare's rows.
func TableOf(role Role, o Options, pid, stage int) ([]TestRow, error) {
	rows, err := rowsOf(role, o, pid)
	if stage == 1 {
		rows = append(rows, stageOneRows()...)
	}
	var out []TestRow
	for _, r := range rows {
		out = append(out, TestRow{r.name, r.why, r.nr, r.deny, len(r.when) > 0})
	}
	return out, err
}

// Filter is an assembled table that runs in this process.
type Filter struct{ vm *bpf.VM }

// NewFilter assembles a role's table.
func NewFilter(role Role, o Options, pid, stage int) (Filter, error) {
	rows, err := rowsOf(role, o, pid)
	if err != nil {
		return Filter{}, err
	}
	if stage == 1 {
		rows = append(rows, stageOneRows()...)
	}
	raw, err := assemble(rows)
	if err != nil {
		return Filter{}, err
	}
	prog, ok := bpf.Disassemble(raw)
	if !ok {
		panic("a filter that cannot be read back")
	}
	vm, err := bpf.NewVM(prog)
	return Filter{vm}, err
}

// Verdict runs the filter on one call. The machine of x/net reads big-endian
// words, the kernel's reads the machine's own: the packet is built to fit.
func (f Filter) Verdict(arch, nr uint32, args ...uint64) uint32 {
	packet := make([]byte, 64)
	binary.BigEndian.PutUint32(packet[offNr:], nr)
	binary.BigEndian.PutUint32(packet[offArch:], arch)
	for i, a := range slices.Concat(args, make([]uint64, 6))[:6] {
		binary.BigEndian.PutUint32(packet[offArgs+8*i:], uint32(a))
		binary.BigEndian.PutUint32(packet[offArgs+8*i+4:], uint32(a>>32))
	}
	n, err := f.vm.Run(packet)
	if err != nil {
		panic(err)
	}
	return uint32(n)
}
