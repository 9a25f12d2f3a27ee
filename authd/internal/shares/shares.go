// Package shares is the list of what users share with one another: each owner's
// mailboxes with their access control lists, as his processes have told them, and
// the answer to who sees which of them. LIST of another's mailboxes is answered by
// it alone, so that looking starts no process; what a guest may do is decided anew,
// from the mailboxes' own lists, by the owner's process.
//
// authd keeps it, over restarts in two files that master passes (see Keeper). It
// must never know where mail lies, nor a message.
//
// # Who is told what
//
// A guest is told of a mailbox where its list, for his name and his groups, gives
// him the right "l". An owner who gives him nothing, and one who does not exist, cost
// the same work: owners are found by the guest's own identifiers.
package shares

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/ipc/redeemmsg"
)

// What all owners together may have, in octets as redeemmsg.PublishedSize counts.
const maxTotal = 128 << 20

// List is the list in memory. It is safe for concurrent use.
type List struct {
	mu     sync.RWMutex
	limit  int // of all owners
	owners map[string]*owned
	// byID are the owners who give something to an identifier.
	byID  map[acl.ID]map[string]struct{}
	total int
}

// owned is what one owner has told.
type owned struct {
	boxes []box // in the order of their names
	size  int
}

type box struct {
	name string
	list acl.List
}

// Change is what a new list of one owner changes.
type Change struct {
	Changed bool
	Users   []string // whom it may concern, sorted
	All     bool     // anybody
}

// NewList makes an empty list.
func NewList() *List {
	return &List{limit: maxTotal, owners: map[string]*owned{}, byID: map[acl.ID]map[string]struct{}{}}
}

