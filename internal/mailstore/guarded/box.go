package guarded

import (
	"iter"
	"sync"
	"time"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// flagRights are what changes flags.
const flagRights = acl.Seen | acl.Write | acl.Deleted

// box is an open mailbox as the user may use it.
type box struct {
	mailstore.Mailbox
	s     *Store
	cache mailstore.CacheAppender

	mu    sync.Mutex
	mine  acl.Rights         // as they were looked up last
	at    lookup             // when that was
	shown mailstore.Snapshot // the last picture that the user was allowed to see
	words []string           // the keywords of that time
}

// lookup is a moment when rights were looked up.
type lookup struct {
	when  time.Time
	edits uint64
	name  mailstore.Name
}

// newLook is how long the owner's rights may be as they were.
const newLook = time.Second

// current reports whether the owner's rights need no look for a picture of the mailbox;
// a look that follows is noted.
func (b *box) current() bool {
	if !b.s.opt.Who.Owner || b.s.opt.Now == nil {
		return false
	}
	now := lookup{b.s.opt.Now(), b.s.edits.Load(), b.name()}
	b.mu.Lock()
	defer b.mu.Unlock()
	if since := now.when.Sub(b.at.when); since >= 0 && since < newLook && b.at.edits == now.edits && b.at.name == now.name {
		return true
	}
	b.at = now
	return false
}

// ownBox is a box of the owner's. What else the mailbox offers he may use.
type ownBox struct{ *box }

// Unwrap gives the mailbox inside.
func (b *ownBox) Unwrap() mailstore.Mailbox { return b.Mailbox }

// Open needs r.
func (s *Store) Open(name mailstore.Name) (mailstore.Mailbox, error) {
	if err := s.need("open", name, acl.Read); err != nil {
		return nil, err
	}
	mb, err := s.inner.Open(name)
	if err != nil {
		return nil, s.hide("open", err)
	}
	b := &box{Mailbox: mb, s: s, cache: mailstore.Cache(mb)}
	if _, err := b.may("open", acl.Read); err != nil {
		mb.Close()
		return nil, err
	}
	b.show(mb.Snapshot())
	if s.opt.Who.Owner {
		return &ownBox{b}, nil
	}
	return b, nil
}

// name is the mailbox's name now.
func (b *box) name() mailstore.Name { return b.Mailbox.Info().Name }

// may looks the rights up. Without l or r the mailbox is gone for the user; without
// others the call is denied.
func (b *box) may(op string, want acl.Rights) (acl.Rights, error) {
	r, err := b.s.rights(op, b.name())
	if b.s.opt.Who.Owner {
		err = nil // the store itself tells of a mailbox that was deleted
	}
	if err == nil && !r.Has(acl.Read) {
		err = notFound(op)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.mine = 0
		return 0, err
	}
	b.mine = r
	if !r.Has(want) {
		return r, denied(op)
	}
	return r, nil
}

// mayRead is may for what r allows. The owner always has it.
func (b *box) mayRead(op string) error {
	if b.s.opt.Who.Owner {
		return nil
	}
	_, err := b.may(op, acl.Read)
	return err
}

// rightsNow are the rights as they were looked up last.
func (b *box) rightsNow() acl.Rights {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mine
}

// flagsOf gives the system flags that rights change.
func flagsOf(r acl.Rights) (f mailstore.Flags) {
	if r.Has(acl.Seen) {
		f |= mailstore.Seen
	}
	if r.Has(acl.Deleted) {
		f |= mailstore.Deleted
	}
	if r.Has(acl.Write) {
		f |= mailstore.AllFlags &^ (mailstore.Seen | mailstore.Deleted)
	}
	return f
}

// Info tells what the user may change (RFC 4314 §5.1.1, §5.2). A mailbox where he may
// change nothing that others see is read-only.
func (b *box) Info() mailstore.Info {
	i := b.Mailbox.Info()
	r := b.rightsNow()
	i.PermanentFlags &= flagsOf(r)
	i.NewKeywords = i.NewKeywords && r.Has(acl.Write)
	shared := acl.Insert | acl.Expunge | flagRights
	if b.s.private() {
		shared &^= acl.Seen
	}
	i.OwnOnly = i.OwnOnly || r&shared == 0
	i.ReadOnly = i.ReadOnly || i.OwnOnly && !r.Has(acl.Seen)
	return i
}

// Keywords gives the names; once r is taken away, those from before.
func (b *box) Keywords() []string {
	if b.mayRead("look") != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.words
	}
	return b.Mailbox.Keywords()
}

