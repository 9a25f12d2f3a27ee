package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// appendWay is one row of APPEND.
type appendWay struct {
	clients int
	users   bool // each client has a user of his own; else all append into one folder
	size    int  // octets of a message
	batch   int  // messages in one command
}

// letters is how many different messages are appended in turn.
const letters = 32

// appending measures APPEND into a folder that had the row's number of
// messages at first. An operation is a command.
func appending(way appendWay) func(context.Context, *bed) (outcome, error) {
	commands := map[string][][]byte{} // made once for all servers and repeats
	return func(ctx context.Context, b *bed) (outcome, error) {
		box := b.appendBox(way)
		if commands[box] == nil {
			commands[box] = appendCommands(box, way)
		}
		var all []*client
		defer func() {
			for _, c := range all {
				c.close()
			}
		}()
		for i := range way.clients {
			who := appender
			if way.users {
				who = tenUsers + i
			}
			c, err := b.enter(ctx, who)
			if err != nil {
				return outcome{}, err
			}
			all = append(all, c)
		}
		before, err := exists(all, box, way.users)
		if err != nil {
			return outcome{}, err
		}
		// The first one makes files that all the others find.
		warm := len(all)
		for i, c := range all {
			if err := c.raw(commands[box][i%len(commands[box])]); err != nil {
				return outcome{}, err
			}
		}
		out, err := b.together(ctx, way.clients, func(client, i int) error {
			return all[client].raw(commands[box][(i*way.clients+client)%len(commands[box])])
		})
		if err != nil {
			return out, err
		}
		after, err := exists(all, box, way.users)
		if err != nil {
			return out, err
		}
		return out, want("messages more", after-before, (out.Count+warm)*way.batch)
	}
}

func (b *bed) appendBox(way appendWay) string {
	if way.users {
		return "INBOX"
	}
	return fmt.Sprintf("A%d", b.n)
}

func appendCommands(box string, way appendWay) [][]byte {
	var all [][]byte
	for i := range max(1, letters*4096/(way.size*way.batch)) {
		var messages [][]byte
		for k := range way.batch {
			messages = append(messages, sized(i*way.batch+k, way.size))
		}
		all = append(all, appendCommand(box, messages...))
	}
	return all
}

// exists opens the folder and adds up how many messages there are. EXAMINE,
// CLOSE: the session is left as it was.
func exists(all []*client, box string, users bool) (int, error) {
	sum := 0
	for i, c := range all {
		if i > 0 && !users {
			break
		}
		if err := c.ask("EXAMINE " + box); err != nil {
			return 0, err
		}
		sum += c.got.exists
		if err := c.ask("CLOSE"); err != nil {
			return 0, err
		}
	}
	return sum, nil
}

// seedAppend makes the folder that is appended to.
func seedAppend(ctx context.Context, b *bed) error {
	if b.n > 0 {
		who := appender
		return b.lab.fill(b.rig, who, fmt.Sprintf("A%d", b.n), b.n, true)
	}
	return b.make(ctx, appender, "A0")
}

// make creates an empty folder by IMAP.
func (b *bed) make(ctx context.Context, who int, box string) error {
	return b.rig.once(fmt.Sprintf("%d/%s", who, box), func() error {
		c, err := b.enter(ctx, who)
		if err != nil {
			return err
		}
		defer c.close()
		return c.ask("CREATE " + box)
	})
}

// changedBox names the folder with n messages in which things are changed.
func (b *bed) changedBox() string { return fmt.Sprintf("W%d", b.n) }

// aside is where messages are copied and moved to, one for each folder.
func (b *bed) aside() string { return fmt.Sprintf("Aside%d", b.n) }

// spareBox holds what is copied into a folder to be expunged there.
const spareBox = "Spare"

// spares is how many messages are there to be expunged in one measurement.
const spares = 500

func seedWriter(ctx context.Context, b *bed) error {
	if err := b.lab.fill(b.rig, writer, b.changedBox(), b.n, true); err != nil {
		return err
	}
	if err := b.lab.fill(b.rig, writer, spareBox, spares, true); err != nil {
		return err
	}
	return b.make(ctx, writer, b.aside())
}

