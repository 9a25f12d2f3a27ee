package mailtool

import (
	"fmt"
	"slices"
	"strings"

	"rookery/internal/abnf"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
	"rookery/mailtool/internal/query"
)

// stepSize is how many messages one call to the store changes: between two, other
// processes get their turn, and progress is told.
const stepSize = 500

// found is what of a mailbox a query names.
type found struct {
	name mailstore.Name
	box  mailstore.Mailbox
	snap mailstore.Snapshot
}

// parse reads the query. Commands that change mail name the mailbox and the
// messages; "all" is a key.
func (c *call) parse(words []string, changes bool) (*query.Query, error) {
	if changes && len(c.options["mailbox"]) == 0 {
		return nil, failf(exitUsage, `in which mailbox? write --mailbox NAME (a pattern as "*" names several)`)
	}
	if changes && len(words) == 0 {
		return nil, failf(exitUsage, "which messages? write a search key; all is one")
	}
	q, err := query.Parse(words, c.now())
	if err != nil {
		return nil, failf(exitUsage, "%w", err)
	}
	return q, nil
}

// visit runs the query over the chosen mailboxes. Messages that cannot be read
// are named in the result and make the command fail at its end.
func (c *call) visit(q *query.Query, each func(found, *query.Mail) error, after func(found) error) error {
	all, err := c.selected(c.options["mailbox"])
	if err != nil {
		return err
	}
	broken := 0
	for _, f := range openable(all) {
		n, err := c.visitOne(q, f.Name, each, after)
		if broken += n; err != nil {
			return err
		}
	}
	if broken > 0 {
		return failf(exitData, "%d messages could not be read; rookeryctl verify -u %s says more", broken, c.user)
	}
	return nil
}

func (c *call) visitOne(q *query.Query, n mailstore.Name, each func(found, *query.Mail) error, after func(found) error) (broken int, err error) {
	box, snap, err := mailstore.Look(c.store, n)
	if errkind.Is(err, errkind.NotFound) || errkind.Is(err, errkind.Invalid) {
		return 0, nil // deleted meanwhile, or only a name
	}
	if err != nil {
		return 0, err
	}
	defer box.Close()
	f := found{n, box, snap}
	var toldErr error
	err = q.Run(box, snap, func(i int) error { return c.progress("searching "+c.shown(n), i, snap.Len()) },
		func(uid mailstore.UID, err error) {
			broken++
			if toldErr == nil {
				toldErr = c.line(map[string]any{"mailbox": c.shown(n), "uid": uid, "error": err.Error()})
			}
		},
		func(m *query.Mail) error { return each(f, m) })
	if err == nil {
		err = toldErr
	}
	if err == nil && after != nil {
		err = after(f)
	}
	return broken, err
}

// search gives mailbox and UID of each message, or with count how many there are.
func search(c *call) error {
	q, err := c.parse(c.args, false)
	if err != nil {
		return err
	}
	if c.is("count") {
		n := 0
		return c.visit(q, func(found, *query.Mail) error { n++; return nil }, func(f found) error {
			line := map[string]any{"mailbox": c.shown(f.name), "count": n}
			n = 0
			return c.line(line)
		})
	}
	return c.visit(q, func(f found, m *query.Mail) error {
		return c.line(struct {
			Mailbox string `json:"mailbox"`
			UID     uint32 `json:"uid"`
		}{c.shown(f.name), m.Entry.UID})
	}, nil)
}

// change collects what the query names and hands it to act, some messages at a
// time. word is what the result calls them.
func (c *call) change(words []string, word string, act func(found, numset.Set) (int, error)) error {
	q, err := c.parse(words, true)
	if err != nil {
		return err
	}
	var uids []uint32
	return c.visit(q, func(_ found, m *query.Mail) error {
		uids = append(uids, m.Entry.UID)
		return nil
	}, func(f found) error {
		defer func() { uids = nil }()
		n, total := 0, len(uids)
		if c.is("dry-run") {
			n = total
		}
		for done := 0; !c.is("dry-run") && done < total; done += stepSize {
			if err := c.progress(word+" "+c.shown(f.name), done, total); err != nil {
				return err
			}
			c.touched = true
			k, err := act(f, numset.FromSorted(uids[done:min(total, done+stepSize)]))
			if n += k; err != nil {
				return fmt.Errorf("%s after %d of %d messages: %w", c.shown(f.name), n, total, err)
			}
		}
		if total == 0 && !isOnly(c.options["mailbox"]) {
			return nil
		}
		line := map[string]any{"mailbox": c.shown(f.name), word: n}
		if c.is("dry-run") {
			line["dry_run"] = true
		}
		return c.line(line)
	})
}

