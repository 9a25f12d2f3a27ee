package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// conn is a client's connection: the same code for both servers.
type conn struct {
	net.Conn
	r    *bufio.Reader
	pop3 bool
}

// tlsConfig is every client's: TLS 1.3 without resumption, and X25519 alone,
// since not every server has the post-quantum exchange and it costs more.
var tlsConfig = tls.Config{
	InsecureSkipVerify:     true, // the benchmark's own server, on loopback
	SessionTicketsDisabled: true,
	MinVersion:             tls.VersionTLS13,
	CurvePreferences:       []tls.CurveID{tls.X25519},
}

// answerTime bounds each answer, connecting and the handshake.
const answerTime = 20 * time.Second

// dial connects and reads the greeting.
func dial(ctx context.Context, s *server, service string) (*conn, error) {
	d := net.Dialer{Timeout: answerTime}
	raw, err := d.DialContext(ctx, "tcp4", s.addr(service))
	if err != nil {
		return nil, err
	}
	if err := raw.SetDeadline(time.Now().Add(answerTime)); err != nil {
		raw.Close()
		return nil, err
	}
	if strings.HasSuffix(service, "s") {
		raw = tls.Client(raw, &tlsConfig)
	}
	c := &conn{Conn: raw, r: bufio.NewReaderSize(raw, 2048), pop3: strings.HasPrefix(service, "pop3")}
	want := "* OK"
	if c.pop3 {
		want = "+OK"
	}
	line, err := c.r.ReadString('\n')
	if err == nil && !strings.HasPrefix(line, want) {
		err = fmt.Errorf("greeting %q", line)
	}
	if err != nil {
		raw.Close()
		return nil, err
	}
	return c, nil
}

func (c *conn) close() { c.Conn.Close() }

// command sends an IMAP command and reads to its tagged answer, which must be OK.
func (c *conn) command(text string) error {
	if err := c.send("a " + text + "\r\n"); err != nil {
		return err
	}
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
		if strings.HasPrefix(line, "a OK") {
			return nil
		}
		if !strings.HasPrefix(line, "* ") {
			return fmt.Errorf("%s: %q", text, line)
		}
	}
}

// line sends a POP3 command with an answer of one line, which must be +OK.
func (c *conn) line(text string) error {
	if err := c.send(text + "\r\n"); err != nil {
		return err
	}
	line, err := c.r.ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "+OK") {
		err = fmt.Errorf("%q", line)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	return nil
}

func (c *conn) send(text string) error {
	if err := c.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	_, err := io.WriteString(c.Conn, text)
	return err
}

// login logs in.
func (c *conn) login(user string) error {
	if !c.pop3 {
		return c.command("LOGIN " + user + " " + password)
	}
	if err := c.line("USER " + user); err != nil {
		return err
	}
	return c.line("PASS " + password)
}

// cycle is the unit of the login rows: connect, log in, NOOP, log out.
func cycle(ctx context.Context, s *server, service, user string) error {
	c, err := dial(ctx, s, service)
	if err != nil {
		return err
	}
	defer c.close()
	if err := c.login(user); err != nil {
		return err
	}
	if c.pop3 {
		if err := c.line("NOOP"); err != nil {
			return err
		}
		return c.line("QUIT")
	}
	if err := c.command("NOOP"); err != nil {
		return err
	}
	return c.command("LOGOUT")
}

// idle opens a session that does nothing: INBOX selected, IDLE begun.
func idle(ctx context.Context, s *server, service, user string) (*conn, error) {
	c, err := dial(ctx, s, service)
	if err != nil {
		return nil, err
	}
	err = c.login(user)
	if err == nil {
		err = c.command("SELECT INBOX")
	}
	if err == nil {
		err = c.send("a IDLE\r\n")
	}
	if err == nil {
		var line string
		if line, err = c.r.ReadString('\n'); err == nil && !strings.HasPrefix(line, "+") {
			err = fmt.Errorf("IDLE: %q", line)
		}
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}
