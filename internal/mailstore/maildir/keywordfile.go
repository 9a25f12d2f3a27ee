package maildir

import (
	"rookery/internal/mailstore/index"
	"rookery/internal/vfs"
)

// table makes sure that the names of keywords are those that the index's sets
// were made with, or newer; op is held.
func (mb *mailbox) table() {
	if mb.kwOf == [2]fileStamp{mb.st.keyf, mb.st.moref} {
		return
	}
	// A file that cannot be read now leaves the names that are known: what is
	// then not found by its name is looked for.
	mb.readTable(fileStamp{}, fileStamp{})
}

// readTable reads the keyword files; zero stamps are found out.
func (mb *mailbox) readTable(keyf, moref fileStamp) (err error) {
	if keyf == (fileStamp{}) {
		if keyf, err = mb.s.stampAt(join(mb.ctl, keywordsFile)); err != nil {
			return err
		}
	}
	if moref == (fileStamp{}) {
		if moref, err = mb.s.stampAt(join(mb.ctl, moreFile)); err != nil {
			return err
		}
	}
	letters, names := mb.kw.letters, mb.kw.more
	if keyf != mb.kwOf[0] {
		letters = [letterCount]string{}
		if keyf.inode != 0 {
			data, err := vfs.ReadFile(mb.s.fs, join(mb.ctl, keywordsFile), maxKeyFile)
			if err != nil && !notExist(err) {
				return err
			}
			letters = parseLetters(string(data))
		}
	}
	if moref != mb.kwOf[1] {
		m := moreKeywords{}
		if moref.inode != 0 {
			data, err := vfs.ReadFile(mb.s.fs, join(mb.ctl, moreFile), maxKeyFile)
			if err != nil && !notExist(err) {
				return err
			}
			m = parseMore(string(data))
		}
		mb.takeMore(m)
		names = m.names
	}
	mb.setTable(letters, names, keyf, moref)
	return nil
}

// takeMore keeps what rookery-keywords says of messages until it is in the index.
func (mb *mailbox) takeMore(m moreKeywords) {
	if m.validity != mb.hdr.validity { // of another UIDVALIDITY its UIDs mean nothing; the names stay
		m.uids = nil
	}
	mb.more = &m
}

// setTable takes over names of keywords.
func (mb *mailbox) setTable(letters [letterCount]string, more []string, keyf, moref fileStamp) {
	if mb.kw.setNames(letters, more) {
		mb.disk = nil
		mb.kwNow.Store(&keywordTable{letters, more})
	}
	mb.kwOf = [2]fileStamp{keyf, moref}
}

// readKeywords reads the keyword files if they are not the ones that the index
// stands for; the mailbox is entered.
func (mb *mailbox) readKeywords() error {
	keyf, err := mb.s.stampAt(join(mb.ctl, keywordsFile))
	if err != nil {
		return mb.s.fail("stat keywords", err)
	}
	moref, err := mb.s.stampAt(join(mb.ctl, moreFile))
	if err != nil {
		return mb.s.fail("stat keywords", err)
	}
	if keyf == mb.st.keyf && moref == mb.st.moref {
		return nil
	}
	if moref != mb.st.moref && mb.more == nil {
		mb.kwOf[1] = fileStamp{1, 1, 1} // read it for what it says of messages, too
	}
	if err := mb.readTable(keyf, moref); err != nil {
		return mb.s.fail("read keywords", err)
	}
	if mb.more != nil {
		mb.st.moreN, mb.st.moreAt = mb.more.lines, mb.more.lines
	}
	mb.st.keyf, mb.st.moref = keyf, moref
	mb.reflag = mb.view().Len() > 0
	return nil
}