// Set replaces what an owner has told. errkind: Invalid (what he told cannot be),
// Limit. After an error nothing is changed.
func (l *List) Set(owner string, told []redeemmsg.Published) (c Change, err error) {
	next, err := parse(owner, told)
	if err != nil {
		return c, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.owners[owner]
	if old == nil {
		old = &owned{}
	}
	if l.total-old.size+next.size > l.limit && next.size > old.size {
		return c, errkind.Newf("list of shares", errkind.Limit, "the list of all users' shares is full")
	}
	if c = changed(old.boxes, next.boxes); !c.Changed {
		return c, nil
	}
	l.total += next.size - old.size
	for id := range old.ids() {
		delete(l.byID[id], owner)
		if len(l.byID[id]) == 0 {
			delete(l.byID, id)
		}
	}
	for id := range next.ids() {
		if l.byID[id] == nil {
			l.byID[id] = map[string]struct{}{}
		}
		l.byID[id][owner] = struct{}{}
	}
	if len(next.boxes) == 0 {
		delete(l.owners, owner)
	} else {
		l.owners[owner] = next
	}
	return c, nil
}

func invalid(text string) error { return errkind.Newf("list of shares", errkind.Invalid, text) }

// parse reads what an owner's process told. It may have been taken over.
func parse(owner string, told []redeemmsg.Published) (*owned, error) {
	o := &owned{}
	if owner == "" || len(owner) > redeemmsg.MaxUser {
		return nil, invalid("an owner without a name")
	}
	if len(told) > redeemmsg.MaxOwnerBoxes {
		return nil, errkind.Newf("list of shares", errkind.Limit, "the owner shares too many mailboxes")
	}
	for _, p := range told {
		if o.size += redeemmsg.PublishedSize(p); o.size > redeemmsg.MaxOwnerBytes {
			return nil, errkind.Newf("list of shares", errkind.Limit, "the owner's lists are too large")
		}
		if !validName(p.Name) {
			return nil, invalid("a mailbox's name that cannot be")
		}
		list, err := acl.Parse([]byte(strings.Join(p.Entries, "\n")))
		if err != nil {
			return nil, errkind.New("list of shares", errkind.Invalid, err)
		}
		if n := len(list.Entries()); n == 0 || n != len(p.Entries) {
			return nil, invalid("an entry that is not understood")
		}
		o.boxes = append(o.boxes, box{p.Name, list})
	}
	slices.SortFunc(o.boxes, func(a, b box) int { return cmp.Compare(a.name, b.name) })
	for i := 1; i < len(o.boxes); i++ {
		if o.boxes[i].name == o.boxes[i-1].name {
			return nil, invalid("a mailbox that is told twice")
		}
	}
	return o, nil
}

// validName refuses names that no store has, and that would not come through a
// protocol or a log as they are.
func validName(name string) bool {
	return name != "" && len(name) <= redeemmsg.MaxMailbox && utf8.ValidString(name) &&
		!strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// ids are the identifiers that are given something.
func (o *owned) ids() map[acl.ID]struct{} {
	out := map[acl.ID]struct{}{}
	for _, b := range o.boxes {
		for _, e := range b.list.Entries() {
			if !e.Negative && e.Rights != 0 && e.Kind != acl.Owner {
				out[e.ID] = struct{}{}
			}
		}
	}
	return out
}

// changed tells what parts two lists. Both are in order.
func changed(old, next []box) (c Change) {
	users := map[string]struct{}{}
	touch := func(b box) {
		c.Changed = true
		for _, e := range b.list.Entries() {
			switch e.Kind {
			case acl.User:
				users[e.Name] = struct{}{}
			case acl.Owner:
			default:
				c.All = true
			}
		}
	}
	for len(old) > 0 || len(next) > 0 {
		switch {
		case len(next) == 0 || len(old) > 0 && old[0].name < next[0].name:
			touch(old[0])
			old = old[1:]
		case len(old) == 0 || next[0].name < old[0].name:
			touch(next[0])
			next = next[1:]
		default:
			if !bytes.Equal(old[0].list.Format(), next[0].list.Format()) {
				touch(old[0])
				touch(next[0])
			}
			old, next = old[1:], next[1:]
		}
	}
	c.Users = slices.Sorted(maps.Keys(users))
	if len(c.Users) > redeemmsg.MaxAffected || c.All {
		c.Users, c.All = nil, true
	}
	return c
}

// identifiers are those that mean a guest.
func identifiers(who acl.Who) []acl.ID {
	out := []acl.ID{{Kind: acl.Anyone}}
	if !who.Anonymous {
		out = append(out, acl.ID{Kind: acl.Authenticated}, acl.ID{Kind: acl.User, Name: who.User})
	}
	for _, g := range who.Groups {
		out = append(out, acl.ID{Kind: acl.Group, Name: g}, acl.ID{Kind: acl.GroupOverride, Name: g})
	}
	return out
}

// With gives what others share with a guest, in the order of owner and name, at
// most limit; more reports whether there is more.
func (l *List) With(who acl.Who, limit int) (out []redeemmsg.Shared, more bool) {
	who.Owner = false
	l.mu.RLock()
	defer l.mu.RUnlock()
	owners := map[string]struct{}{}
	for _, id := range identifiers(who) {
		maps.Copy(owners, l.byID[id])
	}
	delete(owners, who.User)
	for _, name := range slices.Sorted(maps.Keys(owners)) {
		for _, b := range l.owners[name].boxes {
			if !b.list.Rights(who).Has(acl.Lookup) {
				continue
			}
			if len(out) == limit {
				return out, true
			}
			out = append(out, redeemmsg.Shared{Owner: name, Name: b.name})
		}
	}
	return out, false
}

// Lets reports whether an owner shares anything with a guest. For one who does not,
// and for one who is not there, it does the same: it asks for each identifier that
// means the guest whether the owner has one such.
func (l *List) Lets(owner string, who acl.Who) bool {
	who.Owner = false
	l.mu.RLock()
	defer l.mu.RUnlock()
	named := 0
	for _, id := range identifiers(who) {
		if _, ok := l.byID[id][owner]; ok {
			named++
		}
	}
	if named == 0 || owner == who.User {
		return false
	}
	return slices.ContainsFunc(l.owners[owner].boxes, func(b box) bool { return b.list.Rights(who).Has(acl.Lookup) })
}

// told gives back what an owner has told.
func (l *List) told(owner string) (out []redeemmsg.Published) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	o := l.owners[owner]
	if o == nil {
		return nil
	}
	for _, b := range o.boxes {
		p := redeemmsg.Published{Name: b.name}
		for line := range strings.Lines(string(b.list.Format())) {
			p.Entries = append(p.Entries, strings.TrimSuffix(line, "\n"))
		}
		out = append(out, p)
	}
	return out
}

// Owners gives those who share something, in order.
func (l *List) Owners() []string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Sorted(maps.Keys(l.owners))
}

// Size gives how many owners and mailboxes there are.
func (l *List) Size() (owners, boxes int) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, o := range l.owners {
		boxes += len(o.boxes)
	}
	return len(l.owners), boxes
}
