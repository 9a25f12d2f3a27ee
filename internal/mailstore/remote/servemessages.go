package remote

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
)

// following gives up to n UIDs that follow uid in the newest picture.
func (b *serverBox) following(uid mailstore.UID, n uint32) []mailstore.UID {
	n = min(n, maxItems-1)
	if n == 0 || uid == 1<<32-1 {
		return nil
	}
	b.shown.mu.Lock()
	snap := b.shown.told
	b.shown.mu.Unlock()
	if snap == nil {
		return nil
	}
	pos, _ := snap.Find(uid + 1)
	buf := make([]mailstore.Entry, n)
	buf = buf[:mailstore.Entries(snap, pos, buf)]
	out := make([]mailstore.UID, len(buf))
	for i, e := range buf {
		out[i] = e.UID
	}
	return out
}

// facts gives a message's facts, and those of some that follow it, as long as the guest
// is likely to want them next; or what is known without a look at any message.
func (s *server) facts(a *factsOf) (out *factList, err error) {
	err = s.with("look", a.Box, func(b *serverBox) error {
		out = &factList{}
		if a.Known {
			b.knownFacts(a, out)
			return nil
		}
		f, err := b.mb.Facts(a.UID, a.Want.FactsWant)
		if err != nil {
			out = nil
			return err
		}
		out.List = append(out.List, factsFrom(a.UID, f, a.Want))
		for _, uid := range b.following(a.UID, a.Ahead) {
			if f, err := b.mb.Facts(uid, a.Want.FactsWant); err == nil {
				out.List = append(out.List, factsFrom(uid, f, a.Want))
			}
		}
		return nil
	})
	return out, err
}

func factsFrom(uid mailstore.UID, f mailstore.Facts, have factWants) facts {
	return facts{UID: uid, Have: have, Size: max(f.Size, 0), InternalDate: f.InternalDate, SaveDate: f.SaveDate, GUID: f.GUID}
}

// knownFacts gives what is known of messages from a UID on. The walk is not held up by
// the guest: what fits into one answer is gathered, and he asks again.
func (b *serverBox) knownFacts(a *factsOf, out *factList) {
	mailstore.KnownFacts(b.mb, a.Want.FactsWant, func(uid mailstore.UID, f mailstore.Facts, known mailstore.FactsWant) bool {
		if uid >= a.UID {
			known.UIDL = false
			out.List = append(out.List, factsFrom(uid, f, factWants{known}))
		}
		return len(out.List) < maxItems
	})
}

// factBytes is about how many octets of derived facts are in one answer.
const factBytes = 52 << 10

// maxMade is how many derived facts are made for one call: each may cost a look at a
// whole message.
const maxMade = 32

func (s *server) cached(a *cachedOf) (out *cachedList, err error) {
	err = s.with("look", a.Box, func(b *serverBox) error {
		out = &cachedList{}
		size, made := 0, 0
		for i, uid := range append([]mailstore.UID{a.UID}, b.following(a.UID, a.Ahead)...) {
			value, ok := b.cache.AppendCached(nil, uid, a.Field)
			if !ok && b.makes() {
				if made++; made > maxMade {
					break
				}
				value, ok = b.make(uid, a.Field)
			}
			if len(value) > maxFact {
				value, ok = nil, false
			}
			if size += len(value) + 8; i > 0 && size > factBytes {
				break
			}
			out.List = append(out.List, cached{uid, ok, value})
		}
		return nil
	})
	return out, err
}

// makes reports whether there is somebody who makes derived facts.
func (b *serverBox) makes() bool {
	b.making.Do(func() {
		if b.s.opt.Maker != nil {
			b.maker = b.s.opt.Maker(b.mb.Info().Name)
		}
	})
	return b.maker != nil
}

// make makes a derived fact that the owner's cache lacks.
func (b *serverBox) make(uid mailstore.UID, field string) ([]byte, bool) {
	// The maker looks at the owner's mailbox, not at what the guest may see.
	if _, err := b.mb.Facts(uid, mailstore.FactsWant{}); err != nil {
		return nil, false
	}
	if i := b.mb.Info(); !b.maker.Is(i.GUID, i.UIDValidity) {
		return nil, false
	}
	return b.maker.Make(uid, field)
}

