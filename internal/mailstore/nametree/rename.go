package nametree

import (
	"slices"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// MayRename refuses what no RENAME does, whatever is there. from may be INBOX,
// whose messages alone move: see RenameInbox. errkind: Exists, Invalid.
func MayRename(from, to mailstore.Name) error {
	switch {
	case to == imapname.Inbox:
		return errkind.Newf("rename", errkind.Exists, "INBOX is always there")
	case from == imapname.Inbox:
		return nil
	case from == to:
		return errkind.Newf("rename", errkind.Exists, "the mailbox is there")
	case imapname.Name(to).Below(imapname.Name(from)):
		return errkind.Newf("rename", errkind.Invalid, "a mailbox cannot move below itself")
	}
	return nil
}

// RenameInbox gives INBOX's messages to a new mailbox (RFC 9051 §6.3.6). to is
// as clients see it.
func RenameInbox(s mailstore.Store, to mailstore.Name) error {
	if _, err := s.Create(to, 0); err != nil {
		return err
	}
	mb, err := s.Open(imapname.Inbox)
	if err != nil {
		return err
	}
	defer mb.Close()
	_, err = mb.Move(numset.Span(1, 1<<32-1), to)
	return err
}

// Move is one mailbox's share in a RENAME.
type Move struct {
	At       int            // its place in the names that were handed in
	From, To mailstore.Name // inner names
}

// Moves finds what a RENAME moves: the mailbox and those below it, parents before
// children. Nothing may be where one of them goes. errkind: NotFound, Exists.
func (r *Rules) Moves(names []mailstore.Name, from, to mailstore.Name) ([]Move, error) {
	there := make(map[mailstore.Name]bool, len(names)+1)
	var moves []Move
	for i, n := range names {
		there[n] = true
		if n == from || imapname.Name(n).Below(imapname.Name(from)) {
			moves = append(moves, Move{i, n, Moved(n, from, to)})
		}
	}
	if len(moves) == 0 {
		return nil, errkind.Newf("rename", errkind.NotFound, "there is no such mailbox")
	}
	if there[to] || r.Promised(to) {
		return nil, errkind.Newf("rename", errkind.Exists, "the new name is taken")
	}
	for _, m := range moves {
		if there[m.To] {
			return nil, errkind.Newf("rename", errkind.Exists, "the new name of "+m.From+" is taken")
		}
	}
	slices.SortFunc(moves, func(a, b Move) int { return strings.Compare(a.From, b.From) })
	return moves, nil
}

// Moved gives the new name of a mailbox that is from or lies below it.
func Moved(name, from, to mailstore.Name) mailstore.Name {
	return mailstore.Name(imapname.Name(name).Moved(imapname.Name(from), imapname.Name(to)))
}
