package search

import (
	"strings"

	"rookery/imapworker/internal/view"
	"rookery/internal/imapwire"
)

// Program is the part of SORT and THREAD that SEARCH has too: the charset, which
// must be given, and the keys (RFC 5256 §5), for SORT also what of the outcome is
// wanted (RFC 5267 §3.1).
type Program struct{ c command }

// NewProgram gives a program to be read.
func NewProgram(cfg Config) *Program {
	return &Program{command{cfg: &cfg, root: &node{kind: kAnd}}}
}

// WantReturn reads "RETURN (…) ", if it is there.
func (p *Program) WantReturn(d *imapwire.Decoder) bool { return p.c.mayReturn(d) }

// WantCriteria reads search-criteria, up to the end of the command.
//
//	search-criteria = charset 1*(SP search-key)                RFC 5256 §5
func (p *Program) WantCriteria(d *imapwire.Decoder) bool {
	if !d.WantAstring(&p.c.charset) {
		return false
	}
	if d.Options.UTF8 && !strings.EqualFold(p.c.charset, "UTF-8") {
		return d.Fail("UTF-8, which ENABLE UTF8=ACCEPT chose") // RFC 6855 erratum 4029
	}
	return d.WantSP() && p.c.wantCriteria(d)
}

// Find gives the sequence numbers of the messages that match, in ascending order,
// unless the answer is refused. broken is the first message that could not be
// read: the others are there all the same.
func (p *Program) Find(ctx *view.Context) (seqs []uint32, refused *view.Reply, broken, err error) {
	if refused, ok := p.c.begin(ctx); !ok {
		return nil, &refused, nil, nil
	}
	r, reply, err := p.c.start(ctx)
	if r == nil {
		if err != nil {
			return nil, nil, nil, err
		}
		return nil, &reply, nil, nil
	}
	among := r.candidates()
	if ctx.Limit > 0 && among.Len() > ctx.Limit {
		// RFC 9738 §3.3: an order of some of the messages is of no use.
		refused := ctx.TooMany()
		return nil, &refused, nil, nil
	}
	err = r.collect(among, 0)
	return r.hits, nil, r.broken, err
}

// End is called with the command's answer, whatever it is.
func (p *Program) End(ctx *view.Context, reply view.Reply, err error) { p.c.end(ctx, reply, err) }

// Numbered reports whether a key names messages by sequence numbers.
func (p *Program) Numbered() bool { return p.c.numbered }

// Extended reports whether the answer is ESEARCH.
func (p *Program) Extended() bool { return p.c.extended }

// Answer writes ESEARCH for sequence numbers in the order that they are sorted in
// (RFC 5267 §3.2).
func (p *Program) Answer(ctx *view.Context, seqs []uint32) {
	if !p.c.quiet() {
		p.c.writeExtended(ctx, head{tag: ctx.Tag, uid: ctx.UID}, outcome{seqs, true})
	}
}

// Keep saves what was found, and tells what becomes of it, where that was asked
// for. It is for a command that succeeds; seqs are as for Answer, and order is what
// put them so.
func (p *Program) Keep(ctx *view.Context, seqs []uint32, order Order) {
	p.c.keep(ctx, seqs)
	p.c.follow(ctx, head{tag: ctx.Tag, uid: ctx.UID}, outcome{seqs, true}, order)
}

// WriteHighest ends a plain answer that names the messages seqs: where MODSEQ was
// a key it has the highest mod-sequence of them (RFC 7162 §3.1.9).
func (p *Program) WriteHighest(ctx *view.Context, seqs []uint32) {
	writeHighest(ctx.Enc, p.c.highestOf(ctx.View, seqs))
}
