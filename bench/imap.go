package main

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// client is an IMAP session that measures: it counts what comes instead of
// keeping it, and takes nothing from the heap for it. It is the same for all
// servers; what it counts is compared with what must come, so that a fast
// wrong answer is an error.
type client struct {
	*conn
	r   *bufio.Reader // a large one, in place of conn's
	out *flate.Writer // with COMPRESS; else nil
	got tally
	buf []byte // the command that is being built
}

// tally is what an answer held.
type tally struct {
	fetches, lists, statuses, expunges int
	wanted                             int    // responses that had the wanted text in their first line
	found                              int    // numbers in SEARCH, SORT and THREAD
	exists                             int    // of the last EXISTS; -1 for none
	literals                           int64  // bytes in literals
	validity, highest                  uint64 // of SELECT's codes UIDVALIDITY and HIGHESTMODSEQ
	text                               [160]byte
	textLen                            int // of the tagged answer behind its tag
}

// tagged is the text of the tagged answer.
func (t *tally) tagged() string { return string(t.text[:t.textLen]) }

// longAnswer bounds the wait for one answer; a search through a cold mailbox may take its time.
const longAnswer = 120 * time.Second

// enter connects and logs in.
func enter(ctx context.Context, s *server, service, user string) (*client, error) {
	raw, err := dial(ctx, s, service)
	if err != nil {
		return nil, err
	}
	if err := raw.login(user); err != nil {
		raw.close()
		return nil, fmt.Errorf("%s: login: %w%s", s.name, err, tail(s.logFile))
	}
	return &client{conn: raw, r: bufio.NewReaderSize(io.MultiReader(bytes.NewReader(peeked(raw.r)), raw.Conn), 256<<10)}, nil
}

// peeked is what a reader has taken beyond what was asked of it.
func peeked(r *bufio.Reader) []byte {
	b, _ := r.Peek(r.Buffered()) // what is buffered can be had
	return bytes.Clone(b)
}

// ask sends one command, without its tag and line end, and reads its answer.
func (c *client) ask(command string) error { return c.askFor(command, nil) }

// askFor is ask that also counts the untagged responses with want in their first line.
func (c *client) askFor(command string, want []byte) error {
	c.buf = append(append(append(c.buf[:0], "a "...), command...), "\r\n"...)
	if err := c.write(c.buf); err != nil {
		return err
	}
	if err := c.answer(want); err != nil {
		return fmt.Errorf("%.60s: %w", command, err)
	}
	return nil
}

func (c *client) write(b []byte) error {
	if err := c.SetDeadline(time.Now().Add(longAnswer)); err != nil {
		return err
	}
	if c.out == nil {
		_, err := c.Conn.Write(b)
		return err
	}
	if _, err := c.out.Write(b); err != nil {
		return err
	}
	return c.out.Flush()
}

// answer reads to the tagged answer, which must be OK.
func (c *client) answer(want []byte) error {
	c.got = tally{exists: -1}
	for {
		line, err := c.r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			if err = c.longLine(line); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if len(line) > 2 && line[0] == 'a' && line[1] == ' ' {
			c.got.textLen = copy(c.got.text[:], bytes.TrimRight(line[2:], "\r\n"))
			if !bytes.HasPrefix(line, []byte("a OK")) {
				return fmt.Errorf("answer %q", line)
			}
			return nil
		}
		if len(line) > 2 && line[0] == '+' {
			continue // "go ahead" of a literal that did not wait for it
		}
		if len(line) < 3 || line[0] != '*' {
			return fmt.Errorf("answer %.100q", line)
		}
		if err := c.untagged(line[2:], want); err != nil {
			return err
		}
	}
}

