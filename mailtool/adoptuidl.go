package mailtool

import (
	"bufio"
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/ipc/toolmsg"
	"rookery/internal/mailstore"
	"rookery/internal/pop3wire"
)

// Bounds of what another POP3 server may send.
const (
	maxPOP3Line = 1024
	maxDrop     = 10_000_000 // messages
)

// uidlVars are the values of pop3_uidl_format.
type uidlVars struct {
	uid, validity  uint32
	filename, guid string
}

// adoptUIDLs compares what a POP3 client would be told of INBOX with what the other
// server tells it: the unique ids, in the order of message numbers (RFC 1939 §7). It
// returns the number of differences.
func (c *call) adoptUIDLs() (int, error) {
	there, err := c.otherUIDLs()
	if err != nil {
		return 0, err
	}
	here, kept, err := c.ownUIDLs()
	if err != nil {
		return 0, err
	}
	var diffs []string
	if len(here) != len(there) {
		diffs = append(diffs, fmt.Sprintf("there are %d messages here, %d there", len(here), len(there)))
	}
	for i := range min(len(here), len(there)) {
		if here[i] != there[i] {
			diffs = append(diffs, fmt.Sprintf("message %d has the UIDL %s here, %s there", i+1, here[i], there[i]))
		}
	}
	var o ordered
	o.add("mailbox", c.shown(imapname.Inbox))
	o.add("pop3_messages", len(here))
	o.add("uidls_kept", kept)
	o.add("same", len(diffs) == 0)
	if len(diffs) > 0 {
		o.add("differences", diffs[:min(len(diffs), maxDifferences)])
	}
	return len(diffs), c.line(o)
}

// otherUIDLs takes the stream that follows, on which rookeryctl has logged in over
// POP3, and asks for all unique ids.
func (c *call) otherUIDLs() ([]string, error) {
	m, fd, err := c.flow.Next(c.ctx)
	if err != nil {
		return nil, err
	}
	if _, ok := m.(*toolmsg.Stream); !ok {
		return nil, failf(exitSoftware, "rookeryctl sent %T in place of the POP3 stream", m)
	}
	file := os.NewFile(uintptr(fd), "the other server")
	defer file.Close()
	defer context.AfterFunc(c.ctx, func() { file.Close() })()
	return askUIDLs(timed{file})
}

// askUIDLs speaks the command UIDL and QUIT.
func askUIDLs(rw io.ReadWriter) (out []string, err error) {
	if _, err := io.WriteString(rw, "UIDL\r\n"); err != nil {
		return nil, fmt.Errorf("the other server: %w", err)
	}
	r := bufio.NewReaderSize(rw, 64<<10)
	line, err := pop3Line(r)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(line, "+OK") {
		return nil, failf(exitData, "the other server answers UIDL with %.200q", line)
	}
	for {
		line, err := pop3Line(r)
		if err != nil {
			return nil, err
		}
		if line == "." {
			_, _ = io.WriteString(rw, "QUIT\r\n") // out of courtesy
			return out, nil
		}
		number, id, _ := strings.Cut(line, " ")
		n, err := strconv.Atoi(number)
		if err != nil || n <= len(out) || n > maxDrop || id == "" {
			return nil, failf(exitData, "the other server's list of UIDLs has the line %.80q", line)
		}
		for len(out) < n-1 { // numbers that it leaves out
			out = append(out, "none")
		}
		out = append(out, id)
	}
}

func pop3Line(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return "", fmt.Errorf("the other server: %w", err)
	}
	if len(line) > maxPOP3Line {
		return "", failf(exitData, "the other server sends a line of %d octets", len(line))
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}

// ownUIDLs gives INBOX's ids in the order in which POP3 numbers the messages: those
// with an order from another server by it, the others behind them by UID. kept is how many
// are another server's.
func (c *call) ownUIDLs() (out []string, kept int, err error) {
	box, snap, err := mailstore.Look(c.store, imapname.Inbox)
	if err != nil {
		return nil, 0, err
	}
	defer box.Close()
	validity := box.Info().UIDValidity
	type one struct {
		order uint32
		id    string
	}
	var all []one
	for i := range snap.Len() {
		if err := c.progress("reading UIDLs", i, snap.Len()); err != nil {
			return nil, 0, err
		}
		uid := snap.At(i).UID
		f, err := box.Facts(uid, mailstore.FactsWant{UIDL: true, GUID: true})
		if errkind.Is(err, errkind.Expunged) {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		id := f.UIDL
		if id != "" {
			kept++
		} else if id, err = c.uidl(uidlVars{uid, validity, f.BaseName, hex.EncodeToString(f.GUID[:])}); err != nil {
			return nil, 0, err
		}
		all = append(all, one{f.Order, pop3wire.UniqueID(id)})
	}
	slices.SortStableFunc(all, func(a, b one) int { return cmp.Compare(a.order-1, b.order-1) }) // 0 comes last
	for _, x := range all {
		out = append(out, x.id)
	}
	return out, kept, nil
}
