package message

import "bytes"

// fieldID names the header fields that a tree keeps.
type fieldID int

const (
	fieldOther fieldID = iota
	fieldContentType
	fieldContentID
	fieldContentDescription
	fieldContentEncoding
	fieldContentMD5
	fieldContentDisposition
	fieldContentLanguage
	fieldContentLocation
	fieldDate
	fieldSubject
	fieldFrom
	fieldSender
	fieldReplyTo
	fieldTo
	fieldCc
	fieldBcc
	fieldInReplyTo
	fieldMessageID
	lastField
)

// longestField is the longest name that identify knows.
const longestField = len("content-transfer-encoding")

func identify(name []byte) fieldID {
	if len(name) > longestField {
		return fieldOther
	}
	var low [longestField]byte
	n := copy(low[:], name)
	for i := range low[:n] {
		low[i] = lower(low[i])
	}
	switch string(low[:n]) {
	case "content-type":
		return fieldContentType
	case "content-id":
		return fieldContentID
	case "content-description":
		return fieldContentDescription
	case "content-transfer-encoding":
		return fieldContentEncoding
	case "content-md5":
		return fieldContentMD5
	case "content-disposition":
		return fieldContentDisposition
	case "content-language":
		return fieldContentLanguage
	case "content-location":
		return fieldContentLocation
	}
	return identifyEnvelope(string(low[:n]))
}

func identifyEnvelope(name string) fieldID {
	switch name {
	case "date":
		return fieldDate
	case "subject":
		return fieldSubject
	case "from":
		return fieldFrom
	case "sender":
		return fieldSender
	case "reply-to":
		return fieldReplyTo
	case "to":
		return fieldTo
	case "cc":
		return fieldCc
	case "bcc":
		return fieldBcc
	case "in-reply-to":
		return fieldInReplyTo
	case "message-id":
		return fieldMessageID
	}
	return fieldOther
}

// header reads a part's header up to and with its blank line, and sets
// BodyStart. A delimiter line or the message's end may end it too. Lines that
// are no field are passed over: the header still ends at the blank line only.
func (p *parse) header(part *Part, def string) hit {
	part.HeaderStart = p.pos
	linesAtTop := p.lines
	h := hit{index: nothing}
	var seen [lastField]uint8
	id := fieldOther
	for p.pos < p.size {
		if h = p.findBoundary(); h.index != nothing {
			break
		}
		w := p.at(p.pos, 2)
		if len(w) == 0 {
			break // the reader failed
		}
		if w[0] == '\n' || (w[0] == '\r' && len(w) > 1 && w[1] == '\n') {
			p.skipLine()
			break
		}
		if w[0] != ' ' && w[0] != '\t' {
			p.finishField(part, id, &seen)
			id = fieldOther
			if p.mayLook(part) {
				id = p.startField(part)
				continue
			}
		}
		p.takeLine(id)
	}
	p.finishField(part, id, &seen)
	if part.Type == "" {
		part.setType(def)
	}
	p.headerTotal += p.pos - part.HeaderStart
	part.BodyStart, part.BodyEnd = p.pos, p.pos
	part.HeaderLines = p.lines - linesAtTop
	return h
}

// mayLook reports whether the header limits allow to look at the field at pos.
func (p *parse) mayLook(part *Part) bool {
	n := p.pos - part.HeaderStart
	return n < p.lim.HeaderBytes && p.headerTotal+n < p.lim.AllHeaderBytes
}

// maxFieldName is how far into a line the colon is looked for (a line may have
// 998 bytes, RFC 5322 §2.1.1).
const maxFieldName = 1000

// startField begins a field at pos and reads its first line.
func (p *parse) startField(part *Part) fieldID {
	w := p.at(p.pos, maxFieldName)
	if len(w) > maxFieldName {
		w = w[:maxFieldName]
	}
	if i := bytes.IndexByte(w, '\n'); i >= 0 {
		w = w[:i]
	}
	colon := bytes.IndexByte(w, ':')
	if colon < 0 {
		p.takeLine(fieldOther)
		return fieldOther
	}
	// Obsolete syntax has blanks before the colon (RFC 5322 §4.5.2).
	id := identify(bytes.TrimRight(w[:colon], " \t"))
	if id >= fieldDate && part.Envelope == nil {
		id = fieldOther
	}
	p.value = p.value[:0]
	if id != fieldOther {
		p.move(w[:colon+1])
	}
	p.takeLine(id)
	return id
}

