package session

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rookery/imapworker/internal/sessiontest/stores"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
	"rookery/internal/transcript"
)

// Each transcript is there for the store in memory and for Maildir; in the other
// formats those for the store in memory hold to the letter.
func TestCondstore(t *testing.T) {
	transcript.RunIn(t, "testdata/condstore/*.txt", openPeer, stores.Variants(func(format, name string) bool {
		return format == "maildir" || strings.HasPrefix(name, "maildir_")
	})...)
}

// everywhere replays transcripts of the store in memory in all formats.
func everywhere(t *testing.T, pattern string) { everywhereWith(t, pattern, openPeer) }

func everywhereWith(t *testing.T, pattern string, open func(*testing.T, []string) transcript.Peer) {
	transcript.RunIn(t, pattern, open, stores.Variants(nil, "as-memory")...)
}

func TestQresync(t *testing.T) { everywhere(t, "testdata/qresync/*.txt") }

func TestNotify(t *testing.T) { everywhere(t, "testdata/notify/*.txt") }

func TestUIDOnly(t *testing.T) { everywhere(t, "testdata/uidonly/*.txt") }

// withoutModSeqs is a store that keeps no mod-sequences.
type withoutModSeqs struct{ mailstore.Store }

func (s withoutModSeqs) Open(name mailstore.Name) (mailstore.Mailbox, error) {
	box, err := s.Store.Open(name)
	return boxWithoutModSeqs{box}, err
}

func (s withoutModSeqs) Status(name mailstore.Name, want mailstore.StatusWant) (mailstore.Status, error) {
	st, err := s.Store.Status(name, want)
	st.HighestModSeq = 0
	return st, err
}

type boxWithoutModSeqs struct{ mailstore.Mailbox }

type snapshotWithoutModSeqs struct{ mailstore.Snapshot }

func (snapshotWithoutModSeqs) HighestModSeq() mailstore.ModSeq { return 0 }

func (b boxWithoutModSeqs) Snapshot() mailstore.Snapshot {
	return snapshotWithoutModSeqs{b.Mailbox.Snapshot()}
}

func (b boxWithoutModSeqs) Sync() (mailstore.Snapshot, error) {
	s, err := b.Mailbox.Sync()
	return snapshotWithoutModSeqs{s}, err
}

// shownModSeqs makes mod-sequences fit for transcripts. Only their order means
// something, and mailboxes begin to count by the clock: the first that a server tells
// is shown as 1000, each that is told of the same mailbox later 10 above the highest,
// one that is between two stands in the middle, and the next mailbox is shown from 2000
// on. What a client sends is turned back.
type shownModSeqs struct {
	told  []toldModSeq // ascending
	alike bool         // all are shown as the first: several stores, each with a clock's numbers
	lines map[int]*sentLine

	// asMemory shows also what else a store has otherwise than the one in memory.
	asMemory   bool
	validities []string
}

var (
	validity  = regexp.MustCompile(`(UIDVALIDITY|APPENDUID|COPYUID) \d+`)
	forwarded = regexp.MustCompile(` \$Forwarded`)
)

// memory shows UIDVALIDITY as the store in memory gives it, and no keyword that
// nobody made.
func (m *shownModSeqs) memory(p []byte) []byte {
	p = validity.ReplaceAllFunc(forwarded.ReplaceAll(p, nil), func(match []byte) []byte {
		name, number, _ := strings.Cut(string(match), " ")
		if !slices.Contains(m.validities, number) {
			m.validities = append(m.validities, number)
		}
		return fmt.Appendf(nil, "%s %d", name, 1001+slices.Index(m.validities, number))
	})
	return p
}

// toldModSeq is a mod-sequence and what it is shown as.
type toldModSeq struct{ real, shown uint64 }

type sentLine struct {
	text   []byte // of the line so far
	digits []byte // of a mod-sequence that is not sent yet
}

const (
	shownFirst, shownStep = 1000, 10
	shownApart            = 1 << 15 // mailboxes begin to count farther apart than one gets
)

var (
	inAnswer  = regexp.MustCompile(`(MODSEQ \(?)(\d+)`)
	inCommand = regexp.MustCompile(`(?i)(CHANGEDSINCE|MODSEQ( "[^"]*" [a-z]+)?|QRESYNC \(\d+) $`)
	inResync  = regexp.MustCompile(`(?i)QRESYNC \($`)
)

