//go:build rookery_attack

package sandbox

// TakeAway gives options without the protections of p. It exists in builds of
// the attack tests alone, which show that each protection stops something: a
// build without the tag rookery_attack has no way to weaken the sandbox.
func (o Options) TakeAway(p Protection) Options {
	o.without |= p
	return o
}
