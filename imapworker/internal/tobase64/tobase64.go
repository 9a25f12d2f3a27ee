// Package tobase64 puts the parts of a message whose transfer encoding is "binary" into
// base64, as the message comes.
//
// A client that appends a literal8 may send such parts (RFC 3516 §4.4), with NULs in them,
// which no literal of the base specification can hold: "Implementations MUST encode binary
// data into a textual form, such as BASE64, before transmitting the data" (RFC 3501
// §4.3). So the message is kept in the form that BODYSTRUCTURE describes and that BODY
// gives (RFC 3516 §6: both MUST), and BINARY gives the octets that the client sent: nothing
// is lost (§4.4: MUST NOT). No signature can be hurt that other mail programs could have
// checked: what multipart/signed holds is in 7bit (RFC 1847 §2.1), and what a part holds is
// the same in any encoding. All other octets stay as they are: those of parts that say
// another encoding, or none.
//
// The session machine uses it. It is pure: octets in, octets out, in memory a header and a
// line at most.
package tobase64

import (
	"bytes"
	"encoding/base64"
	"io"
	"strings"

	"rookery/internal/message"
)

// Bounds: what is beyond them stays as it is.
const (
	maxHeader = 256 << 10 // octets of one part's header
	maxLine   = 1000      // octets of a line that are looked at together; a delimiter has fewer
	maxDepth  = 100       // parts within parts, as message.Limits.Depth
	maxParts  = 10_000    // parts, as message.Limits.Parts
)

// Writer is a message on its way. It is not for several goroutines at once.
type Writer struct {
	to    io.Writer
	err   error
	line  []byte // of the present line, or of a piece of it
	inner bool   // line does not begin a line
	skip  bool   // the rest of the line belongs to a delimiter
	doing state
	parts int

	header []byte   // of the present part, while it is read
	def    string   // the type of the present part if its header has none
	open   []string // boundaries of the multiparts that are open; "" for a message within one
	digest []bool   // of each, whether it is a multipart/digest

	coder coder
	eol   []byte // that may belong to the delimiter behind it
}

type state uint8

const (
	inHeader state = iota
	longHeader
	inBody
	encoding
)

// New gives the writer of one message. Close has to be called at its end.
func New(to io.Writer) *Writer { return &Writer{to: to} }

// Write takes the next octets.
func (w *Writer) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && w.err == nil {
		end := bytes.IndexByte(p, '\n') + 1
		whole := end > 0
		if !whole {
			end = len(p)
		}
		if room := maxLine - len(w.line); end > room {
			end, whole = room, false
		}
		w.line = append(w.line, p[:end]...)
		p = p[end:]
		switch {
		case whole:
			w.take(w.line, true)
			w.line, w.inner = w.line[:0], false
		case len(w.line) == maxLine:
			w.piece()
		}
	}
	if w.err != nil {
		return 0, w.err
	}
	return n, nil
}

// piece takes most of a line that is too long to be looked at whole. A CR at its end may
// belong to the line's end.
func (w *Writer) piece() {
	keep := 0
	if w.line[len(w.line)-1] == '\r' {
		keep = 1
	}
	w.take(w.line[:len(w.line)-keep], false)
	w.line = w.line[:copy(w.line, w.line[len(w.line)-keep:])]
	w.inner = true
}

// Close ends the message.
func (w *Writer) Close() error {
	if len(w.line) > 0 {
		w.take(w.line, false)
		w.line = w.line[:0]
	}
	switch w.doing {
	case inHeader:
		w.pass(w.header)
	case encoding:
		w.encode(w.eol)
		w.endPart()
		if w.coder.begun {
			w.pass([]byte("\r\n"))
		}
	}
	return w.err
}

func (w *Writer) pass(p []byte) {
	if w.err == nil && len(p) > 0 {
		_, w.err = w.to.Write(p)
	}
}

// take takes a line with its end, or a piece of one without.
func (w *Writer) take(p []byte, whole bool) {
	if w.skip {
		w.pass(p)
		w.skip = !whole
		return
	}
	if !w.inner && w.delimiter(p) {
		w.skip = !whole
		return
	}
	switch w.doing {
	case inHeader:
		w.header = append(w.header, p...)
		switch {
		case whole && !w.inner && blank(p):
			w.begin()
		case len(w.header) > maxHeader:
			w.pass(w.header)
			w.header, w.doing = nil, longHeader
		}
	case longHeader:
		w.pass(p)
		if whole && !w.inner && blank(p) {
			w.doing = inBody
		}
	case inBody:
		w.pass(p)
	case encoding:
		w.encode(w.eol)
		text := p
		if whole {
			text = bytes.TrimSuffix(bytes.TrimSuffix(p, []byte("\n")), []byte("\r"))
		}
		w.encode(text)
		w.eol = append(w.eol[:0], p[len(text):]...)
	}
}

func blank(p []byte) bool { return len(p) == 1 || len(p) == 2 && p[0] == '\r' }

