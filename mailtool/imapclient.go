package mailtool

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// imapClient speaks as little of IMAP as a comparison needs, to a server that
// rookeryctl has logged in to. What comes is bounded: the other server is as
// much a stranger as any.
type imapClient struct {
	rw  io.ReadWriter
	r   *bufio.Reader
	tag int
}

// Bounds of what another server may send.
const (
	maxResponse = 1 << 20 // octets of one response, literals and all
	maxNesting  = 32
	maxAnswers  = 20_000_000 // responses to one command
)

func newIMAPClient(rw io.ReadWriter) *imapClient {
	return &imapClient{rw: rw, r: bufio.NewReaderSize(rw, 64<<10)}
}

// token is an atom, a string or a list.
type token struct {
	text   string
	quoted bool // a string
	list   []token
	isList bool
}

// do sends a command and calls each for every untagged response, as tokens.
func (c *imapClient) do(command string, each func([]token) error) error {
	c.tag++
	tag := "r" + strconv.Itoa(c.tag)
	if _, err := io.WriteString(c.rw, tag+" "+command+"\r\n"); err != nil {
		return fmt.Errorf("the other server: %w", err)
	}
	for range maxAnswers {
		line, err := c.response()
		if err != nil {
			return fmt.Errorf("the other server, at %.40q: %w", command, err)
		}
		if rest, ok := strings.CutPrefix(line, tag+" "); ok {
			if !strings.HasPrefix(strings.ToUpper(rest), "OK") {
				return failf(exitData, "the other server answers %.40q with %.200q", command, rest)
			}
			return nil
		}
		if !strings.HasPrefix(line, "* ") {
			continue
		}
		all, err := tokens(line[2:])
		if err != nil {
			return fmt.Errorf("the other server sends %.80q: %w", line, err)
		}
		if each != nil {
			if err := each(all); err != nil {
				return err
			}
		}
	}
	return errors.New("the other server does not end its answer")
}

// response reads a line with its literals, without its last CRLF.
func (c *imapClient) response() (string, error) {
	var b strings.Builder
	for {
		line, err := c.line(maxResponse - b.Len())
		if err != nil {
			return "", err
		}
		b.WriteString(line)
		n, ok := literalAt(line)
		if !ok {
			return b.String(), nil
		}
		b.WriteString("\r\n")
		if n > int64(maxResponse-b.Len()) {
			return "", fmt.Errorf("a response of more than %d octets", maxResponse)
		}
		if _, err := io.CopyN(&b, c.r, n); err != nil {
			return "", err
		}
	}
}

func (c *imapClient) line(limit int) (string, error) {
	var b strings.Builder
	for {
		part, err := c.r.ReadSlice('\n')
		if b.Write(part); b.Len() > limit {
			return "", fmt.Errorf("a response of more than %d octets", maxResponse)
		}
		if err == nil {
			return strings.TrimRight(b.String(), "\r\n"), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return "", err
		}
	}
}

// literalAt reports the length of the literal that a line ends with.
func literalAt(line string) (int64, bool) {
	open := strings.LastIndexByte(line, '{')
	if open < 0 || !strings.HasSuffix(line, "}") {
		return 0, false
	}
	n, err := strconv.ParseInt(line[open+1:len(line)-1], 10, 63)
	return n, err == nil && n >= 0
}

var errSyntax = errors.New("it is no IMAP response")

// tokens cuts a response. Brackets of response codes count as lists.
func tokens(s string) ([]token, error) {
	out, rest, err := readList(s, 0, 0)
	if err == nil && rest != "" {
		err = errSyntax
	}
	return out, err
}

func readList(s string, end byte, depth int) (out []token, rest string, err error) {
	if depth > maxNesting {
		return nil, "", errSyntax
	}
	for {
		s = strings.TrimLeft(s, " ")
		if s == "" {
			if end != 0 {
				return nil, "", errSyntax
			}
			return out, "", nil
		}
		var t token
		switch c := s[0]; {
		case c == end && end != 0:
			return out, s[1:], nil
		case c == '(' || c == '[':
			t.isList = true
			if t.list, s, err = readList(s[1:], map[byte]byte{'(': ')', '[': ']'}[c], depth+1); err != nil {
				return nil, "", err
			}
		case c == '"':
			t.quoted = true
			if t.text, s, err = quoted(s[1:]); err != nil {
				return nil, "", err
			}
		case c == '{':
			head, body, ok := strings.Cut(s, "\r\n")
			n, isLiteral := literalAt(head)
			if !ok || !isLiteral || n > int64(len(body)) {
				return nil, "", errSyntax
			}
			t.quoted, t.text, s = true, body[:n], body[n:]
		default:
			i := strings.IndexAny(s, " ()[]\"")
			if i == 0 { // a bracket out of place, as texts for people have
				i = 1
			}
			if i < 0 {
				i = len(s)
			}
			t.text, s = s[:i], s[i:]
		}
		out = append(out, t)
	}
}

func quoted(s string) (text, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], nil
		case '\\':
			if i++; i == len(s) {
				return "", "", errSyntax
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", errSyntax
}

// word is a token's text in upper case, "" for a list or a string.
func (t token) word() string {
	if t.isList || t.quoted {
		return ""
	}
	return strings.ToUpper(t.text)
}

// number is a token's, 0 if it is none.
func (t token) number() uint32 {
	n, err := strconv.ParseUint(t.text, 10, 32)
	if err != nil || t.isList {
		return 0
	}
	return uint32(n)
}

// quote writes a string for a command. A name with line ends cannot be asked for.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
