package settings

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const sample = "From: a@example.test\r\nSubject: s\r\n\r\nbody\r\n"

// storeOf opens u3's store, which makes its files, and gives which are there.
func storeOf(names ...string) func(*rig) string {
	return func(r *rig) string {
		r.imap("LOGIN u3 pass", fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(sample), sample), "SELECT INBOX", "LOGOUT")
		return r.which(3, names...)
	}
}

// mailRows: 10-mail, 15-mailboxes.
func mailRows() []row {
	nobody := []string{`mail_home = "DIR/mail/bare"`, `[[userdb]]`, `name = "demo"`, `driver = "static"`}
	inbox := func(more ...string) []string {
		return append([]string{`[[namespace]]`, `name = "inbox"`, `inbox = true`}, more...)
	}
	box := func(more ...string) []string {
		return join(inbox(), []string{`[[namespace.mailbox]]`, `name = "Special"`}, more)
	}
	list := func(command string) func(*rig) string { return asUserDoes("u2", command) }
	return []row{
		{name: "mail_driver", lines: []string{`mail_driver = "pack"`, `mail_path = "~/Packed"`}, without: "", with: "Packed/00000001.pack", probe: storeOf("Packed/00000001.pack")},
		{name: "mail_alt_path", unit: "internal/mailstore/pack.TestAltPath"},
		{name: "mail_compress_write_method", unit: "internal/mailstore/pack.TestCompress"},
		{name: "mail_privileged_group", unit: "internal/e2e/mbox.TestSpool"},
		{name: "mbox_write_locks", instead: mboxes(), lines: mboxes(`mbox_write_locks = ["flock"]`), without: okAppend, with: `NO .*`, probe: flockedMbox("APPEND INBOX")},
		{name: "mbox_read_locks", instead: mboxes(`mbox_write_locks = ["fcntl"]`), lines: mboxes(`mbox_write_locks = ["fcntl"]`, `mbox_read_locks = ["flock"]`), without: `.*OK \[READ-WRITE\].*`, with: `NO .*`, probe: flockedMbox("SELECT INBOX")},
		{name: "mbox_dotlock_change_timeout", instead: mboxes(), lines: mboxes(`mbox_dotlock_change_timeout = "2 hours"`), without: okAppend, with: `NO .*`, probe: oldLockFile},
		{name: "mail_uid", lines: append([]string{`mail_uid = "58903"`, `mail_gid = "58903"`}, nobody...), without: `u1`, with: `58903 58903`, probe: uidOfU1},
		{name: "mail_gid", lines: append([]string{`mail_uid = "58903"`, `mail_gid = "58904"`, strings.Replace(nobody[0], "bare", "bare2", 1)}, nobody[1:]...), without: `u1`, with: `58903 58904`, probe: uidOfU1},
		{name: "mail_access_groups", lines: one(`mail_access_groups = ["adm"]`), without: `\d+|`, with: `(\d+ )?4( \d+)?`, probe: func(r *rig) string {
			c, pid, _ := r.session("LOGIN u2 pass")
			defer c.close()
			return field(pid, "Groups")
		}},
		{name: "first_valid_uid", lines: one(`first_valid_uid = 2000000`), without: okLogin, with: `NO .*`, probe: asUser(loginU1)},
		{name: "last_valid_uid", lines: one(`last_valid_uid = 600`), without: okLogin, with: `NO .*`, probe: asUser(loginU1)},
		{name: "first_valid_gid", lines: one(`first_valid_gid = 2000000`), without: okLogin, with: `NO .*`, probe: asUser(loginU1)},
		{name: "last_valid_gid", lines: one(`last_valid_gid = 600`), without: okLogin, with: `NO .*`, probe: asUser(loginU1)},
		{name: "mail_shared_uid_unprotected", unit: "master.TestSharedUIDSetting"},
		{name: "mail_fsync", lines: one(`mail_fsync = "always"`), without: `0`, with: `[1-9]\d*`, probe: syncsOfStore},
		{name: "mail_max_keyword_length", unit: "imapworker.TestSettings"},
		{name: "mail_max_lock_timeout", lines: one(`mail_max_lock_timeout = "1 secs"`), without: "waits", with: `NO .*`, probe: lockedAppend},
		{name: "mail_max_message_size", unit: "imapworker.TestSettings"},
		{name: "mailbox_list_layout", lines: one(`mailbox_list_layout = "fs"`), without: `Maildir/\.Fs\.Sub`, with: `(Maildir/\.Fs\.Sub )?Maildir/Fs/Sub`, probe: func(r *rig) string {
			r.imap("LOGIN u3 pass", "CREATE Fs/Sub", "CREATE Fs.Sub", "LOGOUT")
			return r.which(3, "Maildir/.Fs.Sub", "Maildir/Fs/Sub")
		}},
		{name: "mail_home", lines: append([]string{`mail_uid = "58905"`, `mail_gid = "58905"`, `mail_home = "DIR/mail/new"`}, nobody[1:]...), without: "none", with: `\d+`, probe: func(r *rig) string {
			r.imap(loginU1, "SELECT INBOX", "LOGOUT")
			return mode(r.path("mail/new/Maildir/cur"))
		}},
		{name: "mail_path", lines: one(`mail_path = "~/Elsewhere"`), without: "", with: "Elsewhere/cur", probe: storeOf("Elsewhere/cur")},
		{name: "mail_inbox_path", lines: one(`mail_inbox_path = "~/Inbox"`), without: "", with: "Inbox/cur", probe: storeOf("Inbox/cur")},
		{name: "mail_control_path", lines: one(`mail_control_path = "~/control"`), without: "", with: "control.*", probe: storeOf("control", "control/dovecot-uidlist")},
		{name: "mail_index_path", lines: one(`mail_index_path = "~/index"`), without: "", with: "index", probe: storeOf("index")},

		{name: "namespace.name", lines: inbox(), without: `.*\\Sent.*`, with: `OK .*`, probe: list(`LIST (SPECIAL-USE) "" *`)}, // it replaces the one of this name
		{name: "namespace.enabled", lines: []string{`[[namespace]]`, `name = "inbox"`, `enabled = false`, `[[namespace]]`, `name = "new"`, `inbox = true`, `prefix = "Q."`}, without: `.*\(\(.* "\.?/?"\)\).*`, with: `.*"Q\.".*`, probe: list(`NAMESPACE`)},
		{name: "namespace.type", lines: join(inbox(), []string{`[[namespace]]`, `name = "others"`, `type = "shared"`, `prefix = "Others."`}), without: `.*NAMESPACE \(\(.*\)\) NIL NIL.*`, with: `.*NAMESPACE \(\(.*\)\) \(\("Others\." "\."\)\) NIL.*`, probe: list("NAMESPACE")},
		{name: "namespace.owner", unit: "imapworker.TestPublicNamespace"},
		{name: "namespace.seen", unit: "imapworker.TestOwnSeen"},
		{name: "namespace.prefix", lines: inbox(`prefix = "Old."`), without: `(?s).*NAMESPACE \(\(\S* "\."\)\).*`, with: `.*NAMESPACE \(\("Old\." "\."\)\).*`, probe: list("NAMESPACE")},
		{name: "namespace.separator", lines: inbox(`separator = "/"`), without: `.*"\."\)\).*`, with: `.*"/"\)\).*`, probe: list("NAMESPACE")},
		{name: "namespace.inbox", unit: "internal/e2e/settings.TestDiagnostics"},
		{name: "namespace.hidden", lines: inbox(`hidden = true`), without: `\* NAMESPACE \(\(.*`, with: `\* NAMESPACE NIL .*`, probe: list("NAMESPACE")},
		{name: "namespace.list", lines: inbox(`list = "no"`), without: `.*Listed.*`, with: `OK .*`, probe: func(r *rig) string {
			return r.imap("LOGIN u2 pass", "CREATE Listed", `LIST "" Listed`)
		}},
		{name: "namespace.subscriptions", unit: "internal/worker.TestSpaces"},
		{name: "namespace.mail_path", lines: inbox(`mail_path = "~/OfNamespace"`), without: "", with: "OfNamespace/cur", probe: storeOf("OfNamespace/cur")},
		{name: "namespace.mail_driver", lines: inbox(`mail_driver = "pack"`, `mail_path = "~/PackedSpace"`), without: "", with: "PackedSpace/00000001.pack", probe: storeOf("PackedSpace/00000001.pack")},
		{name: "namespace.mail_control_path", lines: inbox(`mail_control_path = "~/control-of-space"`), without: "", with: "control-of-space.*", probe: storeOf("control-of-space", "control-of-space/dovecot-uidlist")},
		{name: "namespace.mail_index_path", lines: inbox(`mail_index_path = "~/index-of-space"`), without: "", with: "index-of-space", probe: storeOf("index-of-space")},
		{name: "namespace.mail_alt_path", unit: "internal/worker.TestSpaces"},
		{name: "namespace.mailbox_list_layout", lines: inbox(`mailbox_list_layout = "fs"`), without: `Maildir/\.Lay\.Out`, with: `(Maildir/\.Lay\.Out )?Maildir/Lay/Out`, probe: func(r *rig) string {
			r.imap("LOGIN u3 pass", "CREATE Lay/Out", "CREATE Lay.Out", "LOGOUT")
			return r.which(3, "Maildir/.Lay.Out", "Maildir/Lay/Out")
		}},
		{name: "namespace.mailbox.name", lines: box(`special_use = ["\\Archive"]`), without: `.*\\Sent.*`, with: `[^S]*\\Archive\) "\." Special.*|OK .*`, probe: list(`LIST (SPECIAL-USE) "" *`)},
		{name: "namespace.mailbox.enabled", unit: "internal/confload.TestTablesReplaceAndVanish"},
		{name: "namespace.mailbox.auto", lines: box(`auto = "create"`), without: `OK .*`, with: `.*"\." Special\n.*`, probe: list(`LIST "" Special`)},
		{name: "namespace.mailbox.special_use", lines: box(`auto = "create"`, `special_use = ["\\Flagged"]`), without: `OK .*`, with: `.*\\Flagged.*Special\n.*`, probe: list(`LIST "" Special`)},
	}
}

