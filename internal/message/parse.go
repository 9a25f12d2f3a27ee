package message

import (
	"bytes"
	"io"
	"strings"
)

// Parse reads a message of size bytes and gives its MIME tree, which is usable
// whatever the message holds. The error is the reader's; the tree then covers
// what could be read and must not be cached.
func Parse(r io.ReaderAt, size int64, lim Limits) (*Part, error) {
	var p Parser
	return p.Parse(r, size, lim)
}

// ParseHeader reads the root's header alone and gives a root without children:
// enough for the envelope and for the sections HEADER, TEXT and the whole
// message. Its BodyLines is not counted. Never cache it as the tree.
func ParseHeader(r io.ReaderAt, size int64, lim Limits) (*Part, error) {
	var p Parser
	return p.ParseHeader(r, size, lim)
}

// Parser is Parse with a buffer that is used again for the next message. Its
// zero value is ready. Not for several goroutines at once.
type Parser struct {
	buf []byte
	run parse
}

// Parse is like the function Parse.
func (ps *Parser) Parse(r io.ReaderAt, size int64, lim Limits) (*Part, error) {
	p := ps.start(r, size, lim)
	defer ps.end()
	root := p.run()
	return root, p.err
}

// ParseHeader is like the function ParseHeader.
func (ps *Parser) ParseHeader(r io.ReaderAt, size int64, lim Limits) (*Part, error) {
	p := ps.start(r, size, lim)
	defer ps.end()
	root := p.root()
	return root, p.err
}

// ParseBytes is Parse of a message in memory: its bytes are not copied.
func (ps *Parser) ParseBytes(msg []byte, lim Limits) *Part {
	p := ps.startBytes(msg, lim)
	defer ps.end()
	return p.run()
}

// ParseHeaderBytes is ParseHeader of a message in memory.
func (ps *Parser) ParseHeaderBytes(msg []byte, lim Limits) *Part {
	p := ps.startBytes(msg, lim)
	defer ps.end()
	return p.root()
}

// root reads the root's header.
func (p *parse) root() *Part {
	root := &Part{Envelope: &Envelope{}}
	p.header(root, defaultText)
	root.BodyEnd = max(p.size, root.BodyStart)
	return root
}

func (ps *Parser) start(r io.ReaderAt, size int64, lim Limits) *parse {
	if ps.buf == nil {
		ps.buf = make([]byte, windowSize)
	}
	p := ps.begin(lim)
	p.scanner.reset(r, size, ps.buf)
	return p
}

// startBytes begins with a window that shows all there is.
func (ps *Parser) startBytes(msg []byte, lim Limits) *parse {
	p := ps.begin(lim)
	p.scanner = scanner{size: int64(len(msg)), buf: msg, n: len(msg)}
	return p
}

func (ps *Parser) begin(lim Limits) *parse {
	p := &ps.run
	p.lim = lim.filled()
	p.frames, p.bounds, p.value = p.frames[:0], p.bounds[:0], p.value[:0]
	p.parts, p.headerTotal, p.keepLeft = 0, 0, p.lim.KeepBytes
	return p
}

// maxScratch is how much memory of one message waits for the next.
const maxScratch = 64 << 10

// end lets go of the message.
func (ps *Parser) end() {
	p := &ps.run
	p.scanner = scanner{}
	if cap(p.value) > maxScratch {
		p.value = nil
	}
	clear(p.bounds[:cap(p.bounds)])
}

// parse is one run over one message.
type parse struct {
	scanner
	lim         Limits
	frames      []frame    // open parts, the root first
	bounds      []boundary // boundaries that can end or divide an open part
	parts       int
	headerTotal int64
	keepLeft    int
	value       []byte // the field being read, unfolded
	lookFrom    lookup // scratch of findBoundary
}

// frame is an open part.
type frame struct {
	part       *Part
	linesAtTop int64 // line ends before its body
	delimited  bool  // one of its delimiters was seen
}

// nothing is the hit of a scan that ended with the message.
const nothing = -1

// hit tells which boundary a scan found.
type hit struct {
	index   int // into parse.bounds, or nothing
	closing bool
}

const (
	defaultText   = "text/plain"
	defaultDigest = "message/rfc822" // RFC 2046 §5.1.5
)

