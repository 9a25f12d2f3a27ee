package message

import (
	"io"
	"strings"
)

// Param is one parameter of a Content-Type or Content-Disposition field, name
// and value as written, without quoting. RFC 2231 forms are left as they are.
type Param struct{ Name, Value string }

// Part is a node of a message's MIME tree. Offsets are bytes from the start of
// the message; the header is [HeaderStart, BodyStart) and includes the blank
// line that ends it.
type Part struct {
	HeaderStart int64
	BodyStart   int64
	BodyEnd     int64
	HeaderLines int64 // line ends in the header, the blank line's included
	BodyLines   int64 // line ends in the body, in its transfer encoding

	Type, Subtype     string // as written; never empty
	Params            []Param
	ID                string // Content-ID, raw
	Description       string // Content-Description, raw
	Encoding          string // Content-Transfer-Encoding as written; empty if absent
	MD5               string
	Disposition       string // empty if absent
	DispositionParams []Param
	Language          []string
	Location          string

	// Opaque says that a limit stopped the parser here: the part may hold more
	// structure, but counts as application/octet-stream.
	Opaque bool

	// Envelope is set for the root and for the message in a message/rfc822 part.
	Envelope *Envelope

	// Children are the parts of a multipart (at least one), or the one message
	// in a message/rfc822.
	Children []*Part
}

// Envelope holds the fields of IMAP's ENVELOPE: values unfolded, encoded-words
// as they are.
type Envelope struct {
	Present   EnvelopeField // which of Date, Subject, InReplyTo, MessageID were there
	Date      string
	Subject   string
	From      string
	Sender    string
	ReplyTo   string
	To        string // several To fields are joined by a comma; Cc and Bcc likewise
	Cc        string
	Bcc       string
	InReplyTo string
	MessageID string
}

// EnvelopeField is a bit set: RFC 3501 §7.4.2 tells an absent field (NIL) from
// an empty one ("").
type EnvelopeField uint8

// The bits of Envelope.Present.
const (
	HasDate EnvelopeField = 1 << iota
	HasSubject
	HasInReplyTo
	HasMessageID
	allEnvelopeFields = HasDate | HasSubject | HasInReplyTo | HasMessageID
)

// IsMultipart reports whether p is a multipart whose parts are known.
func (p *Part) IsMultipart() bool {
	return len(p.Children) > 0 && strings.EqualFold(p.Type, "multipart")
}

// IsMessage reports whether p is a message/rfc822 or message/global whose message
// is known.
func (p *Part) IsMessage() bool {
	return len(p.Children) == 1 && strings.EqualFold(p.Type, "message")
}

// IsText reports whether p is of type text.
func (p *Part) IsText() bool { return !p.Opaque && strings.EqualFold(p.Type, "text") }

// Message gives the message inside a message/rfc822 part, nil for others.
func (p *Part) Message() *Part {
	if p.IsMessage() {
		return p.Children[0]
	}
	return nil
}

// Size is the body's size in bytes, in its transfer encoding.
func (p *Part) Size() int64 { return p.BodyEnd - p.BodyStart }

// Header is the range of the part's header, its blank line included.
func (p *Part) Header() Range { return Range{p.HeaderStart, p.BodyStart} }

// Body is the range of the part's body.
func (p *Part) Body() Range { return Range{p.BodyStart, p.BodyEnd} }

// Whole is the range of header and body.
func (p *Part) Whole() Range { return Range{p.HeaderStart, p.BodyEnd} }

// Param gives a Content-Type parameter, RFC 2231 forms decoded to UTF-8; empty
// if it is not there.
func (p *Part) Param(name string) string { return findParam(p.Params, name) }

// Filename gives the name that the sender proposed, decoded, or an empty string.
func (p *Part) Filename() string {
	if s := findParam(p.DispositionParams, "filename"); s != "" {
		return s
	}
	return p.Param("name")
}

// Range is a run of the message's bytes, Start included, End not.
type Range struct{ Start, End int64 }

// Len is the number of bytes.
func (r Range) Len() int64 { return r.End - r.Start }

// Partial cuts a range down to at most count bytes from origin (RFC 3501
// §6.4.5, BODY[]<origin.count>). An origin past the end gives an empty range.
func (r Range) Partial(origin, count int64) Range {
	if origin < 0 || count <= 0 || origin >= r.Len() {
		return Range{r.End, r.End}
	}
	r.Start += origin
	if count < r.Len() {
		r.End = r.Start + count
	}
	return r
}

// Reader reads the range of a message.
func (r Range) Reader(from io.ReaderAt) *io.SectionReader {
	return io.NewSectionReader(from, r.Start, r.Len())
}
