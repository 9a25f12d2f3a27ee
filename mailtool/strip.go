package mailtool

import (
	"bytes"
	"strings"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/mbox/mboxfmt"
)

// An mbox keeps UIDs and flags in headers of the messages (X-UID, Status, …). Mail
// that came with such headers of its own, as some delivery agents and forwarded
// mailboxes have it, loses them when it goes into an mbox: there they would be
// believed, by this server and others. A copy is right if nothing else is missing.

// unstripped is a message as an mbox gives it back.
type unstripped struct {
	mailstore.Message
	parts []mboxfmt.Range
	size  int64
	blank bool // it is CRLF alone
}

// strip gives a message without metadata headers; the message itself if it has none.
func strip(m mailstore.Message) (mailstore.Message, error) {
	h, _, err := mboxfmt.ReadHeader(m, m.Size())
	if err != nil || len(h.Meta.Fields) == 0 {
		return m, err
	}
	u := &unstripped{Message: m, parts: h.Shown()}
	if u.size = mboxfmt.Stored(u.parts); u.size == 0 {
		u.size, u.blank = 2, true // it is nothing else: the driver keeps an empty line
	}
	return u, nil
}

func (u *unstripped) Size() int64 { return u.size }

func (u *unstripped) ReadAt(p []byte, off int64) (int, error) {
	if u.blank {
		return strings.NewReader("\r\n").ReadAt(p, off)
	}
	return mboxfmt.Parts{File: u.Message, Ranges: u.parts}.ReadAt(p, off)
}

// strippedTo reports whether a message of the source is as long as the target has it
// once metadata headers are taken out of it.
func (r *replica) strippedTo(p *pair, uid mailstore.UID, size int64) bool {
	if !r.strips {
		return false
	}
	m, err := p.src.Message(uid)
	if err != nil {
		return false
	}
	defer m.Close()
	s, err := strip(m)
	return err == nil && s.Size() == size
}

// sameOctets compares a message in source and target.
func (r *replica) sameOctets(p *pair, uid mailstore.UID) error {
	a, err := p.src.Message(uid)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := p.dst.Message(uid)
	if err != nil {
		return err
	}
	defer b.Close()
	if a.Size() != b.Size() && r.strips {
		if a, err = strip(a); err != nil {
			return err
		}
		r.stripped++
	}
	if a.Size() != b.Size() {
		return differ(uid, "size", a.Size(), b.Size())
	}
	x, y := make([]byte, 64<<10), make([]byte, 64<<10)
	for off := int64(0); off < a.Size(); {
		k := min(int64(len(x)), a.Size()-off)
		n, err := a.ReadAt(x[:k], off)
		if int64(n) < k {
			return readError(err)
		}
		if n, err = b.ReadAt(y[:k], off); int64(n) < k {
			return readError(err)
		}
		if !bytes.Equal(x[:k], y[:k]) {
			return differ(uid, "content at octet", off, "other")
		}
		off += k
	}
	return nil
}
