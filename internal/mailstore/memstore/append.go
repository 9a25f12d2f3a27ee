package memstore

import (
	"bytes"
	"io"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
)

// appender is a mailstore.Appender; one goroutine uses it.
type appender struct {
	box  *box
	list []*pending
	over bool

	credit, credits uint64 // octets and messages that go once this is there
}

// Replaces is for mailstore.Replacer.
func (a *appender) Replaces(_ mailstore.Name, octets int64) {
	a.credit, a.credits = uint64(max(octets, 0)), 1
}

// room checks the quota for octets of the appender's messages.
func (a *appender) room(octets uint64, messages int) error {
	n := uint64(messages)
	return a.box.store.roomLocked(octets-min(octets, a.credit), n-min(n, a.credits))
}

type pending struct {
	meta mailstore.AppendMeta
	size int64
	body bytes.Buffer
}

func (a *appender) Add(meta mailstore.AppendMeta, size int64) (io.Writer, error) {
	s := a.box.store
	s.mu.Lock()
	defer s.mu.Unlock()
	octets := uint64(max(size, 0))
	for _, p := range a.list {
		octets += uint64(max(p.size, 0))
	}
	if err := a.room(octets, len(a.list)+1); err != nil {
		return nil, err
	}
	p := &pending{meta: meta, size: size}
	a.list = append(a.list, p)
	return &p.body, nil
}

func (a *appender) Commit() (mailstore.AppendResult, error) {
	s := a.box.store
	s.mu.Lock()
	defer s.mu.Unlock()
	result := mailstore.AppendResult{UIDValidity: a.box.uidvalidity}
	if a.box.deleted {
		return result, errkind.New("append", errkind.NotFound, nil)
	}
	next := a.box.snapshot.next
	octets := uint64(0)
	for _, p := range a.list {
		octets += uint64(p.body.Len())
	}
	if err := a.room(octets, len(a.list)); err != nil && len(a.list) > 0 {
		return result, err
	}
	var list []*message
	var flags []mailstore.Flags
	var keywords [][]string
	for _, p := range a.list {
		body := crlf(p.body.Bytes())
		if len(body) == 0 || p.size >= 0 && int64(p.body.Len()) != p.size {
			return result, errkind.Newf("append", errkind.Invalid, "message is empty or cut short")
		}
		names, err := a.box.intern(p.meta.Keywords)
		if err != nil {
			return result, err
		}
		m := &message{body: body, date: p.meta.InternalDate, saveDate: s.opt.Now(), guid: p.meta.GUID, uid: p.meta.UID, uidl: p.meta.UIDL, order: p.meta.Order}
		if m.uid != 0 && m.uid < next {
			return result, errkind.Newf("append", errkind.Invalid, "the UID was given already")
		}
		next = max(next, m.uid) + 1
		if !p.meta.SaveDate.IsZero() {
			m.saveDate = p.meta.SaveDate
		}
		if m.date.IsZero() {
			m.date = s.opt.Now()
		}
		if m.guid == (mailstore.GUID{}) {
			m.guid = s.newGUID()
		}
		list, flags, keywords = append(list, m), append(flags, p.meta.Flags), append(keywords, names)
	}
	if a.over {
		return result, errkind.Newf("append", errkind.Invalid, "the append is over")
	}
	a.over = true
	if len(list) == 0 {
		return result, nil
	}
	result.UIDs = a.box.add(list, flags, keywords)
	return result, nil
}

func (a *appender) Abort() { a.over = true }

// crlf puts a CR before each bare LF: messages are seen in CRLF form.
func crlf(p []byte) []byte {
	out := make([]byte, 0, len(p))
	for i, b := range p {
		if b == '\n' && (i == 0 || p[i-1] != '\r') {
			out = append(out, '\r')
		}
		out = append(out, b)
	}
	return out
}