// changers opens the sessions of a row that changes a folder, and gives the UIDs there.
func (b *bed) changers(ctx context.Context, clients int) ([]*client, []string, func(), error) {
	all, done, err := b.sessions(ctx, clients, writer, func(c *client) error { return c.selectBox(b.changedBox(), -1) })
	if err != nil {
		return nil, nil, nil, err
	}
	uids, err := all[0].uids("ALL")
	if err == nil {
		err = want("messages in "+b.changedBox(), len(uids), b.n)
	}
	if err != nil {
		done()
		return nil, nil, nil, err
	}
	return all, uids, done, nil
}

// uids searches and gives the UIDs as text; it is never part of a measurement.
func (c *client) uids(key string) ([]string, error) {
	if err := c.write([]byte("a UID SEARCH " + key + "\r\n")); err != nil {
		return nil, err
	}
	var all []string
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if rest, ok := strings.CutPrefix(line, "* SEARCH"); ok {
			all = strings.Fields(rest)
		}
		if strings.HasPrefix(line, "a ") {
			if !strings.HasPrefix(line, "a OK") {
				return nil, fmt.Errorf("UID SEARCH: %q", line)
			}
			return all, nil
		}
	}
}

// storing sets, and on the next round through the folder takes away, one flag
// of one message at a time. Each row has a flag of its own.
func storing(clients int, flag string) func(context.Context, *bed) (outcome, error) {
	return func(ctx context.Context, b *bed) (outcome, error) {
		all, uids, done, err := b.changers(ctx, clients)
		if err != nil {
			return outcome{}, err
		}
		defer done()
		id := fmt.Sprintf("%s %d", flag, b.n)
		from := b.rig.count[id]
		most := make([]int, clients)
		share := len(uids) / clients
		out, err := b.together(ctx, clients, func(client, i int) error {
			at := from + i
			most[client] = i + 1
			sign := "+"
			if at/share%2 == 1 {
				sign = "-"
			}
			c := all[client]
			c.buf = fmt.Appendf(c.buf[:0], "a UID STORE %s %sFLAGS (%s)\r\n", uids[client*share+at%share], sign, flag)
			if err := c.raw(c.buf); err != nil {
				return err
			}
			if c.got.fetches == 0 {
				return errors.New("no FETCH of the changed flags")
			}
			return nil
		})
		if err != nil {
			return out, err
		}
		// All go on from where the first was: a client behind it would change
		// nothing on the messages between, one ahead changes them back.
		b.rig.count[id] = from + most[0]
		return out, b.realign(all[0], uids, share, from+most[0], flag)
	}
}

// realign brings every client's share of the folder to the state in which the
// first client left his, with few commands.
func (b *bed) realign(c *client, uids []string, share, at int, flag string) error {
	set, clear := "+", "-"
	if at/share%2 == 1 {
		set, clear = "-", "+"
	}
	for first := 0; first+share <= len(uids); first += share {
		if first == 0 {
			continue
		}
		split := first + at%share
		if split > first {
			if err := c.ask(fmt.Sprintf("UID STORE %s:%s %sFLAGS.SILENT (%s)", uids[first], uids[split-1], set, flag)); err != nil {
				return err
			}
		}
		if err := c.ask(fmt.Sprintf("UID STORE %s:%s %sFLAGS.SILENT (%s)", uids[split], uids[first+share-1], clear, flag)); err != nil {
			return err
		}
	}
	return nil
}

// copying copies one message at a time into another folder.
func copying(clients int) func(context.Context, *bed) (outcome, error) {
	return func(ctx context.Context, b *bed) (outcome, error) {
		all, uids, done, err := b.changers(ctx, clients)
		if err != nil {
			return outcome{}, err
		}
		defer done()
		aside := b.aside()
		other, err := b.enter(ctx, writer)
		if err != nil {
			return outcome{}, err
		}
		defer other.close()
		before, err := exists([]*client{other}, aside, false)
		if err != nil {
			return outcome{}, err
		}
		out, err := b.together(ctx, clients, func(client, i int) error {
			c := all[client]
			c.buf = fmt.Appendf(c.buf[:0], "a UID COPY %s %s\r\n", uids[(i*clients+client)%len(uids)], aside)
			if err := c.raw(c.buf); err != nil {
				return err
			}
			return c.hasCode("COPYUID")
		})
		if err != nil {
			return out, err
		}
		after, err := exists([]*client{other}, aside, false)
		if err != nil {
			return out, err
		}
		return out, want("copies more", after-before, out.Count)
	}
}

