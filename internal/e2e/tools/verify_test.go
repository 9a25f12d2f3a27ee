package tools

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"rookery/internal/e2e/harness"
)

// hashOf names the content of a tree.
func hashOf(t *testing.T, dir string) string {
	t.Helper()
	h := sha256.New()
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(p)
		fmt.Fprintf(h, "%s %d\n%s", p, len(data), data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// What is damaged is told, with the exit code of it; a dry run touches nothing; a
// repair mends it.
func TestVerify(t *testing.T) {
	d := harness.Start(t, "--users", "1", "--empty")
	fill(t, d, 10) // with an expunge, of which the uidlist tells later
	ctl(t, d, 0, "verify", "-u", "u1")
	list := filepath.Join(d.Maildir(1), "dovecot-uidlist")
	data, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(list, append(data, "noise\n5 :other\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	before := hashOf(t, d.Maildir(1))
	for _, args := range [][]string{{}, {"--dry-run"}, {"--repair", "--dry-run"}} {
		got := rowsOf(t, d, 65, append([]string{"verify", "-u", "u1"}, args...)...)
		if len(got) == 0 || got[0]["remedy"] == "" || got[0]["repaired"] == true {
			t.Errorf("%q: %v", args, got)
		}
		if after := hashOf(t, d.Maildir(1)); after != before {
			t.Errorf("verify %q has changed the mail", args)
		}
	}
	ctl(t, d, 0, "verify", "-u", "u1", "--repair")
	ctl(t, d, 0, "verify", "-u", "u1")
	d.NoCrash(t)
}

// Damage of mail, control and index files at once, while a session is logged in: a
// look names each and touches nothing, a repair mends it, and the session goes on.
func TestVerifyKinds(t *testing.T) {
	d := harness.Start(t, "--users", "1", "--empty")
	fill(t, d, 10)
	c := d.Dial("imap")
	defer c.Close()
	c.Login("u1")
	c.OK("SELECT INBOX")
	ctl(t, d, 0, "verify", "-u", "u1")
	top := d.Maildir(1)
	mail, err := filepath.Glob(filepath.Join(top, "cur", "*"))
	if err != nil || len(mail) < 3 {
		t.Fatal(mail, err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	change := func(name string, do func(b []byte) []byte) {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(top, name))
		must(err)
		must(os.WriteFile(filepath.Join(top, name), do(b), 0o600))
	}
	want := map[string]func(){
		"mode-wrong":         func() { must(os.Chmod(mail[0], 0o666)) },
		"size-wrong":         func() { must(os.WriteFile(mail[1], []byte("Subject: other\r\n\r\n"), 0o600)) },
		"uidlist-torn":       func() { change("dovecot-uidlist", func(b []byte) []byte { return append(b, "99 :to"...) }) },
		"subscription-stale": func() { change("subscriptions", func(b []byte) []byte { return append(b, "Gone\n"...) }) },
		"keywords-damaged":   func() { change("dovecot-keywords", func(b []byte) []byte { return append(b, "noise\n"...) }) },
		"index-log-damaged": func() {
			change("rookery.index.log", func(b []byte) []byte { copy(b[300:], "noise noise noise"); return b })
		},
		"held-damaged": func() { change("rookery-held", func(b []byte) []byte { return append(b, "noise\n"...) }) },
	}
	for _, do := range want {
		do()
	}
	before := hashOf(t, top)
	found := map[any]bool{}
	for _, kind := range column(rowsOf(t, d, 65, "verify", "-u", "u1", "--repair", "--dry-run"), "kind") {
		found[kind] = true
	}
	for kind := range want {
		if !found[kind] {
			t.Errorf("%s is not found: %v", kind, found)
		}
	}
	if after := hashOf(t, top); after != before {
		t.Error("a dry run has changed the mail")
	}
	ctl(t, d, 0, "verify", "-u", "u1", "--repair")
	ctl(t, d, 0, "verify", "-u", "u1")
	c.OK("NOOP")
	c.OK("FETCH 1:* (FLAGS BODY.PEEK[])")
	d.NoCrash(t)
}
