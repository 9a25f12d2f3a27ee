// Package objectid derives the object identifiers of messages (RFC 8474 §5):
// EMAILID from a message's bytes, THREADID from its references.
//
// Both are functions of the content alone. So a message keeps them through COPY,
// MOVE, RENAME, a conversion to another format and the loss of every index, and
// has the same ones in every mailbox and on every server of ours, without a table
// anywhere. The IMAP worker uses it for FETCH and SEARCH. It must never know a
// mailbox, a store or a file.
//
// # Form
//
// An identifier is a letter, M for a message and T for a thread, and 40
// characters of lower-case base32 (RFC 4648 §6, "a" to "z", "2" to "7"): the
// first 200 bits of a SHA-256. The letter keeps the two apart, as RFC 8474 §5.2
// demands, and an identifier from looking like a number or NIL (§8.1); one case
// of letters lets no two differ by case alone.
//
// Whoever can send mail can send two messages that he made for having one hash,
// so the length is chosen against collisions (RFC 8474 §11): of 200 bits one costs
// some 2^100 hashes to find. 128 bits, of which a collision costs 2^64, would be
// within reach; all 256 would cost a client of 100,000 messages a megabyte more.
package objectid

import (
	"crypto/sha256"
	"hash"
	"io"
	"strings"

	"rookery/internal/message"
)

// bits of a hash that are kept are 5 of each character.
const (
	chars  = 40
	octets = chars * 5 / 8
)

// Len is the length of an identifier.
const Len = 1 + chars

const alphabet = "abcdefghijklmnopqrstuvwxyz234567"

// appendID appends the identifier of a hash.
func appendID(dst []byte, prefix byte, sum []byte) []byte {
	dst = append(dst, prefix)
	var acc uint64
	n := 0
	for _, b := range sum[:octets] {
		acc, n = acc<<8|uint64(b), n+8
		for ; n >= 5; n -= 5 {
			dst = append(dst, alphabet[acc>>(n-5)&31])
		}
	}
	return dst
}

// Email gives the EMAILID of a message, all of whose bytes in CRLF form r gives.
// The error is the reader's.
func Email(r io.Reader) (string, error) {
	var h EmailHash
	if _, err := io.Copy(&h, r); err != nil {
		return "", err
	}
	return string(h.Append(nil)), nil
}

// EmailHash makes an EMAILID of bytes as they come. Its zero value is ready.
type EmailHash struct{ h hash.Hash }

// Write takes the next bytes of the message in CRLF form.
func (h *EmailHash) Write(p []byte) (int, error) {
	if h.h == nil {
		h.h = sha256.New()
	}
	return h.h.Write(p)
}

// Reset forgets what was written.
func (h *EmailHash) Reset() {
	if h.h != nil {
		h.h.Reset()
	}
}

// Append appends the identifier of what was written, and begins anew.
func (h *EmailHash) Append(dst []byte) []byte {
	h.Write(nil)
	var sum [sha256.Size]byte
	dst = appendID(dst, 'M', h.h.Sum(sum[:0]))
	h.h.Reset()
	return dst
}

// AppendEmail appends the EMAILID of a message whose bytes are in memory.
func AppendEmail(dst, msg []byte) []byte {
	sum := sha256.Sum256(msg)
	return appendID(dst, 'M', sum[:])
}

// Thread gives the THREADID of a message by the values of its header fields,
// unfolded or not, "" for one that is not there. ok is false for a message
// without any message identifier: it then has no THREADID (RFC 8474 §5.2).
//
// A thread is called after its first message: the first of References, or
// without that of In-Reply-To, or without both the message's own identifier.
// Messages that THREAD=REFERENCES (RFC 5256 §3) links by such identifiers come
// under the same one, in whatever mailboxes they lie and in whatever order they
// come. A reply to a reply that names its parent alone, without References, begins
// a thread of its own: whose reply the parent is would have to be looked up, and the
// answer change with what is there. Subjects join no threads here for the same
// reason: what was told may never change.
func Thread(references, inReplyTo, messageID string) (id string, ok bool) {
	for _, value := range []string{references, inReplyTo, messageID} {
		if ids := message.MessageIDs(value, 1); len(ids) > 0 {
			sum := sha256.Sum256([]byte(Unquoted(ids[0])))
			return string(appendID(nil, 'T', sum[:])), true
		}
	}
	return "", false
}

// Unquoted gives an identifier in its normal form: a quoted local part is the
// same as one without quotes (RFC 5256 §3, THREAD=REFERENCES).
func Unquoted(id string) string {
	if !strings.ContainsAny(id, "\"\\") {
		return id
	}
	var b strings.Builder
	for i := 0; i < len(id); i++ {
		switch {
		case id[i] == '"':
			continue
		case id[i] == '\\' && i+1 < len(id):
			i++
		}
		b.WriteByte(id[i])
	}
	return b.String()
}
