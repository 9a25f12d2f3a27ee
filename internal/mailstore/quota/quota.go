// Package quota limits what one user may keep, and counts what he keeps. It is
// a wrapper around any mailstore.Store, and is one.
//
// Workers and the operator's tools put it directly around a driver's store;
// package held goes around it. It must never know a protocol or a mail format,
// and never refuses what makes room.
//
// # What is counted
//
// Messages and their octets in CRLF form (RFC822.SIZE), as Status tells them
// (so from the index), summed up once for each mailbox. After that every change
// that goes through this package is added to or taken from the count; changes
// by other programs are found by comparing UIDNEXT and the number of messages
// with the record of the mailbox: UIDs only ascend, so the same two numbers mean
// the same messages. A move within counted mailboxes is net zero and never
// refused.
//
// # Files
//
// rookery-quota, in the control directory, has the count (state.go has each
// byte), rookery-quota-turn and rookery-quota-use hold nothing and are locked.
// None is ever synced: all of it can be counted again, and is after a boot, a
// bad checksum, or an operation that its process did not live to finish. That
// is also why the count has a file of its own and is no part of the user's
// journal, whose records cost a sync: what an operation reserves need not outlive
// the machine, only the process, and the page cache does that.
//
// An operation notes itself in the records of its mailboxes before it begins,
// and adds to "reserved" what it may add to the use; both are taken back when it
// ends, in the same write that counts what it did. While it is under way it holds
// a shared lock. Whoever gets that lock alone knows that what is still noted was
// left by the dead, and counts those mailboxes again.
package quota

import (
	"errors"
	"slices"
	"sync"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
	"rookery/internal/vfs"
)

// Class says how a mailbox's messages are counted.
type Class uint8

// The classes. Held is what expunged messages wait in; it is counted apart.
const (
	Counted Class = iota
	Ignored
	Held
)

// Rule is what holds for one mailbox beside the user's limits.
type Rule struct {
	Class Class
	// Percent of the user's limit of octets, and then ExtraOctets, is the limit of
	// what adds to this mailbox; 0 per cent is 100.
	Percent     uint32
	ExtraOctets uint64
}

// Scale gives percent of n octets or messages, and extra; no limit stays none.
func Scale(n uint64, percent uint32, extra uint64) uint64 {
	if n == 0 {
		return 0
	}
	if percent != 0 {
		n = n/100*uint64(percent) + n%100*uint64(percent)/100
	}
	return max(n+extra, 1)
}

// Limits are a user's; 0 is none.
type Limits struct {
	Octets    uint64 // of all counted mail
	Messages  uint64 // in all counted mailboxes
	MailSize  uint64 // octets of one message
	Mailboxes uint64 // that Create allows
}

// Options say what is limited and where the count is kept.
type Options struct {
	FS     vfs.FS
	Dir    string // of the control files, relative to FS
	Limits Limits
	Rule   func(mailstore.Name) Rule // nil: every mailbox is counted
	Grace  uint64                    // octets beyond the limit, for deliveries
	// SizeFile is the path of a maildirsize file for other programs; "" for none.
	SizeFile string
	Warnings []Warning
	User     string // in warnings
	// Rewrites says that the driver changes messages that it takes in, so that
	// their sizes have to be asked for.
	Rewrites bool
	Note     func(text string) // for the log; nil: nobody is told
	LockWait time.Duration     // 0: 30 s
}

// Store is a mailstore.Store with limits.
type Store struct {
	mailstore.Store
	opt Options
	l   *ledger

	mu      sync.Mutex
	ready   bool                        // this process has looked at all mailboxes
	doubt   bool                        // something could not be counted
	marked  map[mailstore.Name]struct{} // another program seems to have changed them
	pending Use                         // announced to this process and not yet there
	due     []due                       // warnings to be sent
}

var _ mailstore.Store = (*Store)(nil)

