package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// folderOf names the folder with n messages, for reading.
func folderOf(n int) string { return fmt.Sprintf("M%d", n) }

// seedReader gives the reader the folder of the row's size.
func seedReader(_ context.Context, b *bed) error {
	return b.lab.fill(b.rig, b.reader(), folderOf(b.n), b.n, true)
}

// reader is who has the folder of the row's size.
func (b *bed) reader() int {
	if b.n > 100_000 {
		return million
	}
	return reader
}

// opened gives a session on the folder, after it was opened once before so
// that an index is there.
func (b *bed) opened(ctx context.Context) (*client, error) {
	c, err := b.enter(ctx, b.reader())
	if err != nil {
		return nil, err
	}
	if err := c.selectBox(folderOf(b.n), b.n); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// selectIndexed opens the folder again and again; its index is there.
func selectIndexed(ctx context.Context, b *bed) (outcome, error) {
	c, err := b.opened(ctx)
	if err != nil {
		return outcome{}, err
	}
	defer c.close()
	if err := c.ask("UNSELECT"); err != nil {
		return outcome{}, err
	}
	return b.each(ctx, func() error {
		return c.ask("EXAMINE INBOX") // another folder, an empty one
	}, func() error {
		return c.selectBox(folderOf(b.n), b.n)
	})
}

// selectUnindexed opens the folder in a new process, without any index file.
func selectUnindexed(ctx context.Context, b *bed) (outcome, error) {
	var c *client
	defer func() {
		if c != nil {
			c.close()
		}
	}()
	fresh := false
	return b.each(ctx, func() (err error) {
		if !fresh { // the UID list is control: it stays, so it must be there
			if c, err = b.opened(ctx); err != nil {
				return err
			}
			fresh = true
		}
		if err := b.leave(ctx, c); err != nil {
			return err
		}
		if err := b.dropIndex(b.reader(), allIndex); err != nil {
			return err
		}
		c, err = b.enter(ctx, b.reader())
		return err
	}, func() error {
		return c.selectBox(folderOf(b.n), b.n)
	})
}

// leave logs out and has the user's processes gone.
func (b *bed) leave(ctx context.Context, c *client) error {
	err := c.ask("LOGOUT")
	c.close()
	if err != nil && !strings.Contains(err.Error(), "BYE") {
		return err
	}
	return b.rig.evict(ctx, b.lab.user(b.reader()))
}

// allIndex and cacheOnly say which derived files are deleted.
func allIndex(name string) bool {
	return strings.HasPrefix(name, "dovecot.index") || strings.HasPrefix(name, "dovecot.list.index") || strings.HasPrefix(name, "rookery.index")
}

func cacheOnly(name string) bool {
	return name == "dovecot.index.cache" || name == "rookery.index.cache"
}

// dropIndex deletes derived files of a user. Control files stay: the UIDs are
// the same afterwards.
func (b *bed) dropIndex(who int, drop func(string) bool) error {
	return filepath.WalkDir(b.rig.home(b.lab.user(who)), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && (e.Name() == "cur" || e.Name() == "new" || e.Name() == "tmp") {
			return fs.SkipDir
		}
		if !e.IsDir() && drop(e.Name()) {
			return os.Remove(path)
		}
		return nil
	})
}

// fetching gives a measurement of FETCH 1:* of some items: each answer must
// hold the item's name.
func fetching(items, sign string) func(context.Context, *bed) (outcome, error) {
	return func(ctx context.Context, b *bed) (outcome, error) {
		c, err := b.opened(ctx)
		if err != nil {
			return outcome{}, err
		}
		defer c.close()
		// What a client asks for twice is in the cache the second time.
		for range 2 {
			if err := b.fetchAll(c, items, sign); err != nil {
				return outcome{}, err
			}
		}
		return b.together(ctx, 1, func(int, int) error { return b.fetchAll(c, items, sign) })
	}
}

