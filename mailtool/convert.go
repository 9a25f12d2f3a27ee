package mailtool

import (
	"fmt"

	"rookery/internal/mailstore"
	"rookery/internal/vfs"
	"rookery/internal/worker"
)

// converting is what a conversion holds between its requests.
type converting struct {
	lock vfs.File
	conversion
	replica *replica
	to      mailstore.Store
}

func (v *converting) close() {
	if v.to != nil {
		v.to.Close()
	}
	if v.lock != nil {
		v.lock.Close()
	}
}

// convert moves the user's mail into another format, in steps that the option
// phase names. rookeryctl asks for them in this order:
//
//	plan     tells what there is; touches nothing
//	copy     makes or goes on with a copy, while the user's sessions go on
//	finish   with the user kept out: brings the copy up to date, compares it with
//	         the source, and switches
//	discard  takes the old mail away after that
//	abandon  takes a copy away that was not finished
//
// Whatever is killed at any moment, one of both stores is the user's, whole.
func convert(c *call) error {
	ctl, err := c.home.Controls()
	if err != nil {
		return err
	}
	if c.conv == nil {
		lock, err := ctl.lock()
		if err != nil {
			return err
		}
		c.conv = &converting{lock: lock}
	}
	v, under, err := ctl.load()
	if err != nil {
		return err
	}
	switch c.option("phase") {
	case "plan":
		return c.plan(v, under)
	case "copy":
		return c.convertCopy(ctl, v, under)
	case "finish":
		return c.convertFinish(ctl)
	case "discard":
		return c.discard(ctl, v, under)
	case "abandon":
		return c.abandon(ctl, v, under)
	}
	return failf(exitSoftware, "a conversion has no phase %q", c.option("phase"))
}

func (c *call) plan(v conversion, under bool) error {
	at, err := c.home.Place()
	if err != nil {
		return err
	}
	from, err := c.home.Open() // as the user sees it, without what is held for undelete
	if err != nil {
		return err
	}
	c.close()
	c.store = from
	all, err := from.List()
	if err != nil {
		return err
	}
	var messages, size uint64
	boxes := openable(all)
	for i, f := range boxes {
		if err := c.progress("counting", i, len(boxes)); err != nil {
			return err
		}
		st, err := from.Status(f.Name, mailstore.StatusWant{Size: true})
		if err != nil {
			return err
		}
		messages, size = messages+uint64(st.Messages), size+st.Size
	}
	var o ordered
	o.add("user", c.user)
	o.add("driver", at.Driver)
	o.add("mailboxes", len(boxes))
	o.add("messages", messages)
	o.add("size", size)
	if under {
		o.add("conversion_to", v.to.Driver)
		o.add("state", v.state)
	}
	return c.line(o)
}

func (c *call) convertCopy(ctl controls, v conversion, under bool) error {
	if len(c.args) == 0 {
		return failf(exitUsage, "which format? write --to DRIVER")
	}
	driver := c.args[0]
	at, err := c.home.Place()
	if err != nil {
		return err
	}
	if under && v.state == stateCopying && at == v.to { // killed between the switch and its note
		v.state = stateSwitched
		if err := ctl.save(v); err != nil {
			return err
		}
	}
	switch {
	case under && v.state == stateSwitched:
		return failf(exitCreate, "the mail of %s was converted to %s; the old mail is still there: take it away with rookeryctl convert -u %s --discard-old", c.user, v.to.Driver, c.user)
	case under && v.to.Driver != driver:
		return failf(exitUsage, "a conversion to %s is not finished; give the command with --to %s again, or take the copy away with --abandon", v.to.Driver, v.to.Driver)
	case under && v.from != at:
		return failf(exitData, "the conversion under way began at another store; take the copy away with --abandon and begin again")
	case !under && at.Driver == driver:
		return failf(exitUsage, "the mail of %s is kept as %s already", c.user, driver)
	}
	if !under {
		below, err := ctl.unused()
		if err != nil {
			return err
		}
		v = conversion{from: at, to: worker.Place{Driver: driver, Below: below}, state: stateCopying}
		if err := ctl.save(v); err != nil {
			return err
		}
	}
	if err := c.openBoth(v); err != nil {
		if !under { // nothing was copied: leave no trace
			c.conv.closeTo()
			if rerr := ctl.remove(v.to.Below); rerr == nil {
				_ = ctl.forget() // the error that led here says more
			}
		}
		return err
	}
	return c.pass("copied")
}

