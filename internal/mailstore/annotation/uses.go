package annotation

import (
	"slices"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
)

// Use is a special use with its name (RFC 6154 §2, RFC 8457 §3).
type Use struct {
	Attr mailstore.Attr
	Name string
}

// Uses are all of them, in the order in which they are told.
var Uses = []Use{
	{mailstore.UseAll, `\All`}, {mailstore.UseArchive, `\Archive`}, {mailstore.UseDrafts, `\Drafts`}, {mailstore.UseFlagged, `\Flagged`},
	{mailstore.UseJunk, `\Junk`}, {mailstore.UseSent, `\Sent`}, {mailstore.UseTrash, `\Trash`}, {mailstore.UseImportant, `\Important`},
}

// AllUses are their attributes.
const AllUses = mailstore.UseAll | mailstore.UseArchive | mailstore.UseDrafts | mailstore.UseFlagged |
	mailstore.UseJunk | mailstore.UseSent | mailstore.UseTrash | mailstore.UseImportant

// virtual are the uses of a mailbox that shows messages of others. There is no such
// mailbox here, so no client can make one; the settings may still name one that some
// other program fills.
const virtual = mailstore.UseAll | mailstore.UseFlagged

// UseByName finds a use, in upper or lower case.
func UseByName(name string) (mailstore.Attr, bool) {
	i := slices.IndexFunc(Uses, func(u Use) bool { return strings.EqualFold(u.Name, name) })
	if i < 0 {
		return 0, false
	}
	return Uses[i].Attr, true
}

// UseNames gives the names of uses.
func UseNames(attrs mailstore.Attr) (out []string) {
	for _, u := range Uses {
		if attrs&u.Attr != 0 {
			out = append(out, u.Name)
		}
	}
	return out
}

// MayAssign refuses uses that no client can give a mailbox: errkind.Invalid.
func MayAssign(attrs mailstore.Attr) error {
	if attrs&virtual != 0 || attrs&^AllUses != 0 {
		return errkind.Newf("assign special use", errkind.Invalid, "there are no virtual mailboxes")
	}
	return nil
}

// parseUses reads the value of SpecialUse: names with spaces between them; nil and
// an empty value are none.
func parseUses(value []byte) (attrs mailstore.Attr, err error) {
	for _, word := range strings.Fields(string(value)) {
		use, known := UseByName(word)
		if !known {
			return 0, errkind.Newf("assign special use", errkind.Invalid, "no special use has this name")
		}
		attrs |= use
	}
	return attrs, MayAssign(attrs)
}

// apply gives a list of mailboxes the uses that clients gave, in place of the
// settings'.
func (s *Store) apply(b *book, list []mailstore.Folder) []mailstore.Folder {
	if len(b.uses) == 0 {
		return list
	}
	out := slices.Clone(list)
	for use, h := range b.uses {
		name, there := "", h.guid == mailstore.GUID{}
		if !there {
			if name, there = s.locate(h, list); !there {
				continue // the mailbox is gone: the settings count again
			}
		}
		for i := range out {
			if out[i].Attrs &^= use; out[i].Name == name {
				out[i].Attrs |= use
			}
		}
	}
	return out
}

// locate finds the name that a mailbox has now. It mostly has the one that it had;
// after a rename by another program all are looked at, once for a list of names.
func (s *Store) locate(h holder, list []mailstore.Folder) (mailstore.Name, bool) {
	s.mu.Lock()
	name, known := s.names[h.guid]
	absent, looked := s.absent[h.guid]
	s.mu.Unlock()
	if !known {
		name = h.name
	}
	if s.has(list, name, h.guid) {
		return name, true
	}
	version := versionOf(list)
	if looked && absent == version {
		return "", false
	}
	for _, f := range list {
		if s.is(f, h.guid) {
			s.mu.Lock()
			s.names[h.guid] = f.Name
			s.mu.Unlock()
			return f.Name, true
		}
	}
	s.mu.Lock()
	s.absent[h.guid] = version
	s.mu.Unlock()
	return "", false
}

// has reports whether a list has a mailbox of this name and GUID.
func (s *Store) has(list []mailstore.Folder, name mailstore.Name, guid mailstore.GUID) bool {
	i := slices.IndexFunc(list, func(f mailstore.Folder) bool { return f.Name == name })
	return i >= 0 && s.is(list[i], guid)
}

func (s *Store) is(f mailstore.Folder, guid mailstore.GUID) bool {
	if f.Attrs&(mailstore.NoSelect|mailstore.NonExistent) != 0 {
		return false
	}
	st, err := s.Store.Status(f.Name, mailstore.StatusWant{})
	return err == nil && st.GUID == guid
}

// versionOf tells lists of different names apart.
func versionOf(list []mailstore.Folder) (v uint32) {
	for _, f := range list {
		v = sumOn(v, f.Name)
	}
	return v
}

// assign gives a mailbox these special uses and no others, which other mailboxes
// then lose. A use that the settings give it, and a client takes away, nobody has.
// It gives the other mailboxes whose uses changed.
func (s *Store) assign(b *book, guid mailstore.GUID, name mailstore.Name, want mailstore.Attr) (others []mailstore.Name, err error) {
	base, err := s.Store.List()
	if err != nil {
		return nil, err
	}
	before := s.apply(b, base)
	var given, had mailstore.Attr // by the settings, and up to now
	for i, f := range base {
		if f.Name == name {
			given, had = f.Attrs, before[i].Attrs
		}
	}
	for _, u := range Uses {
		switch {
		case want&u.Attr != 0:
			b.uses[u.Attr] = holder{guid, name}
		case had&u.Attr == 0:
		case given&u.Attr != 0:
			b.uses[u.Attr] = holder{}
		default:
			delete(b.uses, u.Attr)
		}
	}
	for i, f := range s.apply(b, base) {
		if f.Name != name && f.Attrs != before[i].Attrs {
			others = append(others, f.Name)
		}
	}
	return others, nil
}
