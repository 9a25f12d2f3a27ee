package remote

import (
	"encoding/binary"
	"slices"
	"strings"

	"rookery/internal/mailstore"
)

// maxMessages bounds a mailbox that is served.
const maxMessages = 4 << 20

// A picture is told by steps, which make it out of the one before. A step is a number:
// what to do in its two lowest bits, and how often in the others.
const (
	stepKeep = iota // the next n messages of the old picture stay
	stepDrop        // the next n messages of the old picture are gone
	stepFlag        // n messages of the old picture stay with what follows: flags, keywords, MODSEQ
	stepAdd         // n messages are new: the distance of the UID from the one before, and as stepFlag
)

// Keywords are the number of a set of them: 0 is none, others were told before, but for
// the one that is next, whose names follow. A MODSEQ is its distance from the one
// that was told last, with a sign.

// equal compares without a difference between nil and nothing.
func equal(a, b []string) bool { return slices.Equal(a, b) }

// wordSets numbers the sets of keywords that a guest was told of.
type wordSets struct {
	no    map[string]uint32 // by the names, a line each
	bytes int
}

func newWordSets() *wordSets { return &wordSets{no: map[string]uint32{}} }

// Bounds of the sets that are numbered before it is begun anew.
const (
	maxSets     = 1 << 15
	maxSetBytes = 1 << 20
)

// full reports whether it is time to begin anew: the guest holds them all.
func (w *wordSets) full() bool { return len(w.no) >= maxSets || w.bytes >= maxSetBytes }

// stepWriter writes the steps from an old picture, which may be nil, to a new one.
type stepWriter struct {
	old, now     mailstore.Snapshot
	shares       mailstore.PictureSharer
	sets         *wordSets
	olds, news   map[uint32]uint32 // a picture's numbers of sets → those that were told
	oldAt, newAt mailstore.EntryWindow
	i, j         int // the next messages of old and now
	keep, drop   int // steps that are not written yet; never both
	uid          mailstore.UID
	modseq       mailstore.ModSeq
	out          []byte
}

func newStepWriter(old, now mailstore.Snapshot, sets *wordSets) *stepWriter {
	w := &stepWriter{old: old, now: now, sets: sets, olds: map[uint32]uint32{}, news: map[uint32]uint32{}}
	w.shares, _ = now.(mailstore.PictureSharer)
	w.oldAt.Of, w.newAt.Of = old, now
	return w
}

// next gives some of the steps, about as many bytes as asked for; more says that there
// are others.
func (w *stepWriter) next(bytes int) (out []byte, more bool) {
	w.out = nil
	oldLen := 0
	if w.old != nil {
		oldLen = w.old.Len()
	}
	newLen := w.now.Len()
	for w.i < oldLen || w.j < newLen {
		if len(w.out) >= bytes {
			w.flush()
			return w.out, true
		}
		switch {
		case w.i == oldLen:
			w.add(w.newAt.At(w.j))
		case w.j == newLen:
			w.dropped(oldLen - w.i)
		default:
			w.compare()
		}
	}
	w.flush()
	return w.out, false
}

// compare writes a step for the next messages of both.
func (w *stepWriter) compare() {
	if w.shares != nil && !w.newAt.Has(w.j) {
		if n := w.shares.Shared(w.j, w.old, w.i); n > 0 {
			w.kept(n)
			w.uid = w.now.At(w.j - 1).UID
			return
		}
	}
	a, b := w.oldAt.At(w.i), w.newAt.At(w.j)
	switch {
	case a.UID < b.UID:
		w.dropped(1)
	case a.UID > b.UID:
		w.add(b)
	case w.same(a, b):
		w.kept(1)
		w.uid = b.UID
	default:
		w.flush()
		w.step(stepFlag, 1)
		w.uid = b.UID
		w.state(b)
		w.i, w.j = w.i+1, w.j+1
	}
}

func (w *stepWriter) kept(n int) {
	if w.drop > 0 {
		w.flush()
	}
	w.keep += n
	w.i, w.j = w.i+n, w.j+n
}

func (w *stepWriter) dropped(n int) {
	if w.keep > 0 {
		w.flush()
	}
	w.drop += n
	w.i += n
}

// flush writes the steps that wait.
func (w *stepWriter) flush() {
	if w.keep > 0 {
		w.step(stepKeep, w.keep)
	}
	if w.drop > 0 {
		w.step(stepDrop, w.drop)
	}
	w.keep, w.drop = 0, 0
}

func (w *stepWriter) step(what uint64, n int) {
	w.out = binary.AppendUvarint(w.out, uint64(n)<<2+what)
}

func (w *stepWriter) add(e mailstore.Entry) {
	w.flush()
	w.step(stepAdd, 1)
	w.out = binary.AppendUvarint(w.out, uint64(e.UID-w.uid))
	w.uid = e.UID
	w.state(e)
	w.j++
}

// state writes flags, keywords and MODSEQ.
func (w *stepWriter) state(e mailstore.Entry) {
	w.out = append(w.out, byte(e.Flags&mailstore.AllFlags))
	w.words(e.Keywords)
	w.out = binary.AppendVarint(w.out, int64(e.ModSeq)-int64(w.modseq))
	w.modseq = e.ModSeq
}

// words writes the number of a set of keywords, and its names if they are not known.
func (w *stepWriter) words(set uint32) {
	if set == 0 {
		w.out = append(w.out, 0)
		return
	}
	no, ok := w.news[set]
	if !ok {
		names := w.now.Keywords(set)
		key := strings.Join(names, "\n")
		if no, ok = w.sets.no[key]; !ok && len(names) > 0 {
			no = uint32(len(w.sets.no)) + 1
			w.sets.no[key] = no
			w.sets.bytes += len(key) + 64
			w.news[set] = no
			w.out = binary.AppendUvarint(w.out, uint64(no))
			w.out = binary.AppendUvarint(w.out, uint64(len(names)))
			for _, s := range names {
				w.out = binary.AppendUvarint(w.out, uint64(len(s)))
				w.out = append(w.out, s...)
			}
			return
		}
		w.news[set] = no
	}
	w.out = binary.AppendUvarint(w.out, uint64(no))
}

// same reports whether a message is as the guest was told. Two pictures may number
// their sets of keywords differently.
func (w *stepWriter) same(a, b mailstore.Entry) bool {
	if a.ModSeq != b.ModSeq || a.Flags != b.Flags || (a.Keywords == 0) != (b.Keywords == 0) {
		return false
	}
	if a.Keywords == 0 {
		return true
	}
	was, is := w.number(w.olds, w.old, a.Keywords), w.number(w.news, w.now, b.Keywords)
	return was == is && is != 0
}

// number gives the number by which a picture's set was told, 0 if it was not.
func (w *stepWriter) number(known map[uint32]uint32, of mailstore.Snapshot, set uint32) uint32 {
	if no, ok := known[set]; ok {
		return no
	}
	names := of.Keywords(set)
	no, ok := w.sets.no[strings.Join(names, "\n")]
	if ok {
		known[set] = no
	}
	return no
}