// run walks over the message once. Each turn of the loop opens one part.
func (p *parse) run() *Part {
	root := &Part{}
	next, def, isMessage := root, defaultText, true
	for next != nil {
		p.parts++
		next.HeaderStart = p.pos
		if isMessage {
			next.Envelope = &Envelope{}
		}
		h := p.header(next, def)
		p.frames = append(p.frames, frame{part: next, linesAtTop: p.lines})
		k := p.open(next)
		switch {
		case k == isMessagePart && h.index == nothing:
			child := &Part{}
			next.Children = []*Part{child}
			next, def, isMessage = child, defaultText, true
			continue
		case k == isMessagePart:
			// The header ran into a delimiter: the message inside is empty.
			p.emptyMessage(next)
		case h.index == nothing || len(p.bounds) == 0:
			h = p.scanBody()
		}
		next, def = p.afterDelimiter(h)
		isMessage = false
	}
	p.closeFrames(0, p.size, p.lines)
	return root
}

// kind is how a part's body is looked at.
type kind int

const (
	isLeaf kind = iota
	isMultipart
	isMessagePart
)

// open decides how to read the body of the part on top of the frames, and makes
// a multipart's boundary known.
func (p *parse) open(part *Part) kind {
	k := isLeaf
	b := ""
	switch {
	case strings.EqualFold(part.Type, "multipart"):
		if b = CutBoundary(part.Param("boundary")); b == "" {
			// Without a boundary nothing can be told apart: one piece of text.
			part.Type, part.Subtype, part.Params = "text", "plain", nil
		} else {
			k = isMultipart
		}
	case strings.EqualFold(part.Type, "message") && (strings.EqualFold(part.Subtype, "rfc822") || strings.EqualFold(part.Subtype, "global")):
		k = isMessagePart
	}
	if p.parts >= p.lim.Parts {
		// The last part that may be: the rest of the message is its body.
		p.bounds = p.bounds[:0]
		part.Opaque = true
		return isLeaf
	}
	if k != isLeaf && len(p.frames) >= p.lim.Depth {
		part.Opaque = true
		return isLeaf
	}
	if k == isMultipart {
		p.bounds = append(p.bounds, newBoundary(b, len(p.frames)-1))
	}
	return k
}

// afterDelimiter closes what the delimiter ended and gives the next part to
// open, nil at the message's end. pos is at the delimiter's line.
func (p *parse) afterDelimiter(h hit) (next *Part, def string) {
	for h.index != nothing {
		b := p.bounds[h.index]
		eol := p.eolBefore(p.pos)
		lines := p.lines
		if eol > 0 {
			lines--
		}
		p.closeFrames(b.frame+1, p.pos-eol, lines)
		f := &p.frames[b.frame]
		f.delimited = true
		p.skipLine()
		if !h.closing && p.pos < p.size {
			p.bounds = p.bounds[:h.index+1]
			next = &Part{}
			f.part.Children = append(f.part.Children, next)
			if strings.EqualFold(f.part.Subtype, "digest") {
				return next, defaultDigest
			}
			return next, defaultText
		}
		p.bounds = p.bounds[:h.index] // what follows is the epilogue
		h = p.scanBody()
	}
	return nil, ""
}

// emptyMessage gives a message/rfc822 part a message without bytes.
func (p *parse) emptyMessage(part *Part) {
	child := &Part{Envelope: &Envelope{}, HeaderStart: p.pos, BodyStart: p.pos, BodyEnd: p.pos}
	child.setType(defaultText)
	part.Children = []*Part{child}
	p.parts++
}

// closeFrames ends the open parts from index on: their bodies end at end, which
// has lines line ends before it.
func (p *parse) closeFrames(from int, end, lines int64) {
	for i := len(p.frames) - 1; i >= from; i-- {
		f := &p.frames[i]
		part := f.part
		part.BodyEnd, part.BodyLines = end, lines-f.linesAtTop
		if end <= part.BodyStart {
			// The delimiter followed the header at once, or cut it.
			part.BodyEnd, part.BodyLines = part.BodyStart, 0
		}
		if n := len(part.Children); n > 0 {
			// A child whose header was cut by the delimiter keeps its last line end.
			if last := part.Children[n-1].BodyEnd; last > part.BodyEnd {
				part.BodyEnd, part.BodyLines = last, lines+1-f.linesAtTop
			}
		} else if !part.Opaque && strings.EqualFold(part.Type, "multipart") {
			p.addOnlyChild(part, f.delimited)
		}
		f.part = nil
	}
	p.frames = p.frames[:from]
}

