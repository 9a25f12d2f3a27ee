package view

import (
	"sort"

	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// WantVanished makes the view tell expunges by UIDs: under QRESYNC where
// mod-sequences last (RFC 7162 §3.2.10), under UIDONLY in any case (RFC 9586 §3.7).
func (v *View) WantVanished(always bool) { v.vanished = always || v.HasModSeqs() }

// Behind reports whether there are changes that the client may not be told yet.
// HighestModSeq is what it has all changes up to, even if it has seen higher
// mod-sequences of single messages.
func (v *View) Behind() bool { return v.told.HighestModSeq() < v.cur.HighestModSeq() }

// Vanished gives those of known that were expunged after since; where the
// history of expunges does not reach back so far, all of known that are not there
// (RFC 7162 §3.2.6: "MUST behave as if it was requested to report all expunged
// messages"). Messages that the client counts are not among them: their going is
// told when sequence numbers may move.
func (v *View) Vanished(since mailstore.ModSeq, known numset.Set) (numset.Set, error) {
	gone, complete, err := v.box.ExpungedSince(since)
	if err != nil {
		return numset.Set{}, err
	}
	known = known.Intersect(numset.Span(1, v.told.UIDNext()-1))
	if complete {
		known = known.Intersect(gone)
	}
	return v.absent(known), nil
}

// absent leaves of uids what no message has that the client counts.
func (v *View) absent(uids numset.Set) (out numset.Set) {
	var entries [256]mailstore.Entry
	for _, r := range uids.Ranges() {
		pos, _ := v.told.Find(r.First)
		next := uint64(r.First) // the first that is not decided
		for next <= uint64(r.Last) {
			n := mailstore.Entries(v.told, pos, entries[:])
			for _, e := range entries[:n] {
				if e.UID > r.Last {
					n = 0
					break
				}
				out.AddRange(uint32(next), e.UID-1)
				next = uint64(e.UID) + 1
			}
			if n == 0 {
				out.AddRange(uint32(next), r.Last)
				break
			}
			pos += n
		}
	}
	return out
}

// Matched compares a sample of what the client believes, sequence numbers and
// the UIDs that belong to them, with the mailbox, and gives the highest UID up to
// which it knows of all expunges; 0 if nothing fits (RFC 7162 §3.2.5.2).
//
// What fits shows that nothing below is gone, and what does not that something is:
// so the pairs that fit come first.
func (v *View) Matched(seqs, uids numset.Set) mailstore.UID {
	// No set of a client's has 2^31 pairs that fit: there would have to be messages.
	n := int(min(seqs.Len(), uids.Len(), uint64(v.told.Len())))
	fit := sort.Search(n, func(i int) bool {
		seq, _ := seqs.At(uint64(i))
		uid, _ := uids.At(uint64(i))
		return seq > v.Len() || v.UID(seq) != uid
	})
	if fit == 0 {
		return 0
	}
	uid, _ := uids.At(uint64(fit - 1))
	return uid
}
