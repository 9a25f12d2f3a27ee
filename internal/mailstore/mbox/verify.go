package mbox

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/mbox/mboxfmt"
)

var _ engine.Checker = (*Format)(nil)

// Check looks at a mailbox's file, or, with the zero GUID, at the control files.
// docs/mailbox-tools.md lists the kinds that it finds. Under the user's lock.
func (f *Format) Check(ctx context.Context, fo engine.Folder, repair bool, found func(mailstore.Finding)) error {
	if fo.GUID == (mailstore.GUID{}) {
		return f.checkFiles(repair, found)
	}
	eb, err := f.Box(fo)
	if err != nil {
		return err
	}
	b := eb.(*box)
	defer b.Close()
	repair = repair && !b.ReadOnly()
	if err := b.Lock(repair); err != nil {
		return err
	}
	defer b.Unlock()
	if b.file == nil {
		return nil // INBOX before its first mail
	}
	c, err := b.look(ctx, fo)
	if err != nil {
		return err
	}
	list := c.list
	if repair && len(list) > 0 {
		if c, err = b.repair(ctx, fo, c); err != nil {
			return err
		}
	}
	for _, x := range list {
		x.Repaired = repair && !slices.ContainsFunc(c.list, func(y mailstore.Finding) bool { return x.Kind == y.Kind && x.Text == y.Text })
		found(x)
	}
	return nil
}

// checkup is what a look at an mbox found.
type checkup struct {
	list      []mailstore.Finding
	broken    []breach      // From_ lines
	misplaced []given       // messages that need another UID, and go to the end for it
	ids       bool          // X-IMAPbase is to be written
	wrong     []int64       // offsets of messages whose Content-Length does not fit
	high      mailstore.UID // the highest X-UID
	base      *mboxfmt.Base // if it is this mailbox's
}

// breach is where a From_ line ought to stand.
type breach struct {
	at     int64 // of what stands in its place
	parted bool  // an empty line, or the file's start, stands before it
	crlf   bool
}

func (c *checkup) add(kind, remedy, text string, args ...any) {
	if len(c.list) < maxFindings {
		c.list = append(c.list, mailstore.Finding{Kind: kind, Text: fmt.Sprintf(text, args...), Remedy: remedy})
	}
}

// maxFindings bounds what is told of one mailbox.
const maxFindings = 10000

const nextUID = "it goes to the end of the file, with the next UID"

// look reads the whole file. It changes nothing.
func (b *box) look(ctx context.Context, fo engine.Folder) (*checkup, error) {
	c := &checkup{}
	size, err := b.size()
	if err != nil || size == 0 {
		return c, err
	}
	if _, err := mboxfmt.NewScanner(b.file, 0, size, b.f.opt.Zone).Head(); err == mboxfmt.ErrNoFrom {
		c.broken = append(c.broken, breach{at: 0, parted: true})
		c.add("from-broken", "it becomes a message of its own, with a From_ line", "the file does not begin with a From_ line: what stands before the first one is not shown")
	} else if err != nil {
		return nil, err
	}
	s := mboxfmt.NewScanner(b.file, 0, size, b.f.opt.Zone)
	s.SkipJunk()
	var ids []given
	pseudo := false
	var first *mboxfmt.Message
	for n := 0; ; n++ {
		if n%256 == 0 && ctx.Err() != nil {
			return nil, errkind.New("verify", errkind.Unavailable, ctx.Err())
		}
		m, err := s.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if first == nil {
			first, pseudo = m, m.Meta.Pseudo
		}
		if m.Meta.Pseudo {
			continue
		}
		if err := b.ends(c, m); err != nil {
			return nil, err
		}
		ids = append(ids, given{m.From, m.Next - m.From, m.Meta.UID})
		c.high = max(c.high, m.Meta.UID)
	}
	c.lookIDs(ids)
	b.lookBase(c, fo, first, pseudo)
	return c, nil
}

// given is a message and the X-UID that it has.
type given struct {
	at, size int64
	uid      mailstore.UID
}

// lookIDs finds the messages that stand where they may not, by their UIDs: of those
// that do not ascend as few as can be. What has no X-UID and is followed by one that
// has did not just come.
func (c *checkup) lookIDs(list []given) {
	for len(list) > 0 && list[len(list)-1].uid == 0 {
		list = list[:len(list)-1]
	}
	seen := map[mailstore.UID]bool{}
	var once []given
	for _, g := range list {
		switch {
		case g.uid == 0:
			c.misplaced = append(c.misplaced, g)
			c.add("no-uid", nextUID, "the message at octet %d has no X-UID", g.at)
		case seen[g.uid]:
			c.misplaced = append(c.misplaced, g)
			c.add("uid-twice", nextUID, "the message at octet %d has the X-UID %d, which another has", g.at, g.uid)
		default:
			once = append(once, g)
			seen[g.uid] = true
		}
	}
	for _, g := range notAscending(once) {
		c.misplaced = append(c.misplaced, g)
		c.add("uid-order", nextUID, "the message at octet %d has the X-UID %d, which is not between those of its neighbours", g.at, g.uid)
	}
	slices.SortFunc(c.misplaced, func(x, y given) int { return cmp.Compare(x.at, y.at) })
}

