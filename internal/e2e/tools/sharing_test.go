package tools

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"rookery/internal/e2e/harness"
)

// others is a namespace of what other users share, beside the user's own.
const others = "[[namespace]]\nname = \"inbox\"\ninbox = true\nseparator = \"/\"\n[[namespace]]\nname = \"others\"\ntype = \"shared\"\nprefix = \"Other Users/\"\nseparator = \"/\"\n"

// listed gives the names of LIST below "Other Users/u1@example.test/".
func listed(c *harness.Client) []string {
	out := []string{}
	for _, line := range c.OK(`LIST "" "Other Users/*"`) {
		if _, name, ok := strings.Cut(line, `Other Users/u1@example.test/`); ok {
			out = append(out, strings.Trim(name, `"`))
		}
	}
	slices.Sort(out)
	return out
}

func wantListed(t *testing.T, d *harness.Demo, what string, c *harness.Client, want ...string) {
	t.Helper()
	var got []string
	for range 40 { // the guest's process is told a moment later
		if got = listed(c); slices.Equal(got, append([]string{}, want...)) {
			return
		}
		c.OK("NOOP")
		d.Status() // a round through the server
	}
	t.Errorf("%s: LIST shows %q, want %q", what, got, want)
}

// The operator shares and takes back, and the list of what is shared outlives
// restarts, kills, and its own loss.
func TestSharesOfOthers(t *testing.T) {
	d := harness.StartWith(t, []string{"worker_idle_kill_interval = \"1 secs\"", others}, "--users", "3", "--empty")
	const bob = "u2@example.test"
	owner := d.Dial("imap")
	owner.Login("u1")
	for _, name := range []string{"Team", "Team/Plans", "Mine"} {
		owner.OK("CREATE %s", name)
	}
	if err := owner.Append("Team", "", "Subject: one\r\n\r\nhello\r\n"); err != nil {
		t.Fatal(err)
	}
	guest := d.Dial("imap")
	guest.Login("u2")
	third := d.Dial("imap")
	third.Login("u3")
	wantListed(t, d, "before", guest)
	ctl(t, d, 0, "share", "-u", "u1", "Team/*", "--with", bob, "--rights", "lrs")
	wantListed(t, d, "shared", guest, "Team", "Team/Plans")
	wantListed(t, d, "shared with another", third)

	// The owner's process is started for the guest, as the owner.
	owner.OK("LOGOUT")
	d.Eventually("the owner's process is gone", func() bool { return len(imapOf(d, "u1@example.test")) == 0 })
	for _, p := range d.Status().Of("authd") { // the list outlives who keeps it
		if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	d.Eventually("another authd lets the guest in", func() bool {
		lines := guest.IMAP(`SELECT "Other Users/u1@example.test/Team"`)
		return strings.Contains(lines[len(lines)-1], " OK ")
	})
	if got := strings.Join(guest.OK("FETCH 1 BODY.PEEK[TEXT]"), " "); !strings.Contains(got, "hello") {
		t.Errorf("FETCH: %q", got)
	}
	if len(imapOf(d, "u1@example.test")) != 1 {
		t.Error("no process of the owner serves")
	}
	for _, name := range []string{"Mine", "INBOX", "None"} {
		if lines := third.IMAP(`SELECT "Other Users/u1@example.test/%s"`, name); !strings.Contains(lines[len(lines)-1], "NO [NONEXISTENT]") {
			t.Errorf("%s: %q", name, lines)
		}
	}
	who := rows(t, d, "who", "u1@example.test")
	if len(who) != 1 || who[0]["user"] != bob || who[0]["owner"] != "u1@example.test" || who[0]["service"] != "guest" {
		t.Errorf("who: %v", who)
	}
	ctl(t, d, 0, "unshare", "-u", "u1", "Team/Plans", "--with", bob)
	wantListed(t, d, "unshared", guest, "Team")

	// Over a restart, and where the files are lost until the list is made anew.
	d.Stop()
	d.Start()
	guest = d.Dial("imap")
	guest.Login("u2")
	wantListed(t, d, "after a restart", guest, "Team")
	state := stateFiles(t, d)
	d.Stop()
	for _, f := range state {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	d.Start()
	d.WaitLog("rookeryctl shares --rebuild")
	guest = d.Dial("imap")
	guest.Login("u2")
	wantListed(t, d, "after a loss", guest)
	got := rows(t, d, "shares", "--rebuild")
	if s := fmt.Sprint(got); s != "[map[shared:1 user:u1@example.test] map[shared:0 user:u2@example.test] map[shared:0 user:u3@example.test]]" {
		t.Errorf("rebuild: %s", s)
	}
	wantListed(t, d, "made anew", guest, "Team")
	d.NoCrash(t)
}

// imapOf are the pids of a user's IMAP processes.
func imapOf(d *harness.Demo, user string) (pids []int) {
	for _, p := range d.Status().Of("imapworker") {
		if p.User == user {
			pids = append(pids, p.PID)
		}
	}
	return pids
}

func stateFiles(t *testing.T, d *harness.Demo) (out []string) {
	t.Helper()
	err := filepath.Walk(d.Dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && (info.Name() == "shares-a" || info.Name() == "shares-b") {
			out = append(out, path)
		}
		return nil
	})
	if err != nil || len(out) != 2 {
		t.Fatalf("%q, %v", out, err)
	}
	return out
}
