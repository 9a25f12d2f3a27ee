package remote

import (
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
const factBytes = 48 << 10

func (s *server) cached(a *cachedOf) (out *cachedList, err error) {
	err = s.with("look", a.Box, func(b *serverBox) error {
		out = &cachedList{}
		size := 0
		take := func(uid mailstore.UID) bool {
			value, ok := b.cache.AppendCached(nil, uid, a.Field)
			if len(value) > maxFact {
				value, ok = nil, false
			}
			out.List = append(out.List, cached{uid, ok, value})
			size += len(value) + 8
			return size < factBytes
		}
		for _, uid := range append([]mailstore.UID{a.UID}, b.following(a.UID, a.Ahead)...) {
			if !take(uid) {
				break
			}
		}
		return nil
	})
	return out, err
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

func (s *server) read(a *readingAt) (*chunk, error) {
	s.mu.Lock()
	m := s.messages[a.Message]
	s.mu.Unlock()
	if m == nil {
		return nil, unknown("read message")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, unknown("read message")
	}
	if a.Off >= m.Size() {
		return &chunk{}, nil
	}
	out := &chunk{make([]byte, min(int64(a.N), maxChunk, m.Size()-a.Off))}
	return out, readFull(m, out.Data, a.Off)
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

// serverAppender is an appender that the guest has begun.
type serverAppender struct {
	mailstore.Appender
	mu     sync.Mutex
	w      io.Writer // of the message that was added last
	octets int64     // of all its messages
	over   bool
}

func (s *server) append(a *named) (*handle, error) {
	if err := known("append", a.Name); err != nil {
		return nil, err
	}
	if err := s.claim(&s.counts.appenders, s.opt.Limits.Appenders); err != nil {
		return nil, err
	}
	app, err := s.store.Append(a.Name)
	if err != nil {
		s.release(&s.counts.appenders)
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.next(func(n uint32) bool { return s.appenders[n] != nil })
	s.appenders[n] = &serverAppender{Appender: app}
	return &handle{n}, nil
}

// appending runs do with an appender that is not over.
func (s *server) appending(n uint32, do func(a *serverAppender) error) error {
	s.mu.Lock()
	a := s.appenders[n]
	s.mu.Unlock()
	if a == nil {
		return unknown("append")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return unknown("append")
	}
	return do(a)
}

// claimOctets counts octets that are appended; all appenders of a guest together have a
// limit.
func (s *server) claimOctets(a *serverAppender, n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.octets+n > s.opt.Limits.Append {
		return errkind.Newf("append", errkind.TooBig, "more is appended than a guest may have under way")
	}
	s.octets += n
	a.octets += n
	return nil
}

func (s *server) add(a *adding) (*none, error) {
	return nil, s.appending(a.Appender, func(app *serverAppender) error {
		app.w = nil
		if a.Size > s.opt.Limits.Append {
			return errkind.Newf("append", errkind.TooBig, "the message is too large")
		}
		// A message without octets costs something, too.
		if err := s.claimOctets(app, 1<<10); err != nil {
			return err
		}
		w, err := app.Add(a.Meta, a.Size)
		if err == nil {
			app.w = w
		}
		return err
	})
}

func (s *server) write(a *writing) (*none, error) {
	return nil, s.appending(a.Appender, func(app *serverAppender) error {
		if app.w == nil {
			return errkind.Newf("append", errkind.Invalid, "no message was added")
		}
		if err := s.claimOctets(app, int64(len(a.Data))); err != nil {
			return err
		}
		_, err := app.w.Write(a.Data)
		return err
	})
}

func (s *server) commit(a *handle) (out *appended, err error) {
	err = s.appending(a.N, func(app *serverAppender) error {
		res, err := app.Commit()
		if err == nil {
			out = &appended{res}
		}
		s.forget(a.N, app)
		return err
	})
	return out, err
}

func (s *server) abort(a *handle) (*none, error) {
	return nil, s.appending(a.N, func(app *serverAppender) error {
		s.forget(a.N, app)
		return nil
	})
}

// forget gives an appender up; what was committed stays.
func (s *server) forget(n uint32, a *serverAppender) {
	a.Abort()
	a.over = true
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.appenders, n)
	s.counts.appenders--
	s.octets -= a.octets
}
