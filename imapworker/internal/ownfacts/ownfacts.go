// Package ownfacts makes derived facts of a user's own messages for guests: in his
// process, and kept in his cache, where the next guest finds them. Else each guest would
// have whole messages sent to make an ENVELOPE out of them.
//
// The worker passes a Maker to package remote, which asks for facts that a guest may
// have. It must never know who the guest is.
package ownfacts

import (
	"slices"
	"strings"
	"sync"

	"rookery/imapworker/internal/opened"
	"rookery/internal/mailstore"
	"rookery/internal/message"
)

// Maker makes facts of one mailbox of the user's. It is for several goroutines.
type Maker struct {
	box mailstore.Mailbox

	mu     sync.Mutex
	msg    opened.Message
	parser message.Parser
}

// Open makes a Maker for a mailbox in the user's store.
func Open(store mailstore.Store, name mailstore.Name, limits message.Limits) (*Maker, error) {
	box, err := store.Open(name)
	if err != nil {
		return nil, err
	}
	m := &Maker{box: box}
	m.msg = opened.Message{Box: box, Parser: &m.parser, Limits: limits}
	return m, nil
}

// Is reports whether it is of the mailbox with this identity.
func (m *Maker) Is(box mailstore.GUID, uidValidity uint32) bool {
	i := m.box.Info()
	return i.GUID == box && i.UIDValidity == uidValidity
}

// Close gives the mailbox up.
func (m *Maker) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.msg.Close()
	return m.box.Close()
}

// Make gives a fact, out of the cache or made anew; ok is false if it cannot.
func (m *Maker) Make(uid mailstore.UID, field string) (value []byte, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.msg.Next(uid)
	defer m.msg.Close()
	if value, ok = m.msg.Fact(nil, field); ok {
		return value, true
	}
	switch field {
	case "imap.envelope":
		head, err := m.msg.Head()
		if err != nil {
			return nil, false
		}
		value = message.AppendEnvelope(nil, head.Envelope, m.msg.Limits)
	case "imap.body", "imap.bodystructure":
		tree, err := m.msg.Tree()
		if err != nil {
			return nil, false
		}
		if field == "imap.body" {
			value = message.AppendBody(nil, tree, m.msg.Limits)
		} else {
			value = message.AppendBodyStructure(nil, tree, m.msg.Limits)
		}
	default:
		return m.make(uid, field)
	}
	m.box.PutCached(uid, field, value)
	return value, true
}

// make makes those that package opened keeps by itself, and the lines of some fields of
// the header.
func (m *Maker) make(uid mailstore.UID, field string) (value []byte, ok bool) {
	var err error
	switch field {
	case opened.TreeField:
		_, err = m.msg.Tree()
	case "object.email":
		_, err = m.msg.EmailID()
	case "object.thread":
		_, _, err = m.msg.ThreadID()
	case "octets.nul":
		_, err = m.msg.HasNUL()
	default:
		list, is := strings.CutPrefix(field, "imap.header ")
		names := strings.Split(list, " ")
		if !is || opened.FieldsKey(names) != field || len(names) > maxNames || slices.Contains(names, "") {
			return nil, false
		}
		value, err = m.msg.HeaderFields(nil, message.NewFieldSet(names, false), names, false)
		if err == nil {
			m.box.PutCached(uid, field, value)
		}
		return value, err == nil
	}
	if err != nil {
		return nil, false
	}
	return m.msg.Fact(nil, field)
}

// maxNames bounds the fields of a header that are kept as one fact.
const maxNames = 32
