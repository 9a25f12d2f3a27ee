package message

import (
	"bytes"
	"strconv"
	"strings"
)

// maxQuoted is the longest string that is sent quoted. Longer ones go as
// literals: some clients read a line into a buffer of fixed size.
const maxQuoted = 4096

// AppendString appends an IMAP string (RFC 3501 §4.3): quoted if it is 7-bit
// without CR, LF and NUL, else a literal. NUL, which neither form can carry,
// becomes 0x80 as in HideNUL.
func AppendString(dst []byte, s string) []byte {
	if !canQuote(s) {
		dst = append(dst, '{')
		dst = strconv.AppendInt(dst, int64(len(s)), 10)
		dst = append(dst, "}\r\n"...)
		start := len(dst)
		dst = append(dst, s...)
		HideNUL(dst[start:])
		return dst
	}
	dst = append(dst, '"')
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

func canQuote(s string) bool {
	if len(s) > maxQuoted {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= 0x80 || c == 0 || c == '\r' || c == '\n' {
			return false
		}
	}
	return true
}

// AppendNString is AppendString, with NIL for the empty string.
func AppendNString(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, nilText...)
	}
	return AppendString(dst, s)
}

const nilText = "NIL"

// HideNUL replaces each NUL by 0x80. RFC 3501 §9: CHAR8 is any octet except NUL,
// so a NUL may go on the wire in a literal8 only; the size stays the same.
func HideNUL(p []byte) {
	for len(p) > 0 {
		i := bytes.IndexByte(p, 0)
		if i < 0 {
			return
		}
		p[i] = 0x80
		p = p[i+1:]
	}
}

// AppendEnvelope appends the ENVELOPE (RFC 3501 §7.4.2). At most lim.Addresses
// addresses are shown. A nil envelope is one with all fields absent.
func AppendEnvelope(dst []byte, e *Envelope, lim Limits) []byte {
	w := textWriter{dst: dst, addresses: lim.filled().Addresses}
	w.envelope(e)
	return w.dst
}

// AppendBody appends BODY, the form without extension data.
func AppendBody(dst []byte, p *Part, lim Limits) []byte {
	w := textWriter{dst: dst, addresses: lim.filled().Addresses}
	w.body(p)
	return w.dst
}

// AppendBodyStructure appends BODYSTRUCTURE.
func AppendBodyStructure(dst []byte, p *Part, lim Limits) []byte {
	w := textWriter{dst: dst, addresses: lim.filled().Addresses, extended: true}
	w.body(p)
	return w.dst
}

// AppendBodyRev2 is AppendBody, or AppendBodyStructure if extended, for a client of
// IMAP4rev2 (RFC 9051 §7.5.2): parameters of RFC 2231's forms are decoded, and
// message/global has the fields of message/rfc822 (§9 media-message). For others that
// is a part like application/octet-stream, since they would take these fields for
// something else.
func AppendBodyRev2(dst []byte, p *Part, extended bool, lim Limits) []byte {
	w := textWriter{dst: dst, addresses: lim.filled().Addresses, extended: extended, rev2: true}
	w.body(p)
	return w.dst
}

// textWriter appends IMAP texts.
type textWriter struct {
	dst       []byte
	addresses int // how many may still be shown
	extended  bool
	rev2      bool
}

func (w *textWriter) raw(s string) { w.dst = append(w.dst, s...) }

func (w *textWriter) nstring(s string) { w.dst = AppendNString(w.dst, s) }

func (w *textWriter) number(n int64) { w.dst = strconv.AppendInt(w.dst, n, 10) }

func (w *textWriter) envelope(e *Envelope) {
	if e == nil {
		e = &Envelope{}
	}
	w.raw("(")
	w.optional(e, HasDate, e.Date)
	w.raw(" ")
	w.optional(e, HasSubject, e.Subject)
	w.raw(" ")
	start, before := len(w.dst), w.addresses
	w.addressList(e.From)
	from, shown := string(w.dst[start:]), before-w.addresses
	w.orFrom(e.Sender, from, shown)
	w.orFrom(e.ReplyTo, from, shown)
	for _, list := range [...]string{e.To, e.Cc, e.Bcc} {
		w.raw(" ")
		w.addressList(list)
	}
	w.raw(" ")
	w.optional(e, HasInReplyTo, e.InReplyTo)
	w.raw(" ")
	w.optional(e, HasMessageID, e.MessageID)
	w.raw(")")
}

// optional writes NIL for an absent field and "" for an empty one.
func (w *textWriter) optional(e *Envelope, bit EnvelopeField, s string) {
	if e.Present&bit == 0 {
		w.raw(nilText)
		return
	}
	// A tab is left of a fold as many mailers write it; it means a space, and
	// clients show it as a box.
	w.dst = AppendString(w.dst, strings.ReplaceAll(s, "\t", " "))
}

