package acl

import (
	"slices"

	"rookery/internal/errkind"
)

// MaxEntries bounds a list.
const MaxEntries = 1000

// Entry is one identifier with its rights.
type Entry struct {
	ID
	Rights Rights
	// Named are rights in words that a file has and nobody here knows, sorted.
	Named []string
}

// List is an access control list. It does not change; the zero List is empty.
type List struct {
	items []item
	doubt bool // something that takes rights away is not understood
}

// item is a line of the file.
type item struct {
	raw   string // as it was read, without its end; "" if it is to be written anew
	is    bool   // an entry; else raw is kept for what it is
	entry Entry
}

// Entries gives the entries, in the list's order. The caller must not change their
// Named.
func (l List) Entries() (out []Entry) {
	for _, it := range l.items {
		if it.is {
			out = append(out, it.entry)
		}
	}
	return out
}

// Empty reports whether there is nothing in the list, not even a comment.
func (l List) Empty() bool { return len(l.items) == 0 }

// Doubtful reports whether a line that takes rights away is not understood: then
// nobody but the owner has any.
func (l List) Doubtful() bool { return l.doubt }

// find gives the place of an identifier, -1 if it has none.
func (l List) find(id ID) int {
	return slices.IndexFunc(l.items, func(it item) bool { return it.is && it.entry.ID == id })
}

// Get gives the rights that stand beside an identifier; ok is false if it is not in
// the list.
func (l List) Get(id ID) (r Rights, ok bool) {
	if i := l.find(id); i >= 0 {
		return l.items[i].entry.Rights, true
	}
	return 0, false
}

// With gives the list with an identifier's rights replaced; rights that are known by
// words alone stay. No rights at all are kept too: they are stronger than those of
// lower kinds. errkind: Limit, Invalid.
func (l List) With(id ID, r Rights) (List, error) {
	out := List{items: slices.Clone(l.items), doubt: l.doubt}
	if i := out.find(id); i >= 0 {
		out.items[i].raw, out.items[i].entry.Rights = "", r&All
		return out, nil
	}
	if err := id.check(false); err != nil {
		return l, errkind.New("set rights", errkind.Invalid, err)
	}
	if len(l.Entries()) >= MaxEntries {
		return l, errkind.Newf("set rights", errkind.Limit, "the access control list has too many entries")
	}
	out.items = append(out.items, item{is: true, entry: Entry{ID: id, Rights: r & All}})
	return out, nil
}

// Without gives the list without an identifier; ok is false if it was not there.
func (l List) Without(id ID) (out List, ok bool) {
	i := l.find(id)
	if i < 0 {
		return l, false
	}
	return List{items: slices.Delete(slices.Clone(l.items), i, i+1), doubt: l.doubt}, true
}

// Changed gives the list after a SETACL. The owner has all rights as long as no
// entry says otherwise; a change of them begins there. A change that takes rights
// from an identifier that is not in the list leaves it out.
func (l List) Changed(id ID, c Change) (List, error) {
	old, there := l.Get(id)
	if !there && id == (ID{Kind: Owner}) {
		old = All
	} else if !there && c.Op == '-' {
		return l, nil
	}
	return l.With(id, c.Apply(old))
}

// Rights gives what a user may do.
func (l List) Rights(w Who) Rights {
	if l.doubt && !w.Owner {
		return 0
	}
	var have [GroupOverride + 1]Rights // by kind
	var said [GroupOverride + 1]bool
	var taken Rights
	if w.Owner {
		have[Owner], said[Owner] = All, true
	}
	plainOwner := true // no entry has spoken of the owner himself
	for _, it := range l.items {
		e := &it.entry
		if !it.is || !e.fits(w) {
			continue
		}
		switch {
		case w.Owner && e.Kind < Owner:
			// What is said of the many does not concern the owner.
		case e.Negative:
			taken |= e.Rights
		case e.Kind == Owner && plainOwner:
			have[Owner], plainOwner = e.Rights, false
		default:
			have[e.Kind] |= e.Rights
			said[e.Kind] = true
		}
	}
	var out Rights
	for k := range have {
		if said[k] {
			out = have[k]
		}
	}
	out &^= taken
	if w.Owner {
		out |= OwnerAlways
	}
	return out
}

// Shown gives the entries as clients and operators see them: sorted by kind,
// strongest last, and with the owner, who has all rights where the list does not
// say otherwise.
func (l List) Shown() []Entry {
	out := l.Entries()
	owner := false
	for i := range out {
		if out[i].ID == (ID{Kind: Owner}) {
			owner = true
			out[i].Rights |= OwnerAlways
		}
	}
	if !owner {
		out = append(out, Entry{ID: ID{Kind: Owner}, Rights: All})
	}
	slices.SortStableFunc(out, func(a, b Entry) int {
		rank := func(e Entry) int {
			if e.Kind == Owner { // the owner comes first
				return -1
			}
			return int(GroupOverride - e.Kind)
		}
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		switch {
		case a.Name != b.Name && a.Name < b.Name:
			return -1
		case a.Name != b.Name:
			return 1
		case a.Negative == b.Negative:
			return 0
		case b.Negative:
			return -1
		}
		return 1
	})
	return out
}

// Grants reports whether somebody other than the owner may have a right by the list.
func (l List) Grants() bool {
	return !l.doubt && slices.ContainsFunc(l.items, func(it item) bool {
		return it.is && !it.entry.Negative && it.entry.Kind != Owner && it.entry.Rights != 0
	})
}
