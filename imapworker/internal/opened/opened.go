// Package opened is one message while a command looks at it: opened only when
// needed, and as little of it read as will do. Structures go through the
// mailbox's cache.
//
// FETCH and SEARCH use it.
package opened

import (
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

// Close closes the message, if it was opened.
func (m *Message) Close() {
	if m.msg != nil {
		m.msg.Close()
		m.msg = nil
	}
}
