package message

import (
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
	"golang.org/x/text/transform"
)

// Decoder gives a decoder of a charset to UTF-8, new for each call, with a few
// bytes of state. It reports false for a charset that is not known. us-ascii
// and utf-8 are read leniently, see lenient.
//
// The names are looked up here and not in x/text's htmlindex and ianaindex: the
// first brings a language package along that every idle worker would pay for,
// and neither knows the names that broken mailers write.
func Decoder(charset string) (transform.Transformer, bool) {
	name, ok := charsetKey(charset)
	if !ok {
		return nil, false
	}
	switch name {
	case "utf8", "unicode11utf8", "utf8mb4", "cp65001",
		"usascii", "ascii", "ansix341968", "iso646us", "us", "ibm367", "cp367", "isoir6", "646":
		return &lenient{}, true
	case "utf7", "unicode11utf7", "csutf7", "cp65000", "xunicode20utf7":
		return &utf7{}, true
	case "iso2022kr", "csiso2022kr":
		return newISO2022KR(), true
	}
	if e := find(name); e != nil {
		return tolerant{e.NewDecoder().Transformer}, true
	}
	return nil, false
}

// charsetKey gives a name as the tables below have it: letters, in lower case,
// and digits.
func charsetKey(charset string) (string, bool) {
	var key [32]byte
	n := 0
	for i := 0; i < len(charset); i++ {
		c := lower(charset[i])
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9') {
			continue // names differ in dashes, underscores, colons and blanks
		}
		if n == len(key) {
			return "", false
		}
		key[n] = c
		n++
	}
	return string(key[:n]), true
}

// find looks a charset up in the tables; nil if it is in none.
func find(key string) encoding.Encoding {
	for _, table := range [...]func(string) encoding.Encoding{isoCharset, windowsCharset, asianCharset, otherCharset} {
		if e := table(key); e != nil {
			return e
		}
	}
	return nil
}

// CharsetNames are the charsets that a BADCHARSET answer lists (RFC 3501 §7.1),
// by their preferred names.
func CharsetNames() []string {
	return []string{"UTF-8", "US-ASCII", "ISO-8859-1", "ISO-8859-2", "ISO-8859-5", "ISO-8859-7", "ISO-8859-9",
		"ISO-8859-15", "WINDOWS-1250", "WINDOWS-1251", "WINDOWS-1252", "KOI8-R", "ISO-2022-JP", "SHIFT_JIS",
		"EUC-JP", "EUC-KR", "GB18030", "BIG5", "UTF-7"}
}

func isoCharset(name string) encoding.Encoding {
	switch name {
	case "iso88591", "latin1", "l1", "isoir100", "iso885911987", "cp819", "ibm819", "88591":
		return charmap.Windows1252 // a superset but for C1 controls, which no text holds
	case "iso88592", "latin2", "l2", "isoir101", "iso885921987":
		return charmap.ISO8859_2
	case "iso88593", "latin3", "l3", "isoir109":
		return charmap.ISO8859_3
	case "iso88594", "latin4", "l4", "isoir110":
		return charmap.ISO8859_4
	case "iso88595", "cyrillic", "isoir144":
		return charmap.ISO8859_5
	case "iso88596", "iso88596e", "iso88596i", "arabic", "isoir127", "ecma114", "asmo708":
		return charmap.ISO8859_6
	case "iso88597", "greek", "greek8", "isoir126", "ecma118", "elot928":
		return charmap.ISO8859_7
	case "iso88598", "iso88598e", "iso88598i", "hebrew", "isoir138", "visual", "logical":
		return charmap.ISO8859_8
	case "iso88599", "latin5", "l5", "isoir148":
		return charmap.Windows1254
	case "iso885910", "latin6", "l6", "isoir157":
		return charmap.ISO8859_10
	case "iso885911", "tis620", "windows874", "cp874", "thai":
		return charmap.Windows874
	case "iso885913", "latin7", "l7":
		return charmap.ISO8859_13
	case "iso885914", "latin8", "l8", "isoir199":
		return charmap.ISO8859_14
	case "iso885915", "latin9", "l9", "iso885915fdis":
		return charmap.ISO8859_15
	case "iso885916", "latin10", "l10", "isoir226":
		return charmap.ISO8859_16
	}
	return nil
}

func windowsCharset(name string) encoding.Encoding {
	switch name {
	case "windows1250", "cp1250", "xcp1250", "win1250":
		return charmap.Windows1250
	case "windows1251", "cp1251", "xcp1251", "win1251":
		return charmap.Windows1251
	case "windows1252", "cp1252", "xcp1252", "win1252", "ansi":
		return charmap.Windows1252
	case "windows1253", "cp1253", "xcp1253", "win1253":
		return charmap.Windows1253
	case "windows1254", "cp1254", "xcp1254", "win1254":
		return charmap.Windows1254
	case "windows1255", "cp1255", "xcp1255", "win1255":
		return charmap.Windows1255
	case "windows1256", "cp1256", "xcp1256", "win1256":
		return charmap.Windows1256
	case "windows1257", "cp1257", "xcp1257", "win1257":
		return charmap.Windows1257
	case "windows1258", "cp1258", "xcp1258", "win1258":
		return charmap.Windows1258
	}
	return nil
}

