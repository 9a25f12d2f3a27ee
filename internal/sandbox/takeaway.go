//go:build rookery_attack

package sandbox

import "strconv"

// Builds of the attack tests alone have this file: they show that each
// protection stops something. A build without the tag rookery_attack has no
// way to weaken the sandbox.

// attackABI and attackWithout are set by the linker, so that the real programs
// can be built weaker: a Landlock ABI to be capped at, and a sum of Protection
// bits to leave out.
var attackABI, attackWithout string

// TakeAway gives options without the protections of p.
func (o Options) TakeAway(p Protection) Options {
	o.without |= p
	return o
}

func tuned(o Options) Options {
	if abi, err := strconv.Atoi(attackABI); err == nil && abi > 0 && o.LandlockABI == 0 {
		o.LandlockABI = abi
	}
	if bits, err := strconv.Atoi(attackWithout); err == nil && bits > 0 {
		o.without |= Protection(bits)
		o.Strict = false
	}
	return o
}
