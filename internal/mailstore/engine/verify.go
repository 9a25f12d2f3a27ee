package engine

import (
	"fmt"

	"rookery/internal/mailstore"
)

// verifyTree looks at what is no mailbox's own and no format's. The user's lock is
// held. The one kind is uidvalidity-low: a mailbox has a UIDVALIDITY that the
// control file does not know of and that the clock has not passed, so that another
// could get the same.
func (s *Store) verifyTree(repair bool, found func(mailstore.Finding)) error {
	list, err := s.format.Folders()
	if err != nil {
		return err
	}
	var highest Folder
	for _, f := range list {
		if f.UIDValidity > highest.UIDValidity {
			highest = f
		}
	}
	last, err := s.control().LastValidity()
	if err != nil || last >= highest.UIDValidity || int64(highest.UIDValidity) <= s.now().Unix() {
		return err
	}
	x := mailstore.Finding{Kind: "uidvalidity-low", Text: fmt.Sprintf("dovecot-uidvalidity says that %d is the highest UIDVALIDITY given, and %s has %d: another mailbox could get the same",
		last, highest.Name, highest.UIDValidity), Remedy: "the file gets that number"}
	if repair {
		if err := s.control().RaiseValidity(highest.UIDValidity); err != nil {
			return err
		}
		x.Repaired = true
	}
	found(x)
	return nil
}
