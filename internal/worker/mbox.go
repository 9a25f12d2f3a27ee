package worker

import (
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/mbox"
	"rookery/internal/mailstore/nametree"
	"rookery/internal/settings"
)

// openMbox opens mail in mbox files. An INBOX outside mail_path is reached
// through rookery-dotlock alone.
func (h *Host) openMbox(paths settings.MailPaths, ns mailstore.Namespace, special []nametree.Special) (mailstore.Store, error) {
	fsync := settings.MailFsync.Get(h.Settings)
	opt := mbox.Options{
		Options: engine.Options{FS: h.FS(), ControlPath: inFS(paths.Control), IndexPath: inFS(paths.Index), Namespace: ns, Special: special,
			LockWait: settings.MailMaxLockTimeout.Get(h.Settings), Note: func(text string) { h.Log.Warnf("%s", text) }},
		MailPath: inFS(paths.Mail), InboxPath: inFS(paths.Inbox), SyncChanges: fsync == "always", NoSync: fsync == "never",
		ReadLocks: lockKinds(settings.MboxReadLocks.Get(h.Settings)), WriteLocks: lockKinds(settings.MboxWriteLocks.Get(h.Settings)),
		StaleLock: settings.MboxDotlockChangeTimeout.Get(h.Settings)}
	if paths.Inbox != "" && !strings.HasPrefix(paths.Inbox, paths.Mail+"/") {
		if h.Inbox == nil {
			return nil, errkind.Newf("open store", errkind.Unavailable, "mail_inbox_path = "+paths.Inbox+" lies outside mail_path, and the program rookery-dotlock that opens it is not there")
		}
		opt.Inbox = h.Inbox
	}
	return mbox.Open(opt)
}

func lockKinds(names []string) (out []mbox.LockKind) {
	for _, n := range names {
		out = append(out, mbox.LockKind(n))
	}
	return out
}
