package imapdoc

const both = "always, before login too"

// Rows are in the order of the page. A row whose word is not offered is not shown.
var Rows = []Row{
	{"IMAP4rev1", "RFC 3501", both, "The revision that a session speaks until it enables another. `\\Recent` is one session's alone: the first that selects the mailbox for writing. While FETCH, STORE and SEARCH are answered and a message is gone, which they may not tell, new messages are not told either: a session looks at a mailbox as a whole (§5.2). A command that is none, or is not legal now, is BAD before its literal is asked for. In IDLE and AUTHENTICATE, where no literal can stand, one that does not wait is still part of its line (RFC 7888 §3). LIST puts the reference before the pattern as it is. An INTERNALDATE that APPEND gives more than two hours ahead is taken for now: mail that a wrong clock puts there would be found by nobody."},
	{"IMAP4rev2", "RFC 9051", both, "By `ENABLE IMAP4rev2`. Names and quoted strings are UTF-8 from then on; SEARCH answers with ESEARCH; SELECT and EXAMINE answer with LIST too, with `OLDNAME` where another name was given than the mailbox has, as do CREATE, RENAME and DELETE; FLAGS that nobody asked for come with the UID; there is no RECENT, `\\Recent` or code UNSEEN. CHECK and LSUB are refused (use NOOP and `LIST (SUBSCRIBED)`), and so is the item RECENT of STATUS. What is merely deprecated is still understood: FETCH's RFC822 items, SEARCH's NEW, OLD and RECENT. A part that is not there is NIL (§4.5); in sessions that have not enabled this it is the empty string. message/global has the fields of a message in BODYSTRUCTURE. Parameters there are decoded and put together where the message has RFC 2231's forms (§7.5.2). A session that has not enabled it gets nothing of all this."},
	{"UTF8=ACCEPT", "RFC 9755 (RFC 6855)", "unless `mail_utf8_extensions = false`", "By `ENABLE UTF8=ACCEPT`. Then names and quoted strings are UTF-8 in both directions, octets that are no UTF-8 are BAD, CHARSET in SEARCH is BAD, and the charset of SORT and THREAD must be UTF-8. Before it, a mailbox name in quoted UTF-8 is understood too; answers are in modified UTF-7. APPEND takes RFC 6855's `UTF8 (~{n}` and a plain literal alike. A message whose header has octets above 127 cannot be appended by a client that has enabled neither this nor IMAP4rev2: NO, as RFC 9755 §4 demands. Where such a message is already there, such a client reads it as it is: ENVELOPE gives the text in literals, bodies are not changed. It is neither hidden nor replaced by another."},
	{"LITERAL+", "RFC 7888", both, "Literals of any size need not wait; a refused one's octets are read and dropped. LITERAL- is within it."},
	{"SASL-IR", "RFC 4959", both, ""},
	{"ID", "RFC 2971", both, "What a client says of itself goes into the log; what is answered is `imap_id_send`."},
	{"ENABLE", "RFC 5161", both, "In the authenticated state alone; a word that is not offered is passed over."},
	{"IDLE", "RFC 2177", both, "Changes by this server's own processes are told at once, those by others within a second. `* OK Still here` comes each `imap_idle_notify_interval`."},
	{"COMPRESS=DEFLATE", "RFC 4978", "unless `imap_compress_deflate_level = 0`, and not once it is active", "Each batch of responses ends in a flush, behind which the client can read all of it. What a client sends may be flushed in any way, zlib's partial flush included. A second COMPRESS is `NO [COMPRESSIONACTIVE]`. Octets behind the command COMPRESS are taken for compressed ones; what is damaged ends the session, with a line in the log. A session keeps the last 4 KiB of what it sent and as much as it received, 32 KiB at most; compressors (0.8 MB) belong to the process and are lent to a session until it has been quiet for a second. The log's and the raw log's octets are the compressed ones. Whoever can put text into a mailbox and watch lengths on the wire learns something of what is sent with it: that is so with all compression, and a client's choice."},
	{"UNAUTHENTICATE", "RFC 8437", "over TLS, unless `imap_unauthenticate = false`, and not under COMPRESS", "Only where the login process keeps TLS: it finds the command in what the client says, and the process of the user before gets nothing of what stands behind it, be it the next user's password. It answers once all commands before it are answered, with the capabilities before login. Nothing is left of the session but TLS: ID and LANGUAGE are forgotten too, `x-originating-ip` is as it was before it was told, and `login_timeout` begins anew; bad commands and failed logins still count. The connection ends, with BYE where that can be read, if a command before it was not answered or the mail process does not end in time, and in the middle of IDLE. A client that says COMPRESS cannot use it any more: what it sends is its own user's process's to read, the names and passwords of others included. A tag of more than 128 octets ends the connection."},
	{"NAMESPACE", "RFC 2342", "", "By the settings' `[[namespace]]` tables, all three kinds; docs/acl.md has those of others' mail."},
	{"LIST-EXTENDED", "RFC 5258", "", "Attributes of children and special uses are told whether asked for or not. A name that is only a parent is `\\NonExistent` alone, which implies `\\Noselect`: of these there is one in a response; a plain LIST of a client that has not enabled IMAP4rev2 has `\\Noselect`. There are no remote mailboxes."},
	{"LIST-STATUS", "RFC 5819", "", "Each STATUS response follows its LIST response."},
	{"LIST-METADATA", "RFC 9590", "", "Each METADATA response follows its LIST response; an entry that is not there is NIL."},
	{"LIST-MYRIGHTS", "RFC 8440", "with ACL", "Each MYRIGHTS response follows its LIST response."},
	{"CHILDREN", "RFC 3348", "", "In every LIST response."},
	{"SPECIAL-USE", "RFC 6154, RFC 8457", "", "By the settings' `[[namespace.mailbox]]` tables, and by what CREATE gave."},
	{"CREATE-SPECIAL-USE", "RFC 6154", "", "One mailbox at a time has a use: it goes from the one that had it, the settings' included, to the new one. `\\All` and `\\Flagged` are `NO [USEATTR]`: there are no virtual mailboxes."},
	{"STATUS=SIZE", "RFC 8438", "", ""},
	{"APPENDLIMIT", "RFC 7889", "where there is no limit for all mailboxes", ""},
	{"APPENDLIMIT=", "RFC 7889", "where `mail_max_message_size` or `quota_mail_size` is a limit", ""},
	{"QUOTA", "RFC 9208", "", "One root; the limits are the administrator's."},
	{"QUOTASET", "RFC 9208", "", "SETQUOTA is refused with NO: limits are the administrator's."},
	{"QUOTA=RES-", "RFC 9208", "for each resource that can have a limit", "STORAGE is rounded up to units of 1024 octets; STATUS DELETED-STORAGE is in octets, the sum of RFC822.SIZE."},
	{"METADATA", "RFC 5464", "", "Of mailboxes and of the server; the server's `/private` entries are the user's own, its `/shared` ones the administrator's (`imap_metadata_admin`, `imap_metadata_comment`). Any name below `/private` and `/shared` is taken. `/private/specialuse` shows and sets special uses. Limits are `imap_metadata_max_entries` and `imap_metadata_max_size`. By `ENABLE METADATA` a session is told which entries others have changed. A name that is only a parent has none. Of others' mailboxes docs/acl.md tells. Options of GETMETADATA may stand before the mailbox or behind it. What is set for a mailbox raises its HIGHESTMODSEQ (RFC 7162 §3.2)."},
	{"NOTIFY", "RFC 5465", "", "`inboxes` is `personal`; there is no AnnotationChange (`NO [BADEVENT]`, whatever stands beside it). Of other mailboxes STATUS tells what has changed, UNSEEN included; with CONDSTORE HIGHESTMODSEQ too, and UIDVALIDITY with FlagChange. A mailbox that takes the name of another is told with its UIDVALIDITY. What the session does itself is not told. A NOTIFY that is refused changes nothing; NOTIFY SET tells what has gathered of other mailboxes as well. One that is renamed is told of with OLDNAME where either name is asked for, and those below it where it is not; INBOX, whose messages a RENAME takes, is none of them: the new mailbox stands without OLDNAME. A mailbox that can be listed and not be read is `\\NoAccess`, and told of again once it can. One that loses `l` is `\\NonExistent` for who asked for MailboxName; others hear nothing, since `\\NoAccess` would say that it is still there. With more than 20,000 mailboxes NOTIFY is `NO [NOTIFICATIONOVERFLOW]`, and where there come to be more all telling ends with that code. FETCH items of MessageNew come behind ADDTO, as §5.2 demands, those of `UPDATE` before it, as §7 does."},
	{"ACL", "RFC 4314", "where the mail store keeps lists: all formats do", "docs/acl.md has identifiers, their order and the files. No rights are tied. The owner always has `l`, `r` and `a`. Whoever lacks `l` reads of a mailbox what he would read if it were not there, so that the other rights are of no use without it. Rights are looked up with each command; a session that changes its own is told FLAGS and PERMANENTFLAGS anew. A list is inherited from the nearest mailbox above when a mailbox is made. Others' mailboxes are in the namespaces of type \"shared\" and \"public\"."},
	{"RIGHTS=", "RFC 4314", "with ACL", "`c` is `kx` and `d` is `te`, as in the examples of the text."},
	{"UNSELECT", "RFC 3691", "", ""},
	{"UIDPLUS", "RFC 4315", "", "UIDs are lasting in every mailbox: UIDNOTSTICKY does not occur."},
	{"MOVE", "RFC 6851", "", "COPYUID comes in an untagged OK before the expunges are told. After a crash each message is in at least one of the mailboxes. A MOVE that fails or is broken off (a kick, the end of the server) has moved whole messages or none: those are told so before the NO or BYE. A COPY leaves nothing then."},
	{"MULTIAPPEND", "RFC 3502", "", "All messages or none."},
	{"CATENATE", "RFC 4469", "", "URLs of the user's own mail alone: relative ones (RFC 5092), with or without UIDVALIDITY, SECTION and PARTIAL; one that begins with `;UID=` is of the selected mailbox, a name without a slash before it stands on that one's level. There is no URLAUTH. What is not there and what may not be read are both `BADURL`, as soon as it is known. The octets are copied as they are, NULs too. `TEXT` takes no literal8. Each message of a MULTIAPPEND may have either form. `TOOBIG` holds for what is put together; the quota, too."},
	{"REPLACE", "RFC 8508", "", "The new message is on disk before the old one goes: after a crash there are both, after a NO the old one alone. APPENDUID comes in an untagged OK before the expunge is told. Of the quota only the difference counts. A UID that names no message is `NO [NONEXISTENT]`. While a REPLACE fails, no expunge of any message is told."},
	{"BINARY", "RFC 3516", "", "A part's transfer encoding is undone as it is sent, without the part in memory; base64 with other octets in between and joined pieces are read, quoted-printable with stray signs, and uuencode. Only where there is a NUL in what is sent is it a literal8. Lines of text end in CRLF whatever the encoding hid (not in UTF-16 and UTF-32). `BINARY[]` is the message as it is, `BINARY[n]` of a multipart or a message too. A part that is not there is empty, as with BODY. An encoding that is not known: NO `UNKNOWN-CTE` after what the other messages have, and the message stays unseen. What APPEND and REPLACE take in a literal8 in the encoding `binary` is kept in base64, part by part, so that BODYSTRUCTURE, BODY and all sizes agree and hold no NUL (§6); BINARY gives the octets that came. NULs elsewhere, in a header, in a part that says another encoding or in mail that another program brought, are kept as they are: `BODY[]`, whose literals have none, shows 0x80 in their place."},
	{"PREVIEW", "RFC 8970", "", "200 characters of the first text a reader sees: text/plain, else text/html without its markup; never of an attachment or a message inside. Lines that quote are left out where others are left. What is encrypted has an empty one, as §3.2 demands. Made once and kept. `LAZY` gives what is kept, makes up to 50 more for one command, of messages of up to 128 KiB, and NIL for the rest."},
	{"CONDSTORE", "RFC 7162", "", "In every mailbox. SELECT tells HIGHESTMODSEQ whether it was asked to or not."},
	{"QRESYNC", "RFC 7162", "", "The code CLOSED is told whether anything was enabled or not."},
	{"UIDONLY", "RFC 9586", "", ""},
	{"OBJECTID", "RFC 8474", "", "MAILBOXID is `F` and the GUID of the mailbox, which stays through RENAME and a conversion. EMAILID is `M` and 200 bits of the SHA-256 of the message's octets in CRLF form, whatever its INTERNALDATE is (Appendix A), THREADID `T` and as much of the hash of the first identifier of References, else of In-Reply-To, else of its own: both the same in every mailbox, after COPY, MOVE, RENAME, a conversion, or the loss of an index. A message without any identifier has the THREADID NIL. Subjects join no threads here, and a reply that names its parent alone is called after that: whatever was told never changes. In an mbox the octets are those without the headers that the format keeps for itself."},
	{"SAVEDATE", "RFC 8514", "", "In every mailbox. Of mail that another program brought, the time that its file tells."},
	{"PARTIAL", "RFC 9394", "", "In UID FETCH before CHANGEDSINCE, in whatever order they stand; in FETCH without UID it is BAD."},
	{"UIDBATCHES", "RFC 10022", "", "Batches of 10 messages and more; fewer are `TOOFEW`. There is no upper bound, `TOOMANY` does not occur. The ranges leave no gap between them, and the last one of the mailbox ends at 1."},
	{"MESSAGELIMIT=", "RFC 9738", "where `imap_message_limit` is set", "Off by default: a client that does not know it believes that the newest messages are all. SEARCH counts the messages that its sets of UIDs and sequence numbers leave; SORT and THREAD of more are refused. Mailboxes of MULTISEARCH are searched whole."},
	{"SAVELIMIT=", "RFC 9738", "where `imap_save_limit` is set", "Of COPY and APPEND alone: refused as a whole."},
	{"INPROGRESS", "RFC 9585", "", "In SEARCH, SORT, THREAD, ESEARCH and FETCH, each 10 seconds: the messages that were looked at, of ESEARCH the mailboxes. In COPY and MOVE, which are one step of the store, with `NIL NIL`. A tag with `]` is NIL."},
	{"ESEARCH", "RFC 4731", "", ""},
	{"SEARCHRES", "RFC 5182", "", "`$` stands alone or behind a comma (`1,$`), as the grammar has it. SORT saves too. There is no bound, `NOTSAVED` does not occur. A message is named until its expunge is told."},
	{"CONTEXT=SEARCH", "RFC 5267", "", "Of a mailbox 16 results are followed at once; then `NOUPDATE`. What joins and leaves is told with other news of the mailbox: with commands, in IDLE, with NOTIFY. That a message is gone is told even while its expunge may not be. OLDER and YOUNGER are asked again when something is told, each 10 seconds at most. `UPDATE` takes FETCH items (RFC 5465 §7), which are told before ADDTO. CANCELUPDATE of a tag that nothing follows is OK. The hint CONTEXT changes nothing."},
	{"CONTEXT=SORT", "RFC 5267", "", "4 of the 16 results may be sorted."},
	{"ESORT", "RFC 5267", "", ""},
	{"MULTISEARCH", "RFC 7377", "", "`UID ESEARCH`, which the text shows and the grammar lacks, is the same as `ESEARCH`. `inboxes` is `personal`. Mailboxes that are not there or may not be read are left out. Up to 10,000 mailboxes, opened one after the other, to look only: \\Recent stays. With `UPDATE` the selected mailbox has to be among those that are searched; else `NOUPDATE`."},
	{"WITHIN", "RFC 5032", "", ""},
	{"FILTERS", "RFC 5466", "", "A user's own are annotations that SETMETADATA sets, and refuses if they are no search keys; those for all are the administrator's (`imap_filters`). The keys are put in the place of `FILTER` as text, as §3.1 has it, so that `NOT FILTER x` denies the first of several keys. Filters of filters are followed 5 deep."},
	{"SORT", "RFC 5256", "", ""},
	{"SORT=DISPLAY", "RFC 5957", "", ""},
	{"THREAD=ORDEREDSUBJECT", "RFC 5256", "", ""},
	{"THREAD=REFERENCES", "RFC 5256", "", ""},
	{"THREAD=REFS", "draft-ietf-morg-inthread", "", ""},
	{"I18NLEVEL=1", "RFC 5255", "", "Texts are compared by i;unicode-casemap, with one step more: what a character is taken apart into is put in titlecase again, so that `fi` finds its ligature. In SORT and THREAD those that cannot be converted to UTF-8 (a charset that is not known, octets that are none of theirs) come behind all others, by their octets. SEARCH finds in them what §4.6 finds by octets, and more: those that are no UTF-8 count as windows-1252, and case does not count."},
	{"LANGUAGE", "RFC 5255", both, "English, German, French, Spanish and Japanese, for the texts of OK, NO and BYE; those of BAD stay English. What was chosen before the login holds after it. `default` is i-default."},
}

