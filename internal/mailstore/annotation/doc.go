// Package annotation keeps what clients note about mailboxes and about the user's
// mail as a whole (RFC 5464), and which mailboxes clients gave a special use
// (RFC 6154). It is a wrapper around any mailstore.Store, and is one; it offers
// mailstore.Annotator.
//
// Package worker puts it around a user's store, below what hides names from the
// user. It must never know a protocol's commands, or a mail format.
//
// # One file
//
// Everything is in the control file rookery-metadata of the user: a special use
// that goes from one mailbox to another changes both in one step, a conversion and
// a backup take one file along, and RENAME has nothing to do, since mailboxes stand
// there by their GUIDs. DELETE takes a mailbox's entries away; a mailbox that is
// made anew has another GUID. It is a control file, never derived: what it says is
// nowhere else.
//
// The file is replaced whole, by rename, and synced before an answer is given. Who
// changes it holds the lock of the empty file rookery-metadata-lock, which is never
// removed; readers take no lock and see the file as it was before or after. As long
// as nothing was noted neither of them is there.
//
// # The format
//
// Lines end in LF. The first is the magic, the last the checksum:
//
//	rookery-metadata 1
//	S \Drafts 0123456789abcdef0123456789abcdef Entw&APw-rfe
//	S \Sent -
//	U
//	E 16 7
//	/private/commentMy note
//	B 0123456789abcdef0123456789abcdef
//	E 15 3
//	/shared/commentabc
//	C 1a2b3c4d
//
// S gives a special use to the mailbox with this GUID; the name, in modified UTF-7,
// is the one that it had last, to find it sooner, and may be out of date. With "-"
// no mailbox has the use, whatever the settings say. A use that has no S line is the
// settings' matter. U begins the user's own entries and B those of a mailbox, by its
// GUID in 32 lower hexadecimal digits. E is an entry: the lengths in octets of its
// name and of its value, LF, name and value one after the other, LF. C is the CRC-32C
// of all octets before the line, in 8 lower hexadecimal digits. U and B stand once
// for each, an entry once in its list, compared without case.
//
// A file that is not in this form is damaged: what it says is lost to nobody by
// itself. Reading and changing annotations fails (errkind.Corrupt) until the file is
// put back from a backup, or a repair moves it away to rookery-metadata.damaged;
// mail is served meanwhile, with the special uses of the settings.
package annotation