// asUserDoes runs a command as a user.
func asUserDoes(user, command string) func(*rig) string {
	return func(r *rig) string { return r.imap("LOGIN "+user+" pass", command) }
}

// syncsOfStore counts the fsync and fdatasync of a STORE within the worker.
func syncsOfStore(r *rig) string {
	c, worker, _ := r.session("LOGIN u2 pass")
	defer c.close()
	c.imap(fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(sample), sample))
	c.imap("SELECT INBOX")
	out := filepath.Join(r.t.TempDir(), "strace")
	cmd := exec.Command("strace", "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", out, "-p", fmt.Sprint(worker))
	if err := cmd.Start(); err != nil {
		return err.Error()
	}
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end) && !traced(worker); {
		time.Sleep(5 * time.Millisecond)
	}
	c.imap(`STORE 1 +FLAGS (\Flagged)`)
	c.imap(`STORE 1 -FLAGS (\Flagged)`)
	cmd.Process.Signal(os.Interrupt)
	cmd.Wait()
	return fmt.Sprint(strings.Count(read(out), "sync("))
}

// traced tells whether somebody traces every thread of a process.
func traced(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, thread := range threads {
		if strings.Contains(read(thread), "\nTracerPid:\t0\n") {
			return false
		}
	}
	return len(threads) > 0
}