// show puts shown numbers into what a server sent.
func (m *shownModSeqs) show(p []byte) []byte {
	if m.asMemory {
		p = m.memory(p)
	}
	return inAnswer.ReplaceAllFunc(p, func(match []byte) []byte {
		parts := inAnswer.FindSubmatch(match)
		n, _ := strconv.ParseUint(string(parts[2]), 10, 64)
		switch {
		case n == 0: // STATUS of a mailbox without any
		case m.alike:
			n = shownFirst
		default:
			n = m.shownAs(n)
		}
		return strconv.AppendUint(parts[1][:len(parts[1]):len(parts[1])], n, 10)
	})
}

func (m *shownModSeqs) shownAs(n uint64) uint64 {
	at, there := slices.BinarySearchFunc(m.told, n, func(t toldModSeq, n uint64) int { return cmp.Compare(t.real, n) })
	below := at > 0 && n-m.told[max(at-1, 0)].real < shownApart
	above := !there && at < len(m.told) && m.told[at].real-n < shownApart
	t := toldModSeq{real: n}
	switch {
	case there:
		return m.told[at].shown
	case len(m.told) == 0:
		t.shown = shownFirst
	case below && !above:
		t.shown = m.told[at-1].shown + shownStep
	case above && !below:
		t.shown = m.told[at].shown - shownStep
	case at == len(m.told):
		t.shown = (m.told[at-1].shown/shownFirst + 1) * shownFirst
	case at == 0:
		t.shown = m.told[0].shown - shownFirst/10
	default:
		t.shown = (m.told[at-1].shown + m.told[at].shown) / 2
	}
	m.told = slices.Insert(m.told, at, t)
	return t.shown
}

// real gives what is shown as n; one that was not told is a little above the one
// below it.
func (m *shownModSeqs) real(n uint64) uint64 {
	for _, t := range slices.Backward(m.told) {
		switch {
		case n == t.shown:
			return t.real
		case n > t.shown && t == m.told[len(m.told)-1]:
			return t.real + (n - t.shown)
		case n > t.shown:
			return t.real
		}
	}
	return n
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
		if b >= '0' && b <= '9' && (inCommand.Match(l.text) || inResync.Match(l.text)) {
			l.digits = append(l.digits, b)
			continue
		}
		if len(l.digits) > 0 && inResync.Match(l.text) {
			if n, err := strconv.Atoi(string(l.digits)); err == nil && n > 1000 && n <= 1000+len(m.validities) {
				l.digits = []byte(m.validities[n-1001])
			}
			out, l.text, l.digits = append(out, l.digits...), append(l.text, l.digits...), nil
		} else if len(l.digits) > 0 {
			if n, err := strconv.ParseUint(string(l.digits), 10, 64); err == nil && n > shownFirst/2 && n < 100*shownFirst {
				l.digits = strconv.AppendUint(nil, m.real(n), 10)
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
	out := p.ids.show(p.Peers.Take(n))
	if p.shown != nil {
		return p.shown.show(out)
	}
	return out
}

// racing is a store in which another process changes a message just before the
// second change of a command.
type racing struct {
	mailstore.Store
	stores int
	race   func(box mailstore.Mailbox)
}

type racingBox struct {
	mailstore.Mailbox
	of *racing
}

func (s *racing) Open(name mailstore.Name) (mailstore.Mailbox, error) {
	box, err := s.Store.Open(name)
	return racingBox{box, s}, err
}

func (b racingBox) Store(change mailstore.FlagChange) (mailstore.StoreResult, error) {
	if b.of.stores++; b.of.stores == 2 {
		b.of.race(b.Mailbox)
	}
	return b.Mailbox.Store(change)
}

// A message that is tried again because what changed has nothing to do with the
// command fails if something that has does change before (RFC 7162 §3.1.12).
func TestStoreAgainRace(t *testing.T) {
	p := openPeer(t, []string{"mailbox INBOX 2"}).(*peer)
	defer p.Close()
	change := func(box mailstore.Mailbox, keyword string) {
		if _, err := box.Store(mailstore.FlagChange{UIDs: numset.Of(1), Op: mailstore.AddFlags, Keywords: []string{keyword}}); err != nil {
			t.Fatal(err)
		}
	}
	s := &racing{Store: p.store, race: func(box mailstore.Mailbox) { change(box, "$Processed") }}
	p.store = s
	p.Send(1, []byte("a SELECT INBOX (CONDSTORE)\r\n"))
	highest := inAnswer.FindSubmatch(p.Take(1))
	box, err := s.Store.Open("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	change(box, "other")
	p.Send(1, []byte("a STORE 1:2 (UNCHANGEDSINCE "+string(highest[2])+") +FLAGS.SILENT ($Processed)\r\n"))
	if got := string(p.Take(1)); !strings.Contains(got, "a OK [MODIFIED 1] ") || s.stores != 2 {
		t.Errorf("after %d changes: %s", s.stores, got)
	}
}
