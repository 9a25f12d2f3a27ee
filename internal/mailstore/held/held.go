// Package held keeps expunged messages for a while, so that they can be put
// back. It is a wrapper around any mailstore.Store, and is one.
//
// Workers and the operator's tools put it around a store (around package quota's,
// which counts held messages apart). It must never know a protocol or a mail
// format: to hold a message is to move it, by the driver's own Move, into a
// mailbox that nobody can name through this package.
//
// # Where messages are held
//
// Each mailbox has one for its held messages, of the name rookery-held/<its GUID>
// in its namespace. A move keeps flags, keywords, INTERNALDATE and the message's
// GUID, and gives a SAVEDATE, which is the time of the expunge: so a crash leaves
// nothing that says otherwise. What a move does not keep, the mailbox's name and
// the UIDs, is in the file rookery-held (file.go).
//
// The purge of what is older than the hold, and of more where the disk is below
// its floor, is Sweep: in steps, called by a worker when it is idle.
package held

import (
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
	"rookery/internal/vfs"
)

// Root is the first level of the hidden mailboxes' names, after the namespace's prefix.
const Root = mailstore.HeldRoot

// stepSize is how many messages are held or purged at once: between steps,
// others get their turn at the mailbox.
const stepSize = 500

// Options say how long messages are held.
type Options struct {
	FS      vfs.FS
	Dir     string        // of the control files, relative to FS
	Hold    time.Duration // 0: nothing is held
	MinFree uint64        // octets; with less room on the disk nothing is held
	Mail    string        // path whose disk MinFree is of, relative to FS
	Note    func(text string)
	// LockWait bounds the wait for the control file; 0: 30 s.
	LockWait time.Duration
}

// Store is a mailstore.Store whose expunged messages can come back.
type Store struct {
	mailstore.Store
	opt   Options
	path  string
	roots []mailstore.Name // of each namespace, with its prefix

	mu    sync.Mutex
	known map[mailstore.GUID]mailstore.Name // whose M line is on disk and whose hidden mailbox is there
	noted time.Time                         // when the log last read that nothing is held
}

var _ mailstore.Store = (*Store)(nil)

// Wrap puts the hold around a store. With a hold of 0 expunges are for good, and
// what was held before stays hidden until it is purged.
func Wrap(inner mailstore.Store, opt Options) *Store {
	if opt.Note == nil {
		opt.Note = func(string) {}
	}
	if opt.LockWait == 0 {
		opt.LockWait = 30 * time.Second
	}
	if opt.Mail == "" {
		opt.Mail = opt.Dir
	}
	s := &Store{Store: inner, opt: opt, path: controlFile, known: map[mailstore.GUID]mailstore.Name{}}
	for _, ns := range inner.Namespaces() {
		s.roots = append(s.roots, RootOf(ns))
	}
	if opt.Dir != "" && opt.Dir != "." {
		s.path = opt.Dir + "/" + controlFile
	}
	return s
}

// RootOf gives the name that all hidden mailboxes of a namespace are below.
func RootOf(ns mailstore.Namespace) mailstore.Name {
	prefix := ns.Prefix
	if ns.Separator != 0 {
		prefix = strings.ReplaceAll(prefix, string(rune(ns.Separator)), "/")
	}
	return prefix + Root
}

// Hides reports whether name is hidden by a store whose RootOf is root.
func Hides(root, name mailstore.Name) bool {
	return strings.HasPrefix(name, root) && (len(name) == len(root) || name[len(root)] == '/')
}

// Unwrap gives the store inside.
func (s *Store) Unwrap() mailstore.Store { return s.Store }

func (s *Store) hidden(name mailstore.Name) bool {
	return slices.ContainsFunc(s.roots, func(root mailstore.Name) bool { return Hides(root, name) })
}

// visible is the error for a name that nobody may use.
func (s *Store) visible(op string, name mailstore.Name) error {
	if s.hidden(name) {
		return errkind.Newf(op, errkind.NotFound, "there is no such mailbox")
	}
	return nil
}

func (s *Store) allowed(op string, name mailstore.Name) error {
	if s.hidden(name) {
		return errkind.Newf(op, errkind.Invalid, "the name is reserved for expunged messages")
	}
	return nil
}

// List leaves out what is hidden.
func (s *Store) List() ([]mailstore.Folder, error) {
	list, err := s.Store.List()
	if err != nil {
		return nil, err
	}
	out := list[:0:0]
	for _, f := range list {
		if !s.hidden(f.Name) {
			out = append(out, f)
		}
	}
	if len(out) == len(list) {
		return list, nil
	}
	for _, root := range s.roots {
		out = childless(out, string(imapname.Name(root).Parent()))
	}
	return out, nil
}

// childless corrects what a list says of the parent of hidden mailboxes, which may
// have no other children.
func childless(out []mailstore.Folder, parent mailstore.Name) []mailstore.Folder {
	kids := false
	for _, f := range out {
		kids = kids || parent != "" && imapname.Name(f.Name).Below(imapname.Name(parent))
	}
	for i := 0; i < len(out) && !kids; i++ {
		if out[i].Name != parent {
			continue
		}
		if out[i].Attrs&mailstore.NonExistent != 0 {
			return append(out[:i:i], out[i+1:]...)
		}
		out[i].Attrs &^= mailstore.HasChildren
	}
	return out
}

