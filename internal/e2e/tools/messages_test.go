package tools

import (
	"fmt"
	"strings"
	"testing"

	"rookery/internal/e2e/harness"
)

func TestMessages(t *testing.T) {
	d := harness.Start(t, "--users", "2", "--empty")
	c := d.Dial("imap")
	c.Login("u1")
	for i := range 5 {
		if err := c.Append("INBOX", "", fmt.Sprintf("From: a%d@example.test\r\nSubject: =?UTF-8?Q?n=C3=BCmmer?= %d\r\nDate: Thu, 0%d Feb 2024 10:00:00 +0000\r\n\r\nbody %d\r\n", i, i, i+1, i)); err != nil {
			t.Fatal(err)
		}
	}
	c.OK("ENABLE UTF8=ACCEPT") // the header has an octet above 127
	if err := c.Append("INBOX", "", "Subject: \x1b]0;owned\a\x9b31m\r\n\r\n"+strings.Repeat("big\r\n", 1000)); err != nil {
		t.Fatal(err)
	}
	uids := func(keys ...string) string {
		return fmt.Sprint(column(rows(t, d, append([]string{"search", "-u", "u1", "-m", "INBOX"}, keys...)...), "uid"))
	}
	for keys, want := range map[string]string{
		"subject nümmer": "[1 2 3 4 5]",
		"sentsince 2024-02-03 sentbefore 5-Feb-2024": "[3 4]",
		"larger 4k":                       "[6]",
		"not larger 4k or from a0 body 4": "[1 5]",
		"( uid 2:4 ) not from a2":         "[2 4]",
		"younger 1d uid *":                "[6]",
		"since today 1:2":                 "[1 2]",
		"older 1d":                        "[]",
	} {
		if got := uids(strings.Fields(keys)...); got != want {
			t.Errorf("%s: %s, want %s", keys, got, want)
		}
	}
	if out := ctl(t, d, 64, "search", "-u", "u1", "subjekt", "x"); !strings.Contains(out, `"subjekt" is no key; there are: all,`) {
		t.Error(out)
	}
	ctl(t, d, 0, "flags", "-u", "u1", "-m", "INBOX", "add", `\Flagged $Later`, "uid", "2,3")
	if got := uids("keyword", "$later"); got != "[2 3]" {
		t.Errorf("keyword: %s", got)
	}
	c.OK("SELECT INBOX")
	if got := strings.Join(c.OK("FETCH 2 FLAGS"), "\n"); !strings.Contains(got, `\Flagged`) || !strings.Contains(got, `$Later`) {
		t.Error(got)
	}
	got := rows(t, d, "fetch", "-u", "u1", "-m", "INBOX", "-f", "uid,flags,subject,size,body", "uid", "2")
	if fmt.Sprintf("%v %v %v", got[0]["subject"], got[0]["flags"], got[0]["body"]) != "nümmer 1 \\Flagged $Later body 1\n" {
		t.Errorf("%v", got)
	}
	for _, format := range [][]string{{"--json"}, nil} {
		out := ctl(t, d, 0, append([]string{"fetch", "-u", "u1", "-m", "INBOX", "uid", "6"}, format...)...)
		if strings.ContainsAny(out, "\x1b\a\u009b") {
			t.Errorf("control characters reach the terminal: %q", out)
		}
	}
	if out := ctl(t, d, 64, "expunge", "-u", "u1", "all"); !strings.Contains(out, "--mailbox NAME") {
		t.Error(out)
	}
	ctl(t, d, 64, "expunge", "-u", "u1", "-m", "INBOX")
	ctl(t, d, 66, "copy", "-u", "u1", "-m", "INBOX", "Kept", "flagged")
	if got := rows(t, d, "copy", "-u", "u1", "-m", "INBOX", "--create", "Kept", "flagged"); fmt.Sprint(got) != "[map[copied:2 mailbox:INBOX]]" {
		t.Errorf("%v", got)
	}
	ctl(t, d, 0, "move", "-u", "u1", "-m", "INBOX", "Kept", "uid", "1")
	if got := rows(t, d, "expunge", "-u", "u1", "-m", "INBOX", "-n", "larger", "4k"); fmt.Sprint(got) != "[map[dry_run:true expunged:1 mailbox:INBOX]]" {
		t.Errorf("%v", got)
	}
	ctl(t, d, 0, "expunge", "-u", "u1", "-m", "INBOX", "larger", "4k")
	if got := fmt.Sprint(rows(t, d, "search", "-u", "u1", "--count", "all")); !strings.Contains(got, "count:4 mailbox:INBOX") || !strings.Contains(got, "count:3 mailbox:Kept") {
		t.Error(got)
	}
	// A session that waits is told.
	c.Send("i IDLE\r\n")
	c.ExpectPrefix("+ ")
	ctl(t, d, 0, "expunge", "-u", "u1", "-m", "INBOX", "uid", "5")
	if line, err := c.TryLine(); err != nil || !strings.HasPrefix(line, "* ") {
		t.Errorf("%q %v", line, err)
	}
	d.NoCrash(t)
}
