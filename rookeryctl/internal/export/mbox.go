package export

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/mbox/mboxfmt"
)

// mboxWriter is one file for each folder in the form mboxrd: every line that
// begins with any number of ">" and then "From " gets one ">" more, which a
// reader can take away again. Flags, keywords and UIDs stand in the headers that
// mutt, Dovecot and UW's programs read.
type mboxWriter struct {
	root *os.Root
	out  *file
	line *quoter
	lf   *lfWriter
}

func newMbox(root *os.Root) Writer { return &mboxWriter{root: root} }

func (w *mboxWriter) Folder(name string, _ bool) (err error) {
	if err := w.closeFile(); err != nil {
		return err
	}
	w.out, err = createFolder(w.root, name, ".mbox")
	return err
}

// createFolder makes a folder's file and the directories above it.
func createFolder(root *os.Root, name, suffix string) (*file, error) {
	path := dirOf(name) + suffix
	if err := root.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return create(root, path)
}

func (m Message) flags() (f mailstore.Flags) {
	for _, one := range []struct {
		on   bool
		flag mailstore.Flags
	}{{m.Answered, mailstore.Answered}, {m.Flagged, mailstore.Flagged}, {m.Deleted, mailstore.Deleted}, {m.Seen, mailstore.Seen}, {m.Draft, mailstore.Draft}} {
		if one.on {
			f |= one.flag
		}
	}
	return f
}

func (w *mboxWriter) Begin(m Message) error {
	date := m.InternalDate
	if date.IsZero() {
		date = time.Unix(0, 0)
	}
	head := mboxfmt.Head{UID: m.UID, Flags: m.flags(), Old: true, Length: -1, Ours: mboxfmt.Ours{Length: -1}}
	for _, k := range m.Keywords {
		if mboxfmt.ValidKeyword(k) {
			head.Keywords = append(head.Keywords, k)
		}
	}
	block := append(mboxfmt.AppendFrom(nil, "", date, time.UTC), '\n')
	if _, err := w.out.Write(head.AppendTo(block, false, 0)); err != nil {
		return err
	}
	w.line = &quoter{w: w.out, start: true}
	w.lf = &lfWriter{w: w.line}
	return nil
}

func (w *mboxWriter) Write(p []byte) (int, error) { return w.lf.Write(p) }

func (w *mboxWriter) End() error {
	if err := w.lf.end(); err != nil {
		return err
	}
	return w.line.end()
}

func (w *mboxWriter) closeFile() error {
	if w.out == nil {
		return nil
	}
	out := w.out
	w.out = nil
	return out.close(true)
}

func (w *mboxWriter) Close() error {
	return errors.Join(w.closeFile(), syncDirs(w.root), w.root.Close())
}

// quoter puts the ">" before lines that could be taken for the next message's
// first. It keeps at most the beginning of one line.
type quoter struct {
	w     io.Writer
	start bool   // at a line's start
	held  []byte // ">"s and a part of "From "
	last  byte
}

var fromWord = []byte("From ")

func (q *quoter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if !q.start {
			i := bytes.IndexByte(p, '\n') + 1
			if i == 0 {
				return n, q.put(p)
			}
			if err := q.put(p[:i]); err != nil {
				return 0, err
			}
			p, q.start = p[i:], true
			continue
		}
		q.held = append(q.held, p[0])
		p = p[1:]
		rest := bytes.TrimLeft(q.held, ">")
		switch {
		case bytes.Equal(rest, fromWord):
			q.held = append([]byte{'>'}, q.held...)
		case bytes.HasPrefix(fromWord, rest) && len(q.held) < 1<<16:
			continue // it can still become one
		}
		q.start = q.held[len(q.held)-1] == '\n'
		if err := q.flush(); err != nil {
			return 0, err
		}
	}
	return n, nil
}

func (q *quoter) flush() error {
	held := q.held
	q.held = nil
	return q.put(held)
}

func (q *quoter) put(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	q.last = p[len(p)-1]
	_, err := q.w.Write(p)
	return err
}

// end closes the message: with an empty line, which belongs to nobody.
func (q *quoter) end() error {
	if err := q.flush(); err != nil {
		return err
	}
	if q.last != '\n' {
		if err := q.put([]byte("\n")); err != nil {
			return err
		}
	}
	return q.put([]byte("\n"))
}

// mbxWriter is UW's mbx: a header of 2048 octets with the keywords, then before
// each message a line with its date, size and flags. Octets stay as they are.
type mbxWriter struct {
	root     *os.Root
	out      *file
	keywords []string
	last     uint32
}

func newMbx(root *os.Root) Writer { return &mbxWriter{root: root} }

const (
	mbxHeader   = 2048
	mbxKeywords = 30
)

func (w *mbxWriter) Folder(name string, _ bool) (err error) {
	if err := w.closeFile(); err != nil {
		return err
	}
	w.keywords, w.last = nil, 0
	if w.out, err = createFolder(w.root, name, ".mbx"); err != nil {
		return err
	}
	_, err = w.out.Write(make([]byte, mbxHeader)) // the keywords are known at the end
	return err
}

func (w *mbxWriter) Begin(m Message) error {
	var user uint32
	for _, k := range m.Keywords {
		i := slices.Index(w.keywords, k)
		if i < 0 && len(w.keywords) < mbxKeywords && len(k) <= 64 {
			i = len(w.keywords)
			w.keywords = append(w.keywords, k)
		}
		if i >= 0 {
			user |= 1 << i
		}
	}
	system := uint16(0x10) // old: not recent
	for _, f := range []struct {
		on  bool
		bit uint16
	}{{m.Seen, 1}, {m.Deleted, 2}, {m.Flagged, 4}, {m.Answered, 8}, {m.Draft, 0x20}} {
		if f.on {
			system |= f.bit
		}
	}
	w.last = max(w.last, m.UID)
	_, err := fmt.Fprintf(w.out, "%s,%d;%08x%04x-%08x\r\n", m.InternalDate.UTC().Format("_2-Jan-2006 15:04:05 -0700"), m.Size, user, system, m.UID)
	return err
}

func (w *mbxWriter) Write(p []byte) (int, error) { return w.out.Write(p) }
func (w *mbxWriter) End() error                  { return nil }

func (w *mbxWriter) closeFile() error {
	if w.out == nil {
		return nil
	}
	out := w.out
	w.out = nil
	head := fmt.Appendf(nil, "*mbx*\r\n%08x%08x\r\n", uint32(time.Now().Unix()), w.last)
	for i := range mbxKeywords {
		name := ""
		if i < len(w.keywords) && len(head)+len(w.keywords[i])+2*(mbxKeywords-i) < mbxHeader && !strings.ContainsAny(w.keywords[i], "\r\n") {
			name = w.keywords[i]
		}
		head = append(append(head, name...), "\r\n"...)
	}
	err := out.w.Flush()
	if err == nil {
		_, err = out.f.WriteAt(head, 0)
	}
	return errors.Join(err, out.close(true))
}

func (w *mbxWriter) Close() error {
	return errors.Join(w.closeFile(), syncDirs(w.root), w.root.Close())
}
