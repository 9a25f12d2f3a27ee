// Package memstore is a driver that keeps mail in memory: for tests of
// protocol code, which want the same UIDs, dates and orders each time.
//
// It follows the rules of package mailstore but for what outlives a process or
// comes from other programs: there is no disk. It must never be offered as a
// mail_driver.
package memstore

import (
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"time"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
)

// Options set a Store's limits and its clock.
type Options struct {
	Now          func() time.Time // zero: a fixed time that never moves
	Quota        mailstore.Quota  // limits only; zero is no quota
	KeywordLimit int              // keywords per mailbox; zero is 1000
	Separator    byte             // zero is '/'
	DefaultACL   acl.List         // of mailboxes that have none above them
	FirstGUID    uint64           // the number before that of the first GUID: stores of several users need others
}

// Store is a mailstore.Store in memory. One lock guards everything.
type Store struct {
	mu          sync.Mutex
	opt         Options
	boxes       map[string]*box
	subscribed  map[string]bool
	modseq      mailstore.ModSeq // above all in use: where the next mailbox begins
	uidvalidity uint32
	guids       uint64
	notes       annotations
}

// New makes a Store with an empty INBOX.
func New(opt Options) *Store {
	if opt.Now == nil {
		opt.Now = func() time.Time { return time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC) }
	}
	if opt.KeywordLimit == 0 {
		opt.KeywordLimit = 1000
	}
	if opt.Separator == 0 {
		opt.Separator = '/'
	}
	s := &Store{opt: opt, boxes: make(map[string]*box), subscribed: make(map[string]bool), uidvalidity: 1000, modseq: 101, guids: opt.FirstGUID}
	s.makeBox(imapname.Inbox, 0)
	return s
}

func (s *Store) newGUID() (g mailstore.GUID) {
	s.guids++
	binary.BigEndian.PutUint64(g[8:], s.guids)
	return g
}

// boxModSeqs is how far apart mailboxes begin to count.
const boxModSeqs = 1 << 16

// firstModSeq is where a mailbox begins to count, above all that any has.
func (s *Store) firstModSeq() mailstore.ModSeq {
	first := s.modseq
	s.modseq += boxModSeqs
	return first
}

// makeBox needs the lock.
func (s *Store) makeBox(name string, use mailstore.Attr) *box {
	s.uidvalidity++
	b := &box{store: s, name: name, use: use, uidvalidity: s.uidvalidity, guid: s.newGUID(), watchers: make(map[chan<- struct{}]int)}
	b.born = s.firstModSeq()
	b.snapshot = &snapshot{next: 1, modseq: b.born, sets: [][]string{nil}}
	s.boxes[name] = b
	return b
}

// Namespaces is for mailstore.Store.
func (s *Store) Namespaces() []mailstore.Namespace {
	return []mailstore.Namespace{{Kind: mailstore.Private, Separator: s.opt.Separator, List: true}}
}