// notAscending gives what is left out of a longest ascending run of UIDs.
func notAscending(list []given) (out []given) {
	before := make([]int, len(list)) // the one before in the best run that ends here; -1: none
	var ends []int                   // of the best runs of each length, the one with the lowest UID
	for i, g := range list {
		k, _ := slices.BinarySearchFunc(ends, g.uid, func(e int, u mailstore.UID) int { return cmp.Compare(list[e].uid, u) })
		if before[i] = -1; k > 0 {
			before[i] = ends[k-1]
		}
		if k == len(ends) {
			ends = append(ends, i)
		} else {
			ends[k] = i
		}
	}
	if len(ends) == len(list) {
		return nil
	}
	in := map[int]bool{}
	for i := ends[len(ends)-1]; i >= 0; i = before[i] {
		in[i] = true
	}
	for i, g := range list {
		if !in[i] {
			out = append(out, g)
		}
	}
	return out
}

// lookBase looks at X-IMAPbase, which the first message has.
func (b *box) lookBase(c *checkup, fo engine.Folder, first *mboxfmt.Message, pseudo bool) {
	if first == nil || c.high == 0 && !pseudo || len(c.broken) > 0 && c.broken[0].at == 0 {
		return // nothing has got a UID yet, or the head of the first one is hidden
	}
	const write = "it is written, with the UIDs that stand in the messages"
	switch base := first.Meta.Base; {
	case base == nil:
		c.add("base-missing", write, "the first message has no X-IMAPbase: UIDVALIDITY and the last UID are in the control file alone")
	case base.UIDValidity != fo.UIDValidity:
		c.add("base-other", write, "X-IMAPbase says UIDVALIDITY %d, the mailbox has %d", base.UIDValidity, fo.UIDValidity)
	default:
		c.base = base
		if base.LastUID < c.high {
			c.add("uidnext-low", "the number is raised", "X-IMAPbase says that %d is the last UID, and a message has %d", base.LastUID, c.high)
		} else {
			return
		}
	}
	c.ids = true
}

// ends looks at a message's end: whether Content-Length fits, and whether a From_
// line stands where it says.
func (b *box) ends(c *checkup, m *mboxfmt.Message) error {
	end := m.End
	if m.Meta.Length >= 0 && m.Body <= m.End && m.Body+m.Meta.Length < m.End {
		end = m.Body + m.Meta.Length
	}
	at, lines, err := b.afterEmpty(end, m.Next)
	if err != nil {
		return err
	}
	if at < m.Next && (end == m.End || b.looksOwn(at, m.Next)) {
		c.broken = append(c.broken, breach{at: at, parted: lines > 0, crlf: m.CRLF})
		c.add("from-broken", "it becomes a message of its own, with a From_ line", "at octet %d a message begins without a From_ line that can be read", at)
		return nil
	}
	if m.Meta.Length >= 0 && m.Body+m.Meta.Length != m.End {
		c.wrong = append(c.wrong, m.From)
		c.add("length-wrong", "Content-Length is written anew", "the message at octet %d has the Content-Length %d, and a body of %d octets", m.From, m.Meta.Length, m.End-m.Body)
	}
	return nil
}

// afterEmpty passes empty lines and gives where something stands, at most to.
func (b *box) afterEmpty(at, to int64) (int64, int, error) {
	p := make([]byte, min(to-at, 64))
	if err := readFull(b.file, p, at); err != nil {
		return 0, 0, err
	}
	lines := 0
	for len(p) > 0 {
		switch {
		case p[0] == '\n':
			p, at = p[1:], at+1
		case bytes.HasPrefix(p, []byte("\r\n")):
			p, at = p[2:], at+2
		default:
			return at, lines, nil
		}
		lines++
	}
	return at, lines, nil
}

// looksOwn reports whether a line at an offset is followed by metadata headers, as
// the first line of a message is.
func (b *box) looksOwn(at, to int64) bool {
	p := make([]byte, min(to-at, 2*mboxfmt.MaxFrom))
	if readFull(b.file, p, at) != nil {
		return false
	}
	_, rest, ok := bytes.Cut(p, []byte("\n"))
	kind, _ := mboxfmt.KindOf(rest)
	return ok && (kind == mboxfmt.FieldUID || kind == mboxfmt.FieldBase || kind == mboxfmt.FieldStatus)
}

// Bounds of one repair: From_ lines, rounds of moving messages, and octets that one
// round moves.
const (
	maxBreaches = 1000
	maxRounds   = 1000
	maxMoved    = 64 << 20
)