// begin begins the body behind a header that is complete.
func (w *Writer) begin() {
	part := (&message.Parser{}).ParseHeaderBytes(w.header, message.Limits{})
	kind := strings.ToLower(part.Type + "/" + part.Subtype)
	_, typed := field(w.header, "content-type")
	if !typed && w.def != "" {
		kind = w.def
	}
	unknown := typed && w.def != "" && kind == "text/plain" // perhaps: the type may be one that cannot be read
	bound := message.CutBoundary(part.Param("boundary"))
	deeper := len(w.open)+1 < maxDepth
	w.doing = inBody
	w.parts++
	switch {
	case w.parts >= maxParts:
		w.open, w.digest = nil, nil
	case strings.HasPrefix(kind, "multipart/") && bound != "":
		if deeper {
			w.open, w.digest = append(w.open, bound), append(w.digest, kind == "multipart/digest")
		}
	case kind == "message/rfc822" || kind == "message/global":
		if deeper {
			w.open, w.digest = append(w.open, ""), append(w.digest, false)
			w.doing = inHeader
		}
	case strings.EqualFold(part.Encoding, "binary") && !unknown && w.relabel():
		w.doing, w.coder, w.eol = encoding, coder{}, w.eol[:0]
	}
	w.pass(w.header)
	w.header, w.def = w.header[:0], ""
}

// relabel puts "base64", which is as long, where the header says "binary". It changes
// nothing where that is not the word that counts.
func (w *Writer) relabel() bool {
	at, ok := field(w.header, "content-transfer-encoding")
	if !ok {
		return false
	}
	value := w.header[at:min(len(w.header), at+maxLine)]
	i := bytes.Index(bytes.ToLower(value), []byte("binary"))
	if i < 0 {
		return false
	}
	was := string(value[i : i+len("binary")])
	copy(value[i:], "base64")
	if (&message.Parser{}).ParseHeaderBytes(w.header, message.Limits{}).Encoding == "base64" {
		return true
	}
	copy(value[i:], was)
	return false
}

// field finds the value of the first field of a name, as package message does.
func field(header []byte, name string) (at int, ok bool) {
	for from := 0; from < len(header); {
		line := header[from:]
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line = line[:i+1]
		}
		if colon := bytes.IndexByte(line, ':'); colon >= 0 && line[0] != ' ' && line[0] != '\t' &&
			strings.EqualFold(string(bytes.TrimRight(line[:colon], " \t")), name) {
			return from + colon + 1, true
		}
		from += len(line)
	}
	return 0, false
}

// delimiter takes a line that divides or ends an open multipart. Among boundaries that
// begin alike a whole line wins, then the longest, then the innermost, as in package
// message.
func (w *Writer) delimiter(p []byte) bool {
	if len(p) < 3 || p[0] != '-' || p[1] != '-' {
		return false
	}
	line := bytes.TrimRight(p[2:], " \t\r\n")
	best, score, closing := -1, 0, false
	for i := len(w.open) - 1; i >= 0; i-- {
		b := w.open[i]
		if b == "" || len(line) < len(b) || string(line[:len(b)]) != b {
			continue
		}
		rest := line[len(b):]
		ends := bytes.HasPrefix(rest, []byte("--"))
		n := len(b)
		if len(rest) == 0 || ends && len(rest) == 2 {
			n = message.MaxBoundary + 1
		}
		if n > score {
			best, score, closing = i, n, ends
		}
	}
	if best < 0 {
		return false
	}
	switch w.doing {
	case inHeader:
		w.pass(w.header) // it is cut here
		w.header = w.header[:0]
		w.parts++
	case encoding:
		w.endPart()
		w.pass(w.eol)
	}
	w.pass(p)
	w.def = ""
	if closing {
		w.open, w.digest, w.doing = w.open[:best], w.digest[:best], inBody
		return true
	}
	w.open, w.digest, w.doing = w.open[:best+1], w.digest[:best+1], inHeader
	if w.digest[best] {
		w.def = "message/rfc822" // RFC 2046 §5.1.5
	}
	return true
}

// perLine is how many octets one line of base64 has, of 76 (RFC 2045 §6.8).
const perLine = 57

// coder writes lines of base64, with line ends between them.
type coder struct {
	held  [perLine]byte
	n     int
	begun bool
}

// encode takes octets of a part.
func (w *Writer) encode(p []byte) {
	c := &w.coder
	for len(p) > 0 {
		n := copy(c.held[c.n:], p)
		c.n += n
		p = p[n:]
		if c.n == perLine {
			w.codeLine()
		}
	}
}

// endPart writes what is left of a part.
func (w *Writer) endPart() {
	if w.coder.n > 0 {
		w.codeLine()
	}
}

func (w *Writer) codeLine() {
	c := &w.coder
	var out [2 + perLine/3*4]byte
	text := out[:0]
	if c.begun {
		text = append(text, '\r', '\n')
	}
	w.pass(base64.StdEncoding.AppendEncode(text, c.held[:c.n]))
	c.n, c.begun = 0, true
}