// stale is how old the last look at the mailboxes must be for another one before
// something is refused: the user may have removed mail with another program.
const stale = 30 * time.Second

// fresh is how old it may be for a process that has just begun. Where boots
// cannot be told apart, it looks in any case: a power cut may have taken back what
// was counted.
const fresh = 5 * time.Minute

// Wrap puts limits around a store. It looks at nothing yet.
func Wrap(inner mailstore.Store, opt Options) *Store {
	if opt.Note == nil {
		opt.Note = func(string) {}
	}
	if opt.LockWait == 0 {
		opt.LockWait = 30 * time.Second
	}
	if opt.Rule == nil {
		opt.Rule = func(mailstore.Name) Rule { return Rule{} }
	}
	return &Store{Store: inner, opt: opt, l: newLedger(opt.FS, opt.Dir, opt.LockWait), marked: map[mailstore.Name]struct{}{}}
}

// Unwrap gives the store inside.
func (s *Store) Unwrap() mailstore.Store { return s.Store }

// counts reports whether use matters at all.
func (s *Store) counts() bool { return s.opt.Limits.Octets > 0 || s.opt.Limits.Messages > 0 }

// limits gives what holds for adding to a mailbox.
func (s *Store) limits(r Rule) Limits {
	l := s.opt.Limits
	l.Octets = Scale(l.Octets, r.Percent, r.ExtraOctets)
	if l.Octets > 0 {
		l.Octets += s.opt.Grace
	}
	return l
}

// room makes the check of an operation that adds to a mailbox.
func (s *Store) room(r Rule, add, pending Use) func(*header) error {
	if r.Class != Counted || add.Messages == 0 {
		return nil
	}
	l := s.limits(r)
	return func(h *header) error {
		sum := h.counted
		sum.add(h.reserved)
		sum.add(pending)
		sum.add(add)
		if l.Octets > 0 && sum.Octets > l.Octets || l.Messages > 0 && sum.Messages > l.Messages {
			return errkind.Newf("quota", errkind.OverQuota, "the user's quota would be exceeded")
		}
		return nil
	}
}

// look looks at all mailboxes and counts again those that changed unseen; with
// all, every one.
func (s *Store) look(all bool) error {
	release, err := s.l.alone()
	if err == nil {
		err = s.lookAlone(all)
		release()
	}
	s.sendDue()
	return errkind.Wrap("count quota", kinded(err))
}

// prepared makes sure that this process has looked once, and looks at what was
// marked.
func (s *Store) prepared() error {
	s.mu.Lock()
	ready, doubt := s.ready && !s.doubt, s.doubt
	var marked []ref
	for name := range s.marked {
		marked = append(marked, ref{name: name})
	}
	clear(s.marked)
	s.mu.Unlock()
	switch {
	case !ready && !doubt && s.opt.FS.BootID() != "" && s.lookedWithin(fresh):
		s.mu.Lock()
		s.ready = true
		s.mu.Unlock()
		return nil
	case !ready:
		return s.look(false)
	case len(marked) > 0:
		return s.adopt(marked)
	}
	return nil
}

// begin notes an operation, looking at mailboxes first where that is needed.
// Without error the caller must end it. errUnknown says that a mailbox is not there.
func (s *Store) begin(refs []ref, add Use, check func(*header) error) (*op, error) {
	for try := 0; ; try++ {
		if err := s.prepared(); err != nil {
			return nil, err
		}
		if err := s.l.enter(); err != nil {
			return nil, errkind.Wrap("quota", kinded(err))
		}
		o, err := s.l.reserve(refs, add, check)
		if err == nil {
			return o, nil
		}
		s.l.leave()
		switch {
		case try >= 3 && err == errUnknown:
			return nil, err // for the caller, who knows what the mailbox is for
		case try >= 3 && err != errLost, try == lostTries:
		case err == errUnknown:
			if err := s.adopt(refs); err != nil {
				return nil, err
			}
			continue
		case err == errLost, errkind.Is(err, errkind.OverQuota) && !s.lookedWithin(stale):
			if err := s.look(false); err != nil {
				return nil, err
			}
			continue
		}
		return nil, kinded(err)
	}
}

