package maildir

import (
	"maps"
	"slices"

	"rookery/internal/vfs"
)

// readKeywords reads the keyword files if they changed; op is held.
func (mb *mailbox) readKeywords() error {
	keyf, err := mb.s.stampAt(join(mb.ctl, keywordsFile))
	if err != nil {
		return mb.s.fail("stat keywords", err)
	}
	moref, err := mb.s.stampAt(join(mb.ctl, moreFile))
	if err != nil {
		return mb.s.fail("stat keywords", err)
	}
	letters, more := mb.kw.letters, mb.kw.more
	if keyf != mb.keyf {
		letters = [letterCount]string{}
		if keyf.inode != 0 {
			data, err := vfs.ReadFile(mb.s.fs, join(mb.ctl, keywordsFile), maxKeyFile)
			if err != nil && !notExist(err) {
				return mb.s.fail("read keywords", err)
			}
			letters = parseLetters(string(data))
		}
	}
	if moref != mb.moref {
		m := moreKeywords{uids: map[uint32][]uint16{}}
		if moref.inode != 0 {
			data, err := vfs.ReadFile(mb.s.fs, join(mb.ctl, moreFile), maxKeyFile)
			if err != nil && !notExist(err) {
				return mb.s.fail("read keywords", err)
			}
			// Of another UIDVALIDITY its UIDs mean nothing; the names stay.
			if m = parseMore(string(data)); m.validity != mb.uids.hdr.validity {
				m.uids = map[uint32][]uint16{}
			}
		}
		more, mb.more, mb.moreN = m.names, m.uids, m.lines
		mb.rename = true
	}
	if keyf != mb.keyf && letters != mb.kw.letters {
		mb.rename = true
	}
	mb.kw.setNames(letters, more)
	mb.keyf, mb.moref = keyf, moref
	return nil
}

// placeFor says where keywords are kept, and gives new ones a place, on disk
// before anything uses it. The mailbox's lock is held if names may be missing
// (lock is nil otherwise, and then ok is false if one would be needed).
func (mb *mailbox) placeFor(names []string, locked bool) (d diskSet, ok bool, err error) {
	d, missing := mb.kw.find(names)
	if len(missing) == 0 {
		return d, true, nil
	}
	if !locked {
		return d, false, nil
	}
	if err := mb.readKeywords(); err != nil {
		return d, false, err
	}
	d, missing = mb.kw.find(names)
	letters, more, err := mb.kw.with(missing)
	if err != nil {
		return d, false, err
	}
	if letters != mb.kw.letters {
		stamp, err := mb.s.replaceLocked(join(mb.ctl, lockFile), join(mb.ctl, keywordsFile), func() ([]byte, error) { return formatLetters(letters), nil })
		if err != nil {
			return d, false, mb.s.fail("write keywords", err)
		}
		mb.keyf = stamp
	}
	mb.kw.setNames(letters, mb.kw.more)
	if len(more) > len(mb.kw.more) {
		old := mb.kw.more
		mb.kw.setNames(letters, more)
		if err := mb.writeMore(true); err != nil {
			mb.kw.setNames(letters, old)
			return d, false, mb.s.fail("write keywords", err)
		}
	}
	d, _ = mb.kw.find(names)
	return d, true, nil
}

// writeMore writes rookery-keywords anew. sync says that it must be certain: names
// must be, before a message uses them.
func (mb *mailbox) writeMore(sync bool) error {
	data := moreLine(nil, "V "+utoa(mb.uids.hdr.validity))
	for i, n := range mb.kw.more {
		data = moreLine(data, "K "+utoa(uint32(letterCount+i))+" "+n)
	}
	for _, uid := range slices.Sorted(maps.Keys(mb.more)) {
		data = moreUser(data, uid, mb.more[uid])
	}
	stamp, err := mb.s.replace(join(mb.ctl, moreFile), data)
	if stamp.inode != 0 {
		mb.moref, mb.moreN = stamp, len(mb.more)+len(mb.kw.more)+1
		if !sync {
			return nil
		}
	}
	return err
}

// saveMore appends what messages have beyond the letters. The mailbox's lock is
// held and the file was read. sync makes it certain, as for an APPEND; a STORE's
// may be lost in a power cut, as its renames may.
func (mb *mailbox) saveMore(uids []uint32, sync bool) error {
	if len(uids) == 0 {
		return nil
	}
	if mb.moref.inode == 0 || mb.moreN > 64+4*len(mb.more) {
		return mb.writeMore(sync)
	}
	data := []byte("\n") // ends a line that a crash cut
	for _, u := range uids {
		data = moreUser(data, u, mb.more[u])
	}
	f, err := mb.s.fs.OpenFile(join(mb.ctl, moreFile), vfs.Write|vfs.Append, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(data)
	if err == nil && sync {
		err = f.DataSync()
	}
	var info vfs.Info
	if err == nil {
		info, err = f.Stat()
	}
	if err != nil {
		f.Truncate(mb.moref.size)
		mb.moref = fileStamp{} // read it back
		return err
	}
	mb.moref = stampOf(info)
	mb.moreN += len(uids)
	return nil
}

// replaceLocked replaces a file that Dovecot guards with a dotlock, PATH.lock.
// The caller holds the lock file keep, of which the dotlock is made a link: one
// that is there already and is that file was left by a crash of ours. make is
// called with the lock held and gives the new bytes; nil leaves the file alone.
func (s *Store) replaceLocked(keep, path string, make func() ([]byte, error)) (fileStamp, error) {
	file, err := s.fs.OpenFile(keep, vfs.Read|vfs.Write, 0)
	if err != nil {
		return fileStamp{}, err
	}
	h := &held{s: s, file: file}
	defer h.release()
	if err := s.dotlock(h, keep, path+".lock"); err != nil {
		return fileStamp{}, err
	}
	data, err := make()
	if err != nil || data == nil {
		return fileStamp{}, err
	}
	return s.replace(path, data)
}
