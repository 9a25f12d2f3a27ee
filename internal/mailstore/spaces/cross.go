package spaces

import (
	"errors"
	"io"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// moveStep is how many messages a move between stores takes at once: so many may be
// in both places after a power cut.
const moveStep = 200

// Across is a Transfer to the mailbox t.To of another store. A COPY adds copies, all or
// none, in UID order. A MOVE is that and an expunge, in steps: a power cut leaves a step's
// messages in both places at most, and of what cannot be expunged the copies go again.
// Broken off, it ends with the step before.
func Across(from mailstore.Mailbox, t mailstore.Transfer, to mailstore.Store) (all mailstore.CopyResult, err error) {
	c := crossing{from}
	todo := c.present(t.UIDs)
	if !t.Move {
		return c.across(todo, t, to)
	}
	for {
		step := todo[:min(len(todo), moveStep)]
		todo = todo[len(step):]
		res, err := c.across(step, t, to)
		if err == nil {
			res, err = c.remove(res, to, t.To)
		}
		if res.UIDValidity != 0 {
			all.UIDValidity = res.UIDValidity
		}
		all.From, all.To = append(all.From, res.From...), append(all.To, res.To...)
		if err != nil || len(todo) == 0 {
			return all, err
		}
	}
}

// crossing is a mailbox whose messages go to another store.
type crossing struct{ mailstore.Mailbox }

// present gives those of uids that the mailbox has, as entries.
func (c crossing) present(uids numset.Set) (out []mailstore.Entry) {
	snap := c.Snapshot()
	for _, r := range uids.Ranges() {
		for pos, _ := snap.Find(r.First); pos < snap.Len(); pos++ {
			e := snap.At(pos)
			if e.UID > r.Last {
				break
			}
			out = append(out, e)
		}
	}
	return out
}

// across copies messages into another store. What was expunged meanwhile is left
// out, as in a copy within one. The appender tells the UIDVALIDITY: whoever may put
// something into a mailbox may not always look into it.
func (c crossing) across(list []mailstore.Entry, t mailstore.Transfer, to mailstore.Store) (res mailstore.CopyResult, err error) {
	app, err := to.Append(t.To)
	if err != nil {
		return res, errkind.Wrap("copy", err)
	}
	defer app.Abort()
	snap := c.Snapshot()
	var from []mailstore.UID
	for _, e := range list {
		if err := t.GoOn(); err != nil {
			return res, errkind.Wrap("copy", err)
		}
		err := c.add(app, e, snap.Keywords(e.Keywords))
		if errkind.Is(err, errkind.Expunged) {
			continue
		}
		if err != nil {
			return res, errkind.Wrap("copy", err)
		}
		from = append(from, e.UID)
	}
	if len(from) == 0 {
		st, err := to.Status(t.To, mailstore.StatusWant{})
		if errkind.Is(err, errkind.NoPermission) {
			err = nil
		}
		return mailstore.CopyResult{UIDValidity: st.UIDValidity}, errkind.Wrap("copy", err)
	}
	mailstore.StopBy(app, t.GoOn)
	done, err := app.Commit()
	if err != nil {
		return res, errkind.Wrap("copy", err)
	}
	return mailstore.CopyResult{UIDValidity: done.UIDValidity, From: from, To: done.UIDs}, nil
}

// add puts one message into an appender. errkind.Expunged: nothing was put.
func (c crossing) add(app mailstore.Appender, e mailstore.Entry, keywords []string) error {
	facts, err := c.Facts(e.UID, mailstore.FactsWant{InternalDate: true, GUID: true})
	if err != nil {
		return err
	}
	msg, err := c.Message(e.UID)
	if err != nil {
		return err
	}
	defer msg.Close()
	w, err := app.Add(mailstore.AppendMeta{Flags: e.Flags, Keywords: keywords, InternalDate: facts.InternalDate, GUID: facts.GUID}, msg.Size())
	if err == nil {
		_, err = io.Copy(w, io.NewSectionReader(msg, 0, msg.Size()))
	}
	if errkind.Is(err, errkind.Expunged) { // the message has begun: it cannot be left out any more
		err = errkind.New("read message", errkind.IO, err)
	}
	return err
}

// remove expunges what was copied. Of what it cannot expunge the copies go again.
func (c crossing) remove(res mailstore.CopyResult, to mailstore.Store, name mailstore.Name) (mailstore.CopyResult, error) {
	if len(res.From) == 0 {
		return res, nil
	}
	_, err := c.Expunge(numset.FromSorted(res.From))
	switch {
	case err == nil:
		return res, nil
	case errkind.Is(err, errkind.Unavailable):
		// Whoever has them may still be about to expunge them: both stay.
		return res, errkind.Wrap("move", err)
	}
	snap, serr := c.Sync()
	if serr != nil {
		return res, errkind.Wrap("move", errors.Join(err, serr)) // nobody knows what is left: both stay
	}
	var stays numset.Set
	out := mailstore.CopyResult{UIDValidity: res.UIDValidity}
	for i, uid := range res.From {
		if _, there := snap.Find(uid); there {
			stays.Add(res.To[i])
		} else {
			out.From, out.To = append(out.From, uid), append(out.To, res.To[i])
		}
	}
	return out, errkind.Wrap("move", errors.Join(err, takeBack(to, name, stays)))
}

func takeBack(s mailstore.Store, name mailstore.Name, uids numset.Set) error {
	if uids.Empty() {
		return nil
	}
	mb, err := s.Open(name)
	if err != nil {
		return err
	}
	defer mb.Close()
	if _, err = mb.Sync(); err == nil {
		_, err = mb.Expunge(uids)
	}
	return err
}
