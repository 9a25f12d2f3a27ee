package authd

import (
	"fmt"
	"time"

	"rookery/authd/internal/shares"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/maillog"
	"rookery/internal/vfs"
)

// sharing is the list of what users share, as master's goroutine uses it.
type sharing struct {
	log    *maillog.Logger
	keeper *shares.Keeper
	parts  *shares.Parts
	first  vfs.File // of its two files; nil before it has come, and after the second
}

func newSharing(log *maillog.Logger) sharing {
	return sharing{log: log, parts: shares.NewParts(), keeper: shares.NewKeeper(func(err error) {
		log.Errorf("the list of shares could not be written and is tried again: %v. If the server is stopped before, run: rookeryctl shares --rebuild", err)
	})}
}

// file takes one of the two files; with the second the list is read. master sends
// them before anything that asks for the list.
func (s *sharing) file(m *redeemmsg.File, fd int) error {
	f := vfs.FromFile(uintptr(fd), m.Path)
	switch {
	case m.Name == "a" && s.first == nil:
		s.first = f
		return nil
	case m.Name != "b" || s.first == nil:
		f.Close()
		return fmt.Errorf("channel redeem: the file %q of the list of shares out of turn", m.Name)
	}
	first := s.first
	s.first = nil
	found, err := s.keeper.Open(first, f)
	owners, boxes := s.keeper.List.Size()
	switch {
	case err != nil:
		s.log.Errorf("the list of shares cannot be read and is empty: %v. Mend what is wrong, restart, and run: rookeryctl shares --rebuild", err)
	case found.Damage != "":
		s.log.Errorf("the list of shares in %s was damaged (%s); %d mailboxes of %d users are left. To have all again run: rookeryctl shares --rebuild", m.Path, found.Damage, boxes, owners)
	case found.Fresh:
		s.log.Infof("a list of shares is begun. If users have shared mailboxes before, run: rookeryctl shares --rebuild")
	}
	return nil
}

// publish takes what a process told of its user's mailboxes.
func (s *sharing) publish(m *redeemmsg.Publish, now time.Time) *redeemmsg.PublishSeen {
	seen := &redeemmsg.PublishSeen{Owner: m.Owner}
	boxes, whole, err := s.parts.Add(m, now)
	if err == nil && whole {
		var c shares.Change
		c, err = s.keeper.Set(m.Owner, boxes)
		seen.Changed, seen.Users, seen.All = c.Changed, c.Users, c.All
	}
	if err != nil {
		seen.Problem = clip(err.Error())
	}
	return seen
}

// listUsers answers who there is, and takes owners who are not any more out of the
// list of shares.
func (s *server) listUsers(m *redeemmsg.ListUsers) error {
	names, unlisted := s.eng.Users()
	for _, owner := range s.shares.keeper.List.Owners() {
		if !s.eng.Knows(owner) {
			if _, err := s.shares.keeper.Set(owner, nil); err != nil {
				return err
			}
		}
	}
	for {
		n, size := 0, 0
		for n < len(names) && n < redeemmsg.MaxPart && size < redeemmsg.MaxPartBytes {
			size += len(names[n]) + 4
			n++
		}
		part := &redeemmsg.Users{ID: m.ID, Names: names[:n], Last: n == len(names)}
		if names = names[n:]; part.Last {
			part.Unlisted = unlisted
		}
		if err := s.ctl.Send(part, -1); err != nil || part.Last {
			return err
		}
	}
}

func (s *sharing) close() {
	if s.first != nil {
		s.first.Close()
	}
	s.keeper.Close()
}