// lockedAppend stores a message while another program holds the lock of the
// list of UIDs.
// mboxes keeps mail in mbox files, with a lock that is not waited for long.
func mboxes(more ...string) []string {
	return append([]string{`mail_driver = "mbox"`, `mail_path = "~/boxes"`, `mail_max_lock_timeout = "1 secs"`}, more...)
}

const okAppend = `OK \[APPENDUID .*`

// inMbox gives INBOX of u3 a message, runs change on its file, and gives the
// answer to a command.
func inMbox(r *rig, command string, change func(path string) (undo func())) string {
	add := func(command string) string {
		if command == "APPEND INBOX" {
			command = fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(sample), sample)
		}
		return r.imap("LOGIN u3 pass", command)
	}
	path := filepath.Join(filepath.Dir(r.Maildir(3)), "boxes", "inbox")
	if _, err := os.Stat(path); err != nil {
		add("APPEND INBOX")
	}
	if _, err := os.Stat(path); err != nil {
		return err.Error()
	}
	defer change(path)()
	return add(command)
}

// flockedMbox runs a command while another program holds flock(2)'s lock on INBOX.
func flockedMbox(command string) func(*rig) string {
	return func(r *rig) string {
		return inMbox(r, command, func(path string) func() {
			file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
			if err != nil {
				r.t.Fatal(err)
			}
			if command == "SELECT INBOX" { // something new, so that it is read
				fmt.Fprintf(file, "From ann@example.test %s\nSubject: new\n\nnew\n\n", time.Now().UTC().Format("Mon Jan _2 15:04:05 2006"))
			}
			if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
				r.t.Fatal(err)
			}
			return func() { file.Close() }
		})
	}
}

// oldLockFile appends beside a lock file that nobody has touched for an hour.
func oldLockFile(r *rig) string {
	return inMbox(r, "APPEND INBOX", func(path string) func() {
		lock, old := path+".lock", time.Now().Add(-time.Hour)
		if err := os.WriteFile(lock, nil, 0o600); err != nil {
			r.t.Fatal(err)
		}
		for _, name := range []string{lock, path} {
			if err := os.Chtimes(name, old, old); err != nil {
				r.t.Fatal(err)
			}
		}
		return func() { os.Remove(lock) }
	})
}

