package message

import (
	"bytes"
	"io"

	"golang.org/x/text/transform"
)

// TransferReader decodes a Content-Transfer-Encoding as it reads. Broken input
// is read as far as it makes sense. Unknown encodings are read as they are.
func TransferReader(r io.Reader, encoding string) io.Reader {
	if t := transferDecoder(encoding); t != nil {
		return transform.NewReader(r, t)
	}
	return r
}

// transferDecoder gives a new decoder of an encoding, nil if it needs none or is
// not known.
func transferDecoder(encoding string) transform.Transformer {
	if len(encoding) == len("7bit") || encoding == "" {
		return nil // the short ones are no encodings
	}
	switch lowerString(encoding) {
	case "base64":
		return &base64Decoder{}
	case "quoted-printable":
		return &qpDecoder{}
	case "x-uuencode", "uuencode", "x-uue", "uue":
		return &uuDecoder{}
	}
	return nil
}

// KnownEncoding reports whether TransferReader decodes an encoding, or it needs
// no decoding (empty, 7bit, 8bit, binary).
func KnownEncoding(encoding string) bool {
	switch lowerString(encoding) {
	case "", "7bit", "8bit", "binary", "base64", "quoted-printable", "x-uuencode", "uuencode", "x-uue", "uue":
		return true
	}
	return false
}

// TextReader reads the part's body as UTF-8: transfer encoding and charset
// decoded; a charset that is not known is read leniently.
func (p *Part) TextReader(r io.ReaderAt) io.Reader {
	body := TransferReader(p.Body().Reader(r), p.Encoding)
	return transform.NewReader(body, decoderOr(p.Param("charset")))
}

// base64Values are the six bits of each base64 digit (RFC 4648 §4); noDigit for
// bytes that are none.
var base64Values = func() (t [256]byte) {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for i := range t {
		t[i] = noDigit
	}
	for i := range len(digits) {
		t[digits[i]] = byte(i)
	}
	return t
}()

const noDigit = 0x80

// base64Decoder decodes base64 (RFC 2045 §6.8): bytes outside the alphabet are
// passed over, padding starts a new group, so that joined pieces are read too.
type base64Decoder struct {
	bits uint32
	n    uint // digits in bits, 0 to 3
}

// Reset implements transform.Transformer.
func (d *base64Decoder) Reset() { *d = base64Decoder{} }

// Transform implements transform.Transformer.
func (d *base64Decoder) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for ; nSrc < len(src); nSrc++ {
		for d.n == 0 && len(src)-nSrc >= 4 && len(dst)-nDst >= 3 { // whole groups
			p := src[nSrc : nSrc+4]
			a, b, c, e := base64Values[p[0]], base64Values[p[1]], base64Values[p[2]], base64Values[p[3]]
			if (a|b|c|e)&noDigit != 0 {
				break
			}
			q := dst[nDst : nDst+3]
			q[0], q[1], q[2] = a<<2|b>>4, b<<4|c>>2, c<<6|e
			nSrc, nDst = nSrc+4, nDst+3
		}
		if nSrc == len(src) {
			break
		}
		if nDst+3 > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		c := src[nSrc]
		v := base64Values[c]
		if v == noDigit {
			if c == '=' {
				nDst += d.flush(dst[nDst:])
			}
			continue
		}
		d.bits = d.bits<<6 | uint32(v)
		if d.n++; d.n == 4 {
			dst[nDst], dst[nDst+1], dst[nDst+2] = byte(d.bits>>16), byte(d.bits>>8), byte(d.bits)
			nDst += 3
			d.bits, d.n = 0, 0
		}
	}
	if atEOF && d.n > 0 {
		if nDst+3 > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += d.flush(dst[nDst:])
	}
	return nDst, nSrc, nil
}

// flush writes the whole bytes of a group that is not full.
func (d *base64Decoder) flush(dst []byte) int {
	n := 0
	switch d.n {
	case 2:
		dst[0], n = byte(d.bits>>4), 1
	case 3:
		dst[0], dst[1], n = byte(d.bits>>10), byte(d.bits>>2), 2
	}
	d.bits, d.n = 0, 0
	return n
}

// qpDecoder decodes quoted-printable (RFC 2045 §6.7); an "=" that begins no code
// stays as it is, lower-case digits count.
type qpDecoder struct{ transform.NopResetter }

