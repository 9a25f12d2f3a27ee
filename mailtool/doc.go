// Mailtool does what the administrator asks of one user's mail with
// rookeryctl: list, search, change, copy, import, export, convert, verify.
//
// It is started by rookery for one command, as that user and in that user's
// sandbox, and ends with the command. It sees the mail through the same store
// as the workers, beside them and in step with them.
//
// PRIVILEGES: the user's uid and groups; his mail directories and nothing else;
// no network.
// TALKS TO: master (whose mail, when to end) and rookeryctl, over a channel that
// master made. NEVER: sees a password, a path of the administrator, another
// user's mail.
package mailtool
