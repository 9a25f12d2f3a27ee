package fetch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/text/transform"

	"rookery/imapworker/internal/opened"
	"rookery/imapworker/internal/view"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/message"
)

// BINARY and BINARY.SIZE (RFC 3516; RFC 9051 §6.4.5). What has no transfer encoding
// of its own to be undone goes out as BODY[…] does: a part in 7bit, 8bit or binary,
// a multipart or message part (RFC 2045 §6.4 lets them have no other), and with no
// part number the whole message, its header included.

// errUnknownCTE is the answer UNKNOWN-CTE (RFC 3516 §4.3).
var errUnknownCTE = errors.New("transfer encoding is not known")

const (
	// maxMade is up to how many encoded bytes a part is decoded in memory. Others are
	// decoded twice, for the size, which is kept, and for the bytes, and never whole
	// in memory.
	maxMade = 64 << 10
	// maxHeld is how much one message may hold so in memory, however many parts of
	// it are asked for, with the pieces of larger ones that <partial> names.
	maxHeld = 1 << 20
)

// coded is a part that is decoded while it is sent.
type coded struct {
	part      *message.Part // nil: none
	from, end int64         // of the decoded bytes
	size      int64         // of what is sent: end - from, or the value of BINARY.SIZE
}

// isCoded reports whether a part has a transfer encoding that is to be undone.
// ok is false for one that is not known.
func isCoded(p *message.Part) (coded, ok bool) {
	if p.IsMultipart() || p.IsMessage() {
		return false, true
	}
	switch strings.ToLower(p.Encoding) {
	case "", "7bit", "8bit", "binary":
		return false, true
	}
	return true, message.KnownEncoding(p.Encoding)
}

// decodable reports whether no part that BINARY asks for has an encoding that is
// not known: else the message's response is left out, and it stays unseen.
func (r *run) decodable(uid mailstore.UID) bool {
	for i := range r.sections {
		s := &r.sections[i]
		if s.kind == asItIs || len(s.sec.Part) == 0 {
			continue
		}
		if r.checked.Box == nil {
			r.checked = r.opened()
		}
		if r.checked.UID != uid {
			r.checked.Next(uid)
		}
		tree, err := r.checked.Tree()
		if err != nil {
			return true // what is wrong is told later
		}
		if p, found := tree.Find(opened.PartPath(&s.sec)); found {
			if _, ok := isCoded(p); !ok {
				r.checked.Close()
				return false
			}
		}
	}
	r.checked.Close()
	return true
}

// findBinary finds a section of BINARY or BINARY.SIZE.
func (o *one) findBinary(p *part) error {
	s := p.of
	if len(s.sec.Part) == 0 {
		section, err := o.Section(&s.sec)
		p.Section = section
		if err != nil {
			return err
		}
		return o.cutPlain(p)
	}
	tree, err := o.Tree()
	if err != nil {
		return err
	}
	leaf, found := tree.Find(opened.PartPath(&s.sec))
	if !found {
		return nil
	}
	isIt, known := isCoded(leaf)
	switch {
	case !known:
		return errUnknownCTE
	case !isIt:
		p.Found, p.Where = true, leaf.Body()
		return o.cutPlain(p)
	case s.kind == decodedSize:
		size, _, err := o.decodedSize(tree, leaf)
		p.Found, p.coded = true, coded{part: leaf, size: size}
		return err
	}
	p.Found = true
	return o.findCoded(p, tree, leaf)
}

// cutPlain does what is left for a section that needs no decoding.
func (o *one) cutPlain(p *part) (err error) {
	s := p.of
	if s.kind == decodedSize {
		return nil
	}
	if s.partial.Length > 0 {
		p.Cut(int64(s.partial.Offset), int64(s.partial.Length))
	}
	p.nul, err = o.nulIn(p.Where)
	return err
}

// nulIn reports whether there is a NUL in a range of the message.
func (o *one) nulIn(where message.Range) (bool, error) {
	if where.Len() > view.SmallBody {
		// The answer for the whole message is kept, and mostly no.
		if nul, err := o.HasNUL(); err != nil || !nul {
			return false, err
		}
	}
	nul := false
	err := o.Each(where, func(p []byte) error {
		nul = nul || bytes.IndexByte(p, 0) >= 0
		return nil
	})
	return nul, err
}