const intro = `# IMAP

Generated from the rows beside the capability list (make generate); do not edit.

What CAPABILITY says, where each word is defined, when it is offered, and what was
chosen where the text leaves freedom. "Offered: always" means after login.

## Words
`

const rest = `
## Without a word

FETCH has the items X-GUID and X-MAILBOX and SEARCH the keys of the same names, as Dovecot has them. SEARCH has UIDAFTER and
UIDBEFORE (RFC 9738) whether a limit is set or not. A mailbox name in quoted UTF-8 and literals of any size are taken
from every client.

## Not built

- URLAUTH (RFC 4467): a URL that gives others access is a second way in, with a history of its own in every server that had it.
- LOGIN-REFERRALS, MAILBOX-REFERRALS (RFC 2221, RFC 2193): there is one server.
- SCAN (UW): MULTISEARCH does its work.
- ANNOTATE (RFC 5257), CONVERT (RFC 5259), LITERAL- beside LITERAL+ (RFC 7888 §5).

## Obsolete syntax

Of RFC 2062, RFC 1730 and IMAP2bis nothing is understood that RFC 3501 does not have, with the exceptions named here. A client
that uses it reads BAD and the session goes on.
`

const (
	unknown = "BAD"
	taken   = "understood"
)

// Obsolete is what older revisions had (RFC 2062, RFC 1176, IMAP2bis, RFC 1730).
var Obsolete = []Old{
	{"FIND MAILBOXES", "RFC 2062", unknown, "LSUB, LIST (SUBSCRIBED)"},
	{"FIND ALL.MAILBOXES", "RFC 2062", unknown, "LIST"},
	{"SUBSCRIBE MAILBOX name", "RFC 2062", unknown, "SUBSCRIBE name"},
	{"UNSUBSCRIBE MAILBOX name", "RFC 2062", unknown, "UNSUBSCRIBE name"},
	{"PARTIAL n item a b", "RFC 2062", unknown, "FETCH n BODY[…]<a.b>"},
	{"BBOARD name", "IMAP2bis", unknown, "SELECT"},
	{"FIND BBOARDS", "IMAP2bis", unknown, "LIST"},
	{"FETCH n BODY[0], BODY[n.0]", "RFC 2062", unknown, "BODY[HEADER], BODY[n.MIME]"},
	{"FETCH n RFC822.PEEK", "RFC 2062", unknown, "BODY.PEEK[]"},
	{"FETCH n RFC822.TEXT.PEEK", "RFC 2062", unknown, "BODY.PEEK[TEXT]"},
	{"FETCH n RFC822.HEADER.LINES (…)", "RFC 2062", unknown, "BODY.PEEK[HEADER.FIELDS (…)]"},
	{"FETCH n RFC822.HEADER.LINES.NOT (…)", "RFC 2062", unknown, "BODY.PEEK[HEADER.FIELDS.NOT (…)]"},
	{"FETCH n RFC822, RFC822.HEADER, RFC822.TEXT", "RFC 3501, not RFC 9051", taken, "BODY[], BODY.PEEK[HEADER], BODY[TEXT]"},
	{"CHECK", "RFC 3501, not RFC 9051", "understood; BAD after ENABLE IMAP4rev2", "NOOP"},
	{"LSUB", "RFC 3501, not RFC 9051", "understood; BAD after ENABLE IMAP4rev2", "LIST (SUBSCRIBED)"},
	{"STATUS (RECENT)", "RFC 3501, not RFC 9051", "understood; BAD after ENABLE IMAP4rev2", ""},
	{"SEARCH NEW, OLD, RECENT", "RFC 3501, not RFC 9051", taken, ""},
	{"APPEND with a date of two digits, or with a zone's name", "RFC 2062", unknown, "date-time"},
	{"STORE n +Flags.Silent \\Seen, without parentheses", "RFC 1730", taken, "STORE n +FLAGS.SILENT (\\Seen)"},
	{"a line that ends in LF alone, or in blanks", "no revision", taken, "CRLF"},
}