// Sync looks the rights up, too; the owner's once a second.
func (b *box) Sync() (mailstore.Snapshot, error) {
	if !b.current() {
		if _, err := b.may("sync", acl.Read); err != nil {
			return nil, err
		}
	}
	snap, err := b.Mailbox.Sync()
	if err != nil {
		return nil, b.s.hide("sync", err)
	}
	return b.show(snap), nil
}

// show remembers a picture as one that the user was shown.
func (b *box) show(snap mailstore.Snapshot) mailstore.Snapshot {
	if b.s.opt.Who.Owner {
		return snap
	}
	snap = b.picture(snap)
	words := b.Mailbox.Keywords()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shown, b.words = snap, words
	return snap
}

// Snapshot gives the newest picture; once r is taken away, the last one before.
func (b *box) Snapshot() mailstore.Snapshot {
	if b.mayRead("look") != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.shown
	}
	return b.show(b.Mailbox.Snapshot())
}

// ClaimRecent only looks for a grantee: what is recent is so for the owner.
func (b *box) ClaimRecent(peek bool) (numset.Set, error) {
	if err := b.mayRead("claim recent"); err != nil {
		return numset.Set{}, err
	}
	return b.Mailbox.ClaimRecent(peek || !b.s.opt.Who.Owner)
}

// ExpungedSince needs r.
func (b *box) ExpungedSince(m mailstore.ModSeq) (numset.Set, bool, error) {
	if err := b.mayRead("look"); err != nil {
		return numset.Set{}, false, err
	}
	if b.s.private() {
		m = b.own().since(m)
	}
	return b.Mailbox.ExpungedSince(m)
}

// Expunge needs e.
func (b *box) Expunge(uids numset.Set) (numset.Set, error) {
	if _, err := b.may("expunge", acl.Expunge); err != nil {
		return numset.Set{}, err
	}
	return b.Mailbox.Expunge(uids)
}

// Message needs r.
func (b *box) Message(uid mailstore.UID) (mailstore.Message, error) {
	if err := b.mayRead("open message"); err != nil {
		return nil, err
	}
	return b.Mailbox.Message(uid)
}

// Facts needs r. A UIDL and a base name are the owner's.
func (b *box) Facts(uid mailstore.UID, want mailstore.FactsWant) (mailstore.Facts, error) {
	if err := b.mayRead("look"); err != nil {
		return mailstore.Facts{}, err
	}
	f, err := b.Mailbox.Facts(uid, want)
	return b.facts(f), err
}

func (b *box) facts(f mailstore.Facts) mailstore.Facts {
	if !b.s.opt.Who.Owner {
		f.BaseName, f.UIDL, f.Order = "", "", 0
	}
	return f
}

// Cached needs r.
func (b *box) Cached(uid mailstore.UID, field string) ([]byte, bool) {
	if b.mayRead("look") != nil {
		return nil, false
	}
	return b.Mailbox.Cached(uid, field)
}

// AppendCached is mailstore.CacheAppender's.
func (b *box) AppendCached(dst []byte, uid mailstore.UID, field string) ([]byte, bool) {
	if b.mayRead("look") != nil {
		return dst, false
	}
	return b.cache.AppendCached(dst, uid, field)
}

// CachedFields is mailstore.FieldLister's.
func (b *box) CachedFields() []string {
	if b.mayRead("look") != nil {
		return nil
	}
	return mailstore.CachedFields(b.Mailbox)
}

// KnownFacts is mailstore.FactsReader's.
func (b *box) KnownFacts(want mailstore.FactsWant, yield func(mailstore.UID, mailstore.Facts, mailstore.FactsWant) bool) {
	if b.mayRead("look") != nil {
		return
	}
	mailstore.KnownFacts(b.Mailbox, want, func(uid mailstore.UID, f mailstore.Facts, known mailstore.FactsWant) bool {
		return yield(uid, b.facts(f), known)
	})
}

// PutCached keeps nothing of a grantee's: the owner's clients would be served from it.
func (b *box) PutCached(uid mailstore.UID, field string, value []byte) {
	if b.s.opt.Who.Owner {
		b.Mailbox.PutCached(uid, field, value)
	}
}

