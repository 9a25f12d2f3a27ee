package message

import (
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/transform"
)

// utf7 decodes UTF-7 (RFC 2152). Broken shifts give U+FFFD or pass as they are.
type utf7 struct {
	shifted bool
	fresh   bool   // the shift has had no byte yet
	bits    uint32 // base64 bits not yet used
	n       uint   // how many, below 16 between bytes
	high    rune   // a high surrogate that waits for its low one
}

// Reset implements transform.Transformer.
func (u *utf7) Reset() { *u = utf7{} }

// Transform implements transform.Transformer.
func (u *utf7) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		// One byte gives at most a lost surrogate and two runes.
		if nDst+3*utf8.UTFMax > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += u.step(dst[nDst:], src[nSrc])
		nSrc++
	}
	if atEOF && u.high != 0 {
		if nDst+utf8.UTFMax > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += u.lost(dst[nDst:])
	}
	return nDst, nSrc, nil
}

// step takes one byte and gives how many bytes it wrote.
func (u *utf7) step(dst []byte, c byte) int {
	if !u.shifted {
		if c == '+' {
			*u = utf7{shifted: true, fresh: true}
			return 0
		}
		return putByte(dst, c)
	}
	if v := base64Values[c]; v != noDigit {
		u.fresh = false
		u.bits = u.bits<<6 | uint32(v)
		if u.n += 6; u.n < 16 {
			return 0
		}
		u.n -= 16
		return u.unit(dst, rune(u.bits>>u.n&0xffff))
	}
	fresh := u.fresh
	n := u.lost(dst)
	u.shifted = false
	switch {
	case c == '-' && fresh: // "+-" is a plus
		return n + putByte(dst[n:], '+')
	case c == '-':
		return n
	}
	return n + putByte(dst[n:], c)
}

// putByte writes a directly encoded byte; 8-bit bytes have no place in UTF-7.
func putByte(dst []byte, c byte) int {
	if c >= utf8.RuneSelf {
		return utf8.EncodeRune(dst, utf8.RuneError)
	}
	dst[0] = c
	return 1
}

// unit takes one UTF-16 unit.
func (u *utf7) unit(dst []byte, r rune) int {
	switch {
	case u.high != 0 && utf16.IsSurrogate(r) && r >= 0xdc00:
		r = utf16.DecodeRune(u.high, r)
		u.high = 0
		return utf8.EncodeRune(dst, r)
	case utf16.IsSurrogate(r) && r < 0xdc00:
		n := u.lost(dst)
		u.high = r
		return n
	}
	n := u.lost(dst)
	return n + utf8.EncodeRune(dst[n:], r) // a lone low surrogate becomes U+FFFD
}

// lost writes U+FFFD for a high surrogate without its low one.
func (u *utf7) lost(dst []byte) int {
	if u.high == 0 {
		return 0
	}
	u.high = 0
	return utf8.EncodeRune(dst, utf8.RuneError)
}

// iso2022kr decodes ISO-2022-KR (RFC 1557): SO and SI switch between ASCII and
// KS X 1001, whose two bytes are those of EUC-KR without their high bits.
type iso2022kr struct {
	euc     *encoding.Decoder
	shifted bool
}

func newISO2022KR() *iso2022kr { return &iso2022kr{euc: korean.EUCKR.NewDecoder()} }

// Reset implements transform.Transformer.
func (k *iso2022kr) Reset() { k.shifted = false }

// Transform implements transform.Transformer.
func (k *iso2022kr) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		if nDst+utf8.UTFMax > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		c := src[nSrc]
		rest := src[nSrc:]
		switch {
		case c == 0x0e || c == 0x0f:
			k.shifted = c == 0x0e
			nSrc++
		case c == 0x1b: // the announcer ESC $ ) C
			if len(rest) < 4 && !atEOF {
				return nDst, nSrc, transform.ErrShortSrc
			}
			if len(rest) >= 4 && string(rest[1:4]) == "$)C" {
				nSrc += 4
			} else {
				nSrc++
			}
		case k.shifted && c > ' ' && c < 0x7f:
			if len(rest) < 2 && !atEOF {
				return nDst, nSrc, transform.ErrShortSrc
			}
			if len(rest) < 2 || rest[1] <= ' ' || rest[1] >= 0x7f {
				nDst += utf8.EncodeRune(dst[nDst:], utf8.RuneError)
				nSrc++
				continue
			}
			n, _, e := k.euc.Transform(dst[nDst:], []byte{c | 0x80, rest[1] | 0x80}, true)
			if e != nil {
				return nDst, nSrc, transform.ErrShortDst
			}
			nDst += n
			nSrc += 2
		default:
			if c == '\n' {
				k.shifted = false // RFC 1557: a line ends in ASCII
			}
			nDst += putByte(dst[nDst:], c)
			nSrc++
		}
	}
	return nDst, nSrc, nil
}
