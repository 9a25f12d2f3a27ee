package opened

import (
	"bytes"
	"io"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/message"
	"rookery/internal/objectid"
)

// The message's object identifiers in the mailbox's cache, as they go on the wire;
// of a message without a thread, noThread.
const (
	emailField  = "object.email"
	threadField = "object.thread"
)

var noThread = []byte("-")

// EmailID gives the message's EMAILID (RFC 8474 §5.1).
func (m *Message) EmailID() (string, error) {
	id, err := m.AppendEmailID(nil)
	return string(id), err
}

// AppendEmailID appends the EMAILID to dst. All of the message is read the first
// time.
func (m *Message) AppendEmailID(dst []byte) ([]byte, error) {
	start := len(dst)
	out, ok := m.Fact(dst, emailField)
	if ok && len(out)-start == objectid.Len {
		return out, nil
	}
	out = out[:start]
	msg, err := m.Open()
	if err != nil {
		return dst, err
	}
	if b := mailstore.Bytes(msg); b != nil {
		out = objectid.AppendEmail(out, b)
	} else {
		if m.hash == nil {
			m.hash = &objectid.EmailHash{}
		}
		m.hash.Reset()
		err := m.Each(message.Range{End: msg.Size()}, func(p []byte) error {
			_, err := m.hash.Write(p)
			return err
		})
		if err != nil {
			return dst, err
		}
		out = m.hash.Append(out)
	}
	m.Box.PutCached(m.UID, emailField, out[start:])
	return out, nil
}

// ThreadID gives the message's THREADID (RFC 8474 §5.2); ok is false where it has
// none.
func (m *Message) ThreadID() (id string, ok bool, err error) {
	out, ok, err := m.AppendThreadID(nil)
	return string(out), ok, err
}

var referencesName = []string{"References"}

// AppendThreadID appends the THREADID to dst. Where ok is false there is none, and
// out is dst as it was.
func (m *Message) AppendThreadID(dst []byte) (out []byte, ok bool, err error) {
	start := len(dst)
	out, known := m.Fact(dst, threadField)
	switch fact := out[start:]; {
	case known && len(fact) == objectid.Len:
		return out, true, nil
	case known && bytes.Equal(fact, noThread):
		return out[:start], false, nil
	}
	out = out[:start]
	head, err := m.Head()
	if err != nil {
		return dst, false, err
	}
	if m.references == nil {
		m.references = message.NewFieldSet(referencesName, false)
	}
	field, err := m.HeaderFields(m.fact[:0], m.references, referencesName, false)
	if err != nil {
		return dst, false, err
	}
	m.fact = field
	id, ok := objectid.Thread(string(field), head.Envelope.InReplyTo, head.Envelope.MessageID)
	if !ok {
		m.Box.PutCached(m.UID, threadField, noThread)
		return out, false, nil
	}
	out = append(out, id...)
	m.Box.PutCached(m.UID, threadField, out[start:])
	return out, true, nil
}

// errShort is the error of a message that ends before its size.
func errShort(err error) error {
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return errkind.New("read message", errkind.Corrupt, err)
}
