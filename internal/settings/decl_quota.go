package settings

import "time"

const fileQuota = "15-quota"

// The settings of quota and of undelete.
var (
	QuotaStorageSize = size("quota_storage_size", 0, RoleWorkers, fileQuota,
		`What a user's mail may take, in octets as clients count them. Mail held for undelete is not counted. 0 for no limit.`, limits(1<<10, 1<<60), unlimited(), perUser())

	QuotaStoragePercentage = integer("quota_storage_percentage", 100, RoleWorkers, fileQuota,
		`How much of quota_storage_size holds, so that a userdb can give it and one setting can change it for all. A mailbox can have its own: see [[namespace.mailbox]].`, limits(1, 100_000), unit("per cent"), perUser())

	QuotaStorageExtra = size("quota_storage_extra", 0, RoleWorkers, fileQuota,
		`Added to quota_storage_size after the percentage.`, limits(0, 1<<60), perUser())

	QuotaMessageCount = integer("quota_message_count", 0, RoleWorkers, fileQuota,
		`How many messages a user may have in all his mailboxes. 0 for no limit.`, limits(1, 1_000_000_000), unlimited(), unit("messages"), perUser())

	QuotaMessagePercentage = integer("quota_message_percentage", 100, RoleWorkers, fileQuota,
		`How much of quota_message_count holds.`, limits(1, 100_000), unit("per cent"), perUser())

	QuotaStorageGrace = size("quota_storage_grace", 10<<20, RoleWorkers, fileQuota,
		`By how much a delivery may exceed quota_storage_size, so that the last message that came before the limit is not bounced. It is not for what clients store.`, limits(0, 1<<40), perUser())

	QuotaMailSize = size("quota_mail_size", 0, RoleWorkers, fileQuota,
		`The largest message that a user may store or get, beside mail_max_message_size. 0 for no limit.`, limits(1<<10, 1<<40), unlimited(), perUser())

	QuotaMailboxCount = integer("quota_mailbox_count", 0, RoleWorkers, fileQuota,
		`How many mailboxes a user may have before no more can be made. 0 for no limit.`, limits(1, 1_000_000), unlimited(), unit("mailboxes"), perUser())

	QuotaMaildirsize = boolean("quota_maildirsize", true, RoleWorkers, fileQuota,
		`Keep the file maildirsize in a Maildir for other programs that deliver into it. It follows the count and is never read.`)

	MailUndeleteHold = duration("mail_undelete_hold", 7*24*time.Hour, RoleWorkers, fileQuota,
		`How long expunged messages, and those of deleted mailboxes, are held so that "rookeryctl undelete" can put them back. 0: they are gone at once. What is held takes room on the disk but not of the user's quota.`,
		spanDuration(0, 10*365*24*time.Hour), perUser())

	MailUndeleteMinFree = size("mail_undelete_min_free", 256<<20, RoleWorkers, fileQuota,
		`With less free space on the disk of the mail than this, held messages go, the oldest first, and expunged ones are not held: a full disk can always be emptied.`, limits(0, 1<<60))
)

func quotaWarningTable() *Table {
	const n = "quota_warning"
	v := []string{"percent", "used", "limit", "user"}
	return &Table{
		Name: n, File: "16-quota-warnings", Roles: RoleWorkers,
		Text: "A message that the user finds in INBOX once his use has reached a share of his quota; again only after it fell below it.",
		Fields: append(common(n, `A name of your choice.`),
			field(n, KindEnum, "resource", "storage", `Which limit: quota_storage_size or quota_message_count.`, words("storage", "message")),
			field(n, KindInt, "percentage", int64(0), `The share of the limit, in per cent.`, limits(1, 100), required()),
			field(n, KindEnum, "threshold", "over", `over: sent when the use reaches the share. under: sent when it falls below after it was there.`, words("over", "under")),
			field(n, KindString, "from", "", `The sender's address. Empty: postmaster at hostname.`, checked(printable)),
			field(n, KindTemplate, "subject", Template{}, `The subject. Empty: one of the server's own.`, vars(v...)),
			field(n, KindTemplate, "text", Template{}, `The text. Empty: one of the server's own. %{used} and %{limit} come with their units.`, vars(v...)),
		),
	}
}

// QuotaWarning is one [[quota_warning]].
type QuotaWarning struct {
	Name, Resource, Threshold, From string
	Percentage                      int
	Subject, Text                   Template
}

func quotaWarningOf(row Row) QuotaWarning {
	t := tableOf("quota_warning")
	return QuotaWarning{Name: row.Name, Resource: get[string](t, row, "resource"), Threshold: get[string](t, row, "threshold"), From: get[string](t, row, "from"),
		Percentage: int(get[int64](t, row, "percentage")), Subject: get[Template](t, row, "subject"), Text: get[Template](t, row, "text")}
}

// QuotaWarnings lists the [[quota_warning]] tables in order.
func (s *Set) QuotaWarnings() []QuotaWarning { return rowsOf(s, "quota_warning", quotaWarningOf) }
