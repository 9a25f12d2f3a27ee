package maildir

import (
	"cmp"
	"slices"
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
	wide int64 // octets to read next
	buf  []byte
	recs []uidRecord
	all  bool // recs are all
}

// Octets that are read to find a line, and in which records are then looked up: few
// for one message, more for each next that is not among them.
const (
	probeSize  = 1 << 10
	fewOctets  = 1 << 10
	manyOctets = 32 << 10
)

// seekUIDs opens the uidlist for look-ups; op and the user's lock are held.
func (mb *mailbox) seekUIDs() (*seeker, error) {
	f, err := mb.s.fs.OpenFile(join(mb.ctl, uidlistFile), vfs.Read, 0)
	if err != nil {
		return nil, err
	}
	return &seeker{f: f, size: mb.st.read, wide: fewOctets}, nil
}

func (k *seeker) close() { k.f.Close() }

// is reports whether the record of uid names base.
func (k *seeker) is(uid uint32, base string) (bool, error) {
	if n := len(k.recs); !k.all && (n == 0 || uid < k.recs[0].uid || uid > k.recs[n-1].uid) {
		if err := k.window(uid); err != nil {
			return false, err
		}
	}
	if found, same := k.among(uid, base); found || k.all {
		return same, nil
	}
	// Damaged lines lead a search astray: read them all.
	k.all = true
	buf := make([]byte, k.size)
	if n, err := k.f.ReadAt(buf, 0); n < len(buf) {
		return false, shrunk(err)
	}
	k.parse(buf)
	_, same := k.among(uid, base)
	return same, nil
}

// among looks through the records that were read.
func (k *seeker) among(uid uint32, base string) (found, same bool) {
	i, found := slices.BinarySearchFunc(k.recs, uid, func(r uidRecord, u uint32) int { return cmp.Compare(r.uid, u) })
	return found, found && k.recs[i].base == base
}

func (k *seeker) parse(b []byte) {
	l := uidList{version: 3}
	l.addRecords(string(b))
	k.recs = l.recs
}

// window reads the part of the file in which uid must stand.
func (k *seeker) window(uid uint32) error {
	lo, hi := int64(0), k.size
	for hi-lo > k.wide {
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
	k.wide = min(2*k.wide, manyOctets)
	buf := make([]byte, end-lo)
	if n, err := k.f.ReadAt(buf, lo); n < len(buf) {
		return shrunk(err)
	}
	k.parse(buf)
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
