package settings

// The settings of IMAP's line: compression, UTF-8, limits of one command.
var (
	IMAPCompressDeflateLevel = integer("imap_compress_deflate_level", 6, RoleIMAP, fileIMAP,
		`How hard COMPRESS=DEFLATE works on what is sent: 1 is the fastest, 9 makes the least of it; below 6, short responses stay as long as they are. 0: COMPRESS is not offered.`, limits(0, 9))

	IMAPMessageLimit = integer("imap_message_limit", 0, RoleIMAP, fileIMAP,
		`How many messages one SEARCH, FETCH, STORE, COPY, MOVE, UID EXPUNGE or APPEND may work on; clients are told by MESSAGELIMIT (RFC 9738).`,
		limits(1000, 1_000_000), unlimited(), unit("messages"), danger("Clients that do not know it see only the newest messages of larger folders, and believe that these are all."))

	IMAPSaveLimit = integer("imap_save_limit", 0, RoleIMAP, fileIMAP,
		`How many messages one COPY or APPEND may make; clients are told by SAVELIMIT (RFC 9738). Clients that do not know it cannot copy more at once.`, limits(1000, 1_000_000), unlimited(), unit("messages"))

	MailUTF8Extensions = boolean("mail_utf8_extensions", true, RoleIMAP, fileIMAP,
		`Offer UTF8=ACCEPT (RFC 9755). By its rules a client that has enabled neither it nor IMAP4rev2 cannot append a message whose header has octets above 127: set it to false while such mail is copied in through IMAP.`)

	IMAPUnauthenticate = boolean("imap_unauthenticate", true, RoleLogin, fileIMAP,
		`Offer UNAUTHENTICATE (RFC 8437) to clients that use TLS: one who has logged in can log in anew on the same connection, for another user. A proxy that looks at logins alone does not see the later ones.`)
)
