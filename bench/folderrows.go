package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// seedFolders makes the row's number of folders, with three messages in each.
func seedFolders(_ context.Context, b *bed) error {
	return b.lab.fillFolders(b.rig, b.row.owner, b.n, 3)
}

// seedNames makes the row's number of folders without messages.
func seedNames(_ context.Context, b *bed) error {
	return b.lab.fillFolders(b.rig, b.row.owner, b.n, 0)
}

// pipelined is how many commands go out in one write.
const pipelined = 100

// statusAll asks for the STATUS of every folder, 100 commands at a time, as a
// client does that checks all its folders.
func statusAll(ctx context.Context, b *bed) (outcome, error) {
	c, err := b.enter(ctx, b.row.owner)
	if err != nil {
		return outcome{}, err
	}
	defer c.close()
	var writes [][]byte
	for first := 0; first < b.n; first += pipelined {
		var buf bytes.Buffer
		for i := first; i < min(first+pipelined, b.n); i++ {
			fmt.Fprintf(&buf, "a STATUS f%05d (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN)\r\n", i)
		}
		writes = append(writes, buf.Bytes())
	}
	all := func(int, int) error {
		for k, w := range writes {
			if err := c.write(w); err != nil {
				return err
			}
			for i := k * pipelined; i < min((k+1)*pipelined, b.n); i++ {
				if err := c.answer([]byte("MESSAGES 3")); err != nil {
					return err
				}
				if err := want("STATUS with three messages", c.got.wanted, 1); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := all(0, 0); err != nil {
		return outcome{}, err
	}
	return b.together(ctx, 1, all)
}

// listAll lists every folder.
func listAll(ctx context.Context, b *bed) (outcome, error) {
	c, err := b.enter(ctx, b.row.owner)
	if err != nil {
		return outcome{}, err
	}
	defer c.close()
	list := func(int, int) error {
		if err := c.askFor(`LIST "" *`, []byte("f0")); err != nil {
			return err
		}
		return want("folders", c.got.wanted, b.n)
	}
	if err := list(0, 0); err != nil {
		return outcome{}, err
	}
	return b.together(ctx, 1, list)
}

// seedPOP3 fills the INBOX of the row's user.
func seedPOP3(_ context.Context, b *bed) error {
	return b.lab.fill(b.rig, b.row.owner, "", b.n, true)
}

// pop3 is a POP3 session that counts.
type pop3 struct {
	*conn
	r *bufio.Reader
}

func (b *bed) pop3(ctx context.Context) (*pop3, error) {
	c, err := dial(ctx, b.rig.server, "pop3")
	if err != nil {
		return nil, err
	}
	p := &pop3{conn: c, r: c.r}
	if err := c.SetDeadline(time.Now().Add(longAnswer)); err != nil {
		return nil, err
	}
	name := b.lab.user(b.row.owner).name
	for _, command := range []string{"USER " + name, "PASS " + password} {
		if _, err := p.one(command); err != nil {
			c.close()
			return nil, err
		}
	}
	p.r = bufio.NewReaderSize(p.Conn, 256<<10)
	return p, nil
}

// one sends a command and reads an answer of one line, which must be +OK.
func (p *pop3) one(command string) (string, error) {
	if _, err := p.Conn.Write([]byte(command + "\r\n")); err != nil {
		return "", err
	}
	line, err := p.r.ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "+OK") {
		err = fmt.Errorf("%s: %q", command, line)
	}
	return strings.TrimSpace(line), err
}

// many reads +OK and lines to the one with a dot, and gives how many.
func (p *pop3) many() (lines int, octets int64, err error) {
	for first := true; ; first = false {
		line, err := p.r.ReadSlice('\n')
		if err != nil {
			return 0, 0, err
		}
		if first {
			if !bytes.HasPrefix(line, []byte("+OK")) {
				return 0, 0, fmt.Errorf("%q", line)
			}
			continue
		}
		if len(line) == 3 && line[0] == '.' {
			return lines, octets, nil
		}
		lines, octets = lines+1, octets+int64(len(line))
	}
}

// popList is what a client does that looks for new mail: log in, STAT, LIST,
// UIDL, QUIT; all but the login pipelined as a client does (RFC 2449 §6.6).
func popList(ctx context.Context, b *bed) (outcome, error) {
	check := func(int, int) error {
		p, err := b.pop3(ctx)
		if err != nil {
			return err
		}
		defer p.close()
		stat, err := p.one("STAT")
		if err != nil {
			return err
		}
		if f := strings.Fields(stat); len(f) < 3 || f[1] != strconv.Itoa(b.n) {
			return fmt.Errorf("STAT: %q, not %d", stat, b.n)
		}
		if _, err := p.Conn.Write([]byte("LIST\r\nUIDL\r\n")); err != nil {
			return err
		}
		for _, command := range []string{"LIST", "UIDL"} {
			lines, _, err := p.many()
			if err != nil {
				return fmt.Errorf("%s: %w", command, err)
			}
			if err := want("lines of "+command, lines, b.n); err != nil {
				return err
			}
		}
		_, err = p.one("QUIT")
		return err
	}
	if err := check(0, 0); err != nil {
		return outcome{}, err
	}
	return b.together(ctx, 1, check)
}

// popAll logs in and fetches every message, 50 commands at a time.
func popAll(ctx context.Context, b *bed) (outcome, error) {
	var octets int64
	for i := range b.n {
		octets += int64(len(corpusOf("", b.n).letter(i).wire()))
	}
	fetch := func(int, int) error {
		p, err := b.pop3(ctx)
		if err != nil {
			return err
		}
		defer p.close()
		var got int64
		var buf []byte
		for first := 1; first <= b.n; first += 50 {
			last := min(first+49, b.n)
			buf = buf[:0]
			for i := first; i <= last; i++ {
				buf = fmt.Appendf(buf, "RETR %d\r\n", i)
			}
			if _, err := p.Conn.Write(buf); err != nil {
				return err
			}
			for i := first; i <= last; i++ {
				_, n, err := p.many()
				if err != nil {
					return fmt.Errorf("RETR %d: %w", i, err)
				}
				got += n
			}
		}
		if got != octets {
			return fmt.Errorf("%d octets, not %d", got, octets)
		}
		_, err = p.one("QUIT")
		return err
	}
	if err := fetch(0, 0); err != nil {
		return outcome{}, err
	}
	return b.together(ctx, 1, fetch)
}
