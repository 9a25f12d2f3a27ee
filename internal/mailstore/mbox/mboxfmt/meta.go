package mboxfmt

import (
	"encoding/hex"
	"net/url"
	"strconv"
	"strings"

	"rookery/internal/mailstore"
)

// Kind is one of the metadata headers.
type Kind uint8

// The metadata headers.
const (
	FieldNone Kind = iota
	FieldBase
	FieldPseudo
	FieldUID
	FieldStatus
	FieldXStatus
	FieldKeywords
	FieldLength
	FieldOurs
)

var fieldNames = [...]string{"", "X-IMAPbase", "X-IMAP", "X-UID", "Status", "X-Status", "X-Keywords", "Content-Length", "X-Rookery-Meta"}

// String gives the header's name.
func (k Kind) String() string { return fieldNames[k] }

// Limits on what one message can make a reader keep.
const (
	MaxFields = 64       // metadata headers of one message; more are shown like any header
	MaxValue  = 64 << 10 // octets of one metadata header's value; more are cut
	maxName   = 14       // of the longest name
)

// KindOf tells whether a header line begins with one of the names.
func KindOf(line []byte) (k Kind, value int) {
	for i, c := range line[:min(len(line), maxName+2)] {
		if c == ':' {
			name := strings.TrimRight(string(line[:i]), " \t")
			for k := FieldBase; int(k) < len(fieldNames); k++ {
				if strings.EqualFold(fieldNames[k], name) {
					return k, i + 1
				}
			}
			return FieldNone, 0
		}
	}
	return FieldNone, 0
}

// Field is one metadata header in the file.
type Field struct {
	Kind     Kind
	Off, End int64 // of its lines, the last line end included
	Value    int64 // offset after the colon
	Room     int64 // octets from there to the first line's end; 0 if it has more lines
}

// Base is what X-IMAPbase says.
type Base struct {
	UIDValidity, LastUID uint32
	Keywords             []string
}

// Ours is what X-Rookery-Meta says. Zero values are not written, Length -1 neither.
type Ours struct {
	GUID   mailstore.GUID
	Saved  int64 // Unix seconds
	Date   int64 // Unix seconds, INTERNALDATE where the From_ line cannot say it
	Length int64 // octets of the message as stored, without metadata; -1: unknown
	Order  uint32
	UIDL   string
}

// Meta is what the metadata headers of a message say. Where one stands twice,
// the first counts: what Rookery writes stands above what a sender wrote.
type Meta struct {
	UID      uint32 // 0: none
	Flags    mailstore.Flags
	Old      bool // a session has seen it: not \Recent
	Keywords []string
	Base     *Base
	Pseudo   bool // it is c-client's pseudo-message: no mail
	Length   int64
	Ours     Ours
	Fields   []Field
}

func (m *Meta) has(k Kind) bool {
	for i := range m.Fields {
		if m.Fields[i].Kind == k {
			return true
		}
	}
	return false
}

// add takes one header in.
func (m *Meta) add(f Field, value string) {
	if len(m.Fields) >= MaxFields {
		return
	}
	first := !m.has(f.Kind)
	m.Fields = append(m.Fields, f)
	if !first {
		return
	}
	value = strings.Trim(value, " \t\r\n")
	switch f.Kind {
	case FieldUID:
		if n, ok := parseUint(value, 32); ok {
			m.UID = uint32(n)
		}
	case FieldStatus, FieldXStatus:
		m.status(value)
	case FieldKeywords:
		m.Keywords = keywords(strings.Fields(value))
	case FieldBase:
		m.Base = parseBase(value)
	case FieldPseudo:
		if m.Pseudo = true; m.Base == nil {
			m.Base = parseBase(value)
		}
	case FieldLength:
		if n, ok := parseUint(value, 62); ok {
			m.Length = int64(n)
		}
	case FieldOurs:
		m.Ours = parseOurs(value)
	}
}

func (m *Meta) status(value string) {
	for i := range len(value) {
		switch value[i] {
		case 'R':
			m.Flags |= mailstore.Seen
		case 'O':
			m.Old = true
		case 'A':
			m.Flags |= mailstore.Answered
		case 'F':
			m.Flags |= mailstore.Flagged
		case 'T':
			m.Flags |= mailstore.Draft
		case 'D':
			m.Flags |= mailstore.Deleted
		}
	}
}

// keywords keeps what can be a keyword (an atom), each once.
func keywords(names []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, n := range names {
		if low := strings.ToLower(n); !seen[low] && ValidKeyword(n) {
			seen[low] = true
			out = append(out, n)
		}
	}
	return out
}

// ValidKeyword reports whether a name can stand in X-Keywords: an atom of
// printable ASCII (RFC 9051 §9: flag-keyword).
func ValidKeyword(n string) bool {
	if n == "" || len(n) > 255 {
		return false
	}
	for i := range len(n) {
		if c := n[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`(){%*"\]`, c) >= 0 {
			return false
		}
	}
	return true
}

// parseBase reads the value of X-IMAPbase; nil if it makes no sense.
func parseBase(value string) *Base {
	w := strings.Fields(value)
	if len(w) < 2 {
		return nil
	}
	v, ok := parseUint(w[0], 32)
	last, ok2 := parseUint(w[1], 32)
	if !ok || !ok2 || v == 0 {
		return nil
	}
	return &Base{UIDValidity: uint32(v), LastUID: uint32(last), Keywords: keywords(w[2:])}
}

