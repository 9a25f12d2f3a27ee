// Package mboxfmt reads and writes the bytes of an mbox (RFC 4155 and the
// dialects mboxo, mboxrd, mboxcl and mboxcl2), and the metadata headers in
// which c-client, Dovecot and Rookery keep UIDs, flags and keywords.
//
// The mbox driver calls it, and whoever imports or exports mbox. It is pure: it
// must never open a file, take a lock, or read the clock.
//
// # The format
//
// A message begins with a From_ line ("From sender date"), which is one only if
// it stands at the start of the file or after an empty line and its date can be
// read. Then come header lines, an empty line, the body, and an empty line that
// belongs to nobody. Lines end in LF or CRLF. Bytes are never changed on
// reading: a ">From " stays one, since nobody can tell who put the '>' there.
//
// Content-Length (octets of the body as stored) is believed only where it fits:
// at the octet after the body the file ends, or one or two line ends and then a
// From_ line or the end of the file follow.
//
// # Metadata headers
//
//	X-IMAPbase: UIDVALIDITY LASTUID [KEYWORD...]   first message only
//	X-IMAP: the same; the message that has it is no message (c-client)
//	X-UID: UID
//	Status: R (seen), O (old: not recent)
//	X-Status: A (answered), F (flagged), T (draft), D (deleted)
//	X-Keywords: KEYWORD...
//	Content-Length: OCTETS
//	X-Rookery-Meta: g=GUID s=SAVED d=DATE l=LENGTH o=ORDER u=UIDL
//
// The last is ours, with what the others have no place for; each item may lack.
// GUID is 32 hexadecimal digits; SAVED and DATE are Unix seconds (DATE only
// where the From_ line cannot say it); LENGTH is that of the message as stored
// without metadata (only where no empty line ends its header, so that
// Content-Length could not tell); ORDER and UIDL are a POP3 server's, the UIDL
// in the form of url.QueryEscape. All these headers are hidden from clients.
//
// Rookery writes them right after the From_ line, with spaces at the end of
// X-IMAPbase, X-Status and X-Keywords, so that flags change in place.
package mboxfmt
