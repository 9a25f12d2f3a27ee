package session

import (
	"rookery/imapworker/internal/view"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// resync is SELECT's parameter QRESYNC: what a client knows of the mailbox from
// an earlier connection (RFC 7162 §3.2.5).
//
//	"QRESYNC" SP "(" uidvalidity SP mod-sequence-value [SP known-uids]
//	          [SP seq-match-data] ")"                       RFC 7162 §7
type resync struct {
	validity uint32
	since    uint64      // the client has all changes up to this mod-sequence
	known    numset.Expr // the UIDs that it asks about; nil stands for all
	seqs     numset.Set  // a sample of sequence numbers …
	uids     numset.Set  // … and of the UIDs that belong to them
}

func (r *resync) parse(p *parser) bool {
	if !p.s.qresync {
		// RFC 7162 §3.2.5: "MUST respond with a tagged BAD response"
		return p.Fail("ENABLE QRESYNC before it")
	}
	if !p.WantSP() || !p.WantByte('(') || !p.WantNZNumber(&r.validity) || !p.WantSP() || !p.WantModSeq(&r.since) {
		return false
	}
	more := p.SP()
	if more && p.Peek() != '(' {
		if !p.WantSet(&r.known) {
			return false
		}
		if r.known.HasStar() {
			return p.Fail(`known UIDs without "*"`)
		}
		more = p.SP()
	}
	return (!more || r.match(p)) && p.WantByte(')')
}

// match reads seq-match-data.
//
//	seq-match-data = "(" known-sequence-set SP known-uid-set ")"
func (r *resync) match(p *parser) bool {
	if p.s.enc.Options.UIDOnly {
		p.uidRequired = true // RFC 9586 §3.6
		return p.Fail("no sequence numbers: UIDONLY is enabled")
	}
	if !p.WantByte('(') || !wantAscending(p, &r.seqs) || !p.WantSP() || !wantAscending(p, &r.uids) || !p.WantByte(')') {
		return false
	}
	if r.seqs.Len() != r.uids.Len() {
		return p.Fail("as many UIDs as sequence numbers")
	}
	return true
}

// wantAscending demands a sequence-set in ascending order, without "*" (RFC 7162 §7).
func wantAscending(p *parser, out *numset.Set) bool {
	var set numset.Expr
	if !p.WantSet(&set) {
		return false
	}
	last := uint32(0)
	for _, r := range set {
		if r.First <= last || r.Last < r.First {
			return p.Fail(`numbers in ascending order, without "*"`)
		}
		last = r.Last
	}
	*out = set.Resolve(0)
	return true
}

// tell tells what has changed since the client's last connection, after the data
// of SELECT: what is gone, then what has other flags (RFC 7162 §3.2.5.1). Where
// the client speaks of another mailbox, or mod-sequences do not last, it tells
// nothing: the client sees that by UIDVALIDITY and NOMODSEQ.
func (r *resync) tell(s *Session) error {
	v := s.view
	if !v.HasModSeqs() || r.validity != v.Box().Info().UIDValidity {
		return nil
	}
	known, seqs := numset.Span(1, v.Told().UIDNext()-1), v.All()
	if r.known != nil {
		known = r.known.Resolve(0)
		var err error
		if seqs, err = v.Seqs(r.known, true); err != nil {
			return err
		}
	}
	gone, err := v.Vanished(mailstore.ModSeq(r.since), known)
	if err != nil {
		return err
	}
	if matched := v.Matched(r.seqs, r.uids); matched > 0 {
		gone = gone.Minus(numset.Span(1, matched))
	}
	s.enc.Vanished(true, gone)
	return v.WalkChanged(seqs, mailstore.ModSeq(r.since), make([]view.Item, min(seqs.Len(), 256)), nil, func(items []view.Item) error {
		for i := range items {
			v.WriteFlags(&s.enc, items[i].UID, true)
			if err := s.flushSome(); err != nil {
				return err
			}
		}
		return nil
	})
}
