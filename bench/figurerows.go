package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// figureRows are those whose figure is bytes: of memory and of the disk.
func figureRows() []storeRow {
	return []storeRow{
		{name: "mem-work", title: "memory, a user's session idle after work", driver: "maildir", bytes: true, n: 50, goal: goal{Most: 2 << 20}, seed: seedWorkers, measure: memoryAfterWork(nil)},
		{name: "mem-selected", title: "private memory, ten sessions on 100,000 messages after two STOREs each", driver: "maildir", bytes: true, n: 100_000,
			goal: goal{Ratio: 8}, seed: seedWriter, measure: memorySelected},
		{name: "disk-append", title: "bytes written for each APPEND of 4 KB, durable", driver: "maildir", bytes: true, write: true, goal: goal{Ratio: 1}, seed: seedAppend,
			measure: written(appending(appendWay{clients: 1, size: 4096, batch: 1}), 1000)},
		{name: "disk-flag", title: "bytes written for each flag change, durable, folder of 1,000", driver: "maildir", bytes: true, write: true, n: 1000, goal: goal{Ratio: 1}, seed: seedWriter,
			measure: written(storing(1, `\Draft`), 1000)},
		{name: "disk-index", title: "size of index and cache for each message, 100,000 listed by a client", driver: "maildir", bytes: true, n: 100_000, goal: goal{Ratio: 1},
			seed: seedReader, measure: indexSize},
	}
}

// written turns a measurement of time into one of what was written.
func written(measure func(context.Context, *bed) (outcome, error), ops int) func(context.Context, *bed) (outcome, error) {
	return func(ctx context.Context, b *bed) (outcome, error) {
		if b.trace {
			return measure(ctx, b)
		}
		some := *b
		some.limit, some.span = ops, time.Minute
		if b.quick {
			some.limit = ops / 10
		}
		out, err := measure(ctx, &some)
		if err == nil && out.Bytes == 0 {
			err = errors.New("what is written cannot be counted without a loop device")
		}
		out.sample = sample{Value: out.Bytes, Count: out.Count}
		return out, err
	}
}

// indexSize has a client list the folder as clients do, and adds up the index
// files of the folder, and of the user where one serves all his folders. What other
// rows had both servers keep goes first.
func indexSize(ctx context.Context, b *bed) (outcome, error) {
	c, err := b.opened(ctx)
	if err != nil {
		return outcome{}, err
	}
	defer func() { c.close() }()
	if err := b.leave(ctx, c); err != nil {
		return outcome{}, err
	}
	if err := b.dropIndex(b.reader(), allIndex); err != nil {
		return outcome{}, err
	}
	if c, err = b.opened(ctx); err != nil {
		return outcome{}, err
	}
	for range 2 {
		for _, f := range [][2]string{{envelope, "ENVELOPE ("}, {bodies, "BODYSTRUCTURE ("}, {headers, headersSign}} {
			if err := b.fetchAll(c, f[0], f[1]); err != nil {
				return outcome{}, err
			}
		}
	}
	var total int64
	root := filepath.Join(b.rig.home(b.lab.user(b.reader())), "Maildir")
	for _, dir := range []string{root, filepath.Join(root, "."+folderOf(b.n))} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return outcome{}, err
		}
		for _, e := range entries {
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) || err == nil && (e.IsDir() || !allIndex(e.Name())) {
				continue
			}
			if err != nil {
				return outcome{}, err
			}
			total += info.Size()
		}
	}
	return outcome{sample: sample{Value: float64(total) / float64(b.n), Count: b.n, Total: total}}, nil
}

// workerMail is how many messages are in the INBOX of those who do some work.
const workerMail = 200

func seedWorkers(_ context.Context, b *bed) error {
	for i := range b.n {
		if err := b.lab.fill(b.rig, worker+i, "", workerMail, false); err != nil {
			return err
		}
	}
	return nil
}

