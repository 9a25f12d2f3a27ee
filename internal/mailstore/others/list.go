package others

import (
	"cmp"
	"slices"
	"strings"

	"rookery/internal/imapname"
	"rookery/internal/mailstore"
)

const implied = mailstore.NonExistent | mailstore.NoSelect | mailstore.HasChildren

// picture is what the user sees.
type picture struct {
	of      []Share                     // the Directory's list
	names   map[string][]mailstore.Name // by owner, sorted; none empty
	folders []mailstore.Folder          // sorted by name
}

// state is what a name is.
type state uint8

const (
	isNothing state = iota
	isMailbox
	isParent
)

// state tells what the user may know of a name; "" is the owner's level.
func (p *picture) state(owner string, inner mailstore.Name) state {
	names := p.names[owner]
	if inner == "" {
		if len(names) > 0 {
			return isParent
		}
		return isNothing
	}
	if _, ok := slices.BinarySearch(names, inner); ok {
		return isMailbox
	}
	below := inner + imapname.Separator
	if i, _ := slices.BinarySearch(names, below); i < len(names) && strings.HasPrefix(names[i], below) {
		return isParent
	}
	return isNothing
}

func (p *picture) find(name mailstore.Name) (int, bool) {
	return slices.BinarySearchFunc(p.folders, name, func(f mailstore.Folder, n mailstore.Name) int { return strings.Compare(f.Name, n) })
}

// amendment is something done here that the Directory's list may lack.
type amendment struct {
	share Share
	there bool // it was made; else it is gone
	lists int  // how many lists have come since then that say otherwise
}

// patience is how many lists end an amendment that they contradict: the first one that
// comes may have been under way before it. One that agrees ends it, too.
const patience = 2

// picture gives what the user sees now.
func (s *Store) picture() (*picture, error) {
	list, err := s.opt.Directory.Shares()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shown != nil && same(s.shown.of, list) {
		return s.shown, nil
	}
	if s.shown != nil {
		s.early = slices.DeleteFunc(s.early, func(a amendment) bool { return a.lists+1 >= patience || a.there == has(list, a.share) })
		for i := range s.early {
			s.early[i].lists++
		}
	}
	s.draw(list)
	return s.shown, nil
}

func has(list []Share, share Share) bool {
	_, ok := slices.BinarySearchFunc(list, share, func(a, b Share) int {
		return cmp.Or(strings.Compare(a.Owner, b.Owner), strings.Compare(a.Name, b.Name))
	})
	return ok
}

// same reports whether two lists are one.
func same(a, b []Share) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// amend notes what was done here.
func (s *Store) amend(all ...amendment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range all {
		s.early = slices.DeleteFunc(s.early, func(old amendment) bool { return old.share == a.share })
		s.early = append(s.early, a)
	}
	if s.shown != nil {
		s.draw(s.shown.of)
	}
}

// renamed gives what a RENAME made and took away: names are what the user sees of the
// owner's. INBOX gives its messages away and stays, with all below it (RFC 3501 §6.3.5).
func renamed(names []mailstore.Name, owner string, from, to mailstore.Name) (out []amendment) {
	for _, n := range names {
		rest, below := strings.CutPrefix(n, from)
		if !below || rest != "" && (rest[0] != '/' || from == imapname.Inbox) {
			continue
		}
		if from != imapname.Inbox {
			out = append(out, amendment{share: Share{owner, n}})
		}
		out = append(out, amendment{share: Share{owner, to + rest}, there: true})
	}
	return out
}

// draw makes the picture of a list. It is called with mu held.
func (s *Store) draw(list []Share) {
	p := &picture{of: list, names: map[string][]mailstore.Name{}}
	early := map[Share]bool{}
	for _, a := range s.early {
		early[a.share] = a.there
	}
	for _, share := range list {
		if there, said := early[share]; (!said || there) && s.shows(share) {
			p.names[share.Owner] = append(p.names[share.Owner], share.Name)
		}
	}
	for share, there := range early {
		if there && s.shows(share) {
			p.names[share.Owner] = append(p.names[share.Owner], share.Name)
		}
	}
	for owner, names := range p.names {
		slices.Sort(names)
		p.names[owner] = slices.Compact(names)
	}
	p.folders = s.folders(p.names)
	s.shown = p
}

// shows reports whether a mailbox belongs into this namespace, and can be named in it.
func (s *Store) shows(share Share) bool {
	if s.opt.Owner != "" && share.Owner != s.opt.Owner || slices.Contains(s.opt.Hidden, share.Owner) || share.Owner == "" || share.Name == "" {
		return false
	}
	name := s.outer(share.Owner, share.Name)
	return imapname.Name(name).Check() == nil && string(imapname.Canonical(name)) == name && string(imapname.Canonical(share.Name)) == share.Name
}

// folders lists mailboxes and the parents that they imply, up to the owner's level.
func (s *Store) folders(all map[string][]mailstore.Name) []mailstore.Folder {
	attrs := map[mailstore.Name]mailstore.Attr{}
	for owner, names := range all {
		for _, n := range names {
			attrs[s.outer(owner, n)] = 0
		}
	}
	for owner, names := range all {
		for _, n := range names {
			for p := imapname.Name(n).Parent(); p != ""; p = p.Parent() {
				imply(attrs, s.outer(owner, string(p)))
			}
		}
		if s.opt.Owner == "" {
			imply(attrs, s.outer(owner, ""))
		}
	}
	out := make([]mailstore.Folder, 0, len(attrs))
	for name, a := range attrs {
		out = append(out, mailstore.Folder{Name: name, Attrs: a})
	}
	slices.SortFunc(out, func(a, b mailstore.Folder) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func imply(attrs map[mailstore.Name]mailstore.Attr, name mailstore.Name) {
	if a, there := attrs[name]; there {
		attrs[name] = a | mailstore.HasChildren
		return
	}
	attrs[name] = implied
}
