package memstore

import (
	"io"
	"slices"
	"sort"
	"strings"
	"time"

	"rookery/internal/abnf"
	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

type message struct {
	body           []byte
	date, saveDate time.Time
	guid           mailstore.GUID
	uid            mailstore.UID // wanted; 0: the next
	uidl           string
	order          uint32
	cached         map[string][]byte
}

type expunge struct {
	uid    mailstore.UID
	modseq mailstore.ModSeq
}

// box is a mailstore.Mailbox; Store.mu guards it.
type box struct {
	store       *Store
	name        string
	use         mailstore.Attr
	uidvalidity uint32
	guid        mailstore.GUID
	born        mailstore.ModSeq
	deleted     bool
	keywords    []string
	messages    map[mailstore.UID]*message
	snapshot    *snapshot
	unclaimed   []mailstore.UID
	expunges    []expunge
	watchers    map[chan<- struct{}]int
	acl         acl.List
}

// snapshot is immutable once it is in a box.
type snapshot struct {
	entries []mailstore.Entry
	sets    [][]string // keyword sets by Entry.Keywords; only grows from one to the next
	next    mailstore.UID
	modseq  mailstore.ModSeq
}

func (s *snapshot) Len() int                     { return len(s.entries) }
func (s *snapshot) At(pos int) mailstore.Entry   { return s.entries[pos] }
func (s *snapshot) UIDNext() mailstore.UID       { return s.next }
func (s *snapshot) Keywords(set uint32) []string { return s.sets[set] }

func (s *snapshot) HighestModSeq() mailstore.ModSeq { return s.modseq }

func (s *snapshot) Find(uid mailstore.UID) (int, bool) {
	pos := sort.Search(len(s.entries), func(i int) bool { return s.entries[i].UID >= uid })
	return pos, pos < len(s.entries) && s.entries[pos].UID == uid
}

func (s *snapshot) uids() (set numset.Set) {
	for _, e := range s.entries {
		set.Add(e.UID)
	}
	return set
}

// change gives a copy of the newest snapshot to change, stamped.
func (b *box) change() *snapshot {
	s := *b.snapshot
	s.entries = slices.Clone(s.entries)
	s.modseq++
	b.store.modseq = max(b.store.modseq, s.modseq+1)
	return &s
}

func (b *box) publish(s *snapshot) {
	b.snapshot = s
	b.notify()
}

func (b *box) notify() {
	for c := range b.watchers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// set gives the number of a set of keywords.
func (s *snapshot) set(keywords []string) uint32 {
	slices.Sort(keywords)
	for i, have := range s.sets {
		if slices.Equal(have, keywords) {
			return uint32(i)
		}
	}
	s.sets = append(slices.Clip(s.sets), keywords)
	return uint32(len(s.sets) - 1)
}

func (b *box) Info() mailstore.Info {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	return mailstore.Info{Name: b.name, UIDValidity: b.uidvalidity, GUID: b.guid, Namespace: b.store.Namespaces()[0],
		PermanentFlags: mailstore.AllFlags, NewKeywords: len(b.keywords) < b.store.opt.KeywordLimit}
}

func (b *box) Keywords() []string {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	return slices.Clone(b.keywords)
}

func (b *box) Sync() (mailstore.Snapshot, error) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	if b.deleted {
		return nil, errkind.New("sync", errkind.NotFound, nil)
	}
	return b.snapshot, nil
}

func (b *box) Snapshot() mailstore.Snapshot {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	return b.snapshot
}

func (b *box) ClaimRecent(peek bool) (numset.Set, error) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	out := numset.FromSorted(b.unclaimed)
	if !peek {
		b.unclaimed = nil
	}
	return out, nil
}

func (b *box) Watch(c chan<- struct{}) (stop func()) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	b.watchers[c]++
	stopped := false
	return func() {
		b.store.mu.Lock()
		defer b.store.mu.Unlock()
		if stopped {
			return
		}
		stopped = true
		if b.watchers[c]--; b.watchers[c] == 0 {
			delete(b.watchers, c)
		}
	}
}

