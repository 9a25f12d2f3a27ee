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
