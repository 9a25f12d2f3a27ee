package imapworker

import (
	"rookery/imapworker/internal/ownfacts"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/remote"
	"rookery/internal/message"
)

// maker gives who makes derived facts of a mailbox of the user's own, for guests who may
// read it; nil: the mailbox cannot be opened.
func (s *server) maker(name mailstore.Name) remote.Maker {
	m, err := ownfacts.Open(s.shared, name, message.DefaultLimits())
	if err != nil {
		return nil // the guest makes them himself
	}
	return m
}
