package sorting

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"unicode/utf8"

	"rookery/imapworker/internal/opened"
	"rookery/imapworker/internal/thread"
	"rookery/internal/message"
	"rookery/internal/objectid"
)

// The derived facts of a message in the mailbox's cache.
//
//	imap.sort   sent date (8 bytes, little-endian, Unix seconds), then a byte:
//	            1 = the date is known, 2 = the subject has marks of a reply, 4 in
//	            any case, then six texts, each as a length in a byte and that many bytes
//	imap.refs   identifiers of 16 bytes: its own (zero if it has none), then its
//	            ancestors', the parent last
const (
	sortField = "imap.sort"
	refsField = "imap.refs"
)

// text is a sort key that is text.
type text uint8

const (
	subject text = iota
	from
	to
	cc
	displayFrom
	displayTo
	texts
)

const (
	hasDate = 1 << iota
	isReply
	todaysForm // where it is not set, texts in unknown charsets stand among the others
)

// factsHead is the length of what is not text.
const factsHead = 8 + 1

// keepText is the longest text that is kept whole. Of a longer one the end is
// replaced by a hash: two that differ still differ, whatever their order.
const keepText = 255

// maxRefs bounds the ancestors that are kept, the nearest.
const maxRefs = 100

// appendFacts makes the fact imap.sort of a message's envelope.
func appendFacts(dst []byte, e *message.Envelope) []byte {
	flags := byte(todaysForm)
	date, ok := message.ParseDate(e.Date)
	var sent int64
	if ok {
		sent, flags = date.Unix(), flags|hasDate
	}
	title, converted := message.DecodeForOrder(e.Subject)
	base, reply := message.BaseOfDecoded(title)
	if reply {
		flags |= isReply
	}
	dst = binary.LittleEndian.AppendUint64(dst, uint64(sent))
	dst = append(dst, flags)
	sender, receiver := first(e.From), first(e.To)
	for _, s := range [texts]string{subject: behind(base, converted), from: mailbox(sender), to: mailbox(receiver), cc: mailbox(first(e.Cc)),
		displayFrom: display(sender), displayTo: display(receiver)} {
		dst = appendText(dst, s)
	}
	return dst
}

// unconverted begins a text that could not be converted to UTF-8: no text of UTF-8
// does, and all of them stand before it.
const unconverted = "\xff"

// behind gives a text its place: one that could not be converted comes behind all
// others, by its octets (RFC 5255 §4.6).
func behind(s string, converted bool) string {
	if converted || s == "" {
		return s
	}
	return unconverted + s
}

// appendText folds a text of UTF-8 as its collation compares it (RFC 5051) and
// appends it with its length; what could not be converted it appends as it is.
func appendText(dst []byte, s string) []byte {
	at := len(dst)
	if dst = append(dst, 0); strings.HasPrefix(s, unconverted) {
		dst = append(dst, s...)
	} else {
		dst = message.AppendFolded(dst, s)
	}
	if n := len(dst) - at - 1; n > keepText {
		sum := sha256.Sum256(dst[at+1:])
		dst = append(dst[:at+1+keepText-len(sum)], sum[:]...)
	}
	dst[at] = byte(len(dst) - at - 1)
	return dst
}

// first gives the first address of a list, as ENVELOPE shows it; nil if there is
// none.
func first(list string) *message.Address {
	all := message.ParseAddresses(list, 1)
	if len(all) == 0 {
		return nil
	}
	return &all[0]
}

// mailbox is the addr-mailbox (RFC 5256 §3, SORT: FROM). A group's start has its
// name there.
func mailbox(a *message.Address) string {
	if a == nil {
		return ""
	}
	return behind(a.Mailbox, utf8.ValidString(a.Mailbox))
}

// display is the DISPLAY sort value of an address (RFC 5957 §3).
func display(a *message.Address) string {
	switch {
	case a == nil:
		return ""
	case a.Name != "":
		if name, converted := message.DecodeForOrder(a.Name); name != "" {
			return behind(name, converted)
		}
	}
	address := a.Mailbox
	if a.Host != "" {
		address += "@" + a.Host
	}
	return behind(address, utf8.ValidString(address))
}

