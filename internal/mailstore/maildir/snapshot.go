package maildir

import (
	"slices"
	"sort"

	"rookery/internal/mailstore"
)

// chunkSize is how many messages share one copy-on-write piece: a flag change
// copies one piece, 8 KiB, whatever the mailbox's size.
const chunkSize = 512

// entry is a message as snapshots show it.
type entry struct {
	modseq uint64
	uid    uint32
	kf     uint32 // number of the keyword set, then 5 bits of system flags
}

func (e entry) flags() mailstore.Flags { return mailstore.Flags(e.kf) & mailstore.AllFlags }
func (e entry) keywords() uint32       { return e.kf >> 5 }

func pack(f mailstore.Flags, set uint32) uint32 { return set<<5 | uint32(f&mailstore.AllFlags) }

// snapshot is an immutable picture. Snapshots share the pieces that are alike.
type snapshot struct {
	chunks [][]entry // none empty
	starts []int     // position of each piece's first entry
	n      int
	next   uint32
	high   uint64
	sets   [][]string // names of keyword sets by number
}

var _ mailstore.Snapshot = (*snapshot)(nil)

func (s *snapshot) Len() int { return s.n }

// locate finds the piece and place of a position.
func (s *snapshot) locate(pos int) (c, i int) {
	// Pieces are mostly full: the guess is right or a little low.
	c = min(pos/chunkSize, len(s.chunks)-1)
	if pos < s.starts[c] || c+1 < len(s.starts) && pos >= s.starts[c+1] {
		c = sort.Search(len(s.starts), func(k int) bool { return s.starts[k] > pos }) - 1
	}
	return c, pos - s.starts[c]
}

func (s *snapshot) at(pos int) entry {
	c, i := s.locate(pos)
	return s.chunks[c][i]
}

func (s *snapshot) At(pos int) mailstore.Entry {
	e := s.at(pos)
	return mailstore.Entry{UID: e.uid, Flags: e.flags(), Keywords: e.keywords(), ModSeq: mailstore.ModSeq(e.modseq)}
}

func (s *snapshot) Find(uid mailstore.UID) (pos int, found bool) {
	c := sort.Search(len(s.chunks), func(k int) bool { return s.chunks[k][len(s.chunks[k])-1].uid >= uid })
	if c == len(s.chunks) {
		return s.n, false
	}
	i, found := slices.BinarySearchFunc(s.chunks[c], uid, func(e entry, u uint32) int {
		switch {
		case e.uid < u:
			return -1
		case e.uid > u:
			return 1
		}
		return 0
	})
	return s.starts[c] + i, found
}

func (s *snapshot) Keywords(set uint32) []string {
	if int(set) < len(s.sets) {
		return s.sets[set]
	}
	return nil
}

func (s *snapshot) UIDNext() mailstore.UID          { return s.next }
func (s *snapshot) HighestModSeq() mailstore.ModSeq { return mailstore.ModSeq(s.high) }

// editor makes the next snapshot and moves the file names along with it. Names
// are not in snapshots: only the newest are of use. It is used under the
// mailbox's disk lock.
type editor struct {
	mb    *mailbox
	old   *snapshot
	chunk [][]entry
	own   []bool // piece is a copy already
	next  uint32
	high  uint64
	dirty bool
}

func (mb *mailbox) edit() *editor {
	old := mb.snap.Load()
	return &editor{mb: mb, old: old, chunk: slices.Clone(old.chunks), own: make([]bool, len(old.chunks)), next: old.next, high: old.high}
}

// set changes the entry at a position of the old snapshot; only before remove and add.
func (ed *editor) set(pos int, kf uint32, modseq uint64) {
	c, i := ed.old.locate(pos)
	if !ed.own[c] {
		ed.chunk[c], ed.own[c] = slices.Clone(ed.chunk[c]), true
	}
	ed.chunk[c][i].kf, ed.chunk[c][i].modseq = kf, modseq
	ed.high, ed.dirty = max(ed.high, modseq), true
}

// entryAt gives the entry at a position of the old snapshot, as set left it.
func (ed *editor) entryAt(pos int) entry {
	c, i := ed.old.locate(pos)
	return ed.chunk[c][i]
}

// remove takes out ascending positions of the old snapshot; only before add.
func (ed *editor) remove(positions []int, modseq uint64) {
	for at := 0; at < len(positions); {
		c, _ := ed.old.locate(positions[at])
		start, size := ed.old.starts[c], len(ed.old.chunks[c])
		left := make([]entry, 0, size)
		names := make([]string, 0, size)
		for i := range size {
			if at < len(positions) && positions[at] == start+i {
				at++
				continue
			}
			left = append(left, ed.chunk[c][i])
			names = append(names, ed.mb.names[c][i])
		}
		ed.chunk[c], ed.own[c], ed.mb.names[c] = left, true, names
		ed.dirty = true
	}
	ed.high = max(ed.high, modseq)
}

// add puts a message at the end.
func (ed *editor) add(e entry, name string) {
	last := len(ed.chunk) - 1
	if last < 0 || len(ed.chunk[last]) >= chunkSize {
		ed.chunk = append(ed.chunk, nil)
		ed.own = append(ed.own, true)
		ed.mb.names = append(ed.mb.names, nil)
		last++
	}
	if !ed.own[last] {
		// Appending in place would be seen by nobody, since older snapshots know
		// their length; but two editors of one old snapshot would collide.
		ed.chunk[last], ed.own[last] = append(make([]entry, 0, len(ed.chunk[last])+16), ed.chunk[last]...), true
	}
	ed.chunk[last] = append(ed.chunk[last], e)
	ed.mb.names[last] = append(ed.mb.names[last], name)
	ed.high, ed.dirty = max(ed.high, e.modseq), true
	if e.uid >= ed.next {
		ed.next = e.uid + 1
	}
}

// publish makes the snapshot visible and wakes watchers. It reports whether
// anything differs from the one before.
func (ed *editor) publish() bool {
	if !ed.dirty && ed.next == ed.old.next && ed.high == ed.old.high {
		return false
	}
	s := &snapshot{next: ed.next, high: ed.high, sets: ed.mb.kw.sets[:len(ed.mb.kw.sets):len(ed.mb.kw.sets)]}
	names := ed.mb.names[:0]
	for c, list := range ed.chunk {
		if len(list) == 0 {
			continue
		}
		// Neighbours that are nearly empty become one, so that pieces stay few.
		if k := len(s.chunks) - 1; k >= 0 && len(s.chunks[k])+len(list) <= chunkSize/2 {
			s.chunks[k] = append(slices.Clone(s.chunks[k]), list...)
			names[k] = append(names[k], ed.mb.names[c]...)
			s.n += len(list)
			continue
		}
		s.chunks = append(s.chunks, list)
		s.starts = append(s.starts, s.n)
		names = append(names, ed.mb.names[c])
		s.n += len(list)
	}
	clear(ed.mb.names[len(names):])
	ed.mb.names = names
	ed.mb.snap.Store(s)
	ed.mb.wake()
	return true
}