func lockedAppend(r *rig) string {
	c := r.open(r.Addr("imap"), nil)
	defer c.close()
	c.line()
	c.imap("LOGIN u2 pass")
	c.imap("SELECT INBOX")
	lock := filepath.Join(r.Maildir(2), "dovecot-uidlist.lock")
	if err := os.WriteFile(lock, nil, 0o644); err != nil {
		return err.Error()
	}
	defer os.Remove(lock)
	c.tag++
	c.write(fmt.Sprintf("t%d APPEND INBOX {%d+}\r\n%s\r\n", c.tag, len(sample), sample))
	c.SetDeadline(time.Now().Add(2500 * time.Millisecond))
	line := c.line()
	if line == "closed" { // the deadline
		return "waits"
	}
	_, answer, _ := strings.Cut(line, " ")
	return answer
}

// imapRows: 20-imap.
func imapRows() []row {
	const own = "imapworker.TestSettings"
	return []row{
		{name: "imap_max_line_length", unit: own},
		{name: "imap_idle_notify_interval", lines: one(`imap_idle_notify_interval = "10 secs"`), unit: "imapworker.TestIdleNotifySetting"},
		{name: "imap_client_workarounds", unit: own},
		{name: "imap_fetch_failure", unit: own},
		{name: "imap_compress_deflate_level", unit: own},
		{name: "imap_metadata_max_entries", unit: "internal/worker.TestAnnotationSettings"},
		{name: "imap_metadata_max_size", lines: one(`imap_metadata_max_size = "1 KiB"`), without: `(?s).*OK Setmeta.*`, with: `(?s).*NO \[METADATA MAXSIZE 1024\] .*`,
			probe: asUserDoes("u3", `SETMETADATA INBOX (/private/comment "`+strings.Repeat("x", 1025)+`")`)},
		{name: "imap_metadata_admin", lines: one(`imap_metadata_admin = "mailto:admin@example.test"`), without: `(?s).*\* METADATA "" \(/shared/admin NIL\)\n.*`,
			with: `(?s).*\* METADATA "" \(/shared/admin "mailto:admin@example.test"\)\n.*`, probe: asUserDoes("u3", `GETMETADATA "" /shared/admin`)},
		{name: "imap_metadata_comment", unit: "internal/worker.TestAnnotationSettings"},
		{name: "imap_filters", lines: one(`imap_filters = { "big" = "LARGER 1000000" }`), without: `(?s).*\* METADATA "" \(/shared/filters/values/big NIL\)\n.*`,
			with: `(?s).*\* METADATA "" \(/shared/filters/values/big "LARGER 1000000"\)\n.*`, probe: asUserDoes("u3", `GETMETADATA "" /shared/filters/values/big`)},
		{name: "acl_groups", unit: "authd.TestSharing"},
		{name: "imap_acl_allow_anyone", unit: "imapworker/internal/session.TestACL"},
		{name: "imap_unauthenticate", unit: "login.TestNoUnauthenticate"},
		{name: "imap_save_limit", unit: own},
		{name: "imap_message_limit", unit: own},
		{name: "mail_utf8_extensions", unit: own},
		{name: "imap_logout_format", unit: "internal/e2e/logs.TestLinesAsConfigured"},
		{name: "imap_id_send", lines: one(`imap_id_send = { "vendor" = "x" }`), without: `\* ID \("name" "Rookery"\)\n.*`, with: `\* ID \("vendor" "x"\)\n.*`, probe: asUser("ID NIL")},
	}
}

// maildrop empties u2's INBOX and puts messages in it.
func (r *rig) maildrop(messages ...string) {
	commands := []string{"LOGIN u2 pass", "SELECT INBOX", `STORE 1:* +FLAGS.SILENT (\Deleted)`, "EXPUNGE"}
	for _, m := range messages {
		commands = append(commands, fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(m), m))
	}
	r.imap(append(commands, "LOGOUT")...)
}

// pop opens u2's maildrop.
func (r *rig) pop() *conn {
	c := r.open(r.Addr("pop3"), nil)
	c.line()
	c.pop("USER u2")
	c.pop("PASS pass")
	return c
}

