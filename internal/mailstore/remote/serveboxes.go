package remote

import (
	"sync"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
)

// serverBox is a mailbox that the guest has open.
type serverBox struct {
	s     *server
	n     uint32
	mb    mailstore.Mailbox
	cache mailstore.CacheAppender

	wake    chan struct{}
	unwatch func()
	barrier chan chan struct{}
	over    chan struct{} // closed by stop
	done    chan struct{} // closed by watch

	making sync.Once
	maker  Maker // nil: there is none

	use sync.RWMutex // held for writing by stop: nobody uses mb after it

	mu      sync.Mutex
	told    bool // Changed was sent and not heard
	untold  bool // and there was another change since
	changes uint32

	shown serverPicture
}

// claim counts one more of something that is bounded.
func (s *server) claim(n *int, limit int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if *n >= limit {
		return errkind.Newf("guest", errkind.Limit, "too much is open")
	}
	*n++
	return nil
}

func (s *server) release(n *int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*n--
}

// next gives a handle that is not in use.
func (s *server) next(used func(n uint32) bool) uint32 {
	for {
		s.last++
		if s.last != 0 && !used(s.last) {
			return s.last
		}
	}
}

// open opens a mailbox. Its picture is asked for apart.
func (s *server) open(a *named) (*handle, error) {
	if err := known("open", a.Name); err != nil {
		return nil, err
	}
	if err := s.claim(&s.counts.boxes, s.opt.Limits.Boxes); err != nil {
		return nil, err
	}
	mb, err := s.store.Open(a.Name)
	if err != nil {
		s.release(&s.counts.boxes)
		return nil, err
	}
	b := &serverBox{s: s, mb: mb, cache: mailstore.Cache(mb), wake: make(chan struct{}, 1), barrier: make(chan chan struct{}),
		over: make(chan struct{}), done: make(chan struct{})}
	s.mu.Lock()
	b.n = s.next(func(n uint32) bool { return s.boxes[n] != nil })
	s.boxes[b.n] = b
	s.mu.Unlock()
	b.unwatch = mb.Watch(b.wake)
	go b.watch()
	return &handle{b.n}, nil
}

// close closes a mailbox.
func (s *server) close(a *handle) (*none, error) {
	s.mu.Lock()
	b := s.boxes[a.N]
	delete(s.boxes, a.N)
	s.mu.Unlock()
	if b == nil {
		return nil, unknown("close")
	}
	err := b.stop()
	s.release(&s.counts.boxes)
	return nil, err
}

func (b *serverBox) stop() error {
	b.use.Lock()
	defer b.use.Unlock()
	close(b.over)
	<-b.done
	b.unwatch()
	b.making.Do(func() {})
	if b.maker != nil {
		b.maker.Close()
	}
	return b.mb.Close()
}

// unknown is the error of a handle that is not open.
func unknown(op string) error {
	return errkind.Newf(op, errkind.NotFound, "that is not open")
}

// known is the error of a name that no mailbox can have: that of one that is not there.
func known(op string, name mailstore.Name) error {
	if imapname.Name(name).Check() != nil {
		return errkind.Newf(op, errkind.NotFound, "there is no such mailbox")
	}
	return nil
}

// with runs do with an open mailbox, which is not closed meanwhile.
func (s *server) with(op string, n uint32, do func(b *serverBox) error) error {
	s.mu.Lock()
	b := s.boxes[n]
	s.mu.Unlock()
	if b == nil {
		return unknown(op)
	}
	b.use.RLock()
	defer b.use.RUnlock()
	select {
	case <-b.over:
		return unknown(op)
	default:
		return do(b)
	}
}

// watch passes on that the mailbox changed.
func (b *serverBox) watch() {
	defer close(b.done)
	for {
		select {
		case <-b.wake:
			b.tell()
		case passed := <-b.barrier:
			select {
			case <-b.wake:
				b.tell()
			default:
			}
			close(passed)
		case <-b.over:
			return
		}
	}
}

// tell says that the mailbox changed, once until it was heard.
func (b *serverBox) tell() {
	b.mu.Lock()
	told := b.told
	b.told, b.untold = true, told
	if !told {
		b.changes++
	}
	b.mu.Unlock()
	if !told {
		b.s.send(&Changed{Box: b.n})
	}
}

// heard notes that a Changed was read.
func (b *serverBox) heard() error {
	b.mu.Lock()
	told, again := b.told, b.untold
	b.told, b.untold = again, false
	if told && again {
		b.changes++
	}
	b.mu.Unlock()
	switch {
	case !told:
		return broken("a word was heard that was not said")
	case again:
		b.s.send(&Changed{Box: b.n})
	}
	return nil
}

// settle returns when everything that is known to have changed was told: an answer
// that follows comes after it.
func (s *server) settle() {
	for _, b := range s.allBoxes() {
		passed := make(chan struct{})
		select {
		case b.barrier <- passed:
			<-passed
		case <-b.done:
		}
	}
}