func asianCharset(name string) encoding.Encoding {
	switch name {
	case "iso2022jp", "csiso2022jp", "iso2022jp1", "iso2022jp2", "iso2022jp3", "iso2022jpms", "cp50220", "cp50221", "cp50222":
		return japanese.ISO2022JP
	case "shiftjis", "sjis", "xsjis", "mskanji", "csshiftjis", "windows31j", "cswindows31j", "cp932", "ms932", "shiftjis2004":
		return japanese.ShiftJIS
	case "eucjp", "xeucjp", "ujis", "eucjpms", "cp51932", "cseucpkdfmtjapanese", "extendedunixcodepackedformatforjapanese":
		return japanese.EUCJP
	case "euckr", "cseuckr", "ksc5601", "ksc56011987", "ksc56011989", "ksx1001", "korean", "windows949", "cp949", "uhc", "isoir149", "cp51949":
		return korean.EUCKR
	case "gb2312", "gbk", "cp936", "ms936", "windows936", "xgbk", "euccn", "chinese", "gb231280", "csgb2312", "isoir58", "gb18030", "gb180302000", "gb180302005", "xeuccn":
		return simplifiedchinese.GB18030 // a superset of the others
	case "hzgb2312", "hz":
		return simplifiedchinese.HZGB2312
	case "big5", "big5hkscs", "cnbig5", "xxbig5", "csbig5", "cp950", "windows950", "ms950", "big5eten", "euctw":
		if name == "euctw" {
			return nil
		}
		return traditionalchinese.Big5
	}
	return nil
}

func otherCharset(name string) encoding.Encoding {
	switch name {
	case "koi8r", "koi8", "cskoi8r", "koi":
		return charmap.KOI8R
	case "koi8u", "koi8ru":
		return charmap.KOI8U
	case "ibm866", "cp866", "866", "csibm866":
		return charmap.CodePage866
	case "ibm437", "cp437", "437", "cspc8codepage437":
		return charmap.CodePage437
	case "ibm850", "cp850", "850":
		return charmap.CodePage850
	case "ibm852", "cp852", "852":
		return charmap.CodePage852
	case "ibm855", "cp855", "855":
		return charmap.CodePage855
	case "ibm858", "cp858", "ibm00858":
		return charmap.CodePage858
	case "ibm862", "cp862", "862":
		return charmap.CodePage862
	case "macintosh", "mac", "xmacroman", "macroman", "csmacintosh":
		return charmap.Macintosh
	case "xmaccyrillic", "maccyrillic", "xmacukrainian":
		return charmap.MacintoshCyrillic
	case "utf16", "unicode", "iso10646ucs2", "ucs2", "csunicode":
		return unicode.UTF16(unicode.BigEndian, unicode.UseBOM)
	case "utf16be", "unicodefffe":
		return unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)
	case "utf16le", "unicodefeff":
		return unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)
	case "utf32", "ucs4", "iso10646ucs4":
		return utf32.UTF32(utf32.BigEndian, utf32.UseBOM)
	case "utf32be":
		return utf32.UTF32(utf32.BigEndian, utf32.IgnoreBOM)
	case "utf32le":
		return utf32.UTF32(utf32.LittleEndian, utf32.IgnoreBOM)
	}
	return nil
}

// tolerant keeps a decoder from failing: what it cannot read becomes U+FFFD.
type tolerant struct{ transform.Transformer }

// Transform implements transform.Transformer.
func (t tolerant) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	nDst, nSrc, err = t.Transformer.Transform(dst, src, atEOF)
	if err == nil || err == transform.ErrShortDst || (err == transform.ErrShortSrc && !atEOF) {
		return nDst, nSrc, err
	}
	if len(dst)-nDst < utf8.UTFMax {
		return nDst, nSrc, transform.ErrShortDst
	}
	nDst += utf8.EncodeRune(dst[nDst:], utf8.RuneError)
	if err == transform.ErrShortSrc {
		return nDst, len(src), nil // a character that the end cuts
	}
	return nDst, min(nSrc+1, len(src)), nil
}

// decoderOr is Decoder with the lenient one for unknown charsets.
func decoderOr(charset string) transform.Transformer {
	if d, ok := Decoder(charset); ok {
		return d
	}
	return &lenient{}
}

// appendDecoded appends raw as UTF-8, read in a charset (lenient if unknown).
func appendDecoded(dst []byte, charset string, raw []byte) []byte {
	if isASCII(raw) {
		switch charset {
		case "", "utf-8", "UTF-8", "us-ascii", "US-ASCII":
			return append(dst, raw...)
		}
	}
	t := decoderOr(charset)
	var buf [512]byte
	for {
		n, used, err := t.Transform(buf[:], raw, true)
		dst = append(dst, buf[:n]...)
		raw = raw[used:]
		if err == nil || (n == 0 && used == 0) {
			return dst
		}
	}
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// lenient reads UTF-8, and each byte that is no part of any as windows-1252:
// what mail without a charset, or with a wrong one, most often is.
type lenient struct{ transform.NopResetter }

// Transform implements transform.Transformer.
func (lenient) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		c := src[nSrc]
		if c < utf8.RuneSelf {
			if nDst == len(dst) {
				return nDst, nSrc, transform.ErrShortDst
			}
			dst[nDst] = c
			nDst++
			nSrc++
			continue
		}
		r, n := utf8.DecodeRune(src[nSrc:])
		if r == utf8.RuneError && n == 1 {
			if !atEOF && !utf8.FullRune(src[nSrc:]) {
				return nDst, nSrc, transform.ErrShortSrc
			}
			r = charmap.Windows1252.DecodeByte(c)
		}
		if nDst+utf8.UTFMax > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += utf8.EncodeRune(dst[nDst:], r)
		nSrc += n
	}
	return nDst, nSrc, nil
}