// fetchingUncached is the same by a new process for which the folder's index is
// there and its cache is not.
func fetchingUncached(items, sign string) func(context.Context, *bed) (outcome, error) {
	return func(ctx context.Context, b *bed) (outcome, error) {
		c, err := b.opened(ctx)
		if err != nil {
			return outcome{}, err
		}
		defer func() { c.close() }()
		return b.each(ctx, func() error {
			if err := b.leave(ctx, c); err != nil {
				return err
			}
			if err := b.dropIndex(b.reader(), cacheOnly); err != nil {
				return err
			}
			c, err = b.opened(ctx)
			return err
		}, func() error { return b.fetchAll(c, items, sign) })
	}
}

func (b *bed) fetchAll(c *client, items, sign string) error {
	if err := c.askFor("FETCH 1:* ("+items+")", []byte(sign)); err != nil {
		return err
	}
	if err := want("FETCH responses with "+sign, c.got.wanted, b.n); err != nil {
		return err
	}
	return want("FETCH responses", c.got.fetches, b.n)
}

// searching gives a measurement of SEARCH; found tells how many must be found.
func searching(key string, found func(n int) int) func(context.Context, *bed) (outcome, error) {
	return asking("SEARCH "+key, found)
}

// asking gives a measurement of a command that answers with numbers of messages;
// found tells how many.
func asking(command string, found func(n int) int) func(context.Context, *bed) (outcome, error) {
	return func(ctx context.Context, b *bed) (outcome, error) {
		c, err := b.opened(ctx)
		if err != nil {
			return outcome{}, err
		}
		defer c.close()
		search := func() error {
			if err := c.ask(command); err != nil {
				return err
			}
			return want("found", c.got.found, found(b.n))
		}
		if err := search(); err != nil {
			return outcome{}, err
		}
		return b.together(ctx, 1, func(int, int) error { return search() })
	}
}

// bigSize is the size of the message whose body is fetched.
const bigSize = 50 << 20

// seedBig gives one user a message of 50 MB.
func seedBig(_ context.Context, b *bed) error {
	u := b.lab.user(bigLetter)
	return b.rig.once("big", func() error {
		text := sized(1, b.n)
		lf := strings.ReplaceAll(string(text), "\r\n", "\n")
		name := fmt.Sprintf("1583229600.M1P1.bench,S=%d,W=%d:2,S", len(lf), len(text))
		return ownFile(filepath.Join(b.rig.home(u), "Maildir", "cur", name), []byte(lf), u)
	})
}

// fetchBody fetches the large message whole, over the service.
func fetchBody(service string) func(context.Context, *bed) (outcome, error) {
	return func(ctx context.Context, b *bed) (outcome, error) {
		c, err := enter(ctx, b.rig.server, service, b.lab.user(bigLetter).name)
		if err != nil {
			return outcome{}, err
		}
		defer c.close()
		if err := c.selectBox("INBOX", 1); err != nil {
			return outcome{}, err
		}
		octets := int64(len(sized(1, b.n)))
		fetch := func(int, int) error {
			if err := c.ask("FETCH 1 BODY.PEEK[]"); err != nil {
				return err
			}
			if c.got.literals != octets {
				return fmt.Errorf("%d octets, not %d", c.got.literals, octets)
			}
			return nil
		}
		if err := fetch(0, 0); err != nil {
			return outcome{}, err
		}
		return b.together(ctx, 1, fetch)
	}
}

// noop measures NOOP in a selected folder of 1,000, by so many clients.
func noop(clients int) func(context.Context, *bed) (outcome, error) {
	return func(ctx context.Context, b *bed) (outcome, error) {
		all, done, err := b.sessions(ctx, clients, reader, func(c *client) error { return c.selectBox(folderOf(b.n), b.n) })
		if err != nil {
			return outcome{}, err
		}
		defer done()
		return b.together(ctx, clients, func(client, _ int) error { return all[client].ask("NOOP") })
	}
}