// placeFor says where keywords are kept, and gives new ones a place, on disk
// before anything uses it. make says that new ones may be made: the mailbox is
// then entered; else ok is false if one would have to be.
func (mb *mailbox) placeFor(names []string, make bool) (d diskSet, ok bool, err error) {
	if len(names) == 0 {
		return d, true, nil
	}
	mb.table()
	d, missing := mb.kw.find(names)
	if len(missing) == 0 {
		return d, true, nil
	}
	if !make {
		return d, false, nil
	}
	letters, more, err := mb.kw.with(missing)
	if err != nil {
		return d, false, err
	}
	if letters != mb.kw.letters {
		stamp, err := mb.s.replaceLocked(join(mb.ctl, keywordsFile), func() ([]byte, error) { return formatLetters(letters), nil })
		if err != nil {
			return d, false, mb.s.fail("write keywords", err)
		}
		mb.st.keyf = stamp
		mb.setTable(letters, mb.kw.more, stamp, mb.st.moref)
	}
	if len(more) > len(mb.kw.more) {
		old := mb.kw.more
		mb.setTable(letters, more, mb.st.keyf, mb.st.moref)
		if err := mb.writeMore(nil, true); err != nil {
			mb.setTable(letters, old, mb.st.keyf, mb.st.moref)
			return d, false, mb.s.fail("write keywords", err)
		}
	}
	d, _ = mb.kw.find(names)
	return d, true, nil
}

// moreChange is what a message has beyond the letters from now on.
type moreChange struct {
	uid  uint32
	base string
	list []uint16
}

// writeMore writes rookery-keywords anew, with changes that are not in the index
// yet. sync says that it must be certain: names must be, before a message uses
// them.
func (mb *mailbox) writeMore(changes []moreChange, sync bool) error {
	data := moreLine(nil, "V "+utoa(mb.hdr.validity))
	for i, n := range mb.kw.more {
		data = moreLine(data, "K "+utoa(uint32(letterCount+i))+" "+n)
	}
	lines := 1 + len(mb.kw.more)
	changed := map[uint32]bool{}
	for _, c := range changes {
		changed[c.uid] = true
	}
	v := mb.view()
	v.Each(0, func(_ int, r index.Record) bool {
		if list := mb.moreOf(v, r.Keywords); len(list) > 0 && !changed[r.UID] {
			data = moreUser(data, r.UID, locBase(r.Loc), list)
			lines++
		}
		return true
	})
	for _, c := range changes {
		if len(c.list) > 0 {
			data = moreUser(data, c.uid, c.base, c.list)
			lines++
		}
	}
	if v.Damaged() { // what it lacks would be lost for good
		return errPicture
	}
	stamp, err := mb.s.replace(join(mb.ctl, moreFile), data)
	if stamp.inode != 0 {
		mb.st.moref, mb.kwOf[1] = stamp, stamp
		mb.st.moreN, mb.st.moreAt = lines, lines
		if !sync {
			return nil
		}
	}
	return err
}

// saveMore appends what messages have beyond the letters. The mailbox is entered
// and the file was read. sync makes it certain, as for an APPEND; a STORE's may
// be lost in a power cut, as its renames may.
func (mb *mailbox) saveMore(changes []moreChange, sync bool) error {
	if len(changes) == 0 {
		return nil
	}
	if mb.st.moref.inode == 0 || mb.st.moreN > 64+4*mb.st.moreAt {
		return mb.writeMore(changes, sync)
	}
	data := []byte("\n") // ends a line that a crash cut
	for _, c := range changes {
		data = moreUser(data, c.uid, c.base, c.list)
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
		f.Truncate(mb.st.moref.size)
		mb.look = true // read it back, believe only that
		return err
	}
	mb.st.moref = stampOf(info)
	mb.kwOf[1] = mb.st.moref
	mb.st.moreN += len(changes)
	return nil
}

// replaceLocked replaces a file that Dovecot guards with a dotlock, PATH.lock,
// under the user's lock. make is called with it held and gives the new bytes;
// nil leaves the file alone.
func (s *Store) replaceLocked(path string, make func() ([]byte, error)) (fileStamp, error) {
	h, err := s.dotlockOf(path + ".lock")
	if err != nil {
		return fileStamp{}, err
	}
	defer h.release()
	data, err := make()
	if err != nil || data == nil {
		return fileStamp{}, err
	}
	return s.replace(path, data)
}