func (b *box) ExpungedSince(m mailstore.ModSeq) (uids numset.Set, complete bool, err error) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	for _, e := range b.expunges {
		if e.modseq > m {
			uids.Add(e.uid)
		}
	}
	return uids, m >= b.born, nil
}

// intern gives the mailbox's spelling of each keyword, making new ones.
func (b *box) intern(keywords []string) ([]string, error) {
	var out []string
	names := b.keywords
	for _, k := range keywords {
		i := slices.IndexFunc(names, func(have string) bool { return strings.EqualFold(have, k) })
		if i < 0 {
			if len(names) == b.store.opt.KeywordLimit || len(k) > 1000 || k == "" || !abnf.AtomChar.All(k) {
				return nil, errkind.Newf("store", errkind.Limit, "too many keywords")
			}
			names = append(slices.Clip(names), k)
			i = len(names) - 1
		}
		if !slices.Contains(out, names[i]) {
			out = append(out, names[i])
		}
	}
	b.keywords = names
	return out, nil
}

func (b *box) Store(change mailstore.FlagChange) (result mailstore.StoreResult, err error) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	if b.deleted {
		return result, errkind.New("store", errkind.NotFound, nil)
	}
	var named []string
	if change.Op == mailstore.RemoveFlags {
		named = change.Keywords
	} else if named, err = b.intern(change.Keywords); err != nil {
		return result, err
	}
	next := b.change()
	for uid := range b.snapshot.uids().Intersect(change.UIDs).All() {
		pos, _ := next.Find(uid)
		e := &next.entries[pos]
		if change.UnchangedSince != nil && e.ModSeq > *change.UnchangedSince {
			result.Modified.Add(uid)
			continue
		}
		flags, keywords := apply(change, e.Flags, next.sets[e.Keywords], named)
		if set := next.set(keywords); flags != e.Flags || set != e.Keywords {
			e.Flags, e.Keywords, e.ModSeq = flags, set, next.modseq
			result.Changed.Add(uid)
		}
	}
	if !result.Changed.Empty() {
		b.publish(next)
	}
	return result, nil
}

func apply(change mailstore.FlagChange, flags mailstore.Flags, have, named []string) (mailstore.Flags, []string) {
	isNamed := func(k string) bool {
		return slices.ContainsFunc(named, func(n string) bool { return strings.EqualFold(n, k) })
	}
	switch change.Op {
	case mailstore.AddFlags:
		out := slices.Clone(have)
		for _, k := range named {
			if !slices.Contains(out, k) {
				out = append(out, k)
			}
		}
		return flags | change.Flags, out
	case mailstore.RemoveFlags:
		return flags &^ change.Flags, slices.DeleteFunc(slices.Clone(have), isNamed)
	}
	return change.Flags, slices.Clone(named)
}

func (b *box) Expunge(uids numset.Set) (numset.Set, error) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	if b.deleted {
		return numset.Set{}, errkind.New("expunge", errkind.NotFound, nil)
	}
	return b.expungeLocked(uids), nil
}

func (b *box) expungeLocked(uids numset.Set) numset.Set {
	gone := b.snapshot.uids().Intersect(uids)
	if gone.Empty() {
		return gone
	}
	next := b.change()
	next.entries = slices.DeleteFunc(next.entries, func(e mailstore.Entry) bool { return gone.Contains(e.UID) })
	for uid := range gone.All() {
		delete(b.messages, uid)
		b.expunges = append(b.expunges, expunge{uid, next.modseq})
	}
	b.unclaimed = slices.DeleteFunc(b.unclaimed, gone.Contains)
	b.publish(next)
	return gone
}

// add puts messages in. It needs the lock and interned keywords.
func (b *box) add(list []*message, flags []mailstore.Flags, keywords [][]string) []mailstore.UID {
	if b.messages == nil {
		b.messages = make(map[mailstore.UID]*message)
	}
	next := b.change()
	var uids []mailstore.UID
	for i, m := range list {
		uid := max(next.next, m.uid)
		next.next = uid + 1
		b.messages[uid] = m
		next.entries = append(next.entries, mailstore.Entry{UID: uid, Flags: flags[i], Keywords: next.set(keywords[i]), ModSeq: next.modseq})
		b.unclaimed = append(b.unclaimed, uid)
		uids = append(uids, uid)
	}
	b.publish(next)
	return uids
}

