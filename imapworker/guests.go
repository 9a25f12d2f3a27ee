package imapworker

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"rookery/internal/acl"
	"rookery/internal/ipc/workermsg"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/guarded"
	"rookery/internal/mailstore/ownseen"
	"rookery/internal/mailstore/remote"
	"rookery/internal/settings"
	"rookery/internal/vfs"
	"rookery/internal/worker"
)

var _ worker.GuestServer = (*server)(nil)

// guests are the other users whom this process serves.
type guests struct {
	mu   sync.Mutex
	wake map[*worker.Guest]chan struct{}
	// seen are the keepers of those who have been here, since one file must not be
	// written by two at once.
	seen map[string]*ownseen.Keeper
}

func newGuests() guests {
	return guests{wake: map[*worker.Guest]chan struct{}{}, seen: map[string]*ownseen.Keeper{}}
}

func (g *guests) enter(who *worker.Guest) chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := make(chan struct{}, 1)
	g.wake[who] = c
	return c
}

func (g *guests) leave(who *worker.Guest) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.wake, who)
}

// tell has all guests but one look at what they have open.
func (g *guests) tell(but *worker.Guest) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for who, c := range g.wake {
		if who == but {
			continue
		}
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// maxKeepers bounds how many guests' keepers are remembered.
const maxKeepers = 200

// keeper gives the one of a guest.
func (g *guests) keeper(control vfs.FS, user string) *ownseen.Keeper {
	g.mu.Lock()
	defer g.mu.Unlock()
	k := g.seen[user]
	if k == nil {
		k = ownseen.New(control, "", user)
		if len(g.seen) < maxKeepers {
			g.seen[user] = k
		}
	}
	return k
}

// Guest serves another user what the lists let him have of the user's mail.
func (s *server) Guest(g *worker.Guest) {
	if s.shared == nil {
		unix.Close(g.FD) // no namespace would show it, or the format keeps no lists
		return
	}
	private, err := s.ownSeen(g.User)
	guard, ok := guarded.Wrap(s.shared, guarded.Options{Who: acl.Who{User: g.User, Groups: g.Groups}, Owner: s.host.User.User,
		Wide: settings.IMAPACLAllowAnyone.Get(s.host.Settings), Private: private})
	if !ok || err != nil {
		s.host.Log.Warnf("guest=<%s> cannot be served: %v", g.User, err)
		unix.Close(g.FD)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-g.End:
			cancel()
		case <-ctx.Done():
		}
	}()
	wake := s.guests.enter(g)
	defer s.guests.leave(g)
	if notes := mailstore.AnnotatorOf(s.shared); notes != nil { // also what other processes of the user change in them
		defer notes.WatchAnnotations(wake)()
	}
	s.host.Log.Infof("guest=<%s> came", g.User)
	err = remote.Serve(ctx, g.FD, guard, remote.ServeOptions{Changed: func() { s.changedBy(nil, g) }, Wake: wake, Maker: s.maker,
		Failed: func(op string, err error) { s.host.Log.Warnf("guest=<%s> %s: %v", g.User, op, err) }})
	if err != nil {
		s.host.Log.Warnf("guest=<%s> was sent away: %v", g.User, err)
		return
	}
	s.host.Log.Infof("guest=<%s> left", g.User)
}

// ownSeen gives who keeps what a guest has seen; nil: he shares the owner's.
func (s *server) ownSeen(guest string) (guarded.Private, error) {
	private := false
	for _, f := range s.host.Foreign() {
		if f.Namespace.Owner == "" || f.Namespace.Owner == s.host.User.User {
			private = f.SeenPrivate
		}
		if f.Namespace.Owner == s.host.User.User && f.Namespace.Owner != "" {
			break
		}
	}
	if !private {
		return nil, nil
	}
	control, err := s.outside.control()
	if err != nil {
		return nil, err
	}
	return s.guests.keeper(control, guest), nil
}

// forgetSeen removes what guests have seen of a mailbox that was deleted.
func (s *server) forgetSeen(guid mailstore.GUID) {
	control, err := s.outside.control()
	if err == nil {
		err = ownseen.Drop(control, "", guid)
	}
	if err != nil {
		s.host.Log.Warnf("%v", err)
	}
}

