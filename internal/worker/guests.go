package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/ipc/workermsg"
)

// A GuestServer is a Server that serves others than its user, too.
type GuestServer interface {
	// Guest serves another user until he goes or must end, and closes his channel.
	// Each runs in a goroutine of its own.
	Guest(*Guest)
	// SharesChanged says that what others share with this process's user may have
	// changed. It must not wait for anything.
	SharesChanged()
}

// Guest is another user whom the owner's lists may let do something. Who he is was
// asked of authd; what he sends is not to be believed.
type Guest struct {
	ID     uint64
	User   string
	Groups []string // sorted
	FD     int      // SOCK_SEQPACKET, the Guest's to close
	// End is sent to once when the guest must go; the text says why.
	End <-chan string
}

// A process may tell what it shares this many times at once, in parts, and then so
// often; what comes faster waits, and the newest replaces what waits. master ends a
// process that is twice as fast.
const (
	publishBurst = 32
	publishEvery = 100 * time.Millisecond
)

// maxShared bounds what is taken of the list of what others share.
const maxShared = 200_000

var errEnding = errors.New("the process is ending")

// sharing is the worker's end of what is asked of master about other users.
type sharing struct {
	send func(ipc.Message) error
	now  func() time.Time
	warn func(text string)

	mu       sync.Mutex
	ended    bool
	next     uint64
	reaching map[uint64]chan reached
	asking   map[uint64]*asking

	tokens  float64
	filled  time.Time
	waiting []*workermsg.Publish // not sent yet
	timer   *time.Timer
}

type reached struct {
	fd  int
	err error
}

type asking struct {
	boxes []workermsg.Shared
	done  chan error
}

func newSharing(send func(ipc.Message) error, warn func(string)) *sharing {
	return &sharing{send: send, now: time.Now, warn: warn, reaching: map[uint64]chan reached{}, asking: map[uint64]*asking{}, tokens: publishBurst}
}

// Reach gives a channel (SOCK_SEQPACKET) to the process that has owner's mail; the
// caller closes it. errkind: NotFound (no such owner, or he shares nothing with this
// user), Limit, Unavailable.
func (h *Host) Reach(ctx context.Context, owner string) (fd int, err error) {
	return h.sharing.reach(ctx, owner)
}

// Shares gives what others share with this user, in the order of owner and name. It
// starts no process. errkind: Unavailable.
func (h *Host) Shares(ctx context.Context) ([]workermsg.Shared, error) { return h.sharing.shares(ctx) }

// Publish tells which of this user's mailboxes others may see; it replaces what was
// told before. It does not wait: what is told faster than a few times a second is
// told a little later, and only the last of it.
func (h *Host) Publish(boxes []workermsg.Published) { h.sharing.publish(boxes) }

// Publishable gives what is to be told of a mailbox; ok is false if its list gives
// nobody other than the owner anything.
func Publishable(name string, list acl.List) (p workermsg.Published, ok bool) {
	if !list.Grants() {
		return p, false
	}
	p.Name = name
	for line := range strings.Lines(string(list.Inherited().Format())) {
		if line = strings.TrimSuffix(line, "\n"); len(line) <= redeemmsg.MaxEntry {
			p.Entries = append(p.Entries, line)
		} else if strings.HasPrefix(strings.TrimLeft(line, "\""), "-") {
			return workermsg.Published{}, false // what it takes away cannot be told
		}
	}
	return p, len(p.Name) <= redeemmsg.MaxMailbox && len(p.Entries) > 0 && len(p.Entries) <= redeemmsg.MaxEntries
}

func (s *sharing) reach(ctx context.Context, owner string) (int, error) {
	if owner == "" || len(owner) > redeemmsg.MaxUser {
		return -1, errkind.New("reach the owner", errkind.NotFound, nil)
	}
	ch := make(chan reached, 1)
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return -1, errkind.New("reach the owner", errkind.Unavailable, errEnding)
	}
	s.next++
	id := s.next
	s.reaching[id] = ch
	s.mu.Unlock()
	if err := s.send(&workermsg.Reach{ID: id, Owner: owner}); err != nil {
		s.forget(id)
		return -1, errkind.New("reach the owner", errkind.Unavailable, err)
	}
	select {
	case r := <-ch:
		return r.fd, r.err
	case <-ctx.Done():
	}
	if s.forget(id) {
		return -1, errkind.New("reach the owner", errkind.Unavailable, ctx.Err())
	}
	r := <-ch // it came at this very moment
	return r.fd, r.err
}

// forget gives up a question; false if it was answered meanwhile.
func (s *sharing) forget(id uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, waits := s.reaching[id]
	delete(s.reaching, id)
	return waits
}

// reached takes master's answer. One that nobody waits for any more is closed.
func (s *sharing) reached(m *workermsg.Reached, fd int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := s.reaching[m.ID]
	delete(s.reaching, m.ID)
	switch {
	case ch == nil && fd >= 0:
		unix.Close(fd)
	case ch == nil:
	case fd >= 0:
		ch <- reached{fd: fd}
	default:
		kind := m.Kind
		if kind == errkind.Other {
			kind = errkind.Unavailable
		}
		var cause error
		if m.Text != "" {
			cause = errors.New(m.Text)
		}
		ch <- reached{fd: -1, err: errkind.New("reach the owner", kind, cause)}
	}
}

