package settings

import (
	"errors"
	"strings"
	"time"
)

const (
	fileIMAP = "20-imap"
	filePOP3 = "20-pop3"
)

var imapLogoutVars = []string{"input", "output", "deleted", "expunged", "trashed", "appended", "fetch_hdr_count", "fetch_hdr_bytes",
	"fetch_body_count", "fetch_body_bytes", "user", "session", "remote_ip"}

// The settings of IMAP.
var (
	IMAPMaxLineLength = size("imap_max_line_length", 64<<10, RoleIMAP, fileIMAP,
		`The longest command line, literals aside. Webmail that names thousands of UIDs in one command may need more.`, limits(8<<10, 64<<20))

	IMAPIdleNotifyInterval = duration("imap_idle_notify_interval", 2*time.Minute, RoleIMAP, fileIMAP,
		`How often IDLE says "* OK Still here", to keep paths through NAT open.`, spanDuration(10*time.Second, 29*time.Minute))

	IMAPLogoutFormat = template("imap_logout_format",
		"in=%{input} out=%{output} deleted=%{deleted} expunged=%{expunged} trashed=%{trashed} hdr_count=%{fetch_hdr_count} hdr_bytes=%{fetch_hdr_bytes} body_count=%{fetch_body_count} body_bytes=%{fetch_body_bytes}",
		imapLogoutVars, RoleIMAP, fileIMAP, `What the log says of a session at its end.`)

	IMAPIDSend = declare(KindFields, "imap_id_send", Fields{mustField("name", "Rookery")}, RoleLogin|RoleIMAP, fileIMAP,
		`What ID answers; {} for nothing.`, checked(checkID))

	IMAPClientWorkarounds = wordList("imap_client_workarounds", []string{}, RoleIMAP, fileIMAP,
		`Help for clients with errors. "delay-newmail": new messages are told only in NOOP and CHECK; "tb-extra-mailbox-sep": a folder name may end in the separator; "tb-lsub-flags": LSUB shows \Noselect as LIST does.`,
		words("delay-newmail", "tb-extra-mailbox-sep", "tb-lsub-flags"))

	IMAPFetchFailure = enum("imap_fetch_failure", "no-after", RoleIMAP, fileIMAP,
		`When a message of a FETCH cannot be read: "disconnect-immediately"; "disconnect-after" the other messages; "no-after": the other messages, then NO.`,
		words("disconnect-immediately", "disconnect-after", "no-after"))
)

// checkID holds to RFC 2971 §3.3: field strings "MUST NOT be longer than 30 octets", values
// than 1024; no "more than 30 field-value pairs", nor "the same field name more than once",
// whatever its case.
func checkID(v any) error {
	fields := v.(Fields)
	if len(fields) > 30 {
		return errors.New("has more than 30 fields; ID has no more (RFC 2971)")
	}
	seen := map[string]bool{}
	for _, f := range fields {
		name := strings.ToLower(f.Name)
		switch {
		case seen[name]:
			return errors.New("has the field " + f.Name + " twice; its case means nothing")
		case name == "" || len(name) > 30:
			return errors.New("has a field whose name is empty or longer than 30 octets: " + f.Name)
		case len(f.Value.String()) > 1024:
			return errors.New("has a value longer than 1024 octets: " + f.Name)
		}
		seen[name] = true
	}
	return nil
}

var pop3LogoutVars = []string{"top_count", "top_bytes", "retr_count", "retr_bytes", "deleted_count", "deleted_bytes", "message_count",
	"message_bytes", "input", "output", "user", "session", "remote_ip"}

// The settings of POP3.
var (
	POP3NoFlagUpdates = boolean("pop3_no_flag_updates", false, RolePOP3, filePOP3,
		`RETR does not mark a message as seen.`)

	POP3EnableLast = boolean("pop3_enable_last", false, RolePOP3, filePOP3,
		`Offer RFC 1460's command LAST. RSET then takes the seen marks of the mailbox away.`)

	POP3LockSession = boolean("pop3_lock_session", false, RolePOP3, filePOP3,
		`Let a user have only one POP3 session at a time; another one waits 10 seconds and then reads [IN-USE].`)

	POP3UIDLFormat = template("pop3_uidl_format", "%{uid | hex(8)}%{uidvalidity | hex(8)}",
		[]string{"uid", "uidvalidity", "md5", "filename", "guid"}, RoleWorkers, filePOP3,
		`The unique id of a message: %{uid}, %{uidvalidity}, %{filename} (Maildir's), %{guid}, %{md5} (of the headers). A change lets clients that leave mail on the server load all of it again. Servers to move from: Courier "%{filename}" or "%{uidvalidity}-%{uid}", Cyrus "%{uid}" or "%{uidvalidity}.%{uid}".`,
		checked(func(v any) error {
			t := v.(Template)
			if t.Uses("uid") || t.Uses("filename") || t.Uses("guid") || t.Uses("md5") {
				return nil
			}
			return errors.New("must use %{uid}, %{filename}, %{guid} or %{md5}, else all messages have one id")
		}))

	POP3UIDLDuplicates = enum("pop3_uidl_duplicates", "allow", RolePOP3, filePOP3,
		`Two messages with the same unique id (%{md5}, or a migrated one): "allow" shows them so, "rename" adds "-2", "-3" to the later ones.`,
		words("allow", "rename"))

	POP3DeleteType = enum("pop3_delete_type", "default", RolePOP3, filePOP3,
		`What QUIT does to deleted messages: "expunge" removes them; "flag" sets pop3_deleted_flag, and IMAP still shows them; "default" is "flag" if pop3_deleted_flag is set, else "expunge".`,
		words("default", "expunge", "flag"))

	POP3DeletedFlag = str("pop3_deleted_flag", "", RolePOP3, filePOP3,
		`Keyword, such as "$POP3Deleted", that hides a message from POP3.`,
		checked(func(v any) error {
			for _, r := range v.(string) {
				if r <= ' ' || r > '~' || r == '(' || r == ')' || r == '{' || r == '%' || r == '*' || r == '"' || r == '\\' || r == ']' {
					return errors.New("is no keyword: use letters, digits, $, - and _")
				}
			}
			return nil
		}))

	POP3ClientWorkarounds = wordList("pop3_client_workarounds", []string{}, RolePOP3, filePOP3,
		`Help for clients with errors. "outlook-no-nuls": NUL bytes in messages become 0x80; "oe-ns-eoh": a message without an empty line after its headers gets one.`,
		words("outlook-no-nuls", "oe-ns-eoh"))

	POP3LogoutFormat = template("pop3_logout_format",
		"top=%{top_count}/%{top_bytes}, retr=%{retr_count}/%{retr_bytes}, del=%{deleted_count}/%{message_count}, size=%{message_bytes}",
		pop3LogoutVars, RolePOP3, filePOP3, `What the log says of a session at its end.`)

	POP3LoginDelay = duration("pop3_login_delay", 0, RoleLogin|RolePOP3, filePOP3,
		`What CAPA announces as LOGIN-DELAY: how long a client should wait between two logins. 0 announces none.`, spanDuration(0, 24*time.Hour))

	POP3Expire = integer("pop3_expire", -1, RoleLogin|RolePOP3, filePOP3,
		`What CAPA announces as EXPIRE: the days that messages are kept, -1 for NEVER. It deletes nothing by itself.`, limits(-1, 36_500), unit("days"))
)

func mustField(name, value string) Field {
	t, err := ParseTemplate(value, nil)
	if err != nil {
		panic(err)
	}
	return Field{name, t}
}