// maxTrailing is how much blank space at a line's end is looked over for the
// line end; RFC 2045 §6.7 (3) has it removed. Lines of quoted-printable are at
// most 76 bytes long.
const maxTrailing = 100

// Transform implements transform.Transformer.
func (qpDecoder) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		if nDst == len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		rest := src[nSrc:]
		c := rest[0]
		used, emit := 1, true
		switch c {
		case ' ', '\t':
			if len(rest) > 1 && rest[1] > ' ' { // one between two words
				dst[nDst] = c
				nDst, nSrc = nDst+1, nSrc+1
				continue
			}
			n := blankRun(rest)
			if n < maxTrailing {
				if n == len(rest) && !atEOF {
					return nDst, nSrc, transform.ErrShortSrc
				}
				if n == len(rest) || rest[n] == '\n' || rest[n] == '\r' {
					nSrc += n
					continue
				}
			}
			n = copy(dst[nDst:], rest[:n])
			nDst, nSrc = nDst+n, nSrc+n
			continue
		case '=':
			var ok bool
			if c, used, emit, ok = qpCode(rest, atEOF); !ok {
				return nDst, nSrc, transform.ErrShortSrc
			}
		}
		if emit {
			dst[nDst] = c
			nDst++
		}
		nSrc += used
	}
	return nDst, nSrc, nil
}

// blankRun counts blanks at the start, at most maxTrailing.
func blankRun(b []byte) int {
	n := 0
	for n < len(b) && n < maxTrailing && (b[n] == ' ' || b[n] == '\t') {
		n++
	}
	return n
}

// qpCode reads what begins with "=": a code, a soft line break (emit false), or
// a stray sign. It reports ok false if more bytes are needed.
func qpCode(b []byte, atEOF bool) (c byte, used int, emit, ok bool) {
	if len(b) >= 3 {
		hi, ok1 := hexDigit(b[1])
		lo, ok2 := hexDigit(b[2])
		if ok1 && ok2 {
			return hi<<4 | lo, 3, true, true
		}
	} else if !atEOF {
		return 0, 0, false, false
	}
	n := 1 + blankRun(b[1:])
	switch {
	case n == len(b):
		if !atEOF && n <= maxTrailing {
			return 0, 0, false, false
		}
		return 0, n, false, true
	case b[n] == '\n':
		return 0, n + 1, false, true
	case b[n] == '\r' && n+1 == len(b):
		if !atEOF {
			return 0, 0, false, false
		}
		return 0, n + 1, false, true
	case b[n] == '\r' && b[n+1] == '\n':
		return 0, n + 2, false, true
	}
	return '=', 1, true, true
}

// uuDecoder decodes uuencode: the lines between "begin" and "end".
type uuDecoder struct {
	transform.NopResetter
	begun, done bool
	inLine      bool // a line goes on that was longer than maxUULine
}

// maxUULine is the longest line looked at: a length byte gives at most 63 bytes.
const maxUULine = 200

// Transform implements transform.Transformer.
func (d *uuDecoder) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		if nDst+66 > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		line := src[nSrc:]
		used, goesOn := len(line), d.inLine
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line, used, d.inLine = line[:i], i+1, false
		} else if !atEOF && !goesOn && len(line) < maxUULine {
			return nDst, nSrc, transform.ErrShortSrc
		} else {
			d.inLine = true
		}
		nSrc += used
		if goesOn {
			continue
		}
		line = bytes.TrimRight(line[:min(len(line), maxUULine)], "\r")
		switch {
		case d.done:
		case !d.begun:
			d.begun = bytes.HasPrefix(line, []byte("begin "))
		case bytes.Equal(line, []byte("end")):
			d.done = true
		case len(line) > 0:
			nDst += uuLine(dst[nDst:], line)
		}
	}
	return nDst, nSrc, nil
}

// uuLine decodes one line: a length, then four characters for three bytes.
func uuLine(dst, line []byte) int {
	want := int(line[0]-' ') & 63
	n := 0
	for i := 1; i < len(line) && n < want; i += 4 {
		var group uint32
		for j := range 4 {
			group <<= 6
			if i+j < len(line) {
				group |= uint32(line[i+j]-' ') & 63
			}
		}
		for shift := 16; shift >= 0 && n < want; shift -= 8 {
			dst[n] = byte(group >> uint(shift))
			n++
		}
	}
	return n
}
