package opened

import (
	"bytes"
	"strings"
	"testing"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/message"
	"rookery/internal/objectid"
)

// box is a mailbox of one message, in memory or not.
type box struct {
	mailstore.Mailbox
	text   string
	cache  map[string][]byte
	opened int
	memory bool
	short  bool // it has fewer octets than it says
}

func (b *box) Message(mailstore.UID) (mailstore.Message, error) {
	b.opened++
	m := text{strings.NewReader(b.text), b}
	if b.memory {
		return inMemory{m}, nil
	}
	return m, nil
}

func (b *box) Cached(_ mailstore.UID, field string) ([]byte, bool) {
	v, ok := b.cache[field]
	return v, ok
}

func (b *box) PutCached(_ mailstore.UID, field string, value []byte) {
	b.cache[field] = bytes.Clone(value)
}

type text struct {
	*strings.Reader
	b *box
}

func (m text) File() (uintptr, int64, bool) { return 0, 0, false }
func (m text) Close() error                 { return nil }

func (m text) Size() int64 {
	if m.b.short {
		return m.Reader.Size() + 5
	}
	return m.Reader.Size()
}

type inMemory struct{ text }

func (m inMemory) Bytes() []byte { return []byte(m.b.text) }

func open(b *box) *Message {
	if b.cache == nil {
		b.cache = map[string][]byte{}
	}
	return &Message{Box: b, UID: 1, Parser: &message.Parser{}, Limits: message.DefaultLimits()}
}

// The identifiers are those of the content, however it is read; once known they
// cost no look at the message.
func TestObjectIDs(t *testing.T) {
	msg := "Message-ID: <a@example.test>\r\nReferences:\r\n <r@example.test>\r\n\r\n" + strings.Repeat("0123456789abcdef", 20_000)
	email := string(objectid.AppendEmail(nil, []byte(msg)))
	thread, _ := objectid.Thread("<r@example.test>", "", "")
	for _, memory := range []bool{false, true} {
		b := &box{text: msg, memory: memory}
		for try := range 2 {
			m := open(b)
			if id, err := m.EmailID(); err != nil || id != email {
				t.Errorf("EmailID: %q, %v, want %q", id, err, email)
			}
			if id, ok, err := m.ThreadID(); err != nil || !ok || id != thread {
				t.Errorf("ThreadID: %q, %t, %v, want %q", id, ok, err, thread)
			}
			// The next message has its own.
			if try == 0 {
				b2 := &box{text: "x", cache: map[string][]byte{}, memory: memory}
				m.Next(2)
				m.Box, m.cache = b2, nil
				if id, err := m.EmailID(); err != nil || id != string(objectid.AppendEmail(nil, []byte("x"))) {
					t.Errorf("EmailID of another: %q, %v", id, err)
				}
				if out, ok, err := m.AppendThreadID([]byte("y")); err != nil || ok || string(out) != "y" {
					t.Errorf("ThreadID of another: %q, %t, %v", out, ok, err)
				}
				if id, ok, err := m.ThreadID(); err != nil || ok || id != "" {
					t.Errorf("ThreadID of another, known: %q, %t, %v", id, ok, err)
				}
				if b2.opened != 1 {
					t.Errorf("opened %d times", b2.opened)
				}
			}
			m.Close()
		}
		if b.opened != 1 {
			t.Errorf("opened %d times", b.opened)
		}
		b.cache[emailField], b.cache[threadField] = []byte("Mx"), []byte("")
		m := open(b)
		if id, err := m.EmailID(); err != nil || id != email {
			t.Errorf("EmailID beside a fact that is none: %q, %v", id, err)
		}
		if id, ok, err := m.ThreadID(); err != nil || !ok || id != thread {
			t.Errorf("ThreadID beside a fact that is none: %q, %t, %v", id, ok, err)
		}
		m.Close()
	}
}

// A message that ends too early has no identifier.
func TestShort(t *testing.T) {
	m := open(&box{text: "x", short: true})
	defer m.Close()
	if id, err := m.EmailID(); id != "" || !errkind.Is(err, errkind.Corrupt) {
		t.Errorf("%q, %v", id, err)
	}
}