// isOnly reports whether one mailbox was named, which is told of even if nothing
// was found in it.
func isOnly(names []string) bool { return len(names) == 1 && !isPattern(names[0]) }

// flagWords are the system flags as they are written.
var flagWords = [...]struct {
	flag mailstore.Flags
	word string
}{{mailstore.Answered, `\Answered`}, {mailstore.Flagged, `\Flagged`}, {mailstore.Deleted, `\Deleted`}, {mailstore.Seen, `\Seen`}, {mailstore.Draft, `\Draft`}}

// readFlags reads flags: system flags with "\" before them, the rest keywords.
func readFlags(text string) (flags mailstore.Flags, keywords []string, err error) {
next:
	for _, w := range strings.Fields(text) {
		for _, f := range flagWords {
			if strings.EqualFold(f.word, w) {
				flags |= f.flag
				continue next
			}
			if strings.EqualFold(f.word[1:], w) {
				return 0, nil, failf(exitUsage, `write %s, with the backslash, in '' for the shell`, f.word)
			}
		}
		if strings.ContainsFunc(w, func(r rune) bool { return r > 126 || !abnf.AtomChar.Has(byte(r)) }) {
			return 0, nil, failf(exitUsage, `%s is neither a flag (\Seen, \Answered, \Flagged, \Deleted, \Draft) nor a keyword`, w)
		}
		keywords = append(keywords, w)
	}
	return flags, keywords, nil
}

func wordsOf(flags mailstore.Flags, keywords []string) string {
	var out []string
	for _, f := range flagWords {
		if flags&f.flag != 0 {
			out = append(out, f.word)
		}
	}
	return strings.Join(append(out, keywords...), " ")
}

// flags takes "add", "remove" or "set", the flags, and the query.
func flags(c *call) error {
	op, ok := map[string]mailstore.FlagOp{"add": mailstore.AddFlags, "remove": mailstore.RemoveFlags, "set": mailstore.SetFlags}[c.args[0]]
	if !ok {
		return failf(exitUsage, "%q: write add, remove or set", c.args[0])
	}
	f, keywords, err := readFlags(c.args[1])
	if err != nil {
		return err
	}
	if f == 0 && keywords == nil && op != mailstore.SetFlags {
		return failf(exitUsage, "which flags?")
	}
	return c.change(c.args[2:], "changed", func(at found, uids numset.Set) (int, error) {
		r, err := at.box.Store(mailstore.FlagChange{UIDs: uids, Op: op, Flags: f, Keywords: slices.Clone(keywords)})
		return int(r.Changed.Len()), err
	})
}

func expunge(c *call) error {
	return c.change(c.args, "expunged", func(at found, uids numset.Set) (int, error) {
		gone, err := at.box.Expunge(uids)
		return int(gone.Len()), err
	})
}

func copyMail(c *call) error { return c.transfer("copied", mailstore.Mailbox.Copy) }
func moveMail(c *call) error { return c.transfer("moved", mailstore.Mailbox.Move) }

// transfer takes the mailbox to copy or move to, and the query.
func (c *call) transfer(word string, how func(mailstore.Mailbox, numset.Set, mailstore.Name) (mailstore.CopyResult, error)) error {
	to, err := c.name(c.args[0])
	if err != nil {
		return err
	}
	if _, err := c.store.Lookup(to); errkind.Is(err, errkind.NotFound) {
		if !c.is("create") {
			return failf(exitNoInput, "%s has no mailbox %s to put them into; --create makes it", c.user, c.shown(to))
		}
		c.touched = true
		if to, err = c.store.Create(to, 0); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	return c.change(c.args[1:], word, func(at found, uids numset.Set) (int, error) {
		if at.name == to {
			return 0, failf(exitUsage, "the messages lie in %s already; name the mailboxes that they come from with --mailbox", c.shown(to))
		}
		r, err := how(at.box, uids, to)
		return len(r.To), err
	})
}