func (s *server) cachedFields(a *handle) (out *fieldNames, err error) {
	err = s.with("look", a.N, func(b *serverBox) error {
		out = &fieldNames{}
		for _, f := range mailstore.CachedFields(b.mb) {
			if len(f) <= maxField && len(out.List) < maxFields {
				out.List = append(out.List, f)
			}
		}
		return nil
	})
	return out, err
}

// smallMessage is up to how many octets a message is sent unasked, after the one that
// was asked for.
const smallMessage = 16 << 10

// message opens a message. Its first octets come along; if they are all, it is not kept
// open.
func (s *server) message(a *opening) (out *messageStart, err error) {
	err = s.with("open message", a.Box, func(b *serverBox) error {
		out, err = s.openMessage(b, a.UID)
		if err != nil || len(out.Data) > maxChunk/2 {
			return err
		}
		size := len(out.Data)
		for _, uid := range b.following(a.UID, a.Ahead) {
			w, ok := b.small(uid)
			if size += len(w.Data) + 16; !ok || size > maxChunk {
				break
			}
			out.Ahead = append(out.Ahead, w)
		}
		return nil
	})
	if err != nil {
		out = nil
	}
	return out, err
}

func (s *server) openMessage(b *serverBox, uid mailstore.UID) (*messageStart, error) {
	if err := s.claim(&s.counts.messages, s.opt.Limits.Messages); err != nil {
		return nil, err
	}
	m, err := b.mb.Message(uid)
	if err != nil {
		s.release(&s.counts.messages)
		return nil, err
	}
	out := &messageStart{Size: m.Size(), Data: make([]byte, min(m.Size(), maxChunk))}
	if err = readFull(m, out.Data, 0); err == nil && int64(len(out.Data)) < out.Size {
		s.mu.Lock()
		out.Handle = s.next(func(n uint32) bool { return s.messages[n] != nil })
		s.messages[out.Handle] = &serverMessage{Message: m}
		s.mu.Unlock()
		return out, nil
	}
	m.Close()
	s.release(&s.counts.messages)
	return out, err
}

// small gives all octets of a message that has few.
func (b *serverBox) small(uid mailstore.UID) (w whole, ok bool) {
	m, err := b.mb.Message(uid)
	if err != nil {
		return w, false
	}
	defer m.Close()
	if m.Size() > smallMessage {
		return w, false
	}
	w = whole{uid, make([]byte, m.Size())}
	return w, readFull(m, w.Data, 0) == nil
}

// readFull fills p from an offset on.
func readFull(m mailstore.Message, p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	n, err := m.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return errkind.New("read message", errkind.Corrupt, io.ErrUnexpectedEOF)
	}
	return err
}

// serverMessage is a message that the guest has open.
type serverMessage struct {
	mailstore.Message
	mu     sync.Mutex
	closed bool
}

// read answers with a chunk, which is written where it is read.
func (s *server) read(_ uint32, args []byte) (reply []byte, bad, err error) {
	var a readingAt
	if bad := decode(args, &a); bad != nil {
		return nil, bad, nil
	}
	s.mu.Lock()
	m := s.messages[a.Message]
	s.mu.Unlock()
	if m == nil {
		return nil, nil, unknown("read message")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, nil, unknown("read message")
	}
	n := max(min(int64(a.N), maxChunk, m.Size()-a.Off), 0)
	reply = binary.AppendUvarint(make([]byte, 0, n+binary.MaxVarintLen32), uint64(n))
	head := len(reply)
	reply = reply[:head+int(n)]
	if err := readFull(m, reply[head:], a.Off); err != nil {
		return nil, nil, err
	}
	return reply, nil, nil
}

func (s *server) closeMessage(a *handle) (*none, error) {
	s.mu.Lock()
	m := s.messages[a.N]
	delete(s.messages, a.N)
	s.mu.Unlock()
	if m == nil {
		return nil, unknown("close message")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	s.release(&s.counts.messages)
	return nil, m.Close()
}
