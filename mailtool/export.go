package mailtool

import (
	"io"

	"rookery/internal/errkind"
	"rookery/internal/ipc/toolmsg"
	"rookery/internal/mailstore"
	"rookery/mailtool/internal/query"
)

// export sends the messages that the query names, mailbox by mailbox; without a
// query all, and mailboxes without messages too.
func export(c *call) error {
	q, err := c.parse(c.args, false)
	if err != nil {
		return err
	}
	all, err := c.selected(c.options["mailbox"])
	if err != nil {
		return err
	}
	total, broken := 0, 0
	for _, f := range openable(all) {
		st, err := c.store.Status(f.Name, mailstore.StatusWant{})
		if errkind.Is(err, errkind.NotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return err
		}
		count := 0
		told := false
		begin := func() error {
			if told {
				return nil
			}
			told = true
			return c.flow.Send(&toolmsg.Folder{Name: f.Name, Subscribed: f.Attrs&mailstore.Subscribed != 0})
		}
		if len(c.args) == 0 {
			if err := begin(); err != nil {
				return err
			}
		}
		n, err := c.visitOne(q, f.Name, func(_ found, m *query.Mail) error {
			if err := begin(); err != nil {
				return err
			}
			if err := c.send(m); err != nil {
				return err
			}
			count++
			return c.progress("exporting "+c.shown(f.Name), count, int(st.Messages))
		}, nil)
		broken += n
		total += count
		if err != nil {
			return err
		}
		if !told {
			continue
		}
		if err := c.line(map[string]any{"mailbox": c.shown(f.Name), "exported": count}); err != nil {
			return err
		}
	}
	if broken > 0 {
		return failf(exitData, "%d messages could not be read and are missing in the export (%d are in it)", broken, total)
	}
	return nil
}

// send sends one message. One that breaks off within it is filled up to its size
// by nothing: the export fails, since half a message must not look like one.
func (c *call) send(m *query.Mail) error {
	facts, err := m.Facts(mailstore.FactsWant{InternalDate: true})
	if err != nil {
		return err
	}
	msg, err := m.Open()
	if err != nil {
		return err
	}
	size := msg.Size()
	buf := make([]byte, min(size, toolmsg.MaxData))
	// The first piece is read before the message is announced: one that cannot be
	// read at all is left out, and told.
	n, err := msg.ReadAt(buf, 0)
	if int64(n) < min(size, int64(len(buf))) {
		return readError(err)
	}
	if err := c.flow.Send(&toolmsg.Item{UID: m.Entry.UID, Flags: uint8(m.Entry.Flags), Keywords: m.Keywords, InternalDate: facts.InternalDate, Size: size}); err != nil {
		return err
	}
	for off := int64(0); ; {
		last := off+int64(n) >= size
		if err := c.flow.Send(&toolmsg.Data{Bytes: buf[:n], Last: last}); err != nil {
			return err
		}
		if last {
			return nil
		}
		off += int64(n)
		n, err = msg.ReadAt(buf[:min(int64(len(buf)), size-off)], off)
		if n == 0 {
			return failf(exitIO, "message %d breaks off after %d of %d octets: %v", m.Entry.UID, off, size, readError(err)) // %v: no other message may follow
		}
	}
}

func readError(err error) error {
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	if errkind.Of(err) == errkind.Other {
		return errkind.New("read", errkind.IO, err)
	}
	return err
}