func (b *box) copyLocked(t mailstore.Transfer, to *box) (mailstore.CopyResult, error) {
	result := mailstore.CopyResult{UIDValidity: to.uidvalidity}
	var list []*message
	var flags []mailstore.Flags
	var keywords [][]string
	for uid := range b.snapshot.uids().Intersect(t.UIDs).All() {
		pos, _ := b.snapshot.Find(uid)
		e := b.snapshot.entries[pos]
		names, err := to.intern(b.snapshot.sets[e.Keywords])
		if err == nil {
			err = t.GoOn()
		}
		if err != nil {
			return mailstore.CopyResult{}, err
		}
		m := *b.messages[uid]
		m.cached, m.saveDate, m.uid = nil, b.store.opt.Now(), 0
		list, flags, keywords = append(list, &m), append(flags, e.Flags), append(keywords, names)
		result.From = append(result.From, uid)
	}
	if len(list) > 0 {
		result.To = to.add(list, flags, keywords)
	}
	return result, nil
}

func (b *box) Copy(uids numset.Set, to mailstore.Name) (mailstore.CopyResult, error) {
	return b.Transfer(mailstore.Transfer{UIDs: uids, To: to})
}

func (b *box) Move(uids numset.Set, to mailstore.Name) (mailstore.CopyResult, error) {
	return b.Transfer(mailstore.Transfer{UIDs: uids, To: to, Move: true})
}

// Transfer is mailstore.Transferrer's.
func (b *box) Transfer(t mailstore.Transfer) (mailstore.CopyResult, error) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	target, err := b.target(t.Name(), t.To)
	if err != nil {
		return mailstore.CopyResult{}, err
	}
	if t.Move {
		result, err := b.copyLocked(t, target)
		if err == nil {
			b.expungeLocked(numset.FromSorted(result.From))
		}
		return result, err
	}
	var octets, count uint64
	for uid := range b.snapshot.uids().Intersect(t.UIDs).All() {
		octets += uint64(len(b.messages[uid].body))
		count++
	}
	if err := b.store.roomLocked(octets, count); err != nil {
		return mailstore.CopyResult{}, err
	}
	return b.copyLocked(t, target)
}

// target finds where messages of b go.
func (b *box) target(op, to string) (*box, error) {
	if b.deleted {
		return nil, errkind.New(op, errkind.NotFound, nil)
	}
	return b.store.lookup(op, to)
}

func (b *box) find(uid mailstore.UID) (*message, error) {
	if b.deleted {
		return nil, errkind.New("message", errkind.NotFound, nil)
	}
	if m := b.messages[uid]; m != nil {
		return m, nil
	}
	return nil, errkind.New("message", errkind.Expunged, nil)
}

func (b *box) Message(uid mailstore.UID) (mailstore.Message, error) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	m, err := b.find(uid)
	if err != nil {
		return nil, err
	}
	return body(m.body), nil
}

func (b *box) Facts(uid mailstore.UID, _ mailstore.FactsWant) (mailstore.Facts, error) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	m, err := b.find(uid)
	if err != nil {
		return mailstore.Facts{}, err
	}
	return mailstore.Facts{Size: int64(len(m.body)), InternalDate: m.date, SaveDate: m.saveDate, GUID: m.guid, UIDL: m.uidl, Order: m.order}, nil
}

func (b *box) Cached(uid mailstore.UID, field string) ([]byte, bool) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	if m := b.messages[uid]; m != nil {
		value, ok := m.cached[field]
		return value, ok
	}
	return nil, false
}

func (b *box) PutCached(uid mailstore.UID, field string, value []byte) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	if m := b.messages[uid]; m != nil {
		if m.cached == nil {
			m.cached = make(map[string][]byte)
		}
		m.cached[field] = slices.Clone(value)
	}
}

func (b *box) Close() error { return nil }

// body is a mailstore.Message.
type body []byte

func (m body) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(m)) {
		return 0, io.EOF
	}
	n := copy(p, m[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m body) Size() int64                  { return int64(len(m)) }
func (m body) File() (uintptr, int64, bool) { return 0, 0, false }
func (m body) Close() error                 { return nil }
