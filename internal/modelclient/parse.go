// Package modelclient is an IMAP client for tests: strict, and with nothing of the
// server's own code in it. It reads responses into values, builds a picture of the
// selected mailbox from them alone, keeps a copy over connections as a client of
// QRESYNC does (RFC 7162 §6), and gives an error for whatever a server must not send.
//
// Only tests use it: the models of the IMAP worker and the end-to-end tests. It must
// never know the server's packages but for internal/numset, or ask a mail store.
package modelclient

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrMore says that the bytes end before the response does.
var ErrMore = errors.New("the response is not whole")

// Kind is what a Value was written as.
type Kind uint8

// The kinds of values.
const (
	Atom Kind = iota
	String
	List
)

// Value is an atom, a string or a list of a response's data.
type Value struct {
	Kind Kind
	Text string // of an atom or a string
	List []Value
}

// Response is one response of a server.
type Response struct {
	Tag       string // "*", "+", or that of a command
	Name      string // in upper case: OK, EXISTS, FETCH, …; "" after "+"
	Num       uint32 // the number before the name
	HasNum    bool
	Code      string // of OK, NO, BAD, BYE: what stands in brackets
	Text      string // of those: the rest
	Data      []Value
	Raw       string // all of it, without the last CRLF
	Condition bool   // it is OK, NO, BAD, BYE or PREAUTH
}

// maxDepth bounds lists within lists.
const maxDepth = 32

// Next takes one response off p. The error is ErrMore where p ends before it does.
func Next(p []byte) (r Response, rest []byte, err error) {
	d := reader{p: p}
	r.Tag = d.word()
	if r.Tag == "" || !d.take(' ') {
		return r, p, d.fail("a tag and a blank")
	}
	if r.Tag == "+" {
		r.Text, err = d.line()
		r.Raw = string(p[:d.at])
		return r.done(d, err)
	}
	r.Name = d.word()
	if n, nerr := strconv.ParseUint(r.Name, 10, 32); nerr == nil {
		r.Num, r.HasNum = uint32(n), true
		if !d.take(' ') {
			return r, p, d.fail("a name behind the number")
		}
		r.Name = d.word()
	}
	r.Name = strings.ToUpper(r.Name)
	switch r.Name {
	case "OK", "NO", "BAD", "BYE", "PREAUTH":
		r.Condition = true
		if !d.take(' ') {
			return r, p, d.fail("text")
		}
		r.Text, err = d.line()
		if err == nil && strings.HasPrefix(r.Text, "[") {
			end := strings.IndexByte(r.Text, ']')
			if end < 0 {
				return r, p, fmt.Errorf("the response code does not end: %q", r.Text)
			}
			r.Code, r.Text = r.Text[1:end], strings.TrimPrefix(r.Text[end+1:], " ")
		}
		return r.done(d, err)
	case "":
		return r, p, d.fail("a name")
	}
	// The threads of a THREAD response stand beside each other (RFC 5256 §5).
	for d.take(' ') || r.Name == "THREAD" && len(r.Data) > 0 && d.at < len(p) && p[d.at] == '(' {
		v, verr := d.value(0)
		if verr != nil {
			return r, p, verr
		}
		r.Data = append(r.Data, v)
	}
	if rest, err = d.end(); err != nil {
		return r, p, err
	}
	r.Raw = string(p[:len(p)-len(rest)-2])
	return r, rest, nil
}

func (r Response) done(d reader, err error) (Response, []byte, error) {
	if err != nil {
		return r, d.p, err
	}
	r.Raw = strings.TrimSuffix(string(d.p[:d.at]), "\r\n")
	return r, d.p[d.at:], nil
}

// All reads every response of p, which must end with one.
func All(p []byte) (out []Response, err error) {
	for len(p) > 0 {
		r, rest, err := Next(p)
		if err != nil {
			return out, fmt.Errorf("%w: %.200q", err, p)
		}
		out, p = append(out, r), rest
	}
	return out, nil
}

// reader reads the bytes of a response.
type reader struct {
	p  []byte
	at int
}

func (d *reader) fail(want string) error {
	if d.at >= len(d.p) {
		return ErrMore
	}
	return fmt.Errorf("expected %s at octet %d", want, d.at)
}

func (d *reader) take(c byte) bool {
	if d.at < len(d.p) && d.p[d.at] == c {
		d.at++
		return true
	}
	return false
}

