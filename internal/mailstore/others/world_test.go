package others_test

import (
	"cmp"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/guarded"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/mailstore/others"
	"rookery/internal/mailstore/spaces"
	"rookery/internal/numset"
)

// world is some users with a store each.
type world struct {
	t     testing.TB
	mail  map[string]*memstore.Store
	lists map[string]bool // whose lists can be read: false takes an owner out of the list of shares
}

func newWorld(t testing.TB, users ...string) *world {
	w := &world{t: t, mail: map[string]*memstore.Store{}, lists: map[string]bool{}}
	for _, u := range users {
		w.mail[u], w.lists[u] = memstore.New(memstore.Options{}), true
	}
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// box makes a mailbox with messages and a list.
func (w *world) box(owner string, name mailstore.Name, messages int, lines string) {
	w.t.Helper()
	s := w.mail[owner]
	if name != "INBOX" {
		_, err := s.Create(name, 0)
		must(w.t, err)
	}
	put(w.t, s, name, messages)
	w.give(owner, name, lines)
}

func put(t testing.TB, s mailstore.Store, name mailstore.Name, messages int) {
	t.Helper()
	if messages == 0 {
		return
	}
	app, err := s.Append(name)
	must(t, err)
	for range messages {
		m, err := app.Add(mailstore.AppendMeta{Flags: mailstore.Flagged, Keywords: []string{"key"}}, 6)
		must(t, err)
		_, err = io.WriteString(m, "a: b\r\n")
		must(t, err)
	}
	_, err = app.Commit()
	must(t, err)
}

func (w *world) give(owner string, name mailstore.Name, lines string) {
	w.t.Helper()
	list, err := acl.Parse([]byte(strings.ReplaceAll(lines, ";", "\n")))
	must(w.t, err)
	must(w.t, w.mail[owner].EditACL(name, func(acl.List) (acl.List, error) { return list, nil }))
}

// directory is the others.Directory of one user.
type directory struct {
	w    *world
	who  acl.Who
	held []others.Share // given instead of the truth; nil: the truth

	mu      sync.Mutex
	lines   map[string]*line
	reached []string // owners, for each question
	refuse  error    // what Reach answers
}

func (w *world) directory(user string, groups ...string) *directory {
	return &directory{w: w, who: acl.Who{User: user, Groups: groups}, lines: map[string]*line{}}
}

func (d *directory) Shares() ([]others.Share, error) {
	if d.held != nil {
		return d.held, nil
	}
	out := []others.Share{}
	for owner, s := range d.w.mail {
		if owner == d.who.User || !d.w.lists[owner] {
			continue
		}
		all, err := s.List()
		must(d.w.t, err)
		for _, f := range all {
			if l, err := s.ACL(f.Name); err == nil && l.Rights(d.who).Has(acl.Lookup) {
				out = append(out, others.Share{Owner: owner, Name: f.Name})
			}
		}
	}
	slices.SortFunc(out, func(a, b others.Share) int {
		return cmp.Or(strings.Compare(a.Owner, b.Owner), strings.Compare(a.Name, b.Name))
	})
	return out, nil
}

func (d *directory) Reach(owner string) (mailstore.Sharer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reached = append(d.reached, owner)
	if d.refuse != nil {
		return nil, d.refuse
	}
	if l := d.lines[owner]; l != nil && !l.cut {
		return l, nil
	}
	s, ok := d.w.mail[owner]
	if !ok {
		return nil, errkind.Newf("reach", errkind.NotFound, "nobody")
	}
	g, _ := guarded.Wrap(s, guarded.Options{Who: d.who, Owner: owner})
	d.lines[owner] = &line{Sharer: g, d: d}
	return d.lines[owner], nil
}

// cut ends the channel to an owner; later says that Reach does not know it yet.
func (d *directory) cut(owner string) { d.lines[owner].cut = true }

func (d *directory) takeReached() []string {
	out := d.reached
	d.reached = nil
	return out
}

// line is an owner's store until its channel ends.
type line struct {
	mailstore.Sharer
	d   *directory
	cut bool
	// dieIn, if above 0, ends the channel in that many calls.
	dieIn int
	late  bool // an EXPUNGE has not been done yet when its channel ends
	// refuse, if not 0, is what SetSharedNotes answers.
	refuse errkind.Kind
}

func (l *line) alive() error {
	if l.dieIn > 0 {
		if l.dieIn--; l.dieIn == 0 {
			l.cut = true
		}
	}
	if l.cut {
		return errkind.Newf("channel", errkind.Unavailable, "it has ended")
	}
	return nil
}

func (l *line) Status(name mailstore.Name, want mailstore.StatusWant) (mailstore.Status, error) {
	if err := l.alive(); err != nil {
		return mailstore.Status{}, err
	}
	return l.Sharer.Status(name, want)
}

func (l *line) Delete(name mailstore.Name) error {
	if err := l.alive(); err != nil {
		return err
	}
	return l.Sharer.Delete(name)
}

func (l *line) Open(name mailstore.Name) (mailstore.Mailbox, error) {
	if err := l.alive(); err != nil {
		return nil, err
	}
	mb, err := l.Sharer.Open(name)
	if err != nil {
		return nil, err
	}
	return &lineBox{mb, l}, nil
}

type lineBox struct {
	mailstore.Mailbox
	l *line
}

func (b *lineBox) Sync() (mailstore.Snapshot, error) {
	if err := b.l.alive(); err != nil {
		return nil, err
	}
	return b.Mailbox.Sync()
}

func (b *lineBox) Store(c mailstore.FlagChange) (mailstore.StoreResult, error) {
	if err := b.l.alive(); err != nil {
		return mailstore.StoreResult{}, err
	}
	return b.Mailbox.Store(c)
}

// Expunge does it and loses the answer where the channel ends.
func (b *lineBox) Expunge(uids numset.Set) (numset.Set, error) {
	if b.l.late {
		return numset.Set{}, errkind.Newf("channel", errkind.Unavailable, "it has ended")
	}
	out, err := b.Mailbox.Expunge(uids)
	if aerr := b.l.alive(); aerr != nil {
		return numset.Set{}, aerr
	}
	return out, err
}

func (b *lineBox) Message(uid mailstore.UID) (mailstore.Message, error) {
	if err := b.l.alive(); err != nil {
		return nil, err
	}
	return b.Mailbox.Message(uid)
}

func otherUsers(separator byte) mailstore.Namespace {
	return mailstore.Namespace{Kind: mailstore.OtherUsers, Prefix: "Other Users" + string(rune(separator)), Separator: separator, List: true}
}

// open gives a user's namespace "Other Users".
func (d *directory) open() *others.Store {
	d.w.t.Helper()
	s, err := others.Open(others.Options{Namespace: otherUsers('/'), Hidden: []string{d.who.User}, Directory: d})
	must(d.w.t, err)
	return s
}

// whole puts it beside his own mail.
func (d *directory) whole() *spaces.Whole {
	d.w.t.Helper()
	own, _ := guarded.Wrap(d.w.mail[d.who.User], guarded.Options{Who: acl.Who{User: d.who.User, Owner: true}, Owner: d.who.User})
	return spaces.Extend(own, d.open())
}
