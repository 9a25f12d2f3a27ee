// Package worker is what the programs that serve one user's mail have in
// common: they start, learn their user from master, confine themselves, take
// sessions out of envelopes, linger for a while after the last one, and ask
// before they go.
//
// imapworker and pop3worker (later managesieve and deliver) call Main with
// their Program. It must never know a protocol or a password, and of other users
// only the names of those who share something with its own, or visit him.
package worker

import (
	"context"

	"rookery/internal/child"
	"rookery/internal/ipc/envelopemsg"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/maillog"
	"rookery/internal/mailstore/mbox"
	"rookery/internal/sandbox"
	"rookery/internal/settings"
	"rookery/internal/vfs"
)

// Program is one of the programs.
type Program struct {
	Role     child.Role
	Protocol string // "imap", "pop3"
	Sandbox  sandbox.Role
	Settings settings.Role
	// New is called once, confined, when the user is known.
	New func(*Host) (Server, error)
	// Tool, if not nil, takes the place of New: the program serves one operator's
	// command over channel, which is its to close, and ends. ctx ends when the
	// server stops.
	Tool func(ctx context.Context, h *Host, channel int) error
}

// Server serves the sessions of one user.
type Server interface {
	// Serve runs one session to its end and closes its stream. Each runs in a
	// goroutine of its own.
	Serve(*Session)
	// Wake says that another process of this user changed the mail.
	Wake()
	// Close gives up the store; no session runs any more.
	Close()
}

// Host is the process as a Server sees it.
type Host struct {
	Log        *maillog.Logger
	Settings   *settings.Set // with the user's own
	User       redeemmsg.Record
	PrivateUID bool
	// Changed tells master that this process changed the user's mail: at once, but
	// not more often than every 20 ms.
	Changed func()
	// Inbox reaches an mbox outside mail_path through rookery-dotlock; nil if
	// master started none.
	Inbox   mbox.Spool
	roots   []root
	bootID  string
	tending *tending // of the store that OpenStore opened; nil before
	dry     vfs.FS   // what FS gives in place of the disk; nil: the disk
	sharing *sharing // what is asked of master about other users
}

// Session is one client's.
type Session struct {
	ID     uint64
	Name   string // the session id of the log
	Record redeemmsg.Record
	Go     *envelopemsg.Go
	Stream *Stream
	Log    *maillog.Logger
	// End is sent to once when the session must end (an administrator, a
	// shutdown): the client reads the text.
	End <-chan string
}

type root struct {
	path string // as in the settings
	fs   *vfs.OS
}
