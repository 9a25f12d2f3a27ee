package settings

// The settings of sharing.
var (
	IMAPACLAllowAnyone = boolean("imap_acl_allow_anyone", false, RoleIMAP, fileIMAP,
		`Let users share mailboxes with "anyone" and "authenticated" by SETACL. What rookeryctl or a file dovecot-acl gives them holds in any case.`,
		danger("One user can then put mailboxes before all others."))
)