// word reads up to a blank or the line's end.
func (d *reader) word() string {
	n := bytes.IndexAny(d.p[d.at:], " \r\n")
	if n < 0 {
		n = len(d.p) - d.at
	}
	d.at += n
	return string(d.p[d.at-n : d.at])
}

// line reads the rest of the line, and its end.
func (d *reader) line() (string, error) {
	n := bytes.Index(d.p[d.at:], []byte("\r\n"))
	if n < 0 {
		return "", ErrMore
	}
	text := string(d.p[d.at : d.at+n])
	d.at += n + 2
	if strings.ContainsAny(text, "\r\n\x00") {
		return "", fmt.Errorf("a control character in %q", text)
	}
	return text, nil
}

func (d *reader) end() (rest []byte, err error) {
	if len(d.p)-d.at < 2 {
		return d.p, ErrMore
	}
	if !bytes.HasPrefix(d.p[d.at:], []byte("\r\n")) {
		return d.p, d.fail("the end of the line")
	}
	return d.p[d.at+2:], nil
}

func (d *reader) value(depth int) (v Value, err error) {
	switch {
	case d.at >= len(d.p):
		return v, ErrMore
	case d.p[d.at] == '(':
		return d.list(depth)
	case d.p[d.at] == '"':
		return d.quoted()
	case d.p[d.at] == '{', d.p[d.at] == '~' && d.at+1 < len(d.p) && d.p[d.at+1] == '{':
		return d.literal()
	}
	return d.atom()
}

func (d *reader) list(depth int) (v Value, err error) {
	if depth == maxDepth {
		return v, errors.New("too many lists within lists")
	}
	v.Kind = List
	d.at++
	for first := true; !d.take(')'); first = false {
		// The parts of a BODYSTRUCTURE, and addresses, stand beside each other.
		if !first && !d.take(' ') && (d.at >= len(d.p) || d.p[d.at] != '(') {
			return v, d.fail("a blank or the end of a list")
		}
		item, err := d.value(depth + 1)
		if err != nil {
			return v, err
		}
		v.List = append(v.List, item)
	}
	return v, nil
}

func (d *reader) quoted() (v Value, err error) {
	v.Kind = String
	var text []byte
	for d.at++; d.at < len(d.p); d.at++ {
		switch c := d.p[d.at]; c {
		case '"':
			d.at++
			v.Text = string(text)
			return v, nil
		case '\r', '\n', 0:
			return v, d.fail("the end of a quoted string")
		case '\\':
			if d.at++; d.at < len(d.p) && d.p[d.at] != '"' && d.p[d.at] != '\\' {
				return v, d.fail("a quoted special")
			}
		}
		if d.at < len(d.p) {
			text = append(text, d.p[d.at])
		}
	}
	return v, ErrMore
}

func (d *reader) literal() (v Value, err error) {
	v.Kind = String
	d.take('~')
	d.at++
	end := bytes.Index(d.p[d.at:], []byte("}\r\n"))
	if end < 0 {
		if bytes.IndexByte(d.p[d.at:], '\n') >= 0 {
			return v, d.fail("the length of a literal")
		}
		return v, ErrMore
	}
	n, err := strconv.ParseUint(string(d.p[d.at:d.at+end]), 10, 31)
	if err != nil {
		return v, d.fail("the length of a literal")
	}
	d.at += end + 3
	if uint64(len(d.p)-d.at) < n {
		return v, ErrMore
	}
	v.Text = string(d.p[d.at : d.at+int(n)])
	d.at += int(n)
	return v, nil
}

// atom reads one, with what stands in its brackets: BODY[HEADER.FIELDS (TO)]<0>.
func (d *reader) atom() (v Value, err error) {
	from, open := d.at, false
	for ; d.at < len(d.p); d.at++ {
		c := d.p[d.at]
		switch {
		case c == '[':
			open = true
		case c == ']':
			open = false
		case c == '\r' || c == '\n':
			if d.at == from {
				return v, d.fail("a value")
			}
			v.Text = string(d.p[from:d.at])
			return v, nil
		case !open && (c == ' ' || c == '(' || c == ')'):
			if d.at == from {
				return v, d.fail("a value")
			}
			v.Text = string(d.p[from:d.at])
			return v, nil
		case c < ' ' || c == 0x7f:
			return v, d.fail("no control character")
		}
	}
	return v, ErrMore
}