// findCoded readies the decoded bytes of a part: in memory, or how to get them.
func (o *one) findCoded(p *part, tree, leaf *message.Part) error {
	msg, err := o.Open()
	if err != nil {
		return err
	}
	from, count := int64(p.of.partial.Offset), int64(p.of.partial.Length)
	whole := count == 0
	start := len(o.buf)
	switch {
	case leaf.Size() <= maxMade && start <= maxHeld:
		if o.buf, err = appendAll(o.buf, decode(msg, leaf)); err != nil {
			return err
		}
		p.IsMade, p.Made = true, o.buf[start:]
		if !whole {
			p.Cut(from, count)
		}
	case !whole && count <= maxHeld-int64(start):
		r := decode(msg, leaf)
		if _, err = io.CopyN(io.Discard, r, from); err == nil {
			o.buf, err = appendAll(o.buf, io.LimitReader(r, count))
		}
		if err != nil && err != io.EOF {
			return err
		}
		p.IsMade, p.Made = true, o.buf[start:]
	}
	if p.IsMade {
		p.nul = bytes.IndexByte(p.Made, 0) >= 0
		return nil
	}
	size, nul, err := o.decodedSize(tree, leaf)
	if err != nil {
		return err
	}
	c := coded{part: leaf, end: size}
	if !whole {
		r := message.Range{Start: 0, End: size}.Partial(from, count)
		c.from, c.end = r.Start, r.End
	}
	c.size = c.end - c.from
	if p.nul = nul; nul && !whole {
		// Only a NUL in what is sent makes a literal8.
		if _, p.nul, err = measure(io.LimitReader(decode(msg, leaf), c.end), c.from, c.end); err != nil {
			return err
		}
	}
	p.coded = c
	return nil
}

// writeBinary writes BINARY[…] and its bytes: as a literal8 where there is a NUL in
// them, else as a string (RFC 3516 §4.3).
func (r *run) writeBinary(o *one, p *part) error {
	enc := r.ctx.Enc
	enc.Append(r.labels[p.no])
	switch {
	case !p.Found:
		writeAbsent(enc)
		return nil
	case p.size() == 0:
		enc.Quoted("")
		return nil
	case !enc.Literal(p.size(), p.nul):
		return nil // our own bug, which the session logs
	}
	r.count(p)
	if p.IsMade {
		enc.Body(p.Made, true)
		return nil
	}
	msg, err := o.Open()
	if err != nil {
		return fmt.Errorf("%w: %w", view.ErrDisconnect, err)
	}
	switch {
	case p.coded.part != nil:
		err = r.sendCoded(msg, &p.coded)
	case p.nul && p.size() <= view.SmallBody:
		err = o.Each(p.Where, func(piece []byte) error {
			enc.Body(piece, true)
			return nil
		})
	default:
		return r.ctx.Body(msg, p.Where.Start, p.size(), true)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", view.ErrDisconnect, err)
	}
	return nil
}

// sendCoded decodes a part once more and sends it.
func (r *run) sendCoded(msg mailstore.Message, c *coded) error {
	from := decode(msg, c.part)
	if _, err := io.CopyN(io.Discard, from, c.from); err != nil {
		return err
	}
	piece := make([]byte, min(c.size, maxMade))
	for left := c.size; left > 0; {
		p := piece[:min(left, int64(len(piece)))]
		if _, err := io.ReadFull(from, p); err != nil {
			return err // fewer bytes than the literal's head has said
		}
		r.ctx.Enc.Body(p, true)
		if err := r.ctx.Out.Flush(r.ctx.Enc); err != nil {
			return err
		}
		left -= int64(len(p))
	}
	return nil
}

// decode reads a part's body without its transfer encoding. Lines of text end in
// CRLF whatever the encoding hid (RFC 3516 §6: "servers MUST ensure that textual
// line-oriented sections are always transmitted using the IMAP4 CRLF line
// termination syntax").
func decode(msg io.ReaderAt, p *message.Part) io.Reader {
	r := message.TransferReader(p.Body().Reader(msg), p.Encoding)
	if p.IsText() && linesOfOctets(p.Param("charset")) {
		return transform.NewReader(r, &lines{})
	}
	return r
}

