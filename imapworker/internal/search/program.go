package search

import (
	"rookery/imapworker/internal/view"
	"rookery/internal/imapwire"
	"rookery/internal/numset"
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
	return d.WantAstring(&p.c.charset) && d.WantSP() && p.c.criteria(d)
}

// Find gives the sequence numbers of the messages that match, in ascending order,
// unless the answer is refused. broken is the first message that could not be
// read: the others are there all the same.
func (p *Program) Find(ctx *view.Context) (seqs []uint32, refused *view.Reply, broken, err error) {
	r := &run{command: &p.c, ctx: ctx, box: ctx.View.Box()}
	if !r.ready() {
		return nil, &badCharset, nil, nil
	}
	if p.c.modSeq {
		if refused, ok := ctx.NeedModSeqs(); !ok {
			return nil, &refused, nil, nil
		}
	}
	err = r.search()
	return r.hits, nil, r.broken, err
}

// Extended reports whether the answer is ESEARCH.
func (p *Program) Extended() bool { return p.c.extended }

// Answer writes ESEARCH for sequence numbers in the order that they are sorted in
// (RFC 5267 §3.2): MIN is the first of them, MAX the last.
func (p *Program) Answer(ctx *view.Context, seqs []uint32) {
	r := &run{command: &p.c, ctx: ctx}
	highest := p.c.highestOf(ctx.View, seqs)
	wantedNumbers(ctx, seqs)
	r.writeExtended(seqs, highest, func(enc *imapwire.Encoder) { enc.Append(numset.AppendOrdered(nil, seqs)) })
}

// WriteHighest ends a plain answer that names the messages seqs: where MODSEQ was
// a key it has the highest mod-sequence of them (RFC 7162 §3.1.9).
func (p *Program) WriteHighest(ctx *view.Context, seqs []uint32) {
	writeHighest(ctx.Enc, p.c.highestOf(ctx.View, seqs))
}