func (s *sharing) shares(ctx context.Context) ([]workermsg.Shared, error) {
	a := &asking{done: make(chan error, 1)}
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return nil, errkind.New("list of shares", errkind.Unavailable, errEnding)
	}
	s.next++
	id := s.next
	s.asking[id] = a
	s.mu.Unlock()
	forget := func() {
		s.mu.Lock()
		delete(s.asking, id)
		s.mu.Unlock()
	}
	if err := s.send(&workermsg.AskShares{ID: id}); err != nil {
		forget()
		return nil, errkind.New("list of shares", errkind.Unavailable, err)
	}
	select {
	case err := <-a.done:
		if err != nil {
			return nil, errkind.New("list of shares", errkind.Unavailable, err)
		}
		return a.boxes, nil
	case <-ctx.Done():
		forget()
		return nil, errkind.New("list of shares", errkind.Unavailable, ctx.Err())
	}
}

func (s *sharing) part(m *workermsg.Shares) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.asking[m.ID]
	if a == nil {
		return
	}
	a.boxes = append(a.boxes, m.Boxes[:min(len(m.Boxes), maxShared-len(a.boxes))]...)
	if !m.Last {
		return
	}
	delete(s.asking, m.ID)
	if m.Text != "" {
		a.done <- errors.New(m.Text)
		return
	}
	a.done <- nil
}

// publish sends the list, or keeps it until it may be sent.
func (s *sharing) publish(boxes []workermsg.Published) {
	parts, left := publishParts(boxes)
	if left > 0 {
		s.warn(fmt.Sprintf("%d of %d shared mailboxes are too many for the list of shares: others do not see them in LIST", left, len(boxes)))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.waiting = parts
	s.pump()
}

// pump sends what waits, if its time has come; else it sees to it that it is called
// again. The caller holds mu.
func (s *sharing) pump() {
	if len(s.waiting) == 0 {
		return
	}
	now := s.now()
	if !s.filled.IsZero() {
		s.tokens = min(publishBurst, s.tokens+float64(now.Sub(s.filled))/float64(publishEvery))
	}
	s.filled = now
	if need := float64(len(s.waiting)); s.tokens < need {
		if s.timer == nil {
			s.timer = time.AfterFunc(time.Duration((need-s.tokens+0.1)*float64(publishEvery)), func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.timer = nil
				s.pump()
			})
		}
		return
	}
	s.tokens -= float64(len(s.waiting))
	s.flush()
}

// flush sends what waits at once. The caller holds mu.
func (s *sharing) flush() {
	for _, m := range s.waiting {
		if s.send(m) != nil {
			break // master is gone
		}
	}
	s.waiting = nil
}

// end sends what waits, and answers who waits: no message of master's will be read.
func (s *sharing) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.flush()
	s.ended = true
	if s.timer != nil {
		s.timer.Stop()
	}
	for id, ch := range s.reaching {
		delete(s.reaching, id)
		ch <- reached{fd: -1, err: errkind.New("reach the owner", errkind.Unavailable, errEnding)}
	}
	for id, a := range s.asking {
		delete(s.asking, id)
		a.done <- errEnding
	}
}

// publishParts cuts a list into messages; left is how many mailboxes are over what
// authd takes of one owner.
func publishParts(boxes []workermsg.Published) (out []*workermsg.Publish, left int) {
	boxes = slices.Clone(boxes)
	slices.SortFunc(boxes, func(a, b workermsg.Published) int { return strings.Compare(a.Name, b.Name) })
	part, size, total := &workermsg.Publish{First: true}, 0, 0
	for i, b := range boxes {
		n := redeemmsg.PublishedSize(b)
		if total += n; total > redeemmsg.MaxOwnerBytes || i >= redeemmsg.MaxOwnerBoxes {
			left = len(boxes) - i
			break
		}
		if size += n; len(part.Boxes) > 0 && size > redeemmsg.MaxPartBytes || len(part.Boxes) == redeemmsg.MaxPart {
			out = append(out, part)
			part, size = &workermsg.Publish{}, n
		}
		part.Boxes = append(part.Boxes, b)
	}
	part.Last = true
	return append(out, part), left
}

// beginGuest serves a guest, as begin does a session. Sessions and guests have their
// numbers from one row.
func (l *loop) beginGuest(m *workermsg.Guest, fd int) error {
	server, ok := l.server.(GuestServer)
	if !ok {
		unix.Close(fd)
		return fmt.Errorf("master sent a guest to a process that serves none")
	}
	end := make(chan string, 1)
	l.sessions[m.ID] = end
	g := &Guest{ID: m.ID, User: m.User, Groups: m.Groups, FD: fd, End: end}
	go func() {
		server.Guest(g)
		l.ctl.Send(&workermsg.GuestEnded{ID: m.ID}, -1)
		l.ended <- m.ID
	}()
	return nil
}
