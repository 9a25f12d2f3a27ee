package maildir

import (
	"encoding/binary"
	"hash/fnv"
	"time"

	"rookery/internal/mailstore/index"
	"rookery/internal/vfs"
)

// fileStamp tells whether a file is the one that was read before.
type fileStamp struct {
	inode uint64
	size  int64
	mtime int64 // Unix ns
}

func stampOf(i vfs.Info) fileStamp { return fileStamp{i.Inode, i.Size, i.ModTime.UnixNano()} }

// stampOrNone is the stamp of what vfs.StatIn tells: zero if nothing is there.
func stampOrNone(i vfs.Info) fileStamp {
	if i.Inode == 0 {
		return fileStamp{}
	}
	return stampOf(i)
}

func (f fileStamp) when() time.Time { return time.Unix(0, f.mtime) }

// stampAt is the stamp of path, zero if nothing is there.
func (s *Store) stampAt(path string) (fileStamp, error) {
	i, err := s.fs.Stat(path)
	if err != nil {
		if notExist(err) {
			return fileStamp{}, nil
		}
		return fileStamp{}, err
	}
	return stampOf(i), nil
}

// dirState is what is known of new/ or cur/.
type dirState struct {
	known fileStamp     // of the last look, or after our own last change
	stale bool          // somebody changed it since: look again
	doubt bool          // a change may hide behind the same stamp: look again later
	took  time.Duration // of the last look at both
}

// state is what of a mailbox's files the index stands for: while their stamps
// are the same, the index tells all of them. It is kept in the index, with every
// change of it.
type state struct {
	dir     string // of the mailbox: a copy of a folder brings the original's
	boot    uint64 // hash of the boot id: of another boot, the disk may have lost what the index has
	cur     dirState
	new     dirState
	uids    fileStamp // dovecot-uidlist
	read    int64     // octets of it that are in the index: whole lines
	records int       // lines with a message
	dropped int       // of those, the ones whose message is gone, and lines that are damaged
	keyf    fileStamp // dovecot-keywords
	moref   fileStamp // rookery-keywords
	moreN   int       // lines in it
	moreAt  int       // lines that it had when it was written whole
	inNew   int       // messages that lie in new/
	lowNew  uint32    // no message below this UID lies there
}

const (
	stateVersion = 1
	stampSize    = 24
	stateSize    = 1 + 1 + 8 + 5*stampSize + 8 + 4 + 8 + 4*5
)

// append writes the state's form in the index:
//
//	version; bits 0 to 3: stale and doubt of cur/ and new/; boot;
//	stamps of cur/, new/, dovecot-uidlist, dovecot-keywords, rookery-keywords
//	(inode, size, mtime in ns, 8 octets each); the look's duration in ns;
//	moreN (4); read (8); records, dropped, inNew, lowNew and moreAt (4
//	each); all little-endian; then the directory, to the end.
func (st state) append(b []byte) []byte {
	bits := byte(0)
	for i, on := range [...]bool{st.cur.stale, st.cur.doubt, st.new.stale, st.new.doubt} {
		if on {
			bits |= 1 << i
		}
	}
	b = append(b, stateVersion, bits)
	le := binary.LittleEndian
	b = le.AppendUint64(b, st.boot)
	for _, s := range [...]fileStamp{st.cur.known, st.new.known, st.uids, st.keyf, st.moref} {
		b = le.AppendUint64(b, s.inode)
		b = le.AppendUint64(b, uint64(s.size))
		b = le.AppendUint64(b, uint64(s.mtime))
	}
	b = le.AppendUint64(b, uint64(st.cur.took))
	b = le.AppendUint32(b, uint32(st.moreN))
	b = le.AppendUint64(b, uint64(st.read))
	for _, n := range [...]int{st.records, st.dropped, st.inNew} {
		b = le.AppendUint32(b, uint32(n))
	}
	b = le.AppendUint32(b, st.lowNew)
	b = le.AppendUint32(b, uint32(st.moreAt))
	return append(b, st.dir[:min(len(st.dir), index.MaxState-stateSize)]...)
}

// parseState reads it; ok is false for any other form.
func parseState(b []byte) (st state, ok bool) {
	if len(b) < stateSize || b[0] != stateVersion {
		return st, false
	}
	le := binary.LittleEndian
	bits := b[1]
	b = b[2:]
	u64 := func() uint64 { n := le.Uint64(b); b = b[8:]; return n }
	u32 := func() uint32 { n := le.Uint32(b); b = b[4:]; return n }
	st.boot = u64()
	for _, s := range [...]*fileStamp{&st.cur.known, &st.new.known, &st.uids, &st.keyf, &st.moref} {
		*s = fileStamp{u64(), int64(u64()), int64(u64())}
	}
	for i, on := range [...]*bool{&st.cur.stale, &st.cur.doubt, &st.new.stale, &st.new.doubt} {
		*on = bits&(1<<i) != 0
	}
	st.cur.took = time.Duration(u64())
	st.new.took = st.cur.took
	st.moreN = int(u32())
	st.read = int64(u64())
	for _, n := range [...]*int{&st.records, &st.dropped, &st.inNew} {
		*n = int(u32())
	}
	st.lowNew, st.moreAt = u32(), int(u32())
	st.dir = string(b)
	return st, st.read >= 0 && st.cur.took >= 0
}

// bootHash is the boot's id in a state.
func bootHash(id string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	return h.Sum64()
}