// pop3Does fills the maildrop, runs f in a POP3 session and QUIT after it.
func pop3Does(messages []string, f func(c *conn) string) func(*rig) string {
	return func(r *rig) string {
		r.maildrop(messages...)
		c := r.pop()
		defer c.close()
		answer := f(c)
		c.pop("QUIT")
		return answer
	}
}

// flagsAfter is what IMAP shows of the maildrop after f.
func flagsAfter(f func(c *conn) string) func(*rig) string {
	return func(r *rig) string {
		pop3Does([]string{sample}, f)(r)
		return r.imap("LOGIN u2 pass", "EXAMINE INBOX", "FETCH 1 FLAGS")
	}
}

// pop3Rows: 20-pop3.
func pop3Rows() []row {
	retr := func(c *conn) string { return c.popLines("RETR 1") }
	dele := func(c *conn) string { return c.pop("DELE 1") }
	uidl := func(c *conn) string { return c.popLines("UIDL") }
	same := []string{sample, sample}
	return []row{
		{name: "pop3_no_flag_updates", lines: one(`pop3_no_flag_updates = true`), without: `.*\\Seen.*`, with: `\* 1 FETCH \(FLAGS \((\\Recent)?\)\)\n.*`, probe: flagsAfter(retr)},
		{name: "pop3_enable_last", lines: one(`pop3_enable_last = true`), without: `-ERR .*`, with: `\+OK 0.*`, probe: pop3Does(same, func(c *conn) string { return c.pop("LAST") })},
		{name: "pop3_lock_session", lines: one(`pop3_lock_session = true`), without: `\+OK .*`, with: `closed`, probe: func(r *rig) string {
			one := r.pop()
			defer one.close()
			two := r.open(r.Addr("pop3"), nil)
			defer two.close()
			two.line()
			two.pop("USER u2")
			two.SetDeadline(time.Now().Add(2 * time.Second)) // it waits for the first one
			return two.pop("PASS pass")
		}},
		{name: "pop3_uidl_duplicates", instead: one(`pop3_uidl_format = "%{md5}"`), lines: []string{`pop3_uidl_format = "%{md5}"`, `pop3_uidl_duplicates = "rename"`},
			without: `\+OK.*\n1 ([0-9a-f]{32})\n2 [0-9a-f]{32}\n\.`, with: `\+OK.*\n1 [0-9a-f]{32}\n2 [0-9a-f]{32}-2\n\.`, probe: pop3Does(same, uidl)},
		{name: "pop3_delete_type", lines: []string{`pop3_delete_type = "flag"`, `pop3_deleted_flag = "$POP3Deleted"`}, without: `(BAD|NO|OK) .*`, with: `.*\$POP3Deleted.*`, probe: flagsAfter(dele)},
		{name: "pop3_deleted_flag", lines: one(`pop3_deleted_flag = "$Gone"`), without: `(BAD|NO|OK) .*`, with: `.*\$Gone.*`, probe: flagsAfter(dele)},
		{name: "pop3_client_workarounds", lines: one(`pop3_client_workarounds = ["oe-ns-eoh"]`), without: `\+OK.*\nSubject: x\n\.`, with: `\+OK.*\nSubject: x\n\n\.`, probe: pop3Does([]string{"Subject: x\r\n"}, retr)},
		{name: "pop3_login_delay", lines: one(`pop3_login_delay = "2 mins"`), without: `\+OK.*\.`, with: `.*\nLOGIN-DELAY 120\n.*`, probe: withoutDelay},
		{name: "pop3_expire", lines: one(`pop3_expire = 30`), without: `.*\nEXPIRE NEVER\n.*`, with: `.*\nEXPIRE 30\n.*`, probe: pop3Does(nil, func(c *conn) string { return c.popLines("CAPA") })},
		{name: "pop3_uidl_format", lines: one(`pop3_uidl_format = "x%{uid}"`), without: `\+OK.*\n1 [0-9a-f]{16}\n.*`, with: `\+OK.*\n1 x\d+\n.*`, probe: pop3Does(same, uidl)},
		{name: "pop3_logout_format", lines: one(`pop3_logout_format = "n=%{message_count}"`), without: `top=0/0.*`, with: `n=2`, probe: func(r *rig) string {
			line := r.logged(`pop3\(.*Disconnected: Logged out .*`, func() { pop3Does(same, uidl)(r) })
			_, rest, _ := strings.Cut(line, "Logged out ")
			return rest
		}},
	}
}

// withoutDelay gives CAPA before the login.
func withoutDelay(r *rig) string {
	c := r.open(r.Addr("pop3"), nil)
	defer c.close()
	c.line()
	return c.popLines("CAPA")
}
