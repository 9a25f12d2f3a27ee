// Package sorting implements SORT and THREAD (RFC 5256) with ESORT (RFC 5267
// §3.1) and SORT=DISPLAY (RFC 5957) for the session machine.
//
// Only the IMAP worker uses it. It reads messages through mailstore, never by
// path; what it sorts and threads by is kept in the mailbox's cache, so that a
// second command opens no message.
package sorting