// facts is the fact imap.sort.
type facts []byte

// valid reports whether the cache gave a fact in the form of today.
func (f facts) valid() bool {
	if len(f) < factsHead || f[factsHead-1]&todaysForm == 0 {
		return false
	}
	at := factsHead
	for range texts {
		if at >= len(f) {
			return false
		}
		at += 1 + int(f[at])
	}
	return at == len(f)
}

func (f facts) sent() (seconds int64, ok bool) {
	return int64(binary.LittleEndian.Uint64(f)), f[8]&hasDate != 0
}

func (f facts) reply() bool { return f[8]&isReply != 0 }

func (f facts) text(t text) []byte {
	at := factsHead
	for range t {
		at += 1 + int(f[at])
	}
	return f[at+1 : at+1+int(f[at])]
}

var referencesName = []string{"References"}

// appendRefs makes the fact imap.refs (RFC 5256 §3, THREAD=REFERENCES).
func appendRefs(dst []byte, e *message.Envelope, references string) []byte {
	var own thread.ID
	if ids := validIDs(e.MessageID); len(ids) > 0 {
		own = identifier(ids[0])
	}
	dst = append(dst, own[:]...)
	refs := validIDs(references)
	if len(refs) == 0 {
		refs = validIDs(e.InReplyTo)
		refs = refs[:min(len(refs), 1)]
	}
	for _, ref := range refs[max(0, len(refs)-maxRefs):] {
		id := identifier(ref)
		dst = append(dst, id[:]...)
	}
	return dst
}

// manyIDs is more than a header has room for.
const manyIDs = 1 << 20

// validIDs gives the message identifiers that are valid: with something on both sides
// of an "@" (RFC 5322 §3.6.4, msg-id). RFC 5256 §3 passes over the others.
func validIDs(value string) []string {
	return slices.DeleteFunc(message.MessageIDs(value, manyIDs), func(id string) bool {
		at := strings.LastIndexByte(id, '@')
		return at <= 0 || at == len(id)-1
	})
}

// identifier gives the ID of a message identifier. A quoted local part is the
// same as one without quotes (RFC 5256 §3).
func identifier(id string) thread.ID { return thread.NewID(objectid.Unquoted(id)) }

// idsOf reads the fact imap.refs: ok is false if it is none.
func idsOf(fact []byte) (own thread.ID, refs []thread.ID, ok bool) {
	const size = len(thread.ID{})
	if len(fact) < size || len(fact)%size != 0 {
		return own, nil, false
	}
	own = thread.ID(fact[:size])
	refs = make([]thread.ID, 0, len(fact)/size-1)
	for at := size; at < len(fact); at += size {
		refs = append(refs, thread.ID(fact[at:at+size]))
	}
	return own, refs, true
}

// sortFacts gives the fact imap.sort of a message, from the cache or from the
// message's header, in dst's memory.
func sortFacts(m *opened.Message, dst []byte) (facts, error) {
	if known, ok := m.Fact(dst[:0], sortField); ok && facts(known).valid() {
		return known, nil
	}
	head, err := m.Head()
	if err != nil {
		return dst, err
	}
	dst = appendFacts(dst[:0], head.Envelope)
	m.Box.PutCached(m.UID, sortField, dst)
	return dst, nil
}

// references gives a message's identifiers, likewise.
func references(m *opened.Message, dst []byte, set *message.FieldSet) (own thread.ID, refs []thread.ID, out []byte, err error) {
	known, ok := m.Fact(dst[:0], refsField)
	if ok {
		if own, refs, ok = idsOf(known); ok {
			return own, refs, known, nil
		}
	}
	head, err := m.Head()
	if err != nil {
		return own, nil, known, err
	}
	field, err := m.HeaderFields(nil, set, referencesName, false)
	if err != nil {
		return own, nil, known, err
	}
	known = appendRefs(known[:0], head.Envelope, string(field))
	m.Box.PutCached(m.UID, refsField, known)
	own, refs, _ = idsOf(known)
	return own, refs, known, nil
}
