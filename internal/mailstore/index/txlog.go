package index

import (
	"encoding/binary"
	"slices"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/record"
	"rookery/internal/numset"
)

// The parts of a transaction's record, in this order. Each begins with its
// number; UIDs are those of the mailbox before the transaction.
const (
	partReset    = 1 // forget all; floor
	partHead     = 2 // UIDVALIDITY, UIDNEXT, HIGHESTMODSEQ
	partState    = 3 // the driver's bytes
	partSets     = 4 // first number, count, each a count of names and the names
	partChange   = 5 // flags, bits, keyword set, 1 if the MODSEQ is the transaction's, UIDs
	partExtra    = 6 // UID, size + 1, three dates, GUID or none, Loc
	partExpunge  = 7 // UIDs
	partAdd      = 8 // count, each: UID's distance, flags, bits, set, MODSEQ or 0, then as partExtra
	partFirstUID = 9 // no message below it is unseen
)

// changeKey is what messages have in common that changed alike.
type changeKey struct {
	flags, bits uint8
	touched     bool
	kw          uint32
}

// encode writes what the transaction did; v is the outcome.
func (tx *Tx) encode(v *View) []byte {
	var b []byte
	if !tx.old.built {
		b = binary.AppendUvarint(append(b, partReset), v.floor)
	}
	b = append(b, partHead)
	for _, n := range [...]uint64{uint64(v.validity), uint64(v.next), v.high} {
		b = binary.AppendUvarint(b, n)
	}
	if v.state != tx.old.state {
		b = record.AppendText(append(b, partState), v.state)
	}
	if first := len(tx.old.sets); len(v.sets) > first {
		b = binary.AppendUvarint(append(b, partSets), uint64(first))
		b = binary.AppendUvarint(b, uint64(len(v.sets)-first))
		for _, set := range v.sets[first:] {
			b = binary.AppendUvarint(b, uint64(len(set)))
			for _, s := range set {
				b = record.AppendText(b, s)
			}
		}
	}
	b = tx.encodeChanges(b)
	if !tx.gone.Empty() {
		b = record.AppendRanges(append(b, partExpunge), tx.gone.Ranges())
	}
	if tx.added > 0 {
		b = tx.encodeAdded(b)
	}
	return binary.AppendUvarint(append(b, partFirstUID), uint64(v.firstUID.Load()))
}

// encodeChanges groups messages that changed alike.
func (tx *Tx) encodeChanges(b []byte) []byte {
	slices.Sort(tx.edits)
	tx.edits = slices.Compact(tx.edits)
	groups := map[changeKey]*numset.Set{}
	var order []changeKey
	for k, pos := range tx.edits {
		p, i := tx.old.locate(int(pos))
		pg := tx.v.pages[p]
		at, ok := pg.find(i)
		if !ok {
			continue
		}
		ch := &pg.ch[at]
		uid := tx.v.uidAt(p, i)
		key := changeKey{ch.flags, ch.bits, tx.modseq != 0 && ch.modseq == tx.modseq, ch.kw}
		set := groups[key]
		if set == nil {
			set = &numset.Set{}
			groups[key] = set
			order = append(order, key)
		}
		// Neighbours make one range, whatever UIDs are free between them.
		if r := set.Ranges(); k > 0 && tx.edits[k-1]+1 == pos && len(r) > 0 && r[len(r)-1].Last == tx.lastEdit {
			set.AddRange(tx.lastEdit, uid)
		} else {
			set.Add(uid)
		}
		tx.lastEdit = uid
	}
	for _, key := range order {
		b = append(b, partChange, key.flags, key.bits)
		b = binary.AppendUvarint(b, uint64(key.kw))
		touched := byte(0)
		if key.touched {
			touched = 1
		}
		b = record.AppendRanges(append(b, touched), groups[key].Ranges())
	}
	slices.Sort(tx.extras)
	for _, pos := range slices.Compact(tx.extras) {
		p, i := tx.old.locate(int(pos))
		pg := tx.v.pages[p]
		if at, ok := pg.find(i); ok && pg.ch[at].x != nil {
			b = binary.AppendUvarint(append(b, partExtra), uint64(tx.v.uidAt(p, i)))
			b = appendExtra(b, pg.ch[at].x)
		}
	}
	return b
}

func appendExtra(b []byte, x *extra) []byte {
	b = binary.AppendUvarint(b, uint64(x.size+1))
	for _, d := range [...]int64{x.date, x.saved, x.sent} {
		b = binary.AppendVarint(b, d)
	}
	if x.guid == (mailstore.GUID{}) {
		b = append(b, 0)
	} else {
		b = append(append(b, 16), x.guid[:]...)
	}
	return record.AppendText(b, x.loc)
}

func (d *decoder) extra() (x extra) {
	n := d.Uvarint()
	if n > maxWide+1 {
		d.Fail()
	}
	x.size = int64(n) - 1
	x.date, x.saved, x.sent = clampDate(d.Varint()), clampDate(d.Varint()), clampDate(d.Varint())
	switch d.Byte() {
	case 0:
	case 16:
		copy(x.guid[:], d.Bytes(16))
	default:
		d.Fail()
	}
	x.loc = d.Text(MaxLoc)
	return x
}

// encodeAdded writes the last added records.
func (tx *Tx) encodeAdded(b []byte) []byte {
	b = binary.AppendUvarint(append(b, partAdd), uint64(tx.added))
	last := uint32(0)
	left := tx.added
	from := len(tx.v.pages)
	for n := 0; n < left; {
		from--
		n += tx.v.pages[from].n
		if n >= left {
			// The first page that has some may have older ones, too.
			b, last = appendRecs(b, tx.v.pages[from].recs[n-left:tx.v.pages[from].n], last, tx.modseq)
		}
	}
	for _, pg := range tx.v.pages[from+1:] {
		b, last = appendRecs(b, pg.recs[:pg.n], last, tx.modseq)
	}
	return b
}

func appendRecs(b []byte, list []rec, last uint32, modseq uint64) ([]byte, uint32) {
	for k := range list {
		r := &list[k]
		b = binary.AppendUvarint(b, uint64(r.uid-last))
		last = r.uid
		b = append(b, byte(r.flags), r.bits)
		b = binary.AppendUvarint(b, uint64(r.kw))
		m := r.modseq
		if m == modseq {
			m = 0
		}
		b = appendExtra(binary.AppendUvarint(b, m), &r.extra)
	}
	return b, last
}
