package settings

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// quotaRows: 15-quota, 16-quota-warnings, and what [[namespace.mailbox]] says of
// both.
func quotaRows() []row {
	const limits, boxes, warnings = "internal/worker.TestQuotaSettings", "internal/worker.TestMailboxSettings", "internal/worker.TestQuotaWarningSettings"
	add := func(octets int) func(r *rig) string {
		return asUserDoes("u3", fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", octets, strings.Repeat("x", octets)))
	}
	const over = `(?s).*NO \[OVERQUOTA\].*`
	capped := []string{`[[namespace]]`, `name = "inbox"`, `inbox = true`, `[[namespace.mailbox]]`, `name = "Capped"`, `auto = "create"`}
	return []row{
		{name: "quota_storage_size", lines: one(`quota_storage_size = "1 KiB"`), without: `(?s).*OK .*`, with: over, probe: add(2000)},
		{name: "quota_message_count", lines: one(`quota_message_count = 1`), without: `(?s).*OK .*`, with: over, probe: add(20)},
		{name: "quota_mail_size", lines: one(`quota_mail_size = "1 KiB"`), without: `(?s).*OK .*`, with: `(?s).*NO \[TOOBIG\].*`, probe: add(2000)},
		{name: "quota_mailbox_count", lines: one(`quota_mailbox_count = 1`), without: `OK .*`, with: over, probe: func(r *rig) string {
			return r.imap("LOGIN u3 pass", fmt.Sprintf("CREATE New%d", time.Now().UnixNano()))
		}},
		{name: "quota_maildirsize", instead: one(`quota_storage_size = "100 MiB"`), lines: []string{`quota_storage_size = "100 MiB"`, `quota_maildirsize = false`},
			without: "Maildir/maildirsize", with: "", probe: func(r *rig) string {
				_ = os.Remove(filepath.Join(r.Maildir(3), "maildirsize"))
				add(20)(r)
				return r.which(3, "Maildir/maildirsize")
			}},
		{name: "mail_undelete_hold", lines: one(`mail_undelete_hold = 0`), without: "1", with: "0", probe: heldByExpunge},
		{name: "mail_undelete_min_free", lines: one(`mail_undelete_min_free = "1000 TiB"`), without: "1", with: "0", probe: heldByExpunge},
		{name: "quota_storage_percentage", unit: limits}, {name: "quota_storage_extra", unit: limits}, {name: "quota_message_percentage", unit: limits},
		{name: "quota_storage_grace", unit: "internal/mailstore/quota.TestGrace"},
		{name: "namespace.mailbox.autoexpunge_max_mails", lines: append(capped, `autoexpunge_max_mails = 1`), instead: capped,
			without: `(?s).*MESSAGES ([2-9]|\d\d).*`, with: `(?s).*MESSAGES 1\).*`, probe: func(r *rig) string {
				message := fmt.Sprintf("APPEND Capped {%d+}\r\n%s", len(sample), sample)
				answer := r.imap("LOGIN u3 pass", "STATUS Capped (MESSAGES)")
				r.imap("LOGIN u3 pass", message, message, "LOGOUT")
				return answer
			}},
		{name: "namespace.mailbox.autoexpunge", unit: boxes}, {name: "namespace.mailbox.quota_ignore", unit: boxes},
		{name: "namespace.mailbox.quota_storage_percentage", unit: boxes}, {name: "namespace.mailbox.quota_storage_extra", unit: boxes},
		{name: "quota_warning.name", unit: warnings}, {name: "quota_warning.enabled", unit: "internal/confload.TestTablesReplaceAndVanish"},
		{name: "quota_warning.resource", unit: warnings}, {name: "quota_warning.percentage", unit: warnings}, {name: "quota_warning.from", unit: warnings},
		{name: "quota_warning.threshold", unit: warnings},
		{name: "quota_warning.subject", unit: warnings}, {name: "quota_warning.text", unit: warnings},
	}
}

// heldByExpunge expunges one message and tells how many more are held then.
func heldByExpunge(r *rig) string {
	count := func() int {
		files, _ := filepath.Glob(filepath.Join(r.Maildir(3), ".rookery-held.*", "*", "*"))
		n := 0
		for _, f := range files {
			if dir := filepath.Base(filepath.Dir(f)); dir == "cur" || dir == "new" {
				n++
			}
		}
		return n
	}
	r.imap("LOGIN u3 pass", "CREATE ToExpunge", "SELECT ToExpunge", `STORE 1:* +FLAGS.SILENT (\Deleted)`, "EXPUNGE",
		fmt.Sprintf("APPEND ToExpunge {%d+}\r\n%s", len(sample), sample), "LOGOUT")
	before := count()
	r.imap("LOGIN u3 pass", "SELECT ToExpunge", `STORE 1:* +FLAGS.SILENT (\Deleted)`, "EXPUNGE", "LOGOUT")
	return fmt.Sprint(count() - before)
}