// repair mends what look found; it gives what is found afterwards.
func (b *box) repair(ctx context.Context, fo engine.Folder, c *checkup) (*checkup, error) {
	m, err := b.mover()
	if err != nil {
		return nil, err
	}
	for n := 0; len(c.broken) > 0 && n < maxBreaches; n++ {
		s, err := b.fromLine(c.broken[0])
		if err != nil {
			return nil, err
		}
		if err := m.apply([]splice{s}); err != nil {
			return nil, err
		}
		if c, err = b.look(ctx, fo); err != nil {
			return nil, err
		}
	}
	for n := 0; (c.ids || len(c.misplaced) > 0) && n < maxRounds; n++ {
		moved, err := b.toEnd(m, c.misplaced)
		if err != nil {
			return nil, err
		}
		if c, err = b.look(ctx, fo); err != nil {
			return nil, err
		}
		if err := b.renumber(c, fo, moved); err != nil {
			return nil, err
		}
		if c, err = b.look(ctx, fo); err != nil {
			return nil, err
		}
	}
	if len(c.wrong) > 0 {
		if err := b.relength(m, c.wrong); err != nil {
			return nil, err
		}
		if c, err = b.look(ctx, fo); err != nil {
			return nil, err
		}
	}
	return c, m.sync()
}

// fromLine gives the change that puts a From_ line where one ought to stand: in the
// place of a line that was one, or before a header.
func (b *box) fromLine(at breach) (splice, error) {
	size, err := b.size()
	if err != nil {
		return splice{}, err
	}
	p := make([]byte, min(size-at.at, mboxfmt.MaxFrom))
	if err := readFull(b.file, p, at.at); err != nil {
		return splice{}, err
	}
	eol := "\n"
	if at.crlf {
		eol = "\r\n"
	}
	s := splice{from: at.at, to: at.at}
	line, _, whole := bytes.Cut(p, []byte("\n"))
	if name, _, ok := strings.Cut(string(line), ":"); whole && (!ok || name == "" || strings.ContainsAny(name, " \t>")) {
		s.to += int64(len(line)) + 1 // it is no header
	}
	if !at.parted {
		s.lit = append(s.lit, eol...)
	}
	s.lit = append(mboxfmt.AppendFrom(s.lit, "", b.f.fs.Now(), b.f.opt.Zone), eol...)
	return s, nil
}

// toEnd moves messages to the file's end, as many as one round may, and gives how
// many. First they are written there, then they are taken from their places: a crash
// in between leaves them twice.
func (b *box) toEnd(m *mover, list []given) (n int, err error) {
	size, err := b.size()
	if err != nil || len(list) == 0 {
		return 0, err
	}
	var text []byte
	var out []splice
	for _, g := range list {
		if n > 0 && int64(len(text))+g.size > maxMoved {
			break
		}
		p := make([]byte, g.size)
		if err := readFull(b.file, p, g.at); err != nil {
			return 0, err
		}
		for !bytes.HasSuffix(p, []byte("\n\n")) && !bytes.HasSuffix(p, []byte("\n\r\n")) {
			p = append(p, '\n')
		}
		text = append(text, p...)
		out = append(out, splice{from: g.at, to: g.at + g.size})
		n++
	}
	tail := make([]byte, min(size, 3))
	if err := readFull(b.file, tail, size-int64(len(tail))); err != nil {
		return 0, err
	}
	var part []byte
	for end := string(tail); !strings.HasSuffix(end, "\n\n") && !strings.HasSuffix(end, "\n\r\n"); end += "\n" {
		part = append(part, '\n')
	}
	if err := m.apply([]splice{{from: size, to: size, lit: append(part, text...)}}); err != nil {
		return 0, err
	}
	return n, m.apply(out)
}

// renumber gives the last messages other UIDs, and writes X-IMAPbase.
func (b *box) renumber(c *checkup, fo engine.Folder, last int) error {
	rec, known, err := b.f.recs.get(fo.Name)
	if err != nil || !known {
		return err
	}
	size, err := b.size()
	if err != nil {
		return err
	}
	p := &picture{base: c.base}
	if p.list, err = b.entries(0, size); err != nil {
		return err
	}
	next := max(rec.next, c.high+1)
	if c.base != nil {
		next = max(next, c.base.LastUID+1)
	}
	for i := range p.list {
		x := &p.list[i]
		if x.uid = x.given; i >= len(p.list)-last || x.given == 0 {
			if next >= 1<<32-2 {
				return errkind.Newf("verify mbox", errkind.Limit, "the mailbox has no more UIDs")
			}
			x.uid = next
			next++
		}
	}
	if err := b.reserve(fo, rec, next); err != nil {
		return err
	}
	return b.giveUIDs(p, fo, next)
}

// relength writes the heads of messages anew, with the lengths that they have.
func (b *box) relength(m *mover, wrong []int64) error {
	size, err := b.size()
	if err != nil {
		return err
	}
	s := mboxfmt.NewScanner(b.file, 0, size, b.f.opt.Zone)
	s.SkipJunk()
	var list []splice
	for {
		msg, err := s.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if !slices.Contains(wrong, msg.From) {
			continue
		}
		one, err := b.rehead(msg, msg.End, mboxfmt.Head{Base: msg.Meta.Base, UID: msg.Meta.UID, Flags: msg.Meta.Flags, Old: msg.Meta.Old,
			Keywords: msg.Meta.Keywords, Ours: msg.Meta.Ours})
		if err != nil {
			return err
		}
		list = append(list, one)
	}
	return m.apply(list)
}
