package message

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// DecodeHeader appends an unfolded header value as UTF-8: encoded-words decoded
// (RFC 2047), blanks between two of them removed, words of one charset joined
// before the charset is decoded (mailers cut characters in two). Raw 8-bit text
// is read leniently; a broken word passes as it is. Time is linear.
func DecodeHeader(dst, value []byte) []byte {
	d := wordDecoder{dst: dst}
	d.run(value)
	return d.dst
}

// DecodeHeaderString is DecodeHeader on strings.
func DecodeHeaderString(value string) string {
	return string(DecodeHeader(nil, []byte(value)))
}

// DecodeForOrder is DecodeHeaderString for text that is to be put into an order, with
// whether it could be converted. It could not where an encoded-word has a charset that
// is not known, or octets that are no text in it, or where octets between are no UTF-8.
// text is then all of it as octets, without encoded-words, in no charset (RFC 5255 §4.6).
func DecodeForOrder(value string) (text string, converted bool) {
	if !strings.Contains(value, "=?") && utf8.ValidString(value) {
		return value, true
	}
	d := wordDecoder{strict: true}
	d.run([]byte(value))
	if d.failed {
		return string(d.octets), false
	}
	return string(d.dst), true
}

type wordDecoder struct {
	dst     []byte
	charset string
	pending []byte // bytes of words in charset, not yet decoded
	open    bool   // pending may go on

	strict bool   // of DecodeForOrder: the others are kept
	octets []byte // what dst was decoded of
	failed bool   // some of it could not be
}

// see takes note of octets in a charset; "" is that of what is no word.
func (d *wordDecoder) see(charset string, raw []byte) {
	if d.strict {
		d.octets = append(d.octets, raw...)
		d.failed = d.failed || !isText(charset, raw)
	}
}

// isText reports whether octets are text in a charset, and that is known.
func isText(charset string, raw []byte) bool {
	if charset == "" {
		return utf8.Valid(raw)
	}
	t, known := Decoder(charset)
	if _, unicode := t.(*lenient); unicode {
		return utf8.Valid(raw)
	}
	return known && !bytes.ContainsRune(appendDecoded(nil, charset, raw), utf8.RuneError)
}

func (d *wordDecoder) run(v []byte) {
	for len(v) > 0 {
		i := bytes.Index(v, []byte("=?"))
		if i < 0 {
			break
		}
		w, n, ok := cutWord(v[i:])
		if !ok {
			if n == 0 {
				break // no word can end any more
			}
			d.plain(v[:i+n])
			v = v[i+n:]
			continue
		}
		if !d.open || len(trimBlank(v[:i])) > 0 {
			d.plain(v[:i])
		}
		d.word(w)
		v = v[i+n:]
	}
	d.plain(v)
}

// plain takes text that is no word.
func (d *wordDecoder) plain(b []byte) {
	d.flush()
	if len(b) > 0 {
		d.see("", b)
		d.dst = appendDecoded(d.dst, "", b)
	}
}

func (d *wordDecoder) flush() {
	if d.open && len(d.pending) > 0 {
		d.see(d.charset, d.pending)
		d.dst = appendDecoded(d.dst, d.charset, d.pending)
	}
	d.open, d.pending = false, d.pending[:0]
}

func (d *wordDecoder) word(w encodedWord) {
	if d.open && !strings.EqualFold(d.charset, string(w.charset)) {
		d.flush()
	}
	if !d.open {
		d.charset, d.open = string(w.charset), true
	}
	if w.base64 {
		var b base64Decoder
		at := len(d.pending)
		d.pending = append(d.pending, make([]byte, len(w.text)+3)...)
		n, _, _ := b.Transform(d.pending[at:], w.text, true)
		d.pending = d.pending[:at+n]
		return
	}
	d.pending = appendQ(d.pending, w.text)
}

// appendQ decodes the Q encoding (RFC 2047 §4.2).
func appendQ(dst, text []byte) []byte {
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '_' {
			c = ' '
		} else if c == '=' && i+2 < len(text) {
			hi, ok1 := hexDigit(text[i+1])
			lo, ok2 := hexDigit(text[i+2])
			if ok1 && ok2 {
				c = hi<<4 | lo
				i += 2
			}
		}
		dst = append(dst, c)
	}
	return dst
}

type encodedWord struct {
	charset []byte
	base64  bool
	text    []byte
}

// maxCharsetName bounds the name in an encoded-word.
const maxCharsetName = 64

// cutWord reads an encoded-word at the start of v, which begins with "=?", and
// gives its length. If there is none, n is how many bytes can be passed over, or
// 0 if no word can end in v at all: so no byte is looked at twice.
func cutWord(v []byte) (w encodedWord, n int, ok bool) {
	name := v[2:min(len(v), 2+maxCharsetName)]
	q := bytes.IndexByte(name, '?')
	if q <= 0 || bytes.ContainsAny(name[:q], " \t=\"(") {
		return w, 2, false
	}
	at := 2 + q + 1
	if at+2 > len(v) || v[at+1] != '?' {
		return w, 2, false
	}
	switch v[at] {
	case 'b', 'B':
		w.base64 = true
	case 'q', 'Q':
	default:
		return w, 2, false
	}
	w.charset, _, _ = bytes.Cut(name[:q], []byte("*")) // RFC 2231 §5: a language
	at += 2
	for i := at; i+1 < len(v); i++ {
		if v[i] == '?' && v[i+1] == '=' {
			w.text = v[at:i]
			return w, i + 2, true
		}
		if v[i] == '=' && v[i+1] == '?' && (i+2 >= len(v) || v[i+2] != '=') {
			return w, i, false // the next word begins before this one ended
		}
	}
	return w, 0, false
}
