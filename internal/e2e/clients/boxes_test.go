package clients

import (
	"regexp"
	"strings"
	"syscall"
	"testing"

	"rookery/internal/e2e/harness"
)

// What a client noted of mailboxes, the special uses that it gave and the mailbox's
// id outlive a worker that is killed and a change of the format; a session of another
// connection hears of a change while it idles; a language that is chosen before the
// login is spoken after it.
func TestMailboxNotes(t *testing.T) {
	const notes = `GETMETADATA (DEPTH infinity) "Mine" /private`
	for _, driver := range []string{"maildir", "mbox", "pack"} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			d := harness.StartWith(t, quick, "--users", "1", "--empty", "--driver", driver)
			c := d.Dial("imap")
			c.ExpectPrefix("* OK ")
			c.OK("LANGUAGE de")
			if lines := c.OK("LOGIN u1 pass"); !strings.HasSuffix(lines[len(lines)-1], "] Angemeldet") {
				t.Errorf("after the login: %q", lines)
			}
			other := d.Dial("imaps")
			other.Login("u1")
			other.OK("ENABLE METADATA")
			other.Send("i IDLE\r\n")
			other.ExpectPrefix("+ ")

			c.OK(`CREATE Before (USE (\Archive))`)
			c.OK(`SETMETADATA Before (/private/comment {7+}` + "\r\na\r\nb\x7f\xc3\xa9" + `)`)
			other.ExpectPrefix("* METADATA Before /private/comment")
			c.OK("RENAME Before Mine")
			told := func(c *harness.Client) string {
				return strings.Join([]string{c.OK(notes)[0], c.OK("STATUS Mine (MAILBOXID)")[0], c.OK(`LIST (SPECIAL-USE) "" M*`)[0]}, "\n")
			}
			want := told(c)
			if ok, _ := regexp.MatchString(`^\* METADATA Mine \(/private/comment \{7\}\r\na\r\nb\x7fé /private/specialuse "\\\\Archive"\)\n\* STATUS Mine \(MAILBOXID \(F[0-9a-f]{32}\)\)\n\* LIST \(\\HasNoChildren \\Archive\) "." Mine$`, want); !ok {
				t.Errorf("at first: %q", want)
			}

			for _, p := range d.Status().Of("imapworker") {
				if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
			after := d.Dial("imap")
			after.Login("u1")
			if got := told(after); got != want {
				t.Errorf("after the worker was killed: %q, want %q", got, want)
			}
			after.OK("LOGOUT")
			to := map[string]string{"maildir": "pack", "mbox": "maildir", "pack": "mbox"}[driver]
			if out, err := d.Ctl("convert", "-u", "u1@example.test", "--to", to); err != nil {
				t.Fatalf("convert: %v\n%s", err, out)
			}
			last := d.Dial("imap")
			last.Login("u1")
			if got := told(last); got != want {
				t.Errorf("after the conversion: %q, want %q", got, want)
			}
		})
	}
}
