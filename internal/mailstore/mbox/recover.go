package mbox

import (
	"bytes"
	"time"

	"rookery/internal/mailstore/mbox/mboxfmt"
)

// recover finishes or takes back what a crash cut short. The mbox is locked for
// writing. why is told where nothing could be done because another program has
// rewritten the file.
func (m *mover) recover(s *step) (why string, err error) {
	size, err := m.size()
	if err != nil {
		return "", err
	}
	if m.inode != s.inode {
		return "another file is in its place", m.r.done()
	}
	for _, c := range []check{s.before, s.after} {
		if ok, err := m.holds(c); err != nil {
			return "", err
		} else if !ok {
			return "another program has rewritten it", m.r.done()
		}
	}
	switch s.state {
	case gap:
		if size < s.to || size < s.dst {
			return "another program has cut it", m.r.done()
		}
		if err = m.do(&step{state: gap, dst: s.dst, data: s.data, from: s.from, to: s.to}); err == nil {
			err = m.closeGap(s.from, s.to)
		}
	case extend:
		var to int64
		if to, err = m.zeroes(s.from, min(s.to, size)); err == nil {
			err = m.closeGap(s.from, max(to, s.from))
		}
	case cut:
		err = m.recoverCut(s, size)
	case add:
		var to int64
		if to, err = m.endOfTorn(s, size); err == nil {
			err = m.closeGap(s.from, to)
		}
	case fill:
		err = m.closeGap(s.from, max(min(s.to, size), s.from))
	}
	if err != nil {
		return "", err
	}
	return "", m.r.done()
}

// zeroes gives how far from reaches in zeroes, at most to to.
func (m *mover) zeroes(from, to int64) (int64, error) {
	b := make([]byte, 64<<10)
	for from < to {
		p := b[:min(int64(len(b)), to-from)]
		if err := readFull(m.f, p, from); err != nil {
			return 0, err
		}
		for i, c := range p {
			if c != 0 {
				return from + int64(i), nil
			}
		}
		from += int64(len(p))
	}
	return to, nil
}

// recoverCut finds out whether the end was cut off already, by the marker.
func (m *mover) recoverCut(s *step, size int64) error {
	if size <= s.from {
		return nil
	}
	b := make([]byte, min(s.to-s.from, markerLen, size-s.from))
	if err := readFull(m.f, b, s.from); err != nil {
		return err
	}
	if !bytes.Equal(b, s.marker[:len(b)]) {
		return nil // it was cut, and appended to
	}
	end := min(s.to, size)
	end, err := m.zeroes(min(s.from+markerLen, end), end) // up to what another appended to a part cut off
	if err != nil {
		return err
	}
	return m.closeGap(s.from, end)
}

// endOfTorn gives where the part of an appended message ends that reached the
// disk before a power cut: what follows it another program has appended since.
func (m *mover) endOfTorn(s *step, size int64) (int64, error) {
	if size <= s.from {
		return s.from, nil
	}
	b := make([]byte, min(size-s.from, int64(len(s.data))))
	if err := readFull(m.f, b, s.from); err != nil {
		return 0, err
	}
	n := 0
	for n < len(b) && (b[n] == s.data[n] || b[n] == 0) {
		n++
	}
	if int64(n) == size-s.from || n == len(s.data) {
		return s.from + int64(n), nil
	}
	// The other's From_ line may begin like what was to stand here.
	tail := make([]byte, min(size-s.from, int64(n+mboxfmt.MaxFrom+2)))
	if err := readFull(m.f, tail, s.from); err != nil {
		return 0, err
	}
	for at := n; at >= 0 && at >= n-mboxfmt.MaxFrom; at-- {
		line := tail[at:]
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			if _, ok := mboxfmt.ParseFrom(line[:i], time.UTC); ok {
				return s.from + int64(at), nil
			}
		}
	}
	return s.from + int64(n), nil
}
