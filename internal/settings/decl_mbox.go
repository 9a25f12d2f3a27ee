package settings

import (
	"errors"
	"time"
)

// The settings of mail_driver = "mbox". Names and meanings are Dovecot's.
var (
	MboxReadLocks = wordList("mbox_read_locks", []string{"fcntl"}, RoleWorkers, fileMail,
		`How an mbox is locked while a message is read, in this order. "fcntl" locks (POSIX), "flock" locks, or a lock file beside it ("dotlock"). Whatever delivers into the mbox must use at least one of them.`,
		words("fcntl", "flock", "dotlock"), checked(lockWays))

	MboxWriteLocks = wordList("mbox_write_locks", []string{"fcntl", "dotlock"}, RoleWorkers, fileMail,
		`How an mbox is locked while it is changed, in this order. The default is Debian's policy, which its Postfix, procmail and mutt keep.`,
		words("fcntl", "flock", "dotlock"), checked(lockWays))

	MboxDotlockChangeTimeout = duration("mbox_dotlock_change_timeout", 2*time.Minute, RoleWorkers, fileMail,
		`A lock file is taken for a dead program's once neither it nor the mbox has changed for so long.`, spanDuration(10*time.Second, 24*time.Hour))

	MailPrivilegedGroup = str("mail_privileged_group", "mail", RoleMaster, fileMail,
		`Group whose right it takes to make lock files beside an INBOX that lies outside mail_path, as in /var/mail. Only the program rookery-dotlock gets it, with the user's own user id and for his one file; empty: none.`)
)

// lockWays refuses a list that locks nothing, or one way twice.
func lockWays(v any) error {
	list := v.([]string)
	if len(list) == 0 {
		return errors.New("at least one way to lock is needed")
	}
	seen := map[string]bool{}
	for _, w := range list {
		if seen[w] {
			return errors.New("a way to lock stands in the list twice")
		}
		seen[w] = true
	}
	return nil
}
