package main

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"fmt"
	"time"
)

// zlibPlugin is what Dovecot offers COMPRESS with.
const zlibPlugin = "imap_zlib"

// lineRows are about the line between client and server: COMPRESS=DEFLATE (RFC
// 4978), each server at its default level, and NOTIFY (RFC 5465).
func lineRows() []storeRow {
	const notified = 87 // the user with 1,000 folders
	return []storeRow{
		{name: "compress-envelope", title: "FETCH ENVELOPE of 10,000, cached, COMPRESS", driver: "maildir", n: 10_000, plugin: zlibPlugin, goal: goal{Ratio: 1},
			seed: seedReader, measure: compressed(envelope, "ENVELOPE (")},
		{name: "compress-bodies", title: "FETCH of the bodies of 10,000, COMPRESS", driver: "maildir", n: 10_000, plugin: zlibPlugin, goal: goal{Ratio: 1},
			seed: seedReader, measure: compressed("BODY.PEEK[]", "BODY[]")},
		{name: "mem-compress", title: "memory, a user's session idle after work, COMPRESS", driver: "maildir", bytes: true, n: 50, plugin: zlibPlugin, goal: goal{Ratio: 1},
			seed: seedWorkers, measure: memoryAfterWork((*client).compress)},
		{name: "notify", title: "APPEND to one of 1,000 folders until another session is told by NOTIFY", driver: "maildir", n: 1000, owner: notified,
			goal: goal{Ratio: 1, Time: 200_000}, seed: seedFolders, measure: notifying},
	}
}

// compress switches COMPRESS on.
func (c *client) compress() error {
	if err := c.ask("COMPRESS DEFLATE"); err != nil {
		return err
	}
	out, err := flate.NewWriter(c.Conn, flate.DefaultCompression)
	c.out, c.r = out, bufio.NewReaderSize(flate.NewReader(c.r), 256<<10)
	return err
}

// compressed gives a measurement of FETCH 1:* in a session with COMPRESS.
func compressed(items, sign string) func(context.Context, *bed) (outcome, error) {
	return func(ctx context.Context, b *bed) (outcome, error) {
		c, err := b.opened(ctx)
		if err != nil {
			return outcome{}, err
		}
		defer c.close()
		if err := c.compress(); err != nil {
			return outcome{}, err
		}
		for range 2 {
			if err := b.fetchAll(c, items, sign); err != nil {
				return outcome{}, err
			}
		}
		return b.together(ctx, 1, func(int, int) error { return b.fetchAll(c, items, sign) })
	}
}

// notifying has one session append to folder after folder and another, which
// idles, be told of it.
func notifying(ctx context.Context, b *bed) (outcome, error) {
	all, done, err := b.sessions(ctx, 2, b.row.owner, nil)
	if err != nil {
		return outcome{}, err
	}
	defer done()
	writes, told := all[0], all[1]
	if err := told.ask("NOTIFY SET (personal (MessageNew MessageExpunge))"); err != nil {
		return outcome{}, err
	}
	if err := told.write([]byte("a IDLE\r\n")); err != nil {
		return outcome{}, err
	}
	if line, err := told.r.ReadString('\n'); err != nil || line[0] != '+' {
		return outcome{}, fmt.Errorf("IDLE: %q, %w", line, err)
	}
	message := sized(1, 4096)
	return b.together(ctx, 1, func(_, i int) error {
		box := fmt.Sprintf("f%05d", i*7%b.n)
		if err := writes.raw(appendCommand(box, message)); err != nil {
			return err
		}
		return told.hears([]byte("STATUS " + box + " "))
	})
}

// unheard is how long a session waits to be told of a change.
const unheard = 10 * time.Second

// hears reads untagged responses until one begins with text.
func (c *client) hears(text []byte) error {
	if err := c.SetDeadline(time.Now().Add(unheard)); err != nil {
		return err
	}
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("waiting for %q: %w", text, err)
		}
		if len(line) > 2 && bytes.HasPrefix(line[2:], text) {
			return nil
		}
	}
}