// orFrom writes a list, or the From list (of shown addresses) where it is
// absent or empty.
func (w *textWriter) orFrom(list, from string, shown int) {
	w.raw(" ")
	start := len(w.dst)
	w.addressList(list)
	if string(w.dst[start:]) != nilText {
		return
	}
	w.dst = w.dst[:start]
	if shown > w.addresses {
		w.raw(nilText)
		return
	}
	w.addresses -= shown
	w.raw(from)
}

func (w *textWriter) addressList(value string) {
	if value == "" || w.addresses <= 0 {
		w.raw(nilText)
		return
	}
	list := ParseAddresses(value, w.addresses)
	w.addresses -= len(list)
	if len(list) == 0 {
		w.raw(nilText)
		return
	}
	w.raw("(")
	for i := range list {
		w.address(&list[i])
	}
	w.raw(")")
}

func (w *textWriter) address(a *Address) {
	switch a.Kind {
	case GroupStart:
		w.raw("(NIL NIL ")
		w.dst = AppendString(w.dst, a.Mailbox)
		w.raw(" NIL)")
	case GroupEnd:
		w.raw("(NIL NIL NIL NIL)")
	case Mailbox:
		w.raw("(")
		w.nstring(a.Name)
		w.raw(" ")
		w.nstring(a.Route)
		w.raw(" ")
		w.dst = AppendString(w.dst, a.Mailbox)
		w.raw(" ")
		w.dst = AppendString(w.dst, a.Host)
		w.raw(")")
	}
}

// body writes a part; the recursion is as deep as the tree, which Limits.Depth
// bounds.
func (w *textWriter) body(p *Part) {
	w.raw("(")
	if p.IsMultipart() {
		for _, child := range p.Children {
			w.body(child)
		}
		w.raw(" ")
		w.dst = AppendString(w.dst, p.Subtype)
		if w.extended {
			w.raw(" ")
			w.params(p.Params, false)
			w.commonExtension(p)
		}
	} else {
		w.single(p)
		if w.extended {
			w.raw(" ")
			w.nstring(p.MD5)
			w.commonExtension(p)
		}
	}
	w.raw(")")
}

func (w *textWriter) single(p *Part) {
	typ, subtype := p.Type, p.Subtype
	if p.Opaque || (len(p.Children) == 0 && isContainer(typ, subtype, w.rev2)) {
		typ, subtype = "application", "octet-stream"
	}
	w.dst = AppendString(w.dst, typ)
	w.raw(" ")
	w.dst = AppendString(w.dst, subtype)
	w.raw(" ")
	w.params(p.Params, p.IsText())
	w.raw(" ")
	w.nstring(p.ID)
	w.raw(" ")
	w.nstring(p.Description)
	w.raw(" ")
	if p.Encoding == "" {
		w.raw(`"7bit"`)
	} else {
		w.dst = AppendString(w.dst, p.Encoding)
	}
	w.raw(" ")
	w.number(p.Size())
	if m := p.Message(); m != nil && (w.rev2 || equalFold(subtype, "rfc822")) {
		w.raw(" ")
		w.envelope(m.Envelope)
		w.raw(" ")
		w.body(m)
	} else if !p.IsText() {
		return
	}
	w.raw(" ")
	w.number(p.BodyLines)
}

// isContainer reports types whose place in IMAP's grammar needs children.
func isContainer(typ, subtype string, global bool) bool {
	return equalFold(typ, "multipart") || equalFold(typ, "message") && (equalFold(subtype, "rfc822") || global && equalFold(subtype, "global"))
}

// params writes a parameter list. A text part without a charset gets the
// default of RFC 2045 §5.2.
func (w *textWriter) params(list []Param, text bool) {
	if text {
		for _, p := range list {
			// charset, charset* and charset*0 alike
			if len(p.Name) >= 7 && equalFold(p.Name[:7], "charset") {
				text = false
			}
		}
	}
	if len(list) == 0 && !text {
		w.raw(nilText)
		return
	}
	if w.rev2 {
		list = decodedParams(list)
	}
	w.raw("(")
	for i, p := range list {
		if i > 0 {
			w.raw(" ")
		}
		w.dst = AppendString(w.dst, p.Name)
		w.raw(" ")
		w.dst = AppendString(w.dst, p.Value)
	}
	if text {
		if len(list) > 0 {
			w.raw(" ")
		}
		w.raw(`"charset" "us-ascii"`)
	}
	w.raw(")")
}

// commonExtension writes disposition, language and location.
func (w *textWriter) commonExtension(p *Part) {
	w.raw(" ")
	if p.Disposition == "" {
		w.raw(nilText)
	} else {
		w.raw("(")
		w.dst = AppendString(w.dst, p.Disposition)
		w.raw(" ")
		w.params(p.DispositionParams, false)
		w.raw(")")
	}
	w.raw(" ")
	if len(p.Language) == 0 {
		w.raw(nilText)
	} else {
		sep := "("
		for _, tag := range p.Language {
			w.raw(sep)
			w.dst = AppendString(w.dst, tag)
			sep = " "
		}
		w.raw(")")
	}
	w.raw(" ")
	w.nstring(p.Location)
}
