package mbox

import (
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"rookery/internal/e2e/beside"
	"rookery/internal/e2e/harness"
)

// TestThousands has Postfix, procmail and maildrop deliver 5,000 messages into one
// mbox at once, while mutt and sessions of ours read and change it.
//
// A program that finds a lock taken sleeps for a second at least before it looks
// again (maildrop even computes for so long), so that many of them run at once
// and the one that waits best, Postfix, has the most.
func TestThousands(t *testing.T) {
	harness.NeedRoot(t)
	procmail, maildrop := harness.Need(t, "procmail", "procmail"), harness.Need(t, "maildrop", "maildrop")
	spool := spoolDir(t)
	path := filepath.Join(spool, "u1")
	d := harness.StartWith(t, []string{`mail_inbox_path = "` + spool + `/%{user | username}"`}, "--driver", "mbox", "--users", "1", "--empty")
	u := spoolUser(t, d)
	p := beside.StartPostfix(u, "mail_spool_directory = "+spool, "mailbox_delivery_lock = fcntl, dotlock", "mailbox_size_limit = 0",
		"minimal_backoff_time = 2s", "maximal_backoff_time = 4s", "queue_run_delay = 2s", "deliver_lock_attempts = 60")
	// mutt opens no mailbox that is not there.
	if err := errors.Join(os.WriteFile(path, nil, 0o660), os.Chmod(path, 0o660), os.Chown(path, u.UID, u.GID)); err != nil {
		t.Fatal(err)
	}
	filter := u.Write(".mailfilter", "LOCKSLEEP=1\nto \""+path+"\"\n", 0o600)
	traffic := beside.Traffic{
		Demo: d, User: u, Service: "imap", Mailbox: path, Lock: path + ".lock", Limit: 5 * time.Minute,
		Files: func() ([]byte, error) { return os.ReadFile(path) },
		Ways: []beside.Way{
			{Name: "postfix", Messages: 4920, Postfix: p},
			{Name: "procmail", Messages: 20, Lanes: 1, Pause: 1, From: true,
				Command: procmail + ` LOCKSLEEP=1 LOGFILE=/dev/null ORGMAIL="` + path + `" DEFAULT="` + path + `" /dev/null`},
			{Name: "maildrop", Messages: 60, Lanes: 2, Command: maildrop + " " + filter},
		},
	}
	traffic.Thousands(t)
}

// spoolUser is u1 in the group mail, as programs run that deliver.
func spoolUser(t *testing.T, d *harness.Demo) *beside.User {
	t.Helper()
	g, err := user.LookupGroup("mail")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := d.Owner(1)
	gid, _ := strconv.Atoi(g.Gid)
	home, err := os.MkdirTemp("/var/tmp", "rookery-home-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	if err := os.Chown(home, uid, gid); err != nil {
		t.Fatal(err)
	}
	return beside.NewUser(t, uid, gid, home)
}