// Store changes the flags that the user may change. errkind.NoPermission: none of
// those that were to be changed.
func (b *box) Store(c mailstore.FlagChange) (mailstore.StoreResult, error) {
	r, err := b.may("store", 0)
	if err != nil {
		return mailstore.StoreResult{}, err
	}
	if b.s.private() {
		return b.storePrivate(c, r)
	}
	return b.storeShared(c, r)
}

// storeShared changes the flags that everybody sees.
func (b *box) storeShared(c mailstore.FlagChange, r acl.Rights) (mailstore.StoreResult, error) {
	may := flagsOf(r)
	switch {
	case r.Has(flagRights):
		return b.Mailbox.Store(c)
	case c.Op == mailstore.SetFlags && r&flagRights == 0:
		return mailstore.StoreResult{}, denied("store")
	case c.Op == mailstore.SetFlags:
		return b.replace(c, may, r.Has(acl.Write))
	}
	asked := c.Flags != 0 || len(c.Keywords) > 0
	c.Flags &= may
	if !r.Has(acl.Write) {
		c.Keywords = nil
	}
	if asked && c.Flags == 0 && len(c.Keywords) == 0 {
		return mailstore.StoreResult{}, denied("store")
	}
	return b.Mailbox.Store(c)
}

// replaceTries bounds how often messages that change meanwhile are looked at again.
const replaceTries = 16

// replace is Store of SetFlags where only some flags may be changed: each message
// keeps the others. Messages that end up with the same flags are changed together, on
// condition that they are still as they were when that was worked out.
func (b *box) replace(c mailstore.FlagChange, may mailstore.Flags, keywords bool) (mailstore.StoreResult, error) {
	var out mailstore.StoreResult
	todo := c.UIDs
	for try := 0; !todo.Empty(); try++ {
		if try == replaceTries {
			return out, errkind.Newf("store", errkind.InUse, "the messages are changed by others all the time")
		}
		snap := b.Mailbox.Snapshot()
		groups, failed := b.group(c, todo, snap, may, keywords)
		out.Modified = out.Modified.Union(failed)
		at := snap.HighestModSeq()
		var again numset.Set
		for _, g := range groups {
			g.UnchangedSince = &at
			res, err := b.Mailbox.Store(g)
			out.Changed = out.Changed.Union(res.Changed)
			if err != nil {
				return out, err
			}
			again = again.Union(res.Modified)
		}
		if todo = again; todo.Empty() {
			break
		}
		if _, err := b.Mailbox.Sync(); err != nil {
			return out, b.s.hide("store", err)
		}
	}
	return out, nil
}

// group sorts messages by the flags that they get; failed are those that changed
// since the caller's own condition.
func (b *box) group(c mailstore.FlagChange, uids numset.Set, snap mailstore.Snapshot, may mailstore.Flags, keywords bool) (groups []mailstore.FlagChange, failed numset.Set) {
	type key struct {
		flags mailstore.Flags
		set   uint32
	}
	at := map[key]int{}
	for e := range entries(uids, snap) {
		if c.UnchangedSince != nil && e.ModSeq > *c.UnchangedSince {
			failed.Add(e.UID)
			continue
		}
		k := key{flags: c.Flags&may | e.Flags&^may}
		words := c.Keywords
		if !keywords {
			k.set, words = e.Keywords, snap.Keywords(e.Keywords)
		}
		i, ok := at[k]
		if !ok {
			i = len(groups)
			at[k] = i
			groups = append(groups, mailstore.FlagChange{Op: mailstore.SetFlags, Flags: k.flags, Keywords: words})
		}
		groups[i].UIDs.Add(e.UID)
	}
	return groups, failed
}

// entries walks over those of uids that a snapshot has: a set may name all there can
// be.
func entries(uids numset.Set, snap mailstore.Snapshot) iter.Seq[mailstore.Entry] {
	return func(yield func(mailstore.Entry) bool) {
		for _, r := range uids.Ranges() {
			for pos, _ := snap.Find(r.First); pos < snap.Len(); pos++ {
				e := snap.At(pos)
				if e.UID > r.Last {
					break
				}
				if !yield(e) {
					return
				}
			}
		}
	}
}
