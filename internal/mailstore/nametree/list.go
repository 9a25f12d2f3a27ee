package nametree

import (
	"slices"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
)

// List gives every mailbox and implied parent, as clients see them, in the order
// of names: INBOX always, those on the disk, those that the settings promise.
func (r *Rules) List(names, subs []mailstore.Name) []mailstore.Folder {
	attrs := make(map[mailstore.Name]mailstore.Attr, len(names)+len(r.special)+1)
	attrs[imapname.Inbox] = 0
	for _, n := range names {
		attrs[n] = 0
	}
	for _, sp := range r.special {
		if _, there := attrs[sp.Name]; !there && sp.Auto == AutoNo {
			continue
		} else if !there && sp.Auto == AutoSubscribe {
			attrs[sp.Name] |= mailstore.Subscribed
		}
		attrs[sp.Name] |= sp.Use
	}
	for _, n := range subs {
		if a, there := attrs[n]; there {
			attrs[n] = a | mailstore.Subscribed
		}
	}
	imply(attrs)
	out := make([]mailstore.Folder, 0, len(attrs))
	for name, a := range attrs {
		out = append(out, mailstore.Folder{Name: r.Outer(name), Attrs: a})
	}
	slices.SortFunc(out, func(a, b mailstore.Folder) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// imply marks the names that others lie below, and adds those that are missing.
func imply(attrs map[mailstore.Name]mailstore.Attr) {
	names := make([]mailstore.Name, 0, len(attrs))
	for n := range attrs {
		names = append(names, n)
	}
	for _, name := range names {
		for p := imapname.Name(name).Parent(); p != ""; p = p.Parent() {
			a, there := attrs[mailstore.Name(p)]
			if there && a&mailstore.HasChildren != 0 {
				break // and so have those above
			}
			if !there {
				a = mailstore.NonExistent | mailstore.NoSelect
			}
			attrs[mailstore.Name(p)] = a | mailstore.HasChildren
		}
	}
}

// Lookup finds one mailbox in what List gave. errkind: NotFound.
func Lookup(list []mailstore.Folder, name mailstore.Name) (mailstore.Folder, error) {
	i, ok := slices.BinarySearchFunc(list, name, func(f mailstore.Folder, n mailstore.Name) int { return strings.Compare(f.Name, n) })
	if !ok {
		return mailstore.Folder{}, errkind.Newf("lookup", errkind.NotFound, "there is no such mailbox")
	}
	return list[i], nil
}