// end counts what an operation did, and says what is due.
func (s *Store) end(o *op, changes ...change) {
	if o == nil {
		return
	}
	err := o.finish(changes, s.after)
	s.l.leave()
	if err != nil {
		s.distrust(err)
	}
	s.sendDue()
}

// after is called with each change of the count, the state file locked.
func (s *Store) after(h *header, add, sub Use) {
	s.addSize(h, add, sub)
	s.warn(h)
}

// distrust has the mailboxes looked at before the next operation.
func (s *Store) distrust(err error) {
	s.opt.Note("the use of quota will be counted again: " + err.Error())
	s.mu.Lock()
	s.doubt = true
	s.mu.Unlock()
}

// removal begins an operation that adds nothing. It never fails: what cannot be
// counted now is counted later.
func (s *Store) removal(refs ...ref) *op {
	if !s.counts() {
		return nil
	}
	o, err := s.begin(refs, Use{}, nil)
	if err != nil && err != errUnknown { // of a deleted mailbox, nothing is counted
		s.distrust(err)
	}
	return o
}

// Quota tells use and limits; ok is false if none is set.
func (s *Store) Quota() (q mailstore.Quota, ok bool, err error) {
	boxes := s.opt.Limits.Mailboxes
	if !s.counts() && boxes == 0 {
		return s.Store.Quota()
	}
	if boxes > 0 {
		list, err := s.Store.List()
		if err != nil {
			return q, false, err
		}
		q.MailboxesUsed, q.MailboxesLimit = s.mailboxes(list), boxes
	}
	if !s.counts() {
		return q, true, nil
	}
	h, err := s.head()
	q.StorageUsed, q.StorageLimit = h.counted.Octets, s.opt.Limits.Octets
	q.MessagesUsed, q.MessagesLimit = h.counted.Messages, s.opt.Limits.Messages
	return q, err == nil, err
}

// mailboxes counts those of a list that a limit of their number is about.
func (s *Store) mailboxes(list []mailstore.Folder) (n uint64) {
	for _, f := range list {
		if selectable(f) && s.opt.Rule(f.Name).Class != Held {
			n++
		}
	}
	return n
}

// QuotaCovers is for mailstore.QuotaScoper.
func (s *Store) QuotaCovers(name mailstore.Name) bool { return s.opt.Rule(name).Class == Counted }

// HeldUse tells what is held for undelete, which the limits leave out.
func (s *Store) HeldUse() (Use, error) {
	h, err := s.head()
	return h.held, err
}

// head reads the count, after a look if operations are noted that are not ours.
func (s *Store) head() (h header, err error) {
	for try := 0; ; try++ {
		if err := s.prepared(); err != nil {
			return h, err
		}
		err = s.l.with(func(t *txn) error { h = t.h; return nil })
		doubt := err == nil && (int32(h.underWay) > s.l.mine.Load() || h.looked == 0)
		if try > 0 && err != errLost || try == lostTries || err == nil && !doubt {
			return h, kinded(err)
		}
		if err := s.look(false); err != nil {
			return h, err
		}
	}
}

// Reconcile looks at all mailboxes and counts those again that other programs
// changed, unless a process of the user did so within the last hour. Workers
// call it when they are idle.
func (s *Store) Reconcile() error {
	if !s.counts() || s.lookedWithin(time.Hour) {
		return nil
	}
	return s.look(false)
}

// lookedWithin reports whether the count is in order and not older than d.
func (s *Store) lookedWithin(d time.Duration) (yes bool) {
	err := s.l.with(func(t *txn) error {
		age := s.opt.FS.Now().Sub(time.Unix(t.h.looked, 0))
		yes = age >= 0 && age < d && int32(t.h.underWay) <= s.l.mine.Load()
		return nil
	})
	return err == nil && yes
}