func (v *converting) closeTo() {
	if v.to != nil {
		v.to.Close()
		v.to = nil
	}
	v.replica = nil
}

// openBoth opens source and target once for all requests of this process.
func (c *call) openBoth(v conversion) error {
	if c.conv.replica != nil && c.conv.conversion.to == v.to {
		return nil
	}
	c.conv.closeTo()
	c.conv.conversion = v
	from, err := c.home.OpenPlace(v.from)
	if err != nil {
		return err
	}
	c.close()
	c.store = from
	to, err := c.home.OpenPlace(v.to)
	if err != nil {
		return err
	}
	c.conv.to = to
	restorer, ok := find[mailstore.Restorer](to)
	if !ok {
		return failf(exitSoftware, "the format %s cannot take over UIDs: no conversion to it", v.to.Driver)
	}
	c.conv.replica = &replica{from: from, to: to, restorer: restorer, checked: map[mailstore.GUID]mailstore.UID{}, left: map[mailstore.Name]bool{}, strips: v.to.Driver == "mbox"}
	return nil
}

// pass brings the copy up to date once.
func (c *call) pass(word string) error {
	r := c.conv.replica
	r.call = c
	r.copied = 0
	if err := r.run(); err != nil {
		return err
	}
	var o ordered
	o.add("step", word)
	o.add("messages", r.copied)
	return c.line(o)
}

// convertFinish needs the user's sessions gone: rookeryctl holds him.
func (c *call) convertFinish(ctl controls) error {
	if c.conv.replica == nil {
		return failf(exitSoftware, "finish without copy")
	}
	if err := c.pass("caught up"); err != nil {
		return err
	}
	boxes, messages, err := c.conv.replica.check()
	if err != nil {
		return err
	}
	if err := ctl.carry(c.conv.conversion); err != nil {
		return err
	}
	if err := ctl.replace(worker.PlaceFile, c.conv.conversion.to.Encode()); err != nil {
		return err
	}
	c.touched = true
	c.conv.state = stateSwitched
	if err := ctl.save(c.conv.conversion); err != nil {
		return err
	}
	// What another program delivered between the comparison and the switch.
	if err := c.pass("late"); err != nil {
		return err
	}
	var o ordered
	o.add("step", "switched")
	o.add("mailboxes", boxes)
	o.add("messages", messages)
	o.add("from", c.conv.from.Driver)
	o.add("to", c.conv.conversion.to.Driver)
	o.add("below", c.conv.conversion.to.Below)
	if n := len(c.conv.replica.left); n > 0 {
		o.add("note", fmt.Sprintf("expunged messages of %d mailboxes, which wait for undelete, stay in the old mail: this format has no place for them", n))
	}
	if n := c.conv.replica.stripped; n > 0 {
		o.add("stripped", n)
	}
	return c.line(o)
}

// discard takes the old mail away. What lies in the settings' own place goes
// through its driver: other things lie there too.
func (c *call) discard(ctl controls, v conversion, under bool) error {
	at, err := c.home.Place()
	if err != nil {
		return err
	}
	if !under || at != v.to {
		return failf(exitNoInput, "there is no old mail of a finished conversion")
	}
	if v.from.Below != "" {
		err = ctl.remove(v.from.Below)
	} else {
		err = c.empty(v.from)
	}
	if err != nil {
		return err
	}
	if err := ctl.forget(); err != nil {
		return err
	}
	return c.line(map[string]any{"discarded": v.from.Driver})
}

// empty deletes all mailboxes of a place.
func (c *call) empty(p worker.Place) error {
	old, err := c.home.OpenPlace(p)
	if err != nil {
		return err
	}
	defer old.Close()
	r := &replica{call: c, to: old}
	if err := r.drop(nil); err != nil {
		return err
	}
	if err := r.wipe("INBOX"); err != nil {
		return err
	}
	if m, ok := find[mailstore.Maintainer](old); ok {
		_, err = m.Purge(c.ctx, func(int, int) {})
	}
	return err
}

// abandon takes an unfinished copy away.
func (c *call) abandon(ctl controls, v conversion, under bool) error {
	at, err := c.home.Place()
	if err != nil {
		return err
	}
	if !under || at == v.to {
		return failf(exitNoInput, "there is no unfinished conversion")
	}
	c.conv.closeTo()
	if err := ctl.remove(v.to.Below); err != nil {
		return err
	}
	if err := ctl.forget(); err != nil {
		return err
	}
	return c.line(map[string]any{"abandoned": v.to.Driver})
}
