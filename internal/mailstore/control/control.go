// Package control keeps the user's control files that every driver keeps in the
// same way: the list of subscribed names and the last UIDVALIDITY given. They lie
// in the user's control directory, in Dovecot's formats, so that a store can be
// taken over and given back.
//
// The drivers call it (maildir, engine for mbox and pack), under their own locks:
// nothing here locks. It must never know a driver, a mailbox's own files, or who
// the user is.
//
// # subscriptions
//
// Version 1 is a name a line, levels separated as in the driver's tree ('.' in
// Maildir++, else '/'). Version 2 begins with the line "V<TAB>2" and an empty one,
// and separates levels by tabs; control characters in a level are \001 and one of
// 0, 1, t, r, n. Names are in modified UTF-7; names in UTF-8 are read, too. Lines
// that are no names stay. A file is written in the version that it had, but for a
// name that version 1 cannot tell from another; a new one in version 2.
//
// # courierimapsubscribed
//
// Courier's list: a name a line, in modified UTF-7, with INBOX before all and '.'
// between the levels. Read as long as there is no subscriptions; never written.
//
// # dovecot-uidvalidity
//
// The last UIDVALIDITY given, as eight hex digits, and beside it an empty file
// dovecot-uidvalidity.<the same digits>; the highest of both counts. Each new
// mailbox gets one more, and at least the time in seconds: a mailbox that is
// deleted and made again gets a higher one.
package control

import (
	"io/fs"

	"rookery/internal/vfs"
)

// Dir is a user's control directory.
type Dir struct {
	FS   vfs.FS
	Path string
	Mode fs.FileMode // of new files
}