// takeLine moves to the next line and adds the bytes up to the line end to the
// value, unless the field is of no interest.
func (p *parse) takeLine(id fieldID) {
	if id == fieldOther {
		p.skipLine()
		return
	}
	for w := p.at(p.pos, 1); len(w) > 0; w = p.at(p.pos, 1) {
		i := bytes.IndexByte(w, '\n')
		if i >= 0 {
			w = w[:i+1]
		}
		if room := p.lim.FieldBytes - len(p.value); room > 0 {
			p.value = append(p.value, w[:min(len(w), room)]...)
		}
		p.move(w)
		if i >= 0 {
			break
		}
	}
	p.value = trimEOL(p.value)
}

// trimEOL takes one line end off. RFC 5322 §2.2.3: unfolding removes the line
// end before a blank and keeps the blank.
func trimEOL(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\n' {
		b = b[:n-1]
		if n > 1 && b[n-2] == '\r' {
			b = b[:n-2]
		}
	}
	return b
}

// keep copies a value into the tree while its budget lasts.
func (p *parse) keep(b []byte) string {
	b = trimBlank(b)
	if len(b) > p.keepLeft {
		b = b[:p.keepLeft]
	}
	p.keepLeft -= len(b)
	return string(b)
}

func trimBlank(b []byte) []byte {
	for len(b) > 0 && isBlank(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isBlank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// finishField stores a value that is complete. Of a field that may stand once
// the first one counts.
func (p *parse) finishField(part *Part, id fieldID, seen *[lastField]uint8) {
	if id == fieldOther || p.keepLeft <= 0 {
		return
	}
	again := seen[id] > 0
	if seen[id] >= maxJoined || (again && id != fieldTo && id != fieldCc && id != fieldBcc) {
		return
	}
	seen[id]++
	if id >= fieldDate {
		p.setEnvelope(part.Envelope, id, again)
		return
	}
	switch id {
	case fieldContentType:
		part.Type, part.Subtype, part.Params = parseContentType(p.keep(p.value), p.lim.Params)
	case fieldContentID:
		part.ID = p.keep(p.value)
	case fieldContentDescription:
		part.Description = p.keep(p.value)
	case fieldContentEncoding:
		part.Encoding = parseEncoding(p.keep(p.value))
	case fieldContentMD5:
		part.MD5 = p.keep(p.value)
	case fieldContentDisposition:
		part.Disposition, part.DispositionParams = parseDisposition(p.keep(p.value), p.lim.Params)
	case fieldContentLanguage:
		part.Language = parseLanguages(p.keep(p.value), p.lim.Params)
	case fieldContentLocation:
		part.Location = p.keep(p.value)
	}
}

func (p *parse) setEnvelope(e *Envelope, id fieldID, again bool) {
	v := p.keep(p.value)
	switch id {
	case fieldDate:
		e.Date, e.Present = v, e.Present|HasDate
	case fieldSubject:
		e.Subject, e.Present = v, e.Present|HasSubject
	case fieldInReplyTo:
		e.InReplyTo, e.Present = v, e.Present|HasInReplyTo
	case fieldMessageID:
		e.MessageID, e.Present = v, e.Present|HasMessageID
	case fieldFrom:
		e.From = v
	case fieldSender:
		e.Sender = v
	case fieldReplyTo:
		e.ReplyTo = v
	case fieldTo:
		p.joinList(&e.To, v, again)
	case fieldCc:
		p.joinList(&e.Cc, v, again)
	case fieldBcc:
		p.joinList(&e.Bcc, v, again)
	}
}

// maxJoined bounds the work of joining fields of one name: each join copies what
// is there.
const maxJoined = 50

func (p *parse) joinList(dst *string, v string, again bool) {
	switch {
	case !again || *dst == "":
		*dst = v
	case v != "":
		*dst += ", " + v
	}
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
