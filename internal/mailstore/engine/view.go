package engine

import (
	"encoding/binary"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/index"
)

// view is an index's picture as an Edit sees it.
type view struct{ *index.View }

func (v view) loc(pos int) string { return unwrapLoc(v.View.Loc(pos)).Loc }

func (v view) message(pos int) Message { return messageOf(v.View, pos) }

func messageOf(v *index.View, pos int) Message {
	r := v.Rec(pos)
	m := unwrapLoc(r.Loc)
	m.UID, m.Flags, m.Keywords, m.Size, m.GUID = r.UID, r.Flags, v.Keywords(r.Keywords), r.Size, r.GUID
	if r.Date != 0 {
		m.Date = time.Unix(r.Date, 0)
	}
	if m.Saved = m.Date; r.Saved != 0 {
		m.Saved = time.Unix(r.Saved, 0)
	}
	return m
}

// wrapLoc is what the index keeps as a message's Loc: the format's own behind a
// 0, or, where another server's UIDL or order came with the message, behind a 1
// with them after it.
func wrapLoc(m Message, loc string) string {
	if m.UIDL == "" && m.Order == 0 {
		return "\x00" + loc
	}
	b := binary.AppendUvarint([]byte{1}, uint64(len(loc)))
	b = append(b, loc...)
	b = binary.AppendUvarint(b, uint64(m.Order))
	return string(append(b, m.UIDL...))
}

func unwrapLoc(s string) (m Message) {
	if s == "" || s[0] == 0 {
		m.Loc = s[min(1, len(s)):]
		return m
	}
	b := []byte(s[1:])
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return m
	}
	m.Loc, b = string(b[w:w+int(n)]), b[w+int(n):]
	order, w := binary.Uvarint(b)
	if w <= 0 || order > 1<<32-1 {
		return m
	}
	m.Order, m.UIDL = uint32(order), string(b[w:])
	return m
}

// guidOf is a message's GUID: its own, or one made of its place, where a format
// has none.
func guidOf(f Folder, m Message) mailstore.GUID {
	if m.GUID != (mailstore.GUID{}) {
		return m.GUID
	}
	h := fnv.New128a()
	h.Write(f.GUID[:])
	h.Write(binary.LittleEndian.AppendUint64(nil, uint64(f.UIDValidity)<<32|uint64(m.UID)))
	var g mailstore.GUID
	h.Sum(g[:0])
	return g
}

func sortedKeys(m map[int]bool) []int { return slices.Sorted(maps.Keys(m)) }
