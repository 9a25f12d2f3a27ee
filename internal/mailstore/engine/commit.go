package engine

import (
	"encoding/binary"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/index"
)

// change is an Edit on its way into the index.
type change struct {
	*Edit
	mb     *mailbox
	tx     *index.Tx
	recent uint32
	done   bool
}

// errPicture says that the index was found damaged: what was read of it means
// nothing. Nothing was changed because of it.
var errPicture = errkind.Newf("look at the index", errkind.Unavailable, "the index was damaged, and is built anew; try again")

// looks is how often an operation looks at a mailbox whose index is damaged
// meanwhile, before it gives up.
const looks = 8

// current begins an edit of a picture that is what the disk holds; all locks are
// held. Between a sync and a transaction any reader of this process may find the
// index damaged, and the transaction then begins with nothing: what is added to
// that would be all that the mailbox shows.
func (mb *mailbox) current() (*change, error) {
	for range looks {
		v, err := mb.sync()
		if err != nil {
			return nil, err
		}
		c, err := mb.begin()
		if err != nil {
			return nil, err
		}
		if v.Built() && c.tx.View() == v {
			return c, nil
		}
		c.abort()
	}
	return nil, errPicture
}

// begin begins an edit of the newest picture, empty if that is not Built; the
// user's lock is held.
func (mb *mailbox) begin() (*change, error) {
	tx, err := mb.index.Begin()
	if err != nil {
		return nil, err
	}
	v := tx.View()
	recent, _, ok := parseState(v.State())
	if !ok {
		recent = 0 // made up for in commit: nothing is recent in a mailbox whose index is new
	}
	mb.learn(v)
	return &change{Edit: newEdit(view{v}, &mb.words), mb: mb, tx: tx, recent: recent}, nil
}

func (c *change) abort() {
	if !c.done {
		c.done = true
		c.tx.Abort()
		c.mb.sets = nil // names of what did not happen are forgotten
	}
}

// commit puts the edit into the index and shows it.
func (c *change) commit() *index.View {
	mb, tx := c.mb, c.tx
	if c.done {
		return mb.index.View()
	}
	c.done = true
	for pos, f := range c.flags {
		if !c.gone[pos] {
			tx.Set(pos, f.flags, c.set(f.keywords))
		}
	}
	for pos, l := range c.locs {
		if !c.gone[pos] {
			tx.Loc(pos, wrapLoc(c.pic.message(pos), l))
		}
	}
	if len(c.gone) > 0 {
		tx.Remove(sortedKeys(c.gone))
	}
	built := tx.View().Built()
	for _, m := range c.added {
		if err := tx.Add(c.record(m)); err != nil {
			mb.s.opt.Note("mailbox " + mb.where().Name + ": " + err.Error())
		}
	}
	tx.Next(c.next)
	tx.Validity(mb.where().UIDValidity)
	if c.recent == 0 {
		c.recent = 1
		if !built {
			c.recent = c.next
		}
	}
	tx.State(formatState(c.recent, mb.box.Stamp()))
	v := tx.Commit()
	mb.learn(v)
	mb.noticed(v)
	return v
}

func (c *change) set(names []string) uint32 {
	n, err := c.tx.KeywordSet(names)
	if err != nil {
		c.mb.s.opt.Note("mailbox " + c.mb.where().Name + ": " + err.Error())
	}
	return n
}

func (c *change) record(m Message) index.Record {
	r := index.Record{UID: m.UID, Flags: m.Flags & mailstore.AllFlags, Keywords: c.set(m.Keywords), Size: m.Size, GUID: m.GUID, Loc: wrapLoc(m, m.Loc)}
	if !m.Date.IsZero() {
		r.Date = m.Date.Unix()
	}
	if !m.Saved.IsZero() {
		r.Saved = m.Saved.Unix()
	}
	return r
}

// The index keeps, for each mailbox: a version, the first UID that no session
// was told as recent, and the format's stamp.
const stateVersion = 1

func formatState(recent uint32, stamp []byte) string {
	b := binary.LittleEndian.AppendUint32([]byte{stateVersion}, recent)
	return string(append(b, stamp...))
}

func parseState(s string) (recent uint32, stamp []byte, ok bool) {
	if len(s) < 5 || s[0] != stateVersion {
		return 0, nil, false
	}
	return binary.LittleEndian.Uint32([]byte(s[1:5])), []byte(s[5:]), true
}