// untagged counts one response, and reads the rest of it if it has literals.
func (c *client) untagged(line, want []byte) error {
	if want != nil && bytes.Contains(line, want) {
		c.got.wanted++
	}
	number, rest := leadingNumber(line)
	switch {
	case number >= 0 && bytes.HasPrefix(rest, []byte("FETCH")):
		c.got.fetches++
	case number >= 0 && bytes.HasPrefix(rest, []byte("EXISTS")):
		c.got.exists = number
	case number >= 0 && bytes.HasPrefix(rest, []byte("EXPUNGE")):
		c.got.expunges++
	case bytes.HasPrefix(line, []byte("LIST")):
		c.got.lists++
	case bytes.HasPrefix(line, []byte("STATUS")):
		c.got.statuses++
	case listsNumbers(line):
		c.got.found += numbers(line, ' ')
	case bytes.HasPrefix(line, []byte("OK [")):
		c.got.code(line)
	case bytes.HasPrefix(line, []byte("BYE")):
		return fmt.Errorf("%q", line)
	}
	for {
		n, ok := literal(line)
		if !ok {
			return nil
		}
		c.got.literals += n
		if _, err := io.CopyN(io.Discard, c.r, n); err != nil {
			return err
		}
		var err error
		if line, err = c.r.ReadSlice('\n'); err != nil {
			return err
		}
	}
}

// longLine counts a response longer than the buffer: only a list of numbers may be one.
func (c *client) longLine(line []byte) error {
	if len(line) < 3 || !listsNumbers(line[2:]) {
		return fmt.Errorf("a line of more than %d bytes: %.40q", len(line), line)
	}
	c.got.found += numbers(line, ' ')
	for {
		last := line[len(line)-1]
		var err error
		line, err = c.r.ReadSlice('\n')
		c.got.found += numbers(line, last)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// listsNumbers reports whether an untagged response is a list of messages.
func listsNumbers(line []byte) bool {
	return bytes.HasPrefix(line, []byte("SEARCH")) || bytes.HasPrefix(line, []byte("SORT")) || bytes.HasPrefix(line, []byte("THREAD"))
}

// numbers counts the numbers in a line that last came before.
func numbers(line []byte, last byte) (n int) {
	for _, c := range line {
		if isDigit(c) && !isDigit(last) {
			n++
		}
		last = c
	}
	return n
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// leadingNumber splits "123 FETCH …"; -1 where there is no number.
func leadingNumber(line []byte) (int, []byte) {
	n, i := 0, 0
	for ; i < len(line) && line[i] >= '0' && line[i] <= '9'; i++ {
		n = n*10 + int(line[i]-'0')
	}
	if i == 0 || i == len(line) {
		return -1, line
	}
	return n, line[i+1:]
}

// literal finds "{123}" at the end of a line.
func literal(line []byte) (int64, bool) {
	line = bytes.TrimRight(line, "\r\n")
	if len(line) == 0 || line[len(line)-1] != '}' {
		return 0, false
	}
	open := bytes.LastIndexByte(line, '{')
	if open < 0 {
		return 0, false
	}
	n, err := strconv.ParseInt(string(line[open+1:len(line)-1]), 10, 64)
	return n, err == nil && n >= 0
}

// want compares a count with what must have come.
func want(what string, got, want int) error {
	if got != want {
		return fmt.Errorf("%d %s, not %d", got, what, want)
	}
	return nil
}

// selectBox selects and compares the number of messages; -1 for any.
func (c *client) selectBox(box string, messages int) error {
	if err := c.ask("SELECT " + box); err != nil {
		return err
	}
	if messages >= 0 {
		return want("messages in "+box, c.got.exists, messages)
	}
	return nil
}

// appendCommand is a whole APPEND with LITERAL+ (RFC 7888): one write, no
// waiting. More than one message makes it a MULTIAPPEND (RFC 3502).
func appendCommand(box string, messages ...[]byte) []byte {
	b := []byte("a APPEND " + box)
	for _, m := range messages {
		b = fmt.Appendf(b, " {%d+}\r\n", len(m))
		b = append(b, m...)
	}
	return append(b, "\r\n"...)
}

// command sends what appendCommand made.
func (c *client) raw(b []byte) error {
	if err := c.write(b); err != nil {
		return err
	}
	return c.answer(nil)
}
