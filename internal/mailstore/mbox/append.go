package mbox

import (
	"bytes"
	"errors"
	"io"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/mbox/mboxfmt"
)

// letter is one message to be written at a file's end.
type letter struct {
	msg   *engine.Message
	src   io.ReaderAt
	parts []mboxfmt.Range // of src, in order: the message without metadata
	raw   bool            // src is another mbox: nothing is converted
	head  mboxfmt.Head
	size  int64 // octets of the content as stored
	ends  string
}

// open gives the content as stored.
func (l *letter) open() io.Reader {
	r := readerOf(l.src, l.parts)
	if l.raw {
		return r
	}
	return &lfReader{in: r, buf: make([]byte, 32<<10)}
}

// lfReader turns CRLF into LF, but where another CR precedes: then the LF is a
// line end that nobody could tell from it when it is read again.
type lfReader struct {
	in   io.Reader
	buf  []byte
	rest []byte
	crs  int // CRs held back at the end of what was read: at most 2, all but the last go out
	err  error
}

func (r *lfReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		n, err := r.in.Read(r.buf[2 : len(r.buf)/2])
		r.rest, r.err = r.turn(r.buf[2:2+n], err != nil), err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// turn converts a piece; it may write into the octets before it.
func (r *lfReader) turn(in []byte, last bool) []byte {
	out := r.buf[len(r.buf)/2 : len(r.buf)/2]
	for len(in) > 0 {
		if r.crs == 0 { // up to the next CR all stays as it is
			n := bytes.IndexByte(in, '\r')
			if n < 0 {
				n = len(in)
			}
			if out = append(out, in[:n]...); n == len(in) {
				break
			}
			in = in[n:]
		}
		c := in[0]
		in = in[1:]
		switch {
		case c == '\r':
			if r.crs == 2 {
				out = append(out, '\r')
			} else {
				r.crs++
			}
			continue
		case c == '\n' && r.crs == 1:
			out = append(out, '\n')
		default:
			out = append(append(out, "\r\r"[:r.crs]...), c)
		}
		r.crs = 0
	}
	if last {
		out = append(out, "\r\r"[:r.crs]...)
		r.crs = 0
	}
	return out
}

// measure finds the length of the content, and what the head says of it.
func (l *letter) measure(end, body int64, ended bool) error {
	r, buf := l.open(), make([]byte, 32<<10)
	var last byte
	for {
		n, err := r.Read(buf)
		if l.size += int64(n); n > 0 {
			last = buf[n-1]
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if l.ends = "\n"; last != '\n' || l.size == 0 {
		l.ends = "\n\n"
	}
	l.head.Length, l.head.Ours.Length = -1, -1
	if !ended {
		l.head.Ours.Length = l.size
		return nil
	}
	tail := &letter{src: l.src, raw: l.raw, parts: []mboxfmt.Range{{From: body, To: end}}}
	n, err := io.Copy(io.Discard, tail.open())
	l.head.Length = n
	return err
}

// letterOf readies a message that came from outside: metadata headers that its
// sender put into it are left out.
func letterOf(it *engine.Addition) (*letter, error) {
	h, ended, err := mboxfmt.ReadHeader(it.Body, it.Size)
	if err != nil {
		return nil, err
	}
	l := &letter{msg: &it.Message, src: it.Body, parts: h.Shown()}
	left := mboxfmt.Stored(l.parts)
	if left == 0 { // it was nothing else
		l.src, l.parts, left = bytes.NewReader([]byte("\r\n")), []mboxfmt.Range{{From: 0, To: 2}}, 2
		h.Body, h.End, ended = 2, 2, true
	}
	it.Size = left
	return l, l.measure(h.End, h.Body, ended)
}

// from writes everything before the content.
func (l *letter) from(base *mboxfmt.Base, zone *time.Location) []byte {
	b := append(mboxfmt.AppendFrom(nil, "", l.msg.Date, zone), '\n')
	m := l.msg
	l.head.Base, l.head.UID, l.head.Flags, l.head.Old, l.head.Keywords = base, m.UID, m.Flags, true, m.Keywords
	l.head.Ours.GUID, l.head.Ours.UIDL, l.head.Ours.Order = m.GUID, m.UIDL, m.Order
	if !m.Saved.IsZero() {
		l.head.Ours.Saved = m.Saved.Unix()
	}
	if f, ok := mboxfmt.ParseFrom(b, zone); !ok || f.Date.Unix() != m.Date.Unix() {
		l.head.Ours.Date = m.Date.Unix()
	}
	return l.head.AppendTo(b, false, 0)
}

// Append writes messages at the files' ends, each box's in one step.
func (f *Format) Append(batches []*engine.Batch) error {
	done := map[engine.Box]bool{}
	for _, first := range batches {
		if done[first.Box] {
			continue
		}
		done[first.Box] = true
		var letters []*letter
		var err error
		goOn := first.GoOn
		for _, bt := range batches {
			if bt.Box != first.Box {
				continue
			}
			if bt != first {
				goOn = nil // nobody breaks off what is others'
			}
			for _, it := range bt.Items {
				var l *letter
				if l, err = letterOf(it); err != nil {
					break
				}
				letters = append(letters, l)
			}
		}
		if err == nil {
			_, _, err = first.Box.(*box).append(first.Edit, letters, goOn)
		}
		for _, bt := range batches {
			if bt.Box == first.Box {
				bt.Err = err
			}
		}
	}
	return nil
}

// append writes letters at the end of the locked file, durable, and sets where
// they are. It gives where they begin and end. goOn, if not nil, is asked while they are
// read: with its error nothing of them stays.
func (b *box) append(e *engine.Edit, letters []*letter, goOn func() error) (start, end int64, err error) {
	if len(letters) == 0 {
		return 0, 0, nil
	}
	fo, _ := b.where()
	m, err := b.mover()
	if err != nil {
		return 0, 0, err
	}
	last := letters[len(letters)-1].msg.UID
	var names []string
	for _, l := range letters {
		names = append(names, l.msg.Keywords...)
	}
	base, err := b.baseFor(e, m, fo, last, names)
	if err != nil {
		return 0, 0, err
	}
	rec, known, err := b.f.recs.get(fo.Name)
	if err == nil && !known {
		err = errkind.Newf("append to mbox", errkind.NotFound, "the mailbox is gone")
	}
	if err == nil {
		err = b.reserve(fo, rec, last+1)
	}
	if err != nil {
		return 0, 0, err
	}
	start, err = b.size()
	if err != nil {
		return 0, 0, err
	}
	sep, err := b.separator(start)
	if err != nil {
		return 0, 0, err
	}
	readers, total := []io.Reader{bytes.NewReader([]byte(sep))}, int64(len(sep))
	for _, l := range letters {
		head := l.from(base, b.f.opt.Zone)
		base = nil
		readers = append(readers, bytes.NewReader(head), l.open(), bytes.NewReader([]byte(l.ends)))
		total += int64(len(head)) + l.size + int64(len(l.ends))
	}
	if err := m.append(&askingReader{io.MultiReader(readers...), goOn}, total); err != nil {
		return 0, 0, err
	}
	at := start + int64(len(sep))
	if err := b.place(letters, at); err != nil { // answered with NO: it must not stay
		b.broken = true
		if derr := m.apply([]splice{{from: start, to: start + total}}); derr != nil {
			err = errors.Join(err, derr)
		}
		return 0, 0, err
	}
	return at, start + total, nil
}

// askingReader asks before each Read whether to go on.
type askingReader struct {
	io.Reader
	goOn func() error
}

func (r *askingReader) Read(p []byte) (int, error) {
	if r.goOn != nil {
		if err := r.goOn(); err != nil {
			return 0, err
		}
	}
	return r.Reader.Read(p)
}

// place reads what was appended, and notes where each message is.
func (b *box) place(letters []*letter, start int64) error {
	size, err := b.size()
	if err != nil {
		return err
	}
	list, err := b.entries(start, size)
	if err != nil {
		return err
	}
	if len(list) != len(letters) {
		return errkind.Newf("append to mbox", errkind.Corrupt, "the file reads otherwise after it was written")
	}
	for i, l := range letters {
		if list[i].given != l.msg.UID {
			return errkind.Newf("append to mbox", errkind.Corrupt, "the file reads otherwise after it was written")
		}
		l.msg.Loc = list[i].place.encode()
	}
	return nil
}

// baseFor sees to it that X-IMAPbase knows the last UID: it is changed in place,
// or goes into the message that will be the file's first.
func (b *box) baseFor(e *engine.Edit, m *mover, fo engine.Folder, last mailstore.UID, names []string) (*mboxfmt.Base, error) {
	head, err := b.first()
	if err != nil {
		return nil, err
	}
	if head == nil {
		return &mboxfmt.Base{UIDValidity: fo.UIDValidity, LastUID: last, Keywords: names}, nil
	}
	if _, err = b.raiseBase(m, fo, last); err != nil {
		return nil, err
	}
	return nil, b.nameKeywords(e, m, names)
}

// separator gives what must precede a From_ line at the file's end.
func (b *box) separator(size int64) (string, error) {
	n := min(size, 3)
	tail := make([]byte, n)
	if err := readFull(b.file, tail, size-n); err != nil {
		return "", err
	}
	switch {
	case size == 0, bytes.HasSuffix(tail, []byte("\n\n")), bytes.HasSuffix(tail, []byte("\n\r\n")):
		return "", nil
	case bytes.HasSuffix(tail, []byte("\n")):
		return "\n", nil
	}
	return "\n\n", nil
}

// Transfer copies messages to the end of another file, and takes them out of the
// first for a MOVE. A crash between the two leaves them in both.
func (f *Format) Transfer(t *engine.Transfer) error {
	from, to := t.From.(*box), t.To.(*box)
	size, err := from.size()
	if err != nil {
		return err
	}
	var letters []*letter
	var positions []int
	for _, it := range t.Items {
		if err := t.GoOn(); err != nil {
			return err
		}
		p, msg, err := from.head(t.FromEdit, it.Pos, size)
		if err != nil {
			return err
		}
		msg.End = p.end
		body, ended := min(msg.Body, p.end), msg.Body < p.end
		if !ended && p.end > p.header { // an empty line may end the message
			tail := make([]byte, min(2, p.end-p.header))
			if err := readFull(from.file, tail, p.end-int64(len(tail))); err != nil {
				return err
			}
			ended = bytes.HasSuffix(tail, []byte("\n\n")) || msg.Body == p.end && tail[len(tail)-1] == '\n'
		}
		l := &letter{msg: &it.New, src: from.file, parts: msg.Shown(), raw: true}
		if err := l.measure(p.end, body, ended); err != nil {
			return err
		}
		letters, positions = append(letters, l), append(positions, it.Pos)
	}
	start, before, err := to.append(t.ToEdit, letters, t.GoOn)
	if err != nil || !t.Move {
		return err
	}
	if err := t.GoOn(); err != nil { // for the last time: a file whose messages are being taken out is no whole one
		return to.uncopy(start, before, err)
	}
	if from == to && len(letters) > 0 { // what stays keeps the number of the next UID
		t.ToEdit.SetNext(letters[len(letters)-1].msg.UID + 1)
	}
	if _, err := from.Expunge(t.FromEdit, positions); err != nil {
		// The copies go again, if no original has gone already.
		if now, serr := from.size(); from != to && serr == nil && now == size {
			err = to.uncopy(start, before, err)
		}
		return err
	}
	if from != to {
		return nil
	}
	after, err := to.size()
	if err != nil {
		return err
	}
	return to.place(letters, start+after-before)
}

// uncopy takes what was just appended off the file's end again, because of an error. One
// in doing so is the error then: of the first nobody may believe that nothing was done.
func (b *box) uncopy(start, end int64, why error) error {
	m, err := b.mover()
	if err == nil {
		err = m.apply([]splice{{from: start, to: end}})
	}
	if err != nil {
		b.broken = true
		return errkind.Wrap("take copies back", err)
	}
	return why
}
