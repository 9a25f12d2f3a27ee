package tools

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"rookery/internal/e2e/harness"
)

func TestUpkeep(t *testing.T) {
	d := harness.StartWith(t, []string{`quota_storage_size = "1 MiB"`}, "--users", "1", "--empty", "--driver", "pack")
	fill(t, d, 10)
	q := rows(t, d, "quota", "get", "-u", "u1")
	if q[0]["storage_limit"] != float64(1<<20) || q[0]["messages"] != 8.0 {
		t.Errorf("%v", q)
	}
	if got := rows(t, d, "quota", "recalc", "-u", "u1"); fmt.Sprint(got) != fmt.Sprint(q) {
		t.Errorf("%v, was %v", got, q)
	}
	before := fmt.Sprint(rows(t, d, "fetch", "-u", "u1", "-m", "INBOX", "-f", "flags,subject,date", "all"))
	ctl(t, d, 0, "expunge", "-u", "u1", "-m", "INBOX", "subject", "m4")
	if got := rows(t, d, "undelete", "-u", "u1", "--since", "1h", "-m", "INBOX", "-n"); len(got) != 1 || got[0]["messages"] != 3.0 || got[0]["dry_run"] != true {
		t.Errorf("%v", got) // two that fill expunged, and this one
	}
	ctl(t, d, 0, "undelete", "-u", "u1", "--since", "1h", "-m", "INBOX")
	if got := fmt.Sprint(rows(t, d, "search", "-u", "u1", "-m", "INBOX", "--count", "all")); !strings.Contains(got, "count:5") {
		t.Errorf("%s, before: %s", got, before)
	}
	ctl(t, d, 64, "undelete", "-u", "u1", "--since", "yesteryear")
	ctl(t, d, 0, "index", "-u", "u1")
	ctl(t, d, 0, "verify", "-u", "u1")
	ctl(t, d, 0, "purge", "-u", "u1")
	ctl(t, d, 0, "mailbox", "restored", "-u", "u1", "INBOX")
	big := filepath.Join(d.Dir, "big.eml")
	if err := writeFile(big, "Subject: big\n\n"+strings.Repeat("0123456789abcde\n", 1<<17)); err != nil {
		t.Fatal(err)
	}
	if out := ctl(t, d, 73, "import", "-u", "u1", big); !strings.Contains(out, "quota") {
		t.Error(out)
	}
	d.NoCrash(t)
}

// What is expunged and deleted comes back in every format and layout, and no client
// sees where it waits.
func TestUndeleteFormats(t *testing.T) {
	for name, c := range map[string]struct {
		driver string
		lines  []string
	}{"mbox": {"mbox", nil}, "fs layout": {"maildir", []string{`mailbox_list_layout = "fs"`}}} {
		t.Run(name, func(t *testing.T) {
			d := harness.StartWith(t, c.lines, "--users", "1", "--empty", "--driver", c.driver)
			fill(t, d, 10) // with two expunged from INBOX
			ctl(t, d, 0, "mailbox", "delete", "-u", "u1", "Lists.Go")
			if got := fmt.Sprint(column(rows(t, d, "mailbox", "list", "-u", "u1"), "mailbox")); strings.Contains(got, "rookery") || strings.Contains(got, "Lists.Go") {
				t.Errorf("%s", got)
			}
			got := fmt.Sprint(rows(t, d, "undelete", "-u", "u1"))
			if !strings.Contains(got, "mailbox:INBOX messages:2") || !strings.Contains(got, "mailbox:Lists.Go messages:5") {
				t.Errorf("%s", got)
			}
			if got := fmt.Sprint(rows(t, d, "search", "-u", "u1", "--count", "all")); !strings.Contains(got, "count:5 mailbox:INBOX") || !strings.Contains(got, "count:5 mailbox:Lists.Go") {
				t.Errorf("%s", got)
			}
			ctl(t, d, 0, "verify", "-u", "u1")
			d.NoCrash(t)
		})
	}
}