// Recalc counts every mailbox again.
func (s *Store) Recalc() error {
	if !s.counts() {
		return nil
	}
	return s.look(true)
}

// Create makes a mailbox unless there are as many as there may be.
func (s *Store) Create(name mailstore.Name, use mailstore.Attr) (mailstore.Name, error) {
	if limit := s.opt.Limits.Mailboxes; limit > 0 {
		list, err := s.Store.List()
		if err != nil {
			return "", err
		}
		there := slices.ContainsFunc(list, func(f mailstore.Folder) bool { return f.Name == name }) // which is what is told
		if !there && s.mailboxes(list) >= limit && s.opt.Rule(name).Class != Held {
			return "", errkind.Newf("create", errkind.OverQuota, "the user has as many mailboxes as he may have")
		}
	}
	return s.Store.Create(name, use)
}

// Delete removes a mailbox and its mail from the count.
func (s *Store) Delete(name mailstore.Name) error {
	return s.structural(func() error { return s.Store.Delete(name) }, func() error { return s.dropAlone(name) })
}

// Rename keeps the count; what is known by name is known by the new one.
func (s *Store) Rename(from, to mailstore.Name) error {
	return s.structural(func() error { return s.Store.Rename(from, to) }, func() error { return s.lookAlone(false) })
}

// structural changes the tree of mailboxes while no operation is under way.
func (s *Store) structural(do, then func() error) error {
	if !s.counts() {
		return do()
	}
	release, err := s.l.alone()
	if err != nil {
		s.distrust(err)
		return do()
	}
	// Noted first: who dies in between leaves something to be found.
	note := s.l.note(1)
	err = do()
	done := err == nil || benign(err)
	if err == nil {
		if note = then(); note != nil {
			done = false
		}
	}
	if done {
		note = s.l.note(-1)
	}
	if note != nil || !done {
		s.distrust(errors.Join(err, note))
	}
	release()
	s.sendDue()
	return err
}

// benign reports whether an error says that nothing was done but what the result tells.
func benign(err error) bool {
	if errors.Is(err, mailstore.ErrStopped) {
		return true
	}
	switch errkind.Of(err) {
	case errkind.NotFound, errkind.Exists, errkind.Invalid, errkind.Limit, errkind.OverQuota, errkind.NoPermission, errkind.ReadOnly, errkind.Expunged, errkind.TooBig:
		return true
	}
	return false
}

// Open opens a mailbox.
func (s *Store) Open(name mailstore.Name) (mailstore.Mailbox, error) {
	mb, err := s.Store.Open(name)
	if err != nil || !s.counts() {
		return mb, err
	}
	return &box{Mailbox: mb, s: s}, nil
}

// Close gives up the store and the count.
func (s *Store) Close() error {
	err := s.Store.Close()
	s.l.close()
	return err
}

// sized is a message and its size.
type sized struct {
	uid  mailstore.UID
	size int64
}

// sizes gives the sizes of those of uids that the newest picture has.
func sizes(mb mailstore.Mailbox, uids numset.Set) []sized {
	var out []sized
	snap := mb.Snapshot()
	for _, r := range uids.Ranges() {
		for pos, _ := snap.Find(r.First); pos < snap.Len(); pos++ {
			u := snap.At(pos).UID
			if u > r.Last {
				break
			}
			if f, err := mb.Facts(u, mailstore.FactsWant{Size: true}); err == nil {
				out = append(out, sized{u, f.Size})
			}
		}
	}
	return out
}

// sum adds the sizes of the messages that in has; all is false if one is unknown.
func sum(list []sized, in numset.Set) (u Use, all bool) {
	for _, m := range list {
		if in.Contains(m.uid) {
			u.add(Use{uint64(m.size), 1})
		}
	}
	return u, u.Messages == in.Len()
}