func parseOurs(value string) Ours {
	o := Ours{Length: -1}
	for _, item := range strings.Fields(value) {
		key, v, _ := strings.Cut(item, "=")
		n, numErr := strconv.ParseInt(v, 10, 62)
		switch {
		case key == "g" && len(v) == 32:
			if _, err := hex.Decode(o.GUID[:], []byte(v)); err != nil {
				o.GUID = mailstore.GUID{}
			}
		case key == "s" && numErr == nil:
			o.Saved = n
		case key == "d" && numErr == nil:
			o.Date = n
		case key == "l" && numErr == nil && n >= 0:
			o.Length = n
		case key == "o" && numErr == nil && n >= 0 && n < 1<<32:
			o.Order = uint32(n)
		case key == "u" && len(v) <= 512:
			if s, err := url.QueryUnescape(v); err == nil {
				o.UIDL = s
			}
		}
	}
	return o
}

// Room that is left for changes in place, in octets.
const (
	keywordRoom = 40
	baseRoom    = 64
)

// Head is what a metadata block says. AppendTo writes it.
type Head struct {
	Base     *Base // of the first message
	UID      uint32
	Flags    mailstore.Flags
	Old      bool
	Keywords []string
	Length   int64 // Content-Length; -1: not written
	Ours     Ours
}

// AppendTo writes the block; lines end in CRLF if crlf is set. It is at least
// want octets long: X-Keywords gets the spaces.
func (h *Head) AppendTo(dst []byte, crlf bool, want int64) []byte {
	start := len(dst)
	eol := "\n"
	if crlf {
		eol = "\r\n"
	}
	line := func(k Kind, value string, room int) {
		dst = append(append(append(dst, fieldNames[k]...), ": "...), value...)
		for range room {
			dst = append(dst, ' ')
		}
		dst = append(dst, eol...)
	}
	if h.Base != nil {
		line(FieldBase, BaseValue(*h.Base), baseRoom)
	}
	line(FieldUID, strconv.FormatUint(uint64(h.UID), 10), 0)
	if v := h.Ours.value(); v != "" {
		line(FieldOurs, v, 0)
	}
	if h.Length >= 0 {
		line(FieldLength, strconv.FormatInt(h.Length, 10), 0)
	}
	s := StatusValue(h.Flags, h.Old)
	line(FieldStatus, s, 2-len(s))
	s = XStatusValue(h.Flags)
	line(FieldXStatus, s, 4-len(s))
	s = KeywordsValue(h.Keywords)
	have := int64(len(dst)-start) + int64(len(FieldKeywords.String())+2+len(s)+len(eol))
	line(FieldKeywords, s, int(max(keywordRoom, want-have)))
	return dst
}

// BaseValue is the value of X-IMAPbase, the numbers with ten digits so that
// they change in place. Keywords that would pass MaxValue are left out.
func BaseValue(b Base) string {
	v := make([]byte, 0, 64)
	v = pad10(append(pad10(v, b.UIDValidity), ' '), b.LastUID)
	for _, k := range b.Keywords {
		if len(v)+1+len(k) <= MaxValue-baseRoom {
			v = append(append(v, ' '), k...)
		}
	}
	return string(v)
}

func pad10(dst []byte, n uint32) []byte {
	s := strconv.FormatUint(uint64(n), 10)
	return append(append(dst, "0000000000"[len(s):]...), s...)
}

// StatusValue is the value of Status.
func StatusValue(f mailstore.Flags, old bool) string {
	s := ""
	if f&mailstore.Seen != 0 {
		s = "R"
	}
	if old {
		s += "O"
	}
	return s
}

// XStatusValue is the value of X-Status.
func XStatusValue(f mailstore.Flags) string {
	s := ""
	for _, l := range [...]struct {
		f mailstore.Flags
		c string
	}{{mailstore.Answered, "A"}, {mailstore.Flagged, "F"}, {mailstore.Draft, "T"}, {mailstore.Deleted, "D"}} {
		if f&l.f != 0 {
			s += l.c
		}
	}
	return s
}

// KeywordsValue is the value of X-Keywords.
func KeywordsValue(names []string) string {
	v, n := "", 0
	for _, k := range names {
		if n += 1 + len(k); n > MaxValue-keywordRoom {
			break
		}
		if v != "" {
			v += " "
		}
		v += k
	}
	return v
}

func (o Ours) value() string {
	var w []string
	if o.GUID != (mailstore.GUID{}) {
		w = append(w, "g="+hex.EncodeToString(o.GUID[:]))
	}
	if o.Saved != 0 {
		w = append(w, "s="+strconv.FormatInt(o.Saved, 10))
	}
	if o.Date != 0 {
		w = append(w, "d="+strconv.FormatInt(o.Date, 10))
	}
	if o.Length >= 0 {
		w = append(w, "l="+strconv.FormatInt(o.Length, 10))
	}
	if o.Order != 0 {
		w = append(w, "o="+strconv.FormatUint(uint64(o.Order), 10))
	}
	if o.UIDL != "" {
		w = append(w, "u="+url.QueryEscape(o.UIDL))
	}
	return strings.Join(w, " ")
}

// InPlace gives the value for a field's room, spaces and all; ok is false if it
// does not fit.
func (f Field) InPlace(value string) (octets []byte, ok bool) {
	if f.Room < int64(len(value))+1 {
		return nil, false
	}
	out := make([]byte, f.Room)
	n := copy(out, " "+value)
	for i := n; i < len(out); i++ {
		out[i] = ' '
	}
	return out, true
}