// addOnlyChild gives a multipart without parts the one part that IMAP's grammar
// wants (RFC 3501 §9: body-type-mpart = 1*body …). If no delimiter was found at
// all it holds the body, so that a reader sees something.
func (p *parse) addOnlyChild(part *Part, delimited bool) {
	child := &Part{HeaderStart: part.BodyStart, BodyStart: part.BodyStart, BodyEnd: part.BodyEnd, BodyLines: part.BodyLines}
	if delimited {
		child.HeaderStart, child.BodyStart, child.BodyLines = part.BodyEnd, part.BodyEnd, 0
	}
	child.setType(defaultText)
	part.Children = []*Part{child}
}

// scanBody goes to the next delimiter line of any open multipart, from the
// start of a line.
func (p *parse) scanBody() hit {
	if len(p.bounds) == 0 {
		p.skipAll()
		return hit{index: nothing}
	}
	for p.pos < p.size {
		if h := p.findBoundary(); h.index != nothing {
			return h
		}
		p.skipToDashes()
	}
	return hit{index: nothing}
}

// MaxBoundary is how many octets of a boundary are compared. RFC 2046 §5.1.1 allows 70.
const MaxBoundary = 250

// boundary is a multipart's boundary that the scan looks for.
type boundary struct {
	text  string
	hash  uint64
	frame int // its multipart's place in parse.frames
}

// CutBoundary gives the boundary as lines are compared with it; "" if it can be none.
func CutBoundary(s string) string {
	if len(s) > MaxBoundary {
		s = s[:MaxBoundary]
	}
	if strings.ContainsAny(s, "\r\n") {
		return ""
	}
	return strings.TrimRight(s, " \t")
}

func newBoundary(text string, frame int) boundary {
	h := uint64(hashStart)
	for i := 0; i < len(text); i++ {
		h = hashStep(h, text[i])
	}
	return boundary{text: text, hash: h, frame: frame}
}

// FNV-1a; a chance or wanted collision costs a comparison, no more.
const hashStart = 14695981039346656037

func hashStep(h uint64, c byte) uint64 { return (h ^ uint64(c)) * 1099511628211 }

// lookup holds the hashes of a line's prefixes.
type lookup [MaxBoundary + 1]uint64

// findBoundary looks whether the line at pos is a delimiter of an open
// multipart. RFC 2046 §5.1.1: the boundary need only begin the line, so among
// boundaries that begin alike a whole line wins, then the longest, then the
// innermost. The prefixes are hashed once, so that many open boundaries cost a
// number comparison each.
func (p *parse) findBoundary() hit {
	none := hit{index: nothing}
	if len(p.bounds) == 0 {
		return none
	}
	w := p.at(p.pos, MaxBoundary+8)
	if len(w) < 3 || w[0] != '-' || w[1] != '-' {
		return none
	}
	line := w[2:]
	if i := bytes.IndexByte(line[:min(len(line), 2*MaxBoundary)], '\n'); i >= 0 {
		line = line[:i]
	} else if len(line) > 2*MaxBoundary {
		line = line[:2*MaxBoundary]
	}
	line = bytes.TrimRight(line, " \t\r")
	hashed := min(len(line), MaxBoundary)
	h := uint64(hashStart)
	p.lookFrom[0] = h
	for i := 0; i < hashed; i++ {
		h = hashStep(h, line[i])
		p.lookFrom[i+1] = h
	}
	best, bestScore := none, 0
	for i := len(p.bounds) - 1; i >= 0; i-- {
		b := &p.bounds[i]
		n := len(b.text)
		if n > hashed || p.lookFrom[n] != b.hash || string(line[:n]) != b.text {
			continue
		}
		rest := line[n:]
		closing := bytes.HasPrefix(rest, []byte("--"))
		score := n
		if len(rest) == 0 || (closing && len(rest) == 2) {
			score = MaxBoundary + 1
		}
		if score > bestScore {
			best, bestScore = hit{index: i, closing: closing}, score
		}
	}
	return best
}
