package pop3wire

import "bytes"

// Code is a response code (RFC 2449 §8, RFC 3206 §4), without its brackets; ""
// is none.
type Code string

// The codes.
const (
	InUse      Code = "IN-USE"      // RFC 2449 §8.1.2: the maildrop is in use
	LoginDelay Code = "LOGIN-DELAY" // RFC 2449 §8.1.1
	Auth       Code = "AUTH"        // RFC 3206 §5: the credentials are wrong
	SysTemp    Code = "SYS/TEMP"    // RFC 3206 §4: a passing failure
	SysPerm    Code = "SYS/PERM"    // RFC 3206 §4: a failure that needs a person
	UTF8       Code = "UTF8"        // RFC 6856 §2.2: needs UTF8 mode
)

// maxLine is a single-line response with its CRLF (RFC 2449 §4).
const maxLine = 512

// AppendOK appends "+OK text CRLF".
func AppendOK(dst []byte, text string) []byte { return appendStatus(dst, "+OK", "", text) }

// AppendOKCode appends "+OK [code] text CRLF".
func AppendOKCode(dst []byte, code Code, text string) []byte {
	return appendStatus(dst, "+OK", code, text)
}

// AppendErr appends "-ERR [code] text CRLF".
func AppendErr(dst []byte, code Code, text string) []byte {
	return appendStatus(dst, "-ERR", code, text)
}

// appendStatus writes a single-line response. Control characters in text become
// "?", and what is above 512 octets is cut, so that no text can end the line or
// begin another. Text that begins with "[" without a code would be taken for
// one: it gets a space more (text = *schar / resp-code *CHAR).
func appendStatus(dst []byte, status string, code Code, text string) []byte {
	start := len(dst)
	dst = append(dst, status...)
	if code != "" {
		dst = append(dst, " ["...)
		dst = append(dst, code...)
		dst = append(dst, ']')
	}
	if text != "" {
		dst = append(dst, ' ')
		if code == "" && text[0] == '[' {
			dst = append(dst, ' ')
		}
	}
	for i := 0; i < len(text) && len(dst)-start < maxLine-2; i++ {
		b := text[i]
		if b < ' ' || b == 0x7F {
			b = '?'
		}
		dst = append(dst, b)
	}
	return append(dst, '\r', '\n')
}

// AppendContinue appends "+ data CRLF", a challenge of AUTH (RFC 5034 §4); data
// is base64 already.
func AppendContinue(dst []byte, data string) []byte {
	dst = append(dst, "+ "...)
	dst = append(dst, data...)
	return append(dst, '\r', '\n')
}

// AppendLine appends one line of a multi-line response, stuffed. Line ends in
// line become "?".
func AppendLine(dst []byte, line string) []byte {
	if line != "" && line[0] == '.' {
		dst = append(dst, '.')
	}
	for i := 0; i < len(line); i++ {
		if b := line[i]; b == '\r' || b == '\n' {
			dst = append(dst, '?')
		} else {
			dst = append(dst, b)
		}
	}
	return append(dst, '\r', '\n')
}

// AppendEnd appends the line that ends a multi-line response.
func AppendEnd(dst []byte) []byte { return append(dst, ".\r\n"...) }

// Stuffer writes a message as the lines of a multi-line response (RFC 1939 §3):
// every line that begins with "." gets one more, every line ends in CRLF, and
// the whole ends in "." on a line of its own. The zero value is ready.
type Stuffer struct {
	middle bool // of a line
	cr     bool // the last byte was CR
}

// Append appends p to dst, stuffed. p may be any portion of the message. A bare
// LF becomes CRLF; a bare CR stays.
func (s *Stuffer) Append(dst, p []byte) []byte {
	if len(p) == 0 {
		return dst
	}
	if !s.middle && p[0] == '.' {
		dst = append(dst, '.')
	}
	from := 0 // what was appended
	for at := 0; ; {
		i := bytes.IndexByte(p[at:], '\n')
		if i < 0 {
			break
		}
		i += at
		if i == 0 && !s.cr || i > 0 && p[i-1] != '\r' {
			dst = append(append(dst, p[from:i]...), '\r')
			from = i
		}
		if at = i + 1; at < len(p) && p[at] == '.' {
			dst = append(append(dst, p[from:at]...), '.')
			from = at
		}
	}
	last := p[len(p)-1]
	s.middle, s.cr = last != '\n', last == '\r'
	return append(dst, p[from:]...)
}

// AtLineStart reports whether the next byte begins a line.
func (s *Stuffer) AtLineStart() bool { return !s.middle }

// End appends what ends the response and makes the Stuffer ready for another. A
// last line without an end gets one, which is not part of the message's size.
func (s *Stuffer) End(dst []byte) []byte {
	if s.middle {
		if !s.cr {
			dst = append(dst, '\r')
		}
		dst = append(dst, '\n')
	}
	*s = Stuffer{}
	return AppendEnd(dst)
}

// Unstuffer takes a multi-line response apart again, for clients. The zero
// value is ready.
type Unstuffer struct {
	state uint8
}

const (
	lineStart = iota
	midLine
	afterDot    // "." began the line
	afterDotCR  // "." CR
	unstuffDone // the end was seen
)

// Append appends the message's bytes in p to dst and tells how many of p it
// took: fewer than all only once the end has been seen (Done).
func (u *Unstuffer) Append(dst, p []byte) (out []byte, n int) {
	for n < len(p) && u.state != unstuffDone {
		b := p[n]
		n++
		switch u.state {
		case lineStart:
			if b == '.' {
				u.state = afterDot
				continue
			}
		case afterDot:
			switch b {
			case '\r':
				u.state = afterDotCR
				continue
			case '\n':
				u.state = unstuffDone
				continue
			}
		case afterDotCR:
			if b == '\n' {
				u.state = unstuffDone
				continue
			}
			dst = append(dst, '\r')
		}
		dst = append(dst, b)
		u.state = midLine
		if b == '\n' {
			u.state = lineStart
		}
	}
	return dst, n
}

// Done reports whether the line that ends the response has come.
func (u *Unstuffer) Done() bool { return u.state == unstuffDone }