// List is for mailstore.Store.
func (s *Store) List() ([]mailstore.Folder, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]mailstore.Attr)
	for name, b := range s.boxes {
		all[name] |= b.use
		for parent := imapname.Name(name).Parent(); parent != ""; parent = parent.Parent() {
			all[string(parent)] |= mailstore.HasChildren
		}
	}
	var out []mailstore.Folder
	for name := range all {
		out = append(out, s.folder(name, all[name]))
	}
	slices.SortFunc(out, func(a, b mailstore.Folder) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (s *Store) folder(name string, attrs mailstore.Attr) mailstore.Folder {
	b := s.boxes[name]
	if b == nil {
		attrs |= mailstore.NonExistent | mailstore.NoSelect
	} else if len(b.unclaimed) > 0 {
		attrs |= mailstore.Marked
	}
	if s.subscribed[name] {
		attrs |= mailstore.Subscribed
	}
	return mailstore.Folder{Name: name, Attrs: attrs}
}

// Lookup is for mailstore.Store.
func (s *Store) Lookup(name mailstore.Name) (mailstore.Folder, error) {
	all, err := s.List()
	if err != nil {
		return mailstore.Folder{}, err
	}
	for _, f := range all {
		if f.Name == name {
			return f, nil
		}
	}
	return mailstore.Folder{}, errkind.New("lookup", errkind.NotFound, nil)
}

// Subscriptions is for mailstore.Store.
func (s *Store) Subscriptions() ([]mailstore.Name, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for name := range s.subscribed {
		out = append(out, name)
	}
	slices.Sort(out)
	return out, nil
}

// Subscribe is for mailstore.Store.
func (s *Store) Subscribe(name mailstore.Name, on bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if on {
		if err := imapname.Name(name).Check(); err != nil {
			return errkind.New("subscribe", errkind.Invalid, err)
		}
		s.subscribed[name] = true
		return nil
	}
	if !s.subscribed[name] {
		return errkind.New("unsubscribe", errkind.NotFound, nil)
	}
	delete(s.subscribed, name)
	return nil
}

// Create is for mailstore.Store.
func (s *Store) Create(name mailstore.Name, use mailstore.Attr) (mailstore.Name, error) {
	if err := imapname.Name(name).CheckNew(); err != nil {
		return "", errkind.New("create", errkind.Invalid, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.boxes[name] != nil {
		return "", errkind.New("create", errkind.Exists, nil)
	}
	list := s.inherited(name)
	s.makeBox(name, use).acl = list
	return name, nil
}

func (s *Store) hasChildren(name string) bool {
	for other := range s.boxes {
		if imapname.Name(other).Below(imapname.Name(name)) {
			return true
		}
	}
	return false
}

// lookup finds a box that can be opened. It needs the lock.
func (s *Store) lookup(op, name string) (*box, error) {
	if b := s.boxes[name]; b != nil {
		return b, nil
	}
	if s.hasChildren(name) {
		return nil, errkind.Newf(op, errkind.Invalid, "not selectable")
	}
	return nil, errkind.New(op, errkind.NotFound, nil)
}

// Delete is for mailstore.Store.
func (s *Store) Delete(name mailstore.Name) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name == imapname.Inbox {
		return errkind.Newf("delete", errkind.Invalid, "INBOX can't be deleted")
	}
	b, err := s.lookup("delete", name)
	if err != nil {
		return err
	}
	b.deleted = true
	delete(s.boxes, name)
	b.notify()
	return nil
}

// Rename is for mailstore.Store.
func (s *Store) Rename(from, to mailstore.Name) error {
	if err := imapname.Name(to).CheckNew(); err != nil {
		return errkind.New("rename", errkind.Invalid, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.boxes[from] == nil && !s.hasChildren(from) {
		return errkind.New("rename", errkind.NotFound, nil)
	}
	if imapname.Name(to).Below(imapname.Name(from)) {
		return errkind.Newf("rename", errkind.Invalid, "a mailbox can't be moved below itself")
	}
	if s.boxes[to] != nil || s.hasChildren(to) {
		return errkind.New("rename", errkind.Exists, nil)
	}
	if from == imapname.Inbox {
		return s.emptyInbox(to)
	}
	for _, name := range s.names() {
		if name == from || imapname.Name(name).Below(imapname.Name(from)) {
			b := s.boxes[name]
			delete(s.boxes, name)
			b.name = string(imapname.Name(name).Moved(imapname.Name(from), imapname.Name(to)))
			s.boxes[b.name] = b
		}
	}
	return nil
}

func (s *Store) names() []string {
	var out []string
	for name := range s.boxes {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// emptyInbox moves INBOX's messages to a new mailbox (RFC 3501 §6.3.5).
func (s *Store) emptyInbox(to string) error {
	list := s.inherited(to)
	inbox, target := s.boxes[imapname.Inbox], s.makeBox(to, 0)
	target.acl = list
	if _, err := inbox.copyLocked(mailstore.Transfer{UIDs: inbox.snapshot.uids()}, target); err != nil {
		return err
	}
	inbox.expungeLocked(inbox.snapshot.uids())
	return nil
}

// Status is for mailstore.Store.
func (s *Store) Status(name mailstore.Name, _ mailstore.StatusWant) (mailstore.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.lookup("status", name)
	if err != nil {
		return mailstore.Status{}, err
	}
	st := mailstore.Status{Messages: uint32(b.snapshot.Len()), Recent: uint32(len(b.unclaimed)), UIDNext: b.snapshot.next,
		UIDValidity: b.uidvalidity, HighestModSeq: b.snapshot.modseq, GUID: b.guid}
	for _, e := range b.snapshot.entries {
		if e.Flags&mailstore.Seen == 0 {
			st.Unseen++
		}
		if e.Flags&mailstore.Deleted != 0 {
			st.Deleted++
		}
		st.Size += uint64(len(b.messages[e.UID].body))
	}
	return st, nil
}

// Open is for mailstore.Store.
func (s *Store) Open(name mailstore.Name) (mailstore.Mailbox, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.lookup("open", name)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Append is for mailstore.Store.
func (s *Store) Append(name mailstore.Name) (mailstore.Appender, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.lookup("append", name)
	if err != nil {
		return nil, err
	}
	return &appender{box: b}, nil
}

func (s *Store) usedLocked() (q mailstore.Quota) {
	q = s.opt.Quota
	for _, b := range s.boxes {
		q.MessagesUsed += uint64(len(b.messages))
		for _, m := range b.messages {
			q.StorageUsed += uint64(len(m.body))
		}
	}
	return q
}

// roomLocked checks the quota for some more messages.
func (s *Store) roomLocked(octets, messages uint64) error {
	q := s.usedLocked()
	if q.StorageLimit > 0 && q.StorageUsed+octets > q.StorageLimit || q.MessagesLimit > 0 && q.MessagesUsed+messages > q.MessagesLimit {
		return errkind.New("quota", errkind.OverQuota, nil)
	}
	return nil
}

// Quota is for mailstore.Store.
func (s *Store) Quota() (mailstore.Quota, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.usedLocked()
	return q, q.StorageLimit > 0 || q.MessagesLimit > 0, nil
}

// Close is for mailstore.Store.
func (s *Store) Close() error { return nil }
