package session

import (
	"rookery/imapworker/internal/view"
	"rookery/internal/imapwire"
	"rookery/internal/numset"
)

// uidbatches = "UIDBATCHES" SP nz-number [SP nz-number ":" nz-number]   RFC 10022
//
// The mailbox's messages are divided into batches of so many, the newest first; the
// answer has a range of UIDs for each, or for those from one number to another.
type uidBatches struct {
	tag         string
	size        uint32
	first, last uint32 // batches, counted from 1; 0 and 0 are all
	wrong       bool   // the numbers cannot be
}

// minBatch is the smallest size of a batch that is served. The text has a server
// take 500 and may have it refuse less; small ones make long answers.
const minBatch = 10

func parseUIDBatches(p *parser) (request, bool) {
	c := &uidBatches{tag: p.tag}
	if !p.WantSP() || !p.WantNumber(&c.size) {
		return nil, false
	}
	if p.SP() {
		if !p.WantNumber(&c.first) || !p.WantByte(':') || !p.WantNumber(&c.last) {
			return nil, false
		}
		c.wrong = c.first == 0 || c.last < c.first
	}
	c.wrong = c.wrong || c.size == 0
	return c, p.WantEnd()
}

func (c *uidBatches) run(s *Session) (view.Reply, error) {
	switch {
	case c.wrong:
		return view.Reply{Cond: imapwire.BAD, Code: imapwire.Code{Name: "CLIENTBUG"}, Text: "Sizes and numbers of batches begin at 1 and ascend."}, nil
	case c.size < minBatch:
		return view.No("TOOFEW", "Batches are larger than that."), nil
	}
	enc, first := &s.enc, true
	enc.Untagged().Atom("UIDBATCHES").SP().Open().Atom("TAG").SP().Quoted(c.tag).Close()
	for _, r := range c.batches(s.view) {
		if first {
			enc.SP().Num(r.Last)
		} else {
			enc.Append([]byte{','}).Num(r.Last)
		}
		first = false
		if r.First != r.Last {
			enc.Append([]byte{':'}).Num(r.First)
		}
	}
	enc.CRLF()
	return view.Done("Uidbatches completed."), nil
}

// batches gives the ranges of UIDs, the newest first. They leave no gap: each
// begins where the one before ends, the first at the newest message, and the last
// of the mailbox ends at 1.
func (c *uidBatches) batches(v *view.View) (out []numset.Range) {
	n, size := uint64(v.Len()), uint64(c.size)
	first, last := uint64(c.first), uint64(c.last)
	if last == 0 {
		first, last = 1, (n+size-1)/size
	}
	for k := first; k <= last && (k-1)*size < n; k++ {
		top := n - (k-1)*size // the sequence number of the batch's newest message
		r := numset.Range{First: 1, Last: v.UID(uint32(top))}
		if k > 1 {
			r.Last = v.UID(uint32(top+1)) - 1
		}
		if top > size {
			r.First = v.UID(uint32(top - size + 1))
		}
		out = append(out, r)
	}
	return out
}
