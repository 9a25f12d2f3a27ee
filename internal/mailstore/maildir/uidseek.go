package maildir

import (
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/vfs"
)

// seeker finds single records in the uidlist. Before a file is renamed or
// removed, the index's word for which file a UID is is compared with it: what a
// damaged index says must not touch the wrong message.
type seeker struct {
	f    vfs.File
	size int64 // octets of whole lines
	buf  []byte
	from int64 // where buf stands in the file
	recs []uidRecord
}

// Octets that are read to find a line, and in which records are then looked up.
const (
	probeSize  = 1 << 10
	windowSize = 8 << 10
)

// seekUIDs opens the uidlist for look-ups; op and the user's lock are held.
func (mb *mailbox) seekUIDs() (*seeker, error) {
	f, err := mb.s.fs.OpenFile(join(mb.ctl, uidlistFile), vfs.Read, 0)
	if err != nil {
		return nil, err
	}
	return &seeker{f: f, size: mb.st.read}, nil
}

func (k *seeker) close() { k.f.Close() }

// is reports whether the record of uid names base.
func (k *seeker) is(uid uint32, base string) (bool, error) {
	if n := len(k.recs); n == 0 || uid < k.recs[0].uid || uid > k.recs[n-1].uid {
		if err := k.window(uid); err != nil {
			return false, err
		}
	}
	for i := range k.recs { // of a window: some dozen
		if k.recs[i].uid == uid {
			return k.recs[i].base == base, nil
		}
	}
	return false, nil
}

// window reads the part of the file in which uid must stand.
func (k *seeker) window(uid uint32) error {
	lo, hi := int64(0), k.size
	for hi-lo > windowSize {
		mid := lo + (hi-lo)/2
		start, at, err := k.lineAfter(mid)
		if err != nil {
			return err
		}
		switch {
		case at == 0 || start >= hi: // no line begins between mid and hi that can be read
			hi = mid
		case at <= uid:
			lo = start
		default:
			hi = mid
		}
	}
	// The line may begin before hi and end behind it.
	end := min(hi+probeSize, k.size)
	buf := make([]byte, end-lo)
	if n, err := k.f.ReadAt(buf, lo); n < len(buf) {
		return shrunk(err)
	}
	text := string(buf)
	l := uidList{version: 3}
	l.addRecords(text)
	k.recs = l.recs
	return nil
}

func shrunk(err error) error {
	if err == nil {
		err = errkind.Newf("read uidlist", errkind.Corrupt, "it shrank")
	}
	return err
}

// lineAfter gives the first line that begins at or after off and has a UID; at
// is 0 if there is none near.
func (k *seeker) lineAfter(off int64) (start int64, at uint32, err error) {
	if k.buf == nil {
		k.buf = make([]byte, probeSize)
	}
	n, err := k.f.ReadAt(k.buf[:min(probeSize, k.size-off)], off)
	if n == 0 {
		return 0, 0, shrunk(err)
	}
	text := string(k.buf[:n])
	for {
		i := strings.IndexByte(text, '\n')
		if i < 0 {
			return 0, 0, nil
		}
		text = text[i+1:]
		start = off + int64(n-len(text))
		uid, _, ok := strings.Cut(text, " ")
		if u := number(uid); ok && u != 0 {
			return start, u, nil
		}
	}
}
