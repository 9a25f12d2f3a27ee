package engine

import (
	"io"
	"strconv"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/index"
	"rookery/internal/vfs"
)

func utoa(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// Message opens one message.
func (mb *mailbox) Message(uid mailstore.UID) (mailstore.Message, error) {
	for try := 0; ; try++ {
		// An expunge by another process is known before the message is served.
		v, err := mb.look()
		if err != nil {
			return nil, err
		}
		b, err := mb.open(v, uid)
		if err != nil && v.Damaged() && try < looks { // it gave no place, or a wrong one
			continue
		}
		if err == nil || !vfs.NotExist(err) || try > 0 {
			if vfs.NotExist(err) {
				err = errkind.New("open message "+utoa(uid), errkind.Corrupt, err)
			}
			if err != nil {
				return nil, vfs.Kinded("open message "+utoa(uid), err)
			}
			return body{b}, nil
		}
	}
}

func (mb *mailbox) open(v *index.View, uid uint32) (Body, error) {
	pos, ok := v.Find(uid)
	if !ok {
		return nil, errkind.Newf("open message "+utoa(uid), errkind.Expunged, "the message is gone")
	}
	return mb.box.Open(uid, unwrapLoc(v.Loc(pos)).Loc)
}

// body gives errors of the disk their kind.
type body struct{ Body }

func (b body) ReadAt(p []byte, off int64) (int, error) {
	n, err := b.Body.ReadAt(p, off)
	if err != nil && err != io.EOF {
		err = vfs.Kinded("read message", err)
	}
	return n, err
}

// Facts gives what is known of a message.
func (mb *mailbox) Facts(uid mailstore.UID, want mailstore.FactsWant) (mailstore.Facts, error) {
	var out mailstore.Facts
	if mb.isDead() {
		return out, mb.gone()
	}
	m, err := mb.told(uid)
	if err != nil {
		return out, err
	}
	out = mailstore.Facts{Size: m.Size, InternalDate: m.Date, SaveDate: m.Saved, GUID: guidOf(mb.where(), m), UIDL: m.UIDL, Order: m.Order}
	if out.Size < 0 {
		if out.Size = 0; want.Size {
			n, err := mb.measure(uid)
			if err != nil {
				return out, err
			}
			out.Size = n
		}
	}
	return out, nil
}

// told gives what the index has of a message; errkind.Expunged only if it is gone.
func (mb *mailbox) told(uid uint32) (Message, error) {
	v, err := mb.newest()
	for try := 0; err == nil && try < looks; try++ {
		pos, ok := v.Find(uid)
		if !ok {
			return Message{}, errkind.Newf("facts of message "+utoa(uid), errkind.Expunged, "the message is gone")
		}
		if m := messageOf(v, pos); !v.Damaged() {
			return m, nil
		}
		v, err = mb.look()
	}
	if err == nil {
		err = errPicture
	}
	return Message{}, err
}

// measure opens a message whose size is not known, and keeps what it finds.
func (mb *mailbox) measure(uid uint32) (int64, error) {
	m, err := mb.Message(uid)
	if err != nil {
		return 0, err
	}
	size := m.Size()
	m.Close()
	mb.s.locked(func() error {
		tx, err := mb.index.Begin()
		if err != nil {
			return err
		}
		defer tx.Abort()
		if pos, ok := tx.View().Find(uid); ok {
			tx.Facts(pos, index.Facts{Size: size})
			tx.Commit()
		}
		return nil
	})
	return size, nil
}

// sumSizes adds the sizes where not all are known.
func (mb *mailbox) sumSizes(v *index.View) (uint64, error) {
	var sum uint64
	var unknown []uint32
	v.Each(0, func(_ int, r index.Record) bool {
		if r.Size < 0 {
			unknown = append(unknown, r.UID)
		} else {
			sum += uint64(r.Size)
		}
		return true
	})
	for _, u := range unknown {
		n, err := mb.measure(u)
		if errkind.Is(err, errkind.Expunged) {
			continue
		}
		if err != nil {
			return 0, err
		}
		sum += uint64(n)
	}
	return sum, nil
}

// Cached gives a derived fact that PutCached kept.
func (mb *mailbox) Cached(uid mailstore.UID, field string) ([]byte, bool) {
	return mb.index.Cached(uid, field)
}

// PutCached offers a derived fact.
func (mb *mailbox) PutCached(uid mailstore.UID, field string, value []byte) {
	mb.index.PutCached(uid, field, value)
}
