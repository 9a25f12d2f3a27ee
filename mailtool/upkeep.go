package mailtool

import (
	"context"
	"slices"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/held"
	"rookery/mailtool/internal/query"
)

// index brings the index of mailboxes up to date.
func index(c *call) error {
	m, ok := find[mailstore.Maintainer](c.store)
	if !ok {
		return lacks("be indexed beforehand: it is when it is read")
	}
	all, err := c.selected(c.args)
	if err != nil {
		return err
	}
	for _, f := range openable(all) {
		last := 0
		var told error
		err := m.Index(c.ctx, f.Name, func(done, total int) {
			last = total
			if told == nil {
				told = c.progress("indexing "+c.shown(f.Name), done, total)
			}
		})
		if err == nil {
			err = told
		}
		if errkind.Is(err, errkind.NotFound) {
			continue // deleted meanwhile, or of the settings and not made yet
		}
		if err != nil {
			return err
		}
		if err := c.line(map[string]any{"mailbox": c.shown(f.Name), "indexed": last}); err != nil {
			return err
		}
	}
	return nil
}

// purge gives back the space of what was expunged.
func purge(c *call) error {
	m, ok := find[mailstore.Maintainer](c.store)
	if !ok {
		return lacks("hold space of expunged messages: there is nothing to purge")
	}
	var told error
	freed, err := m.Purge(c.ctx, func(done, total int) {
		if told == nil {
			told = c.progress("purging", done, total)
		}
	})
	if err == nil {
		err = told
	}
	if err != nil {
		return err
	}
	c.touched = true
	return c.line(map[string]any{"freed": freed})
}

// quota tells use and limits; with recalc it counts anew first.
func quota(c *call) error {
	if c.is("recalc") {
		r, ok := find[interface{ Recalc() error }](c.store)
		if !ok {
			return failf(exitUsage, "%s has no quota: nothing is counted", c.user)
		}
		c.touched = true
		if err := r.Recalc(); err != nil {
			return err
		}
	}
	q, ok, err := c.store.Quota()
	if err != nil {
		return err
	}
	if !ok {
		return c.line(map[string]any{"user": c.user, "quota": "none"})
	}
	var o ordered
	o.add("user", c.user)
	o.add("storage", q.StorageUsed)
	o.add("storage_limit", q.StorageLimit)
	o.add("messages", q.MessagesUsed)
	o.add("messages_limit", q.MessagesLimit)
	return c.line(o)
}

// undeleter is a store that holds expunged messages for a while.
type undeleter interface {
	Undelete(ctx context.Context, r held.Request) ([]held.Restored, error)
}

// undelete puts expunged messages back.
func undelete(c *call) error {
	u, ok := find[undeleter](c.store)
	if !ok {
		return failf(exitUsage, "nothing is held: mail_undelete_hold is 0, so what is expunged is gone")
	}
	r := held.Request{DryRun: c.is("dry-run")}
	if since := c.option("since"); since != "" {
		ago, err := query.ParseAgo(since)
		if err != nil {
			return failf(exitUsage, "--since: %w", err)
		}
		r.Since = c.now().Add(-ago)
	}
	boxes := slices.Clone(c.options["mailbox"])
	if len(boxes) == 0 {
		boxes = []string{""}
	}
	for _, b := range boxes {
		r.Mailbox = ""
		if b != "" {
			n, err := c.name(b)
			if err != nil {
				return err
			}
			r.Mailbox = n
		}
		if err := c.progress("putting back", 0, 0); err != nil {
			return err
		}
		c.touched = c.touched || !r.DryRun
		done, err := u.Undelete(c.ctx, r)
		for _, one := range done {
			var o ordered
			o.add("mailbox", c.shown(one.Mailbox))
			o.add("messages", one.Messages)
			o.add("created", one.Created)
			o.add("were", one.Were.String())
			o.add("first", stamp(one.First))
			o.add("last", stamp(one.Last))
			if r.DryRun {
				o.add("dry_run", true)
			}
			if lerr := c.line(o); lerr != nil {
				return lerr
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stamp shows a time, "" for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
