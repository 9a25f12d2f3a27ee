// Package opened is one message while a command looks at it: opened only when
// needed, and as little of it read as will do. Structures go through the
// mailbox's cache.
//
// FETCH, SEARCH, SORT and THREAD use it.
package opened

import (
	"bytes"
	"slices"
	"strings"

	"rookery/internal/mailstore"
	"rookery/internal/message"
	"rookery/internal/objectid"
)

// Message is one message. Its zero value with Box, UID, Parser and Limits set
// is ready; Close gives it up.
type Message struct {
	Box    mailstore.Mailbox
	UID    mailstore.UID
	Parser *message.Parser // shared by the messages of one command
	Limits message.Limits

	cache mailstore.CacheAppender
	msg   mailstore.Message
	head  *message.Part
	tree  *message.Part
	fact  []byte // scratch: a fact of the cache
	piece []byte // scratch: a piece of a message that is not in memory

	hash       *objectid.EmailHash
	references *message.FieldSet
}

// Next closes the message and goes on to another one of the same mailbox.
func (m *Message) Next(uid mailstore.UID) {
	m.Close()
	m.UID, m.head, m.tree = uid, nil, nil
}

// TreeField names a message's whole structure in the mailbox's cache.
const TreeField = "mime.tree"

// IsOpen reports whether the message at hand has been opened.
func (m *Message) IsOpen() bool { return m.msg != nil }

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

// Fact gives a derived fact of the message from the mailbox's cache, appended to
// dst.
func (m *Message) Fact(dst []byte, field string) ([]byte, bool) {
	if m.cache == nil {
		m.cache = mailstore.Cache(m.Box)
	}
	return m.cache.AppendCached(dst, m.UID, field)
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
	if b := mailstore.Bytes(msg); b != nil {
		m.head = m.Parser.ParseHeaderBytes(b, m.Limits)
		return m.head, nil
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
	var ok bool
	if m.fact, ok = m.Fact(m.fact[:0], TreeField); ok {
		if tree, err := message.DecodeTree(m.fact, m.Limits); err == nil {
			m.tree = tree
			return tree, nil
		}
	}
	msg, err := m.Open()
	if err != nil {
		return nil, err
	}
	var tree *message.Part
	if b := mailstore.Bytes(msg); b != nil {
		tree = m.Parser.ParseBytes(b, m.Limits)
	} else if tree, err = m.Parser.Parse(msg, msg.Size(), m.Limits); err != nil {
		return nil, err
	}
	m.Box.PutCached(m.UID, TreeField, message.AppendTree(nil, tree))
	m.tree = tree
	return tree, nil
}

// HeaderEnd gives where the message's header ends, its blank line included.
func (m *Message) HeaderEnd() (int64, error) {
	switch {
	case m.tree != nil:
		return m.tree.BodyStart, nil
	case m.head != nil:
		return m.head.BodyStart, nil
	}
	msg, err := m.Open()
	if err != nil {
		return 0, err
	}
	if b := mailstore.Bytes(msg); b != nil {
		return int64(message.HeaderEnd(b)), nil
	}
	head, err := m.Head()
	if err != nil {
		return 0, err
	}
	return head.BodyStart, nil
}

// HeaderFields appends fields of the message's header to dst, as FETCH's
// HEADER.FIELDS has them. set is made of names and not.
func (m *Message) HeaderFields(dst []byte, set *message.FieldSet, names []string, not bool) ([]byte, error) {
	end, err := m.HeaderEnd()
	if err != nil {
		return dst, err
	}
	msg, err := m.Open()
	if err != nil {
		return dst, err
	}
	if b := mailstore.Bytes(msg); int64(len(b)) >= end && b != nil {
		return set.Append(dst, b[:end], m.Limits), nil
	}
	text, err := message.HeaderFields(msg, message.Range{Start: 0, End: end}, names, not, m.Limits)
	return append(dst, text...), err
}

// FieldsKey names the text of some header fields in the mailbox's cache: as
// HeaderFields gives them. It is "" for a list that is not kept: a long one, or
// one of a name that no field can have. Clients ask for the same few lists again
// and again, in one order or another.
func FieldsKey(names []string) string {
	lower := make([]string, len(names))
	for i, n := range names {
		for _, c := range []byte(n) {
			if c <= ' ' || c >= 0x7f || c == ':' { // RFC 5322 §2.2: ftext
				return ""
			}
		}
		lower[i] = strings.ToLower(n)
	}
	slices.Sort(lower)
	key := fieldsPrefix + strings.Join(slices.Compact(lower), " ")
	if len(key) > maxFieldsKey || len(names) == 0 {
		return ""
	}
	return key
}

// HoldsField reports whether a fact of this key has all fields of a name.
func HoldsField(key, name string) bool {
	list, ok := strings.CutPrefix(key, fieldsPrefix)
	return ok && slices.Contains(strings.Split(list, " "), strings.ToLower(name))
}

const (
	fieldsPrefix = "imap.header "
	maxFieldsKey = 200
)

// nulField names the fact whether a message holds a NUL.
const nulField = "octets.nul"

var hasNUL, noNUL = []byte("1"), []byte("0")

// HasNUL tells whether a NUL is anywhere in the message. No literal can carry one
// (RFC 3501 §9: CHAR8 is any octet except NUL), but a delivery may have put one
// into the file.
func (m *Message) HasNUL() (bool, error) {
	if fact, ok := m.Fact(nil, nulField); ok {
		return string(fact) == string(hasNUL), nil
	}
	msg, err := m.Open()
	if err != nil {
		return false, err
	}
	fact := noNUL
	buf := mailstore.Bytes(msg)
	if bytes.IndexByte(buf, 0) >= 0 {
		return true, nil
	} else if buf != nil {
		return false, nil
	}
	buf = make([]byte, min(msg.Size(), 64<<10))
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
