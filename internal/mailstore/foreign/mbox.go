package foreign

import (
	"bytes"
	"errors"
	"io"
	"time"

	"rookery/internal/mailstore/mbox/mboxfmt"
)

// isMbox tells by the From_ line, after empty lines if there are any.
func isMbox(p []byte) bool {
	line, _, ok := bytes.Cut(bytes.TrimLeft(p, "\r\n"), []byte("\n"))
	if !ok {
		return false
	}
	_, ok = mboxfmt.ParseFrom(line, time.Local)
	return ok
}

// readMbox reads an mbox. From_ lines without a zone are in this machine's.
func readMbox(f *mailFile, yield func(*Message) error) error {
	s := mboxfmt.NewScanner(f.src, 0, f.size, time.Local)
	var ids idCheck
	for {
		p, err := s.Next()
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, mboxfmt.ErrNoFrom):
			return f.bad(0, "it does not begin with a From_ line", yield)
		case err != nil:
			return err
		}
		if err := f.giveBox(p, p.From, 0, &ids, yield); err != nil {
			return err
		}
	}
}

// idCheck believes UIDs only where the mailbox's first message says how far they
// go, and while they ascend: a sender can write X-UID, too.
type idCheck struct {
	begun      bool
	last, most uint32
}

func (c *idCheck) uid(p *mboxfmt.Message) uint32 {
	if !c.begun && p.Meta.Base != nil {
		c.most = p.Meta.Base.LastUID
	}
	c.begun = true
	if u := p.Meta.UID; u > c.last && u <= c.most {
		c.last = u
		return u
	}
	return 0
}

// giveBox passes on a message with c-client's metadata headers. add is where p's
// offsets count from.
func (f *mailFile) giveBox(p *mboxfmt.Message, at, add int64, ids *idCheck, yield func(*Message) error) error {
	uid := ids.uid(p)
	if p.Meta.Pseudo {
		return nil // c-client's place for metadata, no mail
	}
	m := &Message{Flags: p.Meta.Flags, Keywords: p.Meta.Keywords, InternalDate: p.Date, UID: uid}
	if p.Meta.Ours.Date != 0 {
		m.InternalDate = time.Unix(p.Meta.Ours.Date, 0)
	}
	var parts []mboxfmt.Range
	for _, r := range p.Shown() {
		parts = append(parts, mboxfmt.Range{From: r.From + add, To: r.To + add})
	}
	return f.give(m, at, parts, yield)
}

// mmdfMark stands alone on a line before and after each message. c-client writes
// a From_ line and its metadata headers after the first, as in an mbox.
const mmdfMark = "\x01\x01\x01\x01"

func isMMDF(p []byte) bool {
	return bytes.HasPrefix(p, []byte(mmdfMark+"\n")) || bytes.HasPrefix(p, []byte(mmdfMark+"\r\n"))
}

func readMMDF(f *mailFile, yield func(*Message) error) error {
	var ids idCheck
	begin := int64(0) // of the text since the last mark
	piece := func(end int64) error {
		if end <= begin {
			return nil // between two marks
		}
		return f.piece(begin, end, &ids, yield)
	}
	buf := make([]byte, 64<<10)
	for at := int64(0); at < f.size; {
		n, err := f.src.ReadAt(buf[:min(int64(len(buf)), f.size-at)], at)
		if n == 0 {
			return err
		}
		step := n
		for i := 0; i < n; {
			j := bytes.IndexByte(buf[i:n], mmdfMark[0])
			if j < 0 {
				break
			}
			i += j
			if n-i < len(mmdfMark)+2 && at+int64(n) < f.size && i > 0 {
				step = i // the mark may go on in the next piece
				break
			}
			size := markLen(buf[i:n])
			if size == 0 || !f.lineBegins(at+int64(i)) {
				i++
				continue
			}
			if err := piece(at + int64(i)); err != nil {
				return err
			}
			i += size
			begin = at + int64(i)
		}
		at += int64(step)
		if begin > at {
			at = begin
		}
	}
	return piece(f.size) // without a mark at its end: it was cut, or is being written
}

// markLen gives the length of the mark that p begins with, 0 if it is none.
func markLen(p []byte) int {
	rest, ok := bytes.CutPrefix(p, []byte(mmdfMark))
	switch {
	case !ok:
		return 0
	case bytes.HasPrefix(rest, []byte("\n")), len(rest) == 0:
		return min(len(p), len(mmdfMark)+1)
	case bytes.HasPrefix(rest, []byte("\r\n")):
		return len(mmdfMark) + 2
	}
	return 0
}

func (f *mailFile) lineBegins(at int64) bool {
	if at == 0 {
		return true
	}
	var b [1]byte
	n, _ := f.src.ReadAt(b[:], at-1)
	return n == 1 && b[0] == '\n'
}

// piece passes on what stands between two marks.
func (f *mailFile) piece(begin, end int64, ids *idCheck, yield func(*Message) error) error {
	at := begin
	var date time.Time
	sub := &mailFile{src: f.src, size: end, path: f.path}
	line, next, ok, err := sub.line(begin, mboxfmt.MaxFrom)
	if err != nil {
		return err
	}
	if ok {
		if from, is := mboxfmt.ParseFrom(line, time.Local); is {
			date, begin = from.Date, next
		}
	}
	section := io.NewSectionReader(f.src, begin, end-begin)
	p, _, err := mboxfmt.ReadHeader(section, end-begin)
	if err != nil {
		return err
	}
	p.Date = date
	return f.giveBox(p, at, begin, ids, yield)
}
