package session

import (
	"regexp"
	"strconv"
)

// shownModSeqs makes mod-sequences that follow the clock fit for transcripts: the
// first that a server tells is shown as 1000, the others by their distance from
// it, and what a client sends is turned back.
type shownModSeqs struct {
	first uint64 // 0: none was told
	alike bool   // all are shown as the first: several stores, each with a clock's numbers
	lines map[int]*sentLine
}

type sentLine struct {
	text   []byte // of the line so far
	digits []byte // of a mod-sequence that is not sent yet
}

const shownFirst = 1000

var (
	toldModSeq   = regexp.MustCompile(`(MODSEQ \(?)(\d{13,})`)
	beforeModSeq = regexp.MustCompile(`(?i)(CHANGEDSINCE|MODSEQ( "[^"]*" [a-z]+)?) $`)
)

// show puts shown numbers into what a server sent.
func (m *shownModSeqs) show(p []byte) []byte {
	return toldModSeq.ReplaceAllFunc(p, func(match []byte) []byte {
		parts := toldModSeq.FindSubmatch(match)
		n, _ := strconv.ParseUint(string(parts[2]), 10, 64)
		if m.first == 0 || m.alike {
			m.first = n
		}
		return strconv.AppendUint(parts[1][:len(parts[1]):len(parts[1])], n-m.first+shownFirst, 10)
	})
}

// hide puts real numbers into what session n sends. A number that is not at its
// end yet is kept back.
func (m *shownModSeqs) hide(n int, p []byte) (out []byte) {
	if m.lines == nil {
		m.lines = map[int]*sentLine{}
	}
	if m.lines[n] == nil {
		m.lines[n] = &sentLine{}
	}
	l := m.lines[n]
	for _, b := range p {
		if b >= '0' && b <= '9' && beforeModSeq.Match(l.text) {
			l.digits = append(l.digits, b)
			continue
		}
		if len(l.digits) > 0 {
			if shown, err := strconv.ParseUint(string(l.digits), 10, 64); err == nil && m.first > 0 && shown > shownFirst/2 && shown < 1<<20 {
				l.digits = strconv.AppendUint(nil, shown-shownFirst+m.first, 10)
			}
			out, l.text, l.digits = append(out, l.digits...), append(l.text, l.digits...), nil
		}
		out, l.text = append(out, b), append(l.text, b)
		if b == '\n' {
			l.text = l.text[:0]
		}
	}
	return out
}

// Send and Take are for transcript.Peer.
func (p *peer) Send(n int, b []byte) {
	if p.shown != nil {
		b = p.shown.hide(n, b)
	}
	p.Peers.Send(n, b)
}

func (p *peer) Take(n int) []byte {
	if p.shown != nil {
		return p.shown.show(p.Peers.Take(n))
	}
	return p.Peers.Take(n)
}
