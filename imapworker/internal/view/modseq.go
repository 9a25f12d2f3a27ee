package view

import (
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// HasModSeqs reports whether the mailbox has mod-sequences that last. If not,
// SELECT says NOMODSEQ (RFC 7162 §3.1.2.2).
func (v *View) HasModSeqs() bool { return v.told.HighestModSeq() > 0 }

// ModSeqs reports whether the client wants mod-sequences and can have them.
func (v *View) ModSeqs() bool { return v.modSeqs }

// WantModSeqs notes that the client has issued a CONDSTORE enabling command
// (RFC 7162 §3.1): whatever it is told of a message from now on comes with UID and
// MODSEQ. What it was told before came without, so that is not held for known.
func (v *View) WantModSeqs() {
	if v.modSeqs || !v.HasModSeqs() {
		return
	}
	v.modSeqs = true
	for uid, state := range v.flags {
		state.modSeq = 0
		v.flags[uid] = state
	}
}

// HighestModSeq is what HIGHESTMODSEQ tells: the client knows, or is told by the
// end of the command, all that happened up to it.
func (v *View) HighestModSeq() uint64 { return uint64(v.told.HighestModSeq()) }

// ModSeqOf gives what MODSEQ shows of an entry. One whose number the disk has
// lost counts as changed last of all.
func (v *View) ModSeqOf(e mailstore.Entry) uint64 {
	if e.ModSeq == 0 {
		return uint64(v.cur.HighestModSeq())
	}
	return uint64(e.ModSeq)
}

// WriteModSeq writes "* n FETCH (UID n MODSEQ (…))": flags that the client
// foresaw, with a mod-sequence that it cannot.
func (v *View) WriteModSeq(e *imapwire.Encoder, uid mailstore.UID) {
	seq, ok := v.Seq(uid)
	if !ok {
		return
	}
	entry, _, _ := v.Entry(uid)
	e.Fetch(seq, uid)
	if !e.Options.UIDOnly {
		e.Atom("UID").SP().Num(uid).SP()
	}
	e.ModSeq(v.ModSeqOf(entry)).Close().CRLF()
}

// KnowsModSeq reports whether the client was told the newest mod-sequence of
// message seq.
func (v *View) KnowsModSeq(seq uint32) bool {
	e, _, gone := v.Entry(v.UID(seq))
	return gone || v.believed(int(seq)-1).modSeq == e.ModSeq
}

// Untouched gives those of uids, which all have changed since the mod-sequence
// since, whose changes are none of a change's business: the client knew the
// message as it was at since, and what change is about has not become another
// since then (RFC 7162 §3.1.12). until is the picture that this was seen in: a
// message that changes once more has a mod-sequence above it.
func (v *View) Untouched(uids numset.Set, since mailstore.ModSeq, change mailstore.FlagChange) (out numset.Set, until mailstore.ModSeq) {
	until = v.cur.HighestModSeq()
	if change.Op == mailstore.SetFlags {
		return out, until
	}
	for seq, uid := range v.each(uids) {
		was := v.believed(int(seq) - 1)
		e, keywords, gone := v.Entry(uid)
		if gone || was.modSeq == 0 || was.modSeq > since || (was.flags^e.Flags)&change.Flags != 0 {
			continue
		}
		same := true
		for _, k := range change.Keywords {
			same = same && HasKeyword(was.keywords, k) == HasKeyword(keywords, k)
		}
		if same {
			out.Add(uid)
		}
	}
	return out, until
}
