package maildir

import (
	"slices"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/index"
	"rookery/internal/mailstore/journal"
	"rookery/internal/vfs"
)

// The journal's checkpoint: what its records say is made certain in its own place.

// journalGone notes that a mailbox was deleted: what the journal has of it is
// not to come back.
func (s *Store) journalGone(guid mailstore.GUID) {
	if s.journal == nil {
		return
	}
	if t, err := s.journal.Append(journal.Soon, journal.Record{Kind: journal.Gone, Box: guid}); err == nil {
		t.Done()
	}
}

// place is where a mailbox lies.
type place struct{ dir, ctl string }

// placeOf finds a mailbox by its GUID, in memory or on the disk.
func (s *Store) placeOf(guid mailstore.GUID) (place, bool, error) {
	s.mu.Lock()
	p, ok := s.places[guid]
	s.mu.Unlock()
	has := func(p place) bool {
		mb := mailbox{s: s, dir: p.dir, ctl: p.ctl}
		hdr, ok, err := mb.readHeader()
		return err == nil && ok && guidOf(hdr.guid) == guid
	}
	if ok && has(p) {
		return p, true, nil
	}
	list, err := s.folders()
	if err != nil {
		return place{}, false, err
	}
	for _, f := range append(list, folder{}) { // and INBOX, whose directory is ""
		if p = (place{s.mailDir(f.dir), s.ctlDir(f.dir)}); has(p) {
			s.setPlace(guid, p)
			return p, true, nil
		}
	}
	return place{}, false, nil
}

func (s *Store) setPlace(guid mailstore.GUID, p place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.places[guid] = p
}

// errLater has the journal ask again.
var errLater = errkind.Newf("settle", errkind.InUse, "what another process wrote is not in place yet")

// settle makes the effects of records certain in their own places. It waits for
// no lock that somebody may hold who waits for the journal.
func (s *Store) settle(recs []journal.Record) error {
	if r := s.replaying; r != nil {
		if err := r.run(); err != nil {
			return err
		}
	}
	byBox := map[mailstore.GUID][]journal.Record{}
	for _, r := range recs {
		byBox[r.Box] = append(byBox[r.Box], r)
	}
	for guid, list := range byBox {
		p, there, err := s.placeOf(guid)
		if err != nil {
			return s.fail("settle", err)
		}
		if !there {
			continue // deleted
		}
		if err := s.settleBox(guid, p, list); err != nil {
			if notExist(err) {
				err = errLater // it is being renamed
			}
			return s.fail("settle", err)
		}
	}
	return nil
}

func (s *Store) settleBox(guid mailstore.GUID, p place, recs []journal.Record) error {
	var want []journal.Record
	for _, r := range recs {
		certain := r.Op == linked && r.Own
		if (r.Kind == journal.Message || r.Kind == journal.Large) && !r.Expunged && !certain {
			want = append(want, r)
		}
	}
	for part := range slices.Chunk(want, 128) { // files that are open at once
		if err := s.settleFiles(guid, p, part); err != nil {
			return err
		}
	}
	for _, d := range [...]string{"cur", "new"} {
		if err := s.fs.SyncDir(join(p.dir, d)); err != nil {
			return err
		}
	}
	for _, n := range [...]string{uidlistFile, moreFile} {
		if err := s.syncFile(join(p.ctl, n)); err != nil {
			return err
		}
	}
	return nil
}

// settleFiles syncs the files of messages.
func (s *Store) settleFiles(guid mailstore.GUID, p place, recs []journal.Record) error {
	var files []vfs.File
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	var missing []journal.Record
	for _, r := range recs {
		f, err := s.openKnown(guid, p, r)
		if err != nil {
			return err
		}
		if f != nil {
			files = append(files, f)
		} else {
			missing = append(missing, r)
		}
	}
	if len(missing) > 0 {
		more, err := s.openMissing(p, missing)
		files = append(files, more...)
		if err != nil {
			return err
		}
	}
	return journal.SyncFiles(files)
}

// openKnown opens a message's file by the name that the index gives it; nil if it
// is not there.
func (s *Store) openKnown(guid mailstore.GUID, p place, r journal.Record) (vfs.File, error) {
	s.mu.Lock()
	mb := s.boxes[guid]
	s.mu.Unlock()
	if mb == nil {
		return nil, nil
	}
	for range 3 {
		v, kw := mb.snap.Load(), mb.kwNow.Load()
		pos, ok := v.Find(r.UID)
		if !ok {
			return nil, nil
		}
		rec := v.Rec(pos)
		if kw == nil || locBase(rec.Loc) != r.Base {
			return nil, nil
		}
		f, err := s.fs.OpenFile(join(p.dir, pathIn(nameBy(kw, v, rec))), vfs.Read, 0)
		if err == nil || !notExist(err) {
			return f, err
		}
	}
	return nil, nil
}

// openMissing looks for files in the folder. What is not there under the user's
// lock is gone for good, or never came.
func (s *Store) openMissing(p place, recs []journal.Record) (files []vfs.File, err error) {
	if s.replaying == nil {
		if err := s.user.Lock(0); err != nil {
			return nil, errLater
		}
		defer s.user.Unlock()
	}
	for try := 0; len(recs) > 0 && try < 3; try++ {
		f, err := s.scan(p.dir)
		if err != nil {
			return files, err
		}
		var left []journal.Record
		for _, r := range recs {
			_, i := f.slot(r.Base)
			if i < 0 {
				left = append(left, r)
				continue
			}
			o, err := s.fs.OpenFile(join(p.dir, pathIn(f.list[i].name)), vfs.Read, 0)
			if notExist(err) {
				left = append(left, r)
			} else if err != nil {
				return files, err
			} else {
				files = append(files, o)
			}
		}
		if recs = left; f.stable {
			break
		}
	}
	for _, r := range recs {
		if r.Undone && s.replaying == nil { // of a killed process: who changes the mailbox next puts it there
			return files, errLater
		}
	}
	return files, nil
}

// pathIn gives the path of a stored name below a mailbox's directory.
func pathIn(name string) string {
	if name[0] == 'n' {
		return "new/" + name[1:]
	}
	return "cur/" + name[1:]
}

// nameBy is mailbox.fileOf with a table of keywords of its own.
func nameBy(kw *keywordTable, v *index.View, r index.Record) string {
	base, _, info := splitLoc(r.Loc)
	switch {
	case r.Bits&bitNew != 0:
		return "n" + base + info
	case r.Bits&bitOdd != 0:
		return "c" + base + info
	}
	d, _ := kw.find(v.Keywords(r.Keywords))
	return "c" + base + nameFlags{sys: r.Flags, forwarded: d.forwarded, letters: d.letters}.info()
}
