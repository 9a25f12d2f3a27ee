// Package message understands mail: RFC 5322 headers, MIME structure, the texts
// IMAP makes of them, and searching in them.
//
// Mail is hostile and often broken. Nothing here fails because of what a
// message contains: a broken message gets a usable structure. The only errors
// are those of the reader. CPU is linear in the message's size, memory is
// bounded by Limits, and nothing recurses deeper than Limits.Depth.
//
// A message is an io.ReaderAt and a size. The bytes are wire form (lines end in
// CRLF), but a bare LF ends a line everywhere too. All offsets are bytes of what
// the reader shows; a file that is stored with LF is wrapped in a CRLFReader
// first, so that offsets, sizes and line counts are those of the wire.
//
// # Overview
//
// Structure:
//
//	Parse(r, size, lim) (*Part, error)        the whole tree, offsets and envelopes
//	ParseHeader(r, size, lim) (*Part, error)  the root's header alone; reads no body
//	Parser                                    the same with a buffer that is used again
//	AppendTree(dst, part), DecodeTree(b, lim) a tree as bytes for a cache
//
// IMAP texts, ready to send (RFC 3501 §7.4.2):
//
//	AppendEnvelope(dst, part.Envelope, lim)
//	AppendBody(dst, part, lim)
//	AppendBodyStructure(dst, part, lim)
//	AppendNString, AppendString               NIL, quoted string or literal
//	HideNUL(p)                                before message bytes go into a literal
//
// Sections (RFC 3501 §6.4.5), as byte ranges:
//
//	part.Section(path, spec) (Range, bool)    BODY[], BODY[1.2], BODY[3.HEADER], …
//	HeaderFields(r, rng, names, not, lim)     HEADER.FIELDS and HEADER.FIELDS.NOT
//	Range.Partial(origin, count)              <origin.count>
//	Range.Reader(r)                           reads it without loading the message
//
// Headers:
//
//	NewHeaderReader(r, rng, lim)              raw fields one by one
//	DecodeHeader(dst, value)                  RFC 2047 to UTF-8
//	ParseAddresses, ParseDate, MessageIDs
//
// Bodies and charsets:
//
//	Decoder(charset) (transform.Transformer, bool)
//	TransferReader(r, encoding)               base64, quoted-printable, uuencode
//	part.TextReader(r)                        a text part as UTF-8
//
// Search (RFC 3501 §6.4.4; folding of RFC 5051):
//
//	NewKey(charset, text) (*Key, error)       once per command
//	key.InHeader(r, root, name, lim)          HEADER, FROM, TO, CC, BCC, SUBJECT
//	key.InBody(r, root, lim), key.InText(…)   BODY, TEXT
//	key.InString(s)
//
// Line ends:
//
//	Measure(r, size), Shape                   size in CRLF form, lines, NUL, 8-bit
//	NewCRLFReader(r, size)                    a stored file as its wire form
//
// Everybody but login, authd and master may use it. It must never know files,
// networks, the clock, users or mailboxes.
package message