// Lookup finds nothing that is hidden.
func (s *Store) Lookup(name mailstore.Name) (mailstore.Folder, error) {
	if err := s.visible("lookup", name); err != nil {
		return mailstore.Folder{}, err
	}
	return s.Store.Lookup(name)
}

// Subscribe refuses hidden names.
func (s *Store) Subscribe(name mailstore.Name, on bool) error {
	if on {
		if err := s.allowed("subscribe", name); err != nil {
			return err
		}
	}
	return s.Store.Subscribe(name, on)
}

// Create refuses hidden names.
func (s *Store) Create(name mailstore.Name, use mailstore.Attr) (mailstore.Name, error) {
	if err := s.allowed("create", name); err != nil {
		return "", err
	}
	return s.Store.Create(name, use)
}

// Rename refuses hidden names.
func (s *Store) Rename(from, to mailstore.Name) error {
	if err := s.visible("rename", from); err != nil {
		return err
	}
	if err := s.allowed("rename", to); err != nil {
		return err
	}
	return s.Store.Rename(from, to)
}

// Status finds nothing that is hidden.
func (s *Store) Status(name mailstore.Name, want mailstore.StatusWant) (mailstore.Status, error) {
	if err := s.visible("status", name); err != nil {
		return mailstore.Status{}, err
	}
	return s.Store.Status(name, want)
}

// Append finds nothing that is hidden.
func (s *Store) Append(name mailstore.Name) (mailstore.Appender, error) {
	if err := s.visible("append", name); err != nil {
		return nil, err
	}
	return s.Store.Append(name)
}

// Open finds nothing that is hidden.
func (s *Store) Open(name mailstore.Name) (mailstore.Mailbox, error) {
	if err := s.visible("open", name); err != nil {
		return nil, err
	}
	mb, err := s.Store.Open(name)
	if err != nil {
		return nil, err
	}
	return &box{mb, s}, nil
}

// Delete holds copies of the mailbox's mail, then deletes it: sessions that have
// it open keep their picture. What comes into it between the two goes with it. A
// crash between the two leaves both; Undelete puts back what is not there.
func (s *Store) Delete(name mailstore.Name) error {
	if err := s.visible("delete", name); err != nil {
		return err
	}
	if name == imapname.Inbox || !s.holding() {
		return s.Store.Delete(name)
	}
	mb, err := s.Store.Open(name)
	if err != nil {
		return s.Store.Delete(name) // which says what is wrong
	}
	defer mb.Close()
	if _, err := mb.Sync(); err == nil {
		_, err = s.hold(mb, numset.Span(1, 1<<32-1), mb.Copy)
		switch {
		case skippable(err):
			s.skipped(err)
		case err != nil && !errkind.Is(err, errkind.NotFound):
			return errkind.Wrap("delete", err)
		}
	}
	return s.Store.Delete(name)
}

// holding reports whether expunged messages are held now. Below the floor the
// oldest held ones make room.
func (s *Store) holding() bool {
	if s.opt.Hold <= 0 {
		return false
	}
	if s.low() {
		s.skipped(errkind.Newf("hold", errkind.NoSpace, "the disk has less free space than mail_undelete_min_free"))
		if _, err := s.purgeOldest(); err != nil {
			s.opt.Note("held messages could not be purged: " + err.Error())
		}
		return false
	}
	return true
}

// low reports whether the disk is below its floor.
func (s *Store) low() bool {
	if s.opt.MinFree == 0 {
		return false
	}
	free, _, err := vfs.Space(s.opt.FS, s.opt.Mail)
	return err == nil && free < s.opt.MinFree
}

// skippable reports whether an error says that messages cannot be held and had
// better go for good: there is no room, or a limit of the hidden mailbox. On a
// disk that fails nothing is removed that could not be held.
func skippable(err error) bool {
	switch errkind.Of(err) {
	case errkind.NoSpace, errkind.Limit, errkind.OverQuota, errkind.NoPermission, errkind.Invalid:
		return err != nil
	}
	return false
}

// skipped says in the log that messages go for good, at most once a minute.
func (s *Store) skipped(err error) {
	now := s.opt.FS.Now()
	s.mu.Lock()
	tell := now.Sub(s.noted) >= time.Minute || now.Before(s.noted)
	if tell {
		s.noted = now
	}
	s.mu.Unlock()
	if tell {
		s.opt.Note("expunged messages are not held for undelete: " + err.Error())
	}
}

// box is an open mailbox whose expunged messages are held.
type box struct {
	mailstore.Mailbox
	s *Store
}

// Unwrap gives the mailbox inside.
func (b *box) Unwrap() mailstore.Mailbox { return b.Mailbox }

