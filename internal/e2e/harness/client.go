package harness

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Client is a plain line client for dialogues: what it sends and gets is what a
// person would type and read.
type Client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	tag  int
}

// Timeout bounds each answer.
const Timeout = 20 * time.Second

// Dial connects to a service of a demo, with TLS for "imaps" and "pop3s".
func (d *Demo) Dial(service string) *Client {
	d.t.Helper()
	c, err := d.TryDial(service)
	if err != nil {
		d.t.Fatalf("%s: %v", service, err)
	}
	d.t.Cleanup(func() { c.Close() })
	return c
}

// TryDial is Dial that gives the error.
func (d *Demo) TryDial(service string) (*Client, error) {
	conn, err := net.DialTimeout("tcp", d.Addr(service), Timeout)
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(service, "s") {
		conf, err := d.TLS()
		if err != nil {
			return nil, err
		}
		conn = tls.Client(conn, conf)
	}
	return NewClient(d.t, conn), nil
}

// TLS is a configuration that trusts the demo's certificate.
func (d *Demo) TLS() (*tls.Config, error) {
	pem, err := os.ReadFile(d.Cert())
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}, nil
}

// NewClient makes a client of a connection.
func NewClient(t testing.TB, conn net.Conn) *Client {
	return &Client{t: t, conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
}

// Close closes the connection.
func (c *Client) Close() { c.conn.Close() }

// Conn is the connection.
func (c *Client) Conn() net.Conn { return c.conn }

// StartTLS puts TLS on the connection.
func (c *Client) StartTLS(conf *tls.Config) {
	c.conn = tls.Client(c.conn, conf)
	c.r = bufio.NewReaderSize(c.conn, 64<<10)
}

// TryLine reads one line without its CRLF.
func (c *Client) TryLine() (string, error) { return c.LineWithin(Timeout) }

// LineWithin is TryLine with another bound.
func (c *Client) LineWithin(limit time.Duration) (string, error) {
	c.conn.SetReadDeadline(time.Now().Add(limit))
	line, err := c.r.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}

// Line reads one line.
func (c *Client) Line() string {
	c.t.Helper()
	line, err := c.TryLine()
	if err != nil {
		c.t.Fatalf("read: %v (after %q)", err, line)
	}
	return line
}

// Send writes text as it is.
func (c *Client) Send(text string) error {
	c.conn.SetWriteDeadline(time.Now().Add(Timeout))
	_, err := io.WriteString(c.conn, text)
	return err
}

// Expect reads one line, which must be want.
func (c *Client) Expect(want string) {
	c.t.Helper()
	if got := c.Line(); got != want {
		c.t.Errorf("got %q, want %q", got, want)
	}
}

// ExpectPrefix reads one line, which must begin with want.
func (c *Client) ExpectPrefix(want string) string {
	c.t.Helper()
	got := c.Line()
	if !strings.HasPrefix(got, want) {
		c.t.Errorf("got %q, want %q…", got, want)
	}
	return got
}

// IMAP sends a command with the next tag and gives all lines of the answer, the
// tagged one last; literals stay within their line, behind the {n}.
func (c *Client) IMAP(format string, args ...any) []string {
	c.t.Helper()
	lines, err := c.TryIMAP(format, args...)
	if err != nil {
		c.t.Fatalf("%s: %v (after %q)", fmt.Sprintf(format, args...), err, lines)
	}
	return lines
}

// TryIMAP is IMAP that gives the error.
func (c *Client) TryIMAP(format string, args ...any) ([]string, error) {
	c.tag++
	tag := "t" + strconv.Itoa(c.tag)
	if err := c.Send(tag + " " + fmt.Sprintf(format, args...) + "\r\n"); err != nil {
		return nil, err
	}
	return c.Until(tag)
}

// Until reads up to the line tagged tag.
func (c *Client) Until(tag string) ([]string, error) {
	var lines []string
	for {
		line, err := c.logical()
		if err != nil {
			return lines, err
		}
		lines = append(lines, line)
		if strings.HasPrefix(line, tag+" ") {
			return lines, nil
		}
	}
}

// logical reads a line with its literals.
func (c *Client) logical() (string, error) {
	var all strings.Builder
	for {
		line, err := c.TryLine()
		all.WriteString(line)
		if err != nil {
			return all.String(), err
		}
		n, ok := literal(line)
		if !ok {
			return all.String(), nil
		}
		all.WriteString("\r\n")
		c.conn.SetReadDeadline(time.Now().Add(Timeout))
		if _, err := io.CopyN(&all, c.r, n); err != nil {
			return all.String(), err
		}
	}
}

func literal(line string) (int64, bool) {
	open := strings.LastIndexByte(line, '{')
	if open < 0 || !strings.HasSuffix(line, "}") {
		return 0, false
	}
	n, err := strconv.ParseInt(line[open+1:len(line)-1], 10, 64)
	return n, err == nil
}

// OK is IMAP whose tagged answer must be OK.
func (c *Client) OK(format string, args ...any) []string {
	c.t.Helper()
	lines := c.IMAP(format, args...)
	if last := lines[len(lines)-1]; !strings.Contains(last, " OK ") {
		c.t.Errorf("%s: %s", fmt.Sprintf(format, args...), last)
	}
	return lines
}

// Append adds a message; a synchronizing literal.
func (c *Client) Append(mailbox, flags, message string) error {
	c.tag++
	tag := "t" + strconv.Itoa(c.tag)
	if err := c.Send(fmt.Sprintf("%s APPEND %q %s{%d}\r\n", tag, mailbox, flags, len(message))); err != nil {
		return err
	}
	if line, err := c.TryLine(); err != nil || !strings.HasPrefix(line, "+ ") {
		return fmt.Errorf("no continuation: %q %v", line, err)
	}
	if err := c.Send(message + "\r\n"); err != nil {
		return err
	}
	lines, err := c.Until(tag)
	if err != nil {
		return err
	}
	if last := lines[len(lines)-1]; !strings.Contains(last, " OK ") {
		return fmt.Errorf("%s", last)
	}
	return nil
}

// Login reads the greeting and logs in.
func (c *Client) Login(user string) {
	c.t.Helper()
	c.ExpectPrefix("* OK ")
	c.OK("LOGIN %s pass", user)
}

// POP3 sends a command and gives the status line.
func (c *Client) POP3(format string, args ...any) string {
	c.t.Helper()
	if err := c.Send(fmt.Sprintf(format, args...) + "\r\n"); err != nil {
		c.t.Fatal(err)
	}
	return c.Line()
}

// POP3Lines is POP3 with a multi-line answer, unstuffed.
func (c *Client) POP3Lines(format string, args ...any) []string {
	c.t.Helper()
	status := c.POP3(format, args...)
	lines := []string{status}
	if !strings.HasPrefix(status, "+OK") {
		return lines
	}
	for {
		line := c.Line()
		if line == "." {
			return lines
		}
		lines = append(lines, strings.TrimPrefix(line, "."))
	}
}

// Rest reads the lines that come until the connection ends.
func (c *Client) Rest() []string {
	var out []string
	for {
		line, err := c.TryLine()
		if line != "" {
			out = append(out, line)
		}
		if err != nil {
			return out
		}
	}
}