// linesOfOctets reports whether LF is a line end in a charset: in those of two or
// four octets for a character it may be a half of one.
func linesOfOctets(charset string) bool {
	charset = strings.ToLower(charset)
	for _, wide := range []string{"utf-16", "utf16", "utf-32", "utf32", "ucs", "iso-10646-ucs", "unicode"} {
		if strings.HasPrefix(charset, wide) && charset != "unicode-1-1-utf-7" {
			return false
		}
	}
	return true
}

// lines puts a CR before each LF that has none.
type lines struct{ cr bool }

// Reset implements transform.Transformer.
func (t *lines) Reset() { t.cr = false }

// Transform implements transform.Transformer.
func (t *lines) Transform(dst, src []byte, _ bool) (nDst, nSrc int, err error) {
	for _, b := range src {
		need := 1
		if b == '\n' && !t.cr {
			need = 2
		}
		if nDst+need > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		if need == 2 {
			dst[nDst] = '\r'
			nDst++
		}
		dst[nDst] = b
		nDst, nSrc, t.cr = nDst+1, nSrc+1, b == '\r'
	}
	return nDst, nSrc, nil
}

// appendAll appends what r gives to dst.
func appendAll(dst []byte, r io.Reader) ([]byte, error) {
	b := bytes.NewBuffer(dst)
	_, err := b.ReadFrom(r)
	return b.Bytes(), err
}

// measure reads r to its end and gives its size, and whether a NUL is among the
// bytes [from, end).
func measure(r io.Reader, from, end int64) (size int64, nul bool, err error) {
	var buf [8 << 10]byte
	for {
		n, err := r.Read(buf[:])
		if lo, hi := max(from-size, 0), min(end-size, int64(n)); lo < hi && !nul {
			nul = bytes.IndexByte(buf[lo:hi], 0) >= 0
		}
		size += int64(n)
		switch {
		case err == io.EOF:
			return size, nul, nil
		case err != nil:
			return size, nul, err
		}
	}
}

// sizesField names the decoded sizes of a message's parts in the mailbox's cache:
// for each leaf of the tree with a transfer encoding that is to be undone, in the
// order of the message, an unsigned varint, the size times two, and one more if
// there is a NUL. One of an encoding that is not known has 0.
const sizesField = "binary.sizes"

// decodedSize gives a part's decoded size, and whether a NUL is in it. All parts
// of the message are decoded the first time.
func (o *one) decodedSize(tree, leaf *message.Part) (size int64, nul bool, err error) {
	leaves := codedLeaves(nil, tree)
	if o.sizes == nil {
		fact, ok := o.Fact(nil, sizesField)
		if ok && countVarints(fact) == len(leaves) {
			o.sizes = fact
		} else if o.sizes, err = o.measureAll(leaves); err != nil {
			return 0, false, err
		}
	}
	rest := o.sizes
	for _, l := range leaves {
		v, n := binary.Uvarint(rest)
		if l == leaf {
			return int64(v >> 1), v&1 != 0, nil
		}
		rest = rest[n:]
	}
	return 0, false, errkind.Newf("fetch", errkind.Other, "a part that is not in its message")
}

func (o *one) measureAll(leaves []*message.Part) ([]byte, error) {
	msg, err := o.Open()
	if err != nil {
		return nil, err
	}
	fact := make([]byte, 0, 4*len(leaves))
	for _, l := range leaves {
		var v uint64
		if _, known := isCoded(l); known {
			size, nul, err := measure(decode(msg, l), 0, 1<<62)
			if err != nil {
				return nil, err
			}
			v = uint64(size) << 1
			if nul {
				v++
			}
		}
		fact = binary.AppendUvarint(fact, v)
	}
	o.box.PutCached(o.UID, sizesField, fact)
	return fact, nil
}

// codedLeaves appends the parts below p that have a transfer encoding to be undone.
func codedLeaves(dst []*message.Part, p *message.Part) []*message.Part {
	if isIt, _ := isCoded(p); isIt {
		dst = append(dst, p)
	}
	for _, c := range p.Children {
		dst = codedLeaves(dst, c)
	}
	return dst
}

// countVarints counts the numbers of a fact, -1 if it is none.
func countVarints(p []byte) (n int) {
	for ; len(p) > 0; n++ {
		_, used := binary.Uvarint(p)
		if used <= 0 {
			return -1
		}
		p = p[used:]
	}
	return n
}