// hasCode wants a response code in the tagged answer, so that an OK which did
// nothing is an error.
func (c *client) hasCode(code string) error {
	if t := c.got.tagged(); !strings.Contains(t, "["+code) {
		return fmt.Errorf("no %s in %q", code, t)
	}
	return nil
}

// atMost is how many messages one measurement moves or expunges.
func (b *bed) atMost() int { return min(spares, b.n/2) }

// moving moves one message at a time into another folder, and all back after
// the measurement.
func moving(clients int) func(context.Context, *bed) (outcome, error) {
	return func(ctx context.Context, b *bed) (outcome, error) {
		all, uids, done, err := b.changers(ctx, clients)
		if err != nil {
			return outcome{}, err
		}
		defer done()
		target := "Moved" + strconv.Itoa(b.n)
		if err := b.make(ctx, writer, target); err != nil {
			return outcome{}, err
		}
		out, err := b.together(ctx, clients, func(client, i int) error {
			at := i*clients + client
			if at >= b.atMost() {
				return errDone
			}
			c := all[client]
			c.buf = fmt.Appendf(c.buf[:0], "a UID MOVE %s %s\r\n", uids[at], target)
			if err := c.raw(c.buf); err != nil {
				return err
			}
			if c.got.expunges == 0 {
				return errors.New("no EXPUNGE of the moved message")
			}
			return nil
		})
		if err != nil {
			return out, err
		}
		c := all[0]
		if err := c.selectBox(target, out.Count); err != nil {
			return out, err
		}
		return out, c.ask("UID MOVE 1:* " + b.changedBox())
	}
}

// expunging expunges one message at a time, of those that were copied into the
// folder and marked before.
func expunging(clients int) func(context.Context, *bed) (outcome, error) {
	return func(ctx context.Context, b *bed) (outcome, error) {
		c, err := b.enter(ctx, writer)
		if err != nil {
			return outcome{}, err
		}
		defer c.close()
		if err := c.selectBox(spareBox, -1); err != nil {
			return outcome{}, err
		}
		if err := c.ask("UID COPY 1:* " + b.changedBox()); err != nil {
			return outcome{}, err
		}
		if err := c.selectBox(b.changedBox(), b.n+spares); err != nil {
			return outcome{}, err
		}
		if err := c.ask(fmt.Sprintf("STORE %d:* +FLAGS.SILENT (\\Deleted)", b.n+1)); err != nil {
			return outcome{}, err
		}
		uids, err := c.uids("DELETED")
		if err != nil {
			return outcome{}, err
		}
		if err := want("marked messages", len(uids), spares); err != nil {
			return outcome{}, err
		}
		all, done, err := b.sessions(ctx, clients, writer, func(c *client) error { return c.selectBox(b.changedBox(), -1) })
		if err != nil {
			return outcome{}, err
		}
		defer done()
		out, err := b.together(ctx, clients, func(client, i int) error {
			at := i*clients + client
			if at >= len(uids) {
				return errDone
			}
			c := all[client]
			c.buf = append(append(append(c.buf[:0], "a UID EXPUNGE "...), uids[at]...), "\r\n"...)
			if err := c.raw(c.buf); err != nil {
				return err
			}
			if c.got.expunges == 0 {
				return errors.New("no EXPUNGE of the expunged message")
			}
			return nil
		})
		if err != nil {
			return out, err
		}
		if err := c.ask("EXPUNGE"); err != nil { // those that the time did not suffice for
			return out, err
		}
		return out, c.selectBox(b.changedBox(), b.n)
	}
}
