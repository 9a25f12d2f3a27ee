// Package opened is one message while a command looks at it: opened only when
// needed, and as little of it read as will do. Structures go through the
// mailbox's cache.
//
// FETCH and SEARCH use it.
package opened

import (
	"bytes"

	"rookery/internal/mailstore"
	"rookery/internal/message"
)

// Message is one message. Its zero value with Box, UID, Parser and Limits set
// is ready; Close gives it up.
type Message struct {
	Box    mailstore.Mailbox
	UID    mailstore.UID
	Parser *message.Parser // shared by the messages of one command
	Limits message.Limits

	msg  mailstore.Message
	head *message.Part
	tree *message.Part
}

// TreeField names a message's whole structure in the mailbox's cache.
const TreeField = "mime.tree"

// Open gives the message itself; errkind.Expunged if it is gone.
func (m *Message) Open() (mailstore.Message, error) {
	if m.msg == nil {
		msg, err := m.Box.Message(m.UID)
		if err != nil {
			return nil, err
		}
		m.msg = msg
	}
	return m.msg, nil
}

// Head gives the root with its header alone, enough for the envelope and the
// sections HEADER and TEXT of the message itself.
func (m *Message) Head() (*message.Part, error) {
	if m.tree != nil {
		return m.tree, nil
	}
	if m.head != nil {
		return m.head, nil
	}
	msg, err := m.Open()
	if err != nil {
		return nil, err
	}
	head, err := m.Parser.ParseHeader(msg, msg.Size(), m.Limits)
	if err != nil {
		return nil, err
	}
	m.head = head
	return head, nil
}

// Tree gives the whole structure.
func (m *Message) Tree() (*message.Part, error) {
	if m.tree != nil {
		return m.tree, nil
	}
	if b, ok := m.Box.Cached(m.UID, TreeField); ok {
		if tree, err := message.DecodeTree(b, m.Limits); err == nil {
			m.tree = tree
			return tree, nil
		}
	}
	msg, err := m.Open()
	if err != nil {
		return nil, err
	}
	tree, err := m.Parser.Parse(msg, msg.Size(), m.Limits)
	if err != nil {
		return nil, err
	}
	m.Box.PutCached(m.UID, TreeField, message.AppendTree(nil, tree))
	m.tree = tree
	return tree, nil
}

// nulField names the fact whether a message holds a NUL.
const nulField = "octets.nul"

var hasNUL, noNUL = []byte("1"), []byte("0")

// HasNUL tells whether a NUL is anywhere in the message. No literal can carry one
// (RFC 3501 §9: CHAR8 is any octet except NUL), but a delivery may have put one
// into the file.
func (m *Message) HasNUL() (bool, error) {
	if fact, ok := m.Box.Cached(m.UID, nulField); ok {
		return string(fact) == string(hasNUL), nil
	}
	msg, err := m.Open()
	if err != nil {
		return false, err
	}
	buf := make([]byte, min(msg.Size(), 64<<10))
	fact := noNUL
	for off := int64(0); off < msg.Size(); {
		n, err := msg.ReadAt(buf[:min(int64(len(buf)), msg.Size()-off)], off)
		if n == 0 {
			return false, err
		}
		off += int64(n)
		if bytes.IndexByte(buf[:n], 0) >= 0 {
			fact = hasNUL
			break
		}
	}
	m.Box.PutCached(m.UID, nulField, fact)
	return string(fact) == string(hasNUL), nil
}

// Close closes the message, if it was opened.
func (m *Message) Close() {
	if m.msg != nil {
		m.msg.Close()
		m.msg = nil
	}
}