// memoryAfterWork opens a session for each of the users, has each do what a
// client does in a morning (first, if not nil, before it), and measures what they
// cost while they idle: the proportional set size of all processes, above that of
// the server alone.
func memoryAfterWork(first func(*client) error) func(context.Context, *bed) (outcome, error) {
	return func(ctx context.Context, b *bed) (outcome, error) {
		b.rig.stop()
		if err := b.rig.start(ctx); err != nil {
			return outcome{}, err
		}
		base, err := settled(ctx, b.rig.server)
		if err != nil {
			return outcome{}, err
		}
		var all []*client
		defer func() {
			for _, c := range all {
				c.close()
			}
		}()
		for i := range b.n {
			c, err := b.enter(ctx, worker+i)
			if err != nil {
				return outcome{}, err
			}
			all = append(all, c)
			if first != nil {
				err = first(c)
			}
			if err == nil {
				err = someWork(c)
			}
			if err != nil {
				return outcome{}, err
			}
		}
		after, err := settled(ctx, b.rig.server)
		if err != nil {
			return outcome{}, err
		}
		return outcome{sample: sample{Value: float64(after-base) / float64(b.n), Count: b.n, Procs: len(b.rig.group.pids()), Total: after}}, nil
	}
}

// someWork lists the INBOX, reads three messages, flags them, appends a
// message, searches, and then begins to idle.
func someWork(c *client) error {
	if err := c.selectBox("INBOX", -1); err != nil {
		return err
	}
	for _, command := range []string{
		"FETCH 1:* (UID FLAGS RFC822.SIZE INTERNALDATE)", "FETCH 1:* (ENVELOPE BODYSTRUCTURE)", "FETCH 3 BODY.PEEK[]", "FETCH 77 BODY.PEEK[]", "FETCH 150 BODY.PEEK[]",
		`STORE 3,77,150 +FLAGS (\Flagged)`, `STORE 3,77,150 -FLAGS (\Flagged)`, "SEARCH SUBJECT " + subjectWord, `LIST "" *`,
	} {
		if err := c.ask(command); err != nil {
			return err
		}
	}
	if err := c.raw(appendCommand("INBOX", sized(1, 4096))); err != nil {
		return err
	}
	if err := c.ask("NOOP"); err != nil {
		return err
	}
	if err := c.write([]byte("a IDLE\r\n")); err != nil {
		return err
	}
	line, err := c.r.ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "+") {
		err = fmt.Errorf("IDLE: %q", line)
	}
	return err
}

// memorySelected measures what ten sessions of one user on a large folder cost
// once each has changed two messages and heard of the others' changes: memory
// that is private to processes and written, since index files that are mapped
// belong to the system's cache.
func memorySelected(ctx context.Context, b *bed) (outcome, error) {
	b.rig.stop()
	if err := b.rig.start(ctx); err != nil {
		return outcome{}, err
	}
	if err := pause(ctx, settle); err != nil {
		return outcome{}, err
	}
	base, err := b.rig.group.memory("Private_Dirty:")
	if err != nil {
		return outcome{}, err
	}
	const sessions = 10
	all, done, err := b.sessions(ctx, sessions, writer, func(c *client) error { return c.selectBox(b.changedBox(), b.n) })
	if err != nil {
		return outcome{}, err
	}
	defer done()
	for i, c := range all {
		for _, sign := range []string{"+", "-"} {
			if err := c.ask(fmt.Sprintf(`STORE %d %sFLAGS (\Draft)`, 100+i*20, sign)); err != nil {
				return outcome{}, err
			}
		}
	}
	for _, c := range all {
		if err := c.ask("NOOP"); err != nil {
			return outcome{}, err
		}
	}
	if err := pause(ctx, settle); err != nil {
		return outcome{}, err
	}
	after, err := b.rig.group.memory("Private_Dirty:")
	if err != nil {
		return outcome{}, err
	}
	return outcome{sample: sample{Value: float64(after - base), Count: sessions, Procs: len(b.rig.group.pids()), Total: after}}, nil
}