// Expunge moves messages to where they are held, or removes them for good where
// that cannot be.
func (b *box) Expunge(uids numset.Set) (numset.Set, error) {
	if !b.s.holding() {
		return b.Mailbox.Expunge(uids)
	}
	gone, err := b.s.hold(b.Mailbox, uids, b.Mailbox.Move)
	if err == nil && gone.Empty() {
		return b.Mailbox.Expunge(uids) // it says whether the mailbox is still there
	}
	if !skippable(err) {
		return gone, errkind.Wrap("expunge", err)
	}
	b.s.skipped(err)
	more, err := b.Mailbox.Expunge(uids.Minus(gone))
	return gone.Union(more), err
}

// Copy finds nothing that is hidden.
func (b *box) Copy(uids numset.Set, to mailstore.Name) (mailstore.CopyResult, error) {
	return b.Transfer(mailstore.Transfer{UIDs: uids, To: to})
}

// Move finds nothing that is hidden.
func (b *box) Move(uids numset.Set, to mailstore.Name) (mailstore.CopyResult, error) {
	return b.Transfer(mailstore.Transfer{UIDs: uids, To: to, Move: true})
}

// Transfer is mailstore.Transferrer's.
func (b *box) Transfer(t mailstore.Transfer) (mailstore.CopyResult, error) {
	if err := b.s.visible(t.Name(), t.To); err != nil {
		return mailstore.CopyResult{}, err
	}
	return t.Of(b.Mailbox)
}

// hold transfers messages of an open mailbox of the store inside to where they
// are held, in steps. It returns what was transferred, also beside an error.
func (s *Store) hold(mb mailstore.Mailbox, uids numset.Set, transfer func(numset.Set, mailstore.Name) (mailstore.CopyResult, error)) (gone numset.Set, err error) {
	for _, step := range steps(mb.Snapshot(), uids) {
		info := mb.Info()
		to, err := s.place(info)
		if err != nil {
			return gone, err
		}
		res, err := transfer(step, to)
		if errkind.Is(err, errkind.NotFound) { // purged by another process meanwhile
			s.forget(info.GUID)
			if to, err = s.place(info); err == nil {
				res, err = transfer(step, to)
			}
		}
		from := numset.FromSorted(res.From)
		gone = gone.Union(from)
		if err != nil {
			gone = gone.Union(absent(mb, step))
		}
		if len(res.From) > 0 {
			// For people only: its loss is no error.
			_ = s.write(moveLine(info.GUID, move{info.UIDValidity, from, numset.FromSorted(res.To)}), false)
		}
		if err != nil {
			return gone, err
		}
	}
	return gone, nil
}

// absent gives those of uids that a mailbox has no more: a move that failed may
// have been done before it did.
func absent(mb mailstore.Mailbox, uids numset.Set) (out numset.Set) {
	snap, err := mb.Sync()
	if err != nil {
		return out
	}
	for uid := range uids.All() {
		if _, there := snap.Find(uid); !there {
			out.Add(uid)
		}
	}
	return out
}

// steps cuts the messages of set that a picture has into pieces.
func steps(snap mailstore.Snapshot, set numset.Set) (out []numset.Set) {
	var now []mailstore.UID
	flush := func() {
		if len(now) > 0 {
			out = append(out, numset.FromSorted(now))
			now = nil
		}
	}
	for _, r := range set.Ranges() {
		for pos, _ := snap.Find(r.First); pos < snap.Len(); pos++ {
			u := snap.At(pos).UID
			if u > r.Last {
				break
			}
			if now = append(now, u); len(now) == stepSize {
				flush()
			}
		}
	}
	flush()
	return out
}

// hiddenName is in the mailbox's own namespace: a move to another would copy.
func (s *Store) hiddenName(info mailstore.Info) mailstore.Name {
	root := RootOf(info.Namespace)
	if !slices.Contains(s.roots, root) {
		root = s.roots[0]
	}
	return root + "/" + hex.EncodeToString(info.GUID[:])
}

// place makes sure that a mailbox's hidden one is there and that its name is on
// disk.
func (s *Store) place(info mailstore.Info) (mailstore.Name, error) {
	name := s.hiddenName(info)
	s.mu.Lock()
	done := s.known[info.GUID] == info.Name
	s.mu.Unlock()
	if done {
		return name, nil
	}
	all, err := s.origins()
	if err != nil {
		return "", vfs.Kinded("hold", err)
	}
	if o := all[info.GUID]; o == nil || o.name != info.Name || o.validity != info.UIDValidity {
		if err := s.write(mailboxLine(info.GUID, info.UIDValidity, info.Name), true); err != nil {
			return "", vfs.Kinded("hold", err)
		}
	}
	if _, err := s.Store.Create(name, 0); err != nil && !errkind.Is(err, errkind.Exists) {
		return "", err
	}
	s.mu.Lock()
	s.known[info.GUID] = info.Name
	s.mu.Unlock()
	return name, nil
}

func (s *Store) forget(guid mailstore.GUID) {
	s.mu.Lock()
	delete(s.known, guid)
	s.mu.Unlock()
}
