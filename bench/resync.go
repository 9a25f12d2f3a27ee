package main

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
)

// resyncChanges is how many messages have other flags than the client knows.
const resyncChanges = 100

// resync is a client that comes back to a folder that it knows, with QRESYNC
// (RFC 7162 §3.2.5): some messages have changed since.
func resync(ctx context.Context, b *bed) (outcome, error) {
	c, err := b.opened(ctx)
	if err != nil {
		return outcome{}, err
	}
	defer c.close()
	for _, command := range []string{"UNSELECT", "ENABLE QRESYNC"} {
		if err := c.ask(command); err != nil {
			return outcome{}, err
		}
	}
	if err := c.selectBox(folderOf(b.n), b.n); err != nil {
		return outcome{}, err
	}
	known := fmt.Sprintf("%d %d", c.got.validity, c.got.highest)
	var changed []string
	for i := range min(resyncChanges, b.n) {
		changed = append(changed, strconv.Itoa(1+i*b.n/min(resyncChanges, b.n)))
	}
	// There and back: the folder is as it was for other rows, but for mod-sequences.
	for _, op := range []string{"+", "-"} {
		if err := c.ask("STORE " + strings.Join(changed, ",") + " " + op + `FLAGS.SILENT (\Flagged)`); err != nil {
			return outcome{}, err
		}
	}
	command := "SELECT " + folderOf(b.n) + " (QRESYNC (" + known + "))"
	return b.each(ctx, func() error {
		return c.ask("EXAMINE INBOX") // another folder, an empty one
	}, func() error {
		if err := c.ask(command); err != nil {
			return err
		}
		if c.got.fetches != len(changed) {
			return fmt.Errorf("%d messages changed, %d were told", len(changed), c.got.fetches)
		}
		return nil
	})
}

// code keeps the numbers of SELECT's response codes.
func (t *tally) code(line []byte) {
	for _, k := range []struct {
		name  string
		value *uint64
	}{{"OK [UIDVALIDITY ", &t.validity}, {"OK [HIGHESTMODSEQ ", &t.highest}} {
		if rest, ok := bytes.CutPrefix(line, []byte(k.name)); ok {
			digits, _, _ := bytes.Cut(rest, []byte("]"))
			*k.value, _ = strconv.ParseUint(string(digits), 10, 64) // 0 is refused by whoever is asked with it
		}
	}
}