// publisher stands before the user's store and sees to it that the list of shares is
// true: after each change of a list, and of names that have one.
type publisher struct {
	mailstore.Store
	lists mailstore.ACLKeeper
	tell  func([]workermsg.Published)
	gone  func(mailstore.GUID) // a mailbox was deleted
	note  func(text string)
	now   func() time.Time

	mu      sync.Mutex
	wanted  bool // somebody wants the lists looked at
	changed bool // since they were looked at last, something was changed here
	looking bool
	looked  time.Time
	told    []workermsg.Published // last
	ever    bool                  // something was told
	closed  bool
	done    sync.WaitGroup
}

// lookAgain is how soon a change by another process has the lists looked at again.
const lookAgain = time.Minute

var _ mailstore.ACLKeeper = (*publisher)(nil)

func newPublisher(store mailstore.Store, lists mailstore.ACLKeeper, tell func([]workermsg.Published), gone func(mailstore.GUID), note func(string)) *publisher {
	return &publisher{Store: store, lists: lists, tell: tell, gone: gone, note: note, now: time.Now}
}

// Unwrap gives the store inside.
func (p *publisher) Unwrap() mailstore.Store { return p.Store }

// ACL is mailstore.ACLKeeper's.
func (p *publisher) ACL(name mailstore.Name) (acl.List, error) { return p.lists.ACL(name) }

// DefaultACL is mailstore.ACLKeeper's.
func (p *publisher) DefaultACL(name mailstore.Name) (acl.List, error) {
	return p.lists.DefaultACL(name)
}

// EditACL is mailstore.ACLKeeper's.
func (p *publisher) EditACL(name mailstore.Name, edit func(acl.List) (acl.List, error)) error {
	defer p.look()
	return p.lists.EditACL(name, edit)
}

// Create makes a mailbox, which may have got the list of one above.
func (p *publisher) Create(name mailstore.Name, use mailstore.Attr) (mailstore.Name, error) {
	defer p.look()
	return p.Store.Create(name, use)
}

// Delete removes a mailbox, and what guests have seen of it.
func (p *publisher) Delete(name mailstore.Name) error {
	defer p.look()
	st, serr := p.Store.Status(name, mailstore.StatusWant{})
	err := p.Store.Delete(name)
	if err == nil && serr == nil {
		p.gone(st.GUID)
	}
	return err
}

// Rename moves a mailbox and those below it.
func (p *publisher) Rename(from, to mailstore.Name) error {
	defer p.look()
	return p.Store.Rename(from, to)
}

// look has the lists looked at in the background after a change. What they say is told
// then even if it is what was told last: another process, such as the operator's tool,
// may have told something else in between.
func (p *publisher) look() { p.begin(true) }

func (p *publisher) begin(changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted, p.changed = true, p.changed || changed
	if p.looking || p.closed {
		return
	}
	p.looking = true
	p.done.Go(p.run)
}

// woken is look after a change by another process, which need not concern lists.
func (p *publisher) woken() {
	p.mu.Lock()
	due := p.now().Sub(p.looked) >= lookAgain
	p.mu.Unlock()
	if due {
		p.begin(false)
	}
}

func (p *publisher) run() {
	for {
		p.mu.Lock()
		if !p.wanted {
			p.looking = false
			p.mu.Unlock()
			return
		}
		changed := p.changed
		p.wanted, p.changed, p.looked = false, false, p.now()
		p.mu.Unlock()
		boxes, err := p.collect()
		if err != nil {
			p.note("looking for what is shared: " + err.Error())
			continue
		}
		p.mu.Lock()
		same := p.ever && !changed && slices.EqualFunc(p.told, boxes, samePublished)
		p.told, p.ever = boxes, true
		p.mu.Unlock()
		if !same {
			p.tell(boxes)
		}
	}
}

// collect gives the mailboxes whose lists give somebody something. One whose list
// cannot be read is nobody's but the owner's.
func (p *publisher) collect() (out []workermsg.Published, err error) {
	list, err := p.Store.List()
	if err != nil {
		return nil, err
	}
	for _, f := range list {
		if f.Attrs&(mailstore.NoSelect|mailstore.NonExistent) != 0 {
			continue
		}
		if l, err := p.lists.ACL(f.Name); err == nil {
			if box, ok := worker.Publishable(f.Name, l); ok {
				out = append(out, box)
			}
		}
	}
	return out, nil
}

func samePublished(a, b workermsg.Published) bool {
	return a.Name == b.Name && slices.Equal(a.Entries, b.Entries)
}

// Close waits for a look under way, then gives up the store.
func (p *publisher) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.done.Wait()
	return p.Store.Close()
}
