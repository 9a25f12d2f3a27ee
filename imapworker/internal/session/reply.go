package session

import (
	"errors"
	"syscall"

	"rookery/imapworker/internal/view"
	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
)

// refusals are the answers to errors by their kind (RFC 5530 §3). Texts name
// no path: the log has the whole error.
var refusals = map[errkind.Kind]view.Reply{
	errkind.NotFound:     view.No("NONEXISTENT", "Mailbox does not exist."),
	errkind.Exists:       view.No("ALREADYEXISTS", "Mailbox already exists."),
	errkind.NoPermission: view.No("NOPERM", "Permission denied."),
	errkind.OverQuota:    view.No("OVERQUOTA", "Quota exceeded (mailbox for user is full)."),
	errkind.NoSpace:      view.No("OVERQUOTA", "Not enough disk space."),
	errkind.Limit:        view.No("LIMIT", "A limit is reached."),
	errkind.TooBig:       view.No("TOOBIG", "Message is too big."),
	errkind.InUse:        view.No("INUSE", "Mailbox is locked by another program."),
	errkind.Invalid:      view.No("CANNOT", "That cannot be done with this mailbox."),
	errkind.Corrupt:      view.No("CORRUPTION", "The stored data is damaged."),
	errkind.Unavailable:  view.No("UNAVAILABLE", "Temporarily unavailable, try again later."),
	errkind.Expunged:     view.No("EXPUNGEISSUED", "Some of the requested messages no longer exist."),
	errkind.ContactAdmin: view.No("CONTACTADMIN", "Ask the administrator."),
	errkind.ReadOnly:     {Cond: "NO", Text: "Mailbox is open read-only."},
	errkind.IO:           view.No("SERVERBUG", "The disk reported an error."),
	errkind.TooMany:      view.No("UNAVAILABLE", "Too many open files, try again later."),
}

// refusal turns an error into the tagged answer: the only place that does. What
// is not the client's doing is logged.
func (s *Session) refusal(err error) view.Reply {
	kind := errkind.Of(err)
	var disk syscall.Errno
	switch kind {
	case errkind.NoPermission, errkind.ReadOnly:
		// The client asked for too much, or the files are not as they should be.
		if errors.As(err, &disk) {
			s.cfg.Log.Error(err.Error())
		}
	case errkind.NotFound, errkind.Exists, errkind.OverQuota, errkind.Limit, errkind.TooBig, errkind.Invalid, errkind.Expunged:
	case errkind.Unavailable, errkind.InUse:
		s.cfg.Log.Warn(err.Error())
	default:
		s.cfg.Log.Error(err.Error())
	}
	if reply, ok := refusals[kind]; ok {
		return reply
	}
	return view.No("SERVERBUG", "Internal error occurred. Refer to server log for more information.")
}

// tryCreate is refusal for commands whose target may be created by the client
// (RFC 3501 §6.3.11, §6.4.7: TRYCREATE).
func (s *Session) tryCreate(to imapname.Name, err error) (view.Reply, error) {
	if errkind.Is(err, errkind.NotFound) || errkind.Is(err, errkind.Invalid) && s.isParent(to) {
		return view.No("TRYCREATE", "Mailbox does not exist."), nil
	}
	return view.Reply{}, err
}

// isParent reports whether a name of the user's own stands for its children alone, so
// that CREATE can make it a mailbox. A namespace's prefix is none of these.
func (s *Session) isParent(name imapname.Name) bool {
	ns, _ := spaceOf(s.cfg.Store.Namespaces(), string(name))
	f, err := s.cfg.Store.Lookup(string(name))
	return err == nil && f.Attrs&mailstore.NonExistent != 0 && ns.Kind == mailstore.Private && prefixOf(ns) != string(name)+imapname.Separator
}
