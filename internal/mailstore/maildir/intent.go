package maildir

import (
	"encoding/hex"
	"slices"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/journal"
	"rookery/internal/numset"
)

// What takes several visible steps (an APPEND, COPY or MOVE of several messages,
// the RENAME of a mailbox with children) has an intent in the user's journal
// before the first of them, so that a crash leaves all of it or nothing. Its
// payload is a letter and what follows:
//
//	'j'                The effects behind it in the journal, which hold the bytes.
//	                   Found open, they are done. It is ended without a sync, once
//	                   all is in place.
//	'p' <GUID> <stem>  Files whose base names begin with the stem are put into the
//	                   mailbox Box. Found open, nobody was answered: they are taken
//	                   out again, and their lines of the uidlist. GUID (32 hex
//	                   digits) is the mailbox that they were moved from, or zeroes:
//	                   message <stem>k goes back there, as the k-th of UIDs. It is
//	                   ended, certainly, before anybody is shown anything.
//	'r' <from> NUL <to>  The rename of a tree. Found open, it goes on.
//
// They are made and ended under the user's lock ('r': the lock of the folders):
// whoever has it and finds one of another process knows that it was killed.
const (
	intentJournal byte = 'j'
	intentPlace   byte = 'p'
	intentRename  byte = 'r'
)

// maxIntentRanges bounds the UIDs of one intent of a move: a set of more ranges is
// moved in several steps, each of which happens whole or not at all.
const maxIntentRanges = 3000

// stem gives the beginning of the base names of a job's messages, and their end.
func (n nameMaker) stem(base string) (stem, host string) {
	i := strings.LastIndexByte(base[:len(base)-len(n.host)], '.')
	return base[:i] + "_", base[i:]
}

// nameJob gives the messages of a job of several their base names: together they
// can be found by their stem.
func (mb *mailbox) nameJob(j *addJob) {
	if len(j.items) < 2 || mb.s.journal == nil {
		return
	}
	var host string
	j.stem, host = mb.s.names.stem(mb.s.names.next(mb.s.now()))
	for k, it := range j.items {
		fields := ""
		if i := strings.IndexByte(it.base, ','); i >= 0 {
			fields = it.base[i:]
		}
		it.base = j.stem + utoa(uint32(k)) + host + fields
	}
}

// intend notes jobs of several messages that do not go through the journal. Where
// the journal has no room the work goes on without.
func (mb *mailbox) intend(jobs []*addJob) error {
	for _, j := range jobs {
		if j.stem == "" || mb.s.journal == nil {
			continue
		}
		r := journal.Record{Kind: journal.Intent, Box: guidOf(mb.hdr.guid), UIDValidity: mb.hdr.validity}
		var from mailstore.GUID
		if j.src != nil {
			box := j.src.boxNow.Load()
			if box == nil {
				continue
			}
			from, r.UIDs = box.GUID(), numset.FromSorted(j.from)
			r.UID = 1 // there is a source
		}
		r.Payload = append(hexGUID([]byte{intentPlace}, from), j.stem...)
		t, err := mb.s.journal.Append(journal.Now, r)
		if err == nil {
			err = t.Wait()
		}
		if err == nil {
			j.intent, _ = t.IDs()
		} else if !noRoom(err) {
			return err
		}
	}
	return nil
}

// noRoom reports whether the journal works but has no place for a record now.
func noRoom(err error) bool {
	if err == nil {
		return false
	}
	switch errkind.Of(err) {
	case errkind.Unavailable, errkind.Limit, errkind.TooBig, errkind.NoSpace:
		return true
	}
	return false
}

func hexGUID(b []byte, g mailstore.GUID) []byte { return hex.AppendEncode(b, g[:]) }

// decided ends the intents of jobs that are in place, certainly: from here on
// they have happened. What moved has left its mailbox with the same stroke.
func (mb *mailbox) decided(jobs []*addJob) error {
	for _, j := range jobs {
		if j.intent == 0 {
			continue
		}
		recs := []journal.Record{{Kind: journal.IntentDone, Ref: j.intent}}
		if x, ok := j.leaves(); ok {
			recs = append(recs, x)
		}
		t, err := mb.s.journal.Append(journal.Now, recs...)
		if err == nil {
			err = t.Wait()
		}
		if err != nil {
			return err
		}
		t.Done()
		j.intent, j.noted = 0, len(recs) > 1
	}
	return nil
}

// leaves is the record of what a job takes out of the mailbox that it moves from.
func (j *addJob) leaves() (journal.Record, bool) {
	if j.src == nil {
		return journal.Record{}, false
	}
	box := j.src.boxNow.Load()
	uids := j.moved()
	if box == nil || len(uids) == 0 {
		return journal.Record{}, false
	}
	return journal.Record{Kind: journal.Expunge, Box: box.GUID(), UIDValidity: box.View().UIDValidity(), UIDs: numset.FromSorted(uids)}, true
}

// undecided ends the intents of jobs that were undone: the undoing must be certain
// first. Where it cannot be made so they stay open, and are undone once more.
func (mb *mailbox) undecided(jobs []*addJob) {
	for _, j := range jobs {
		if j.intent == 0 {
			continue
		}
		err := mb.syncDirs()
		if err == nil && j.src != nil {
			err = j.src.syncLeftNow()
		}
		if err == nil {
			mb.s.endIntent(journal.Unsynced, j.intent)
		}
		j.intent = 0
	}
}

// endIntent notes the end of an intent.
func (s *Store) endIntent(class journal.Sync, id uint64) error {
	t, err := s.journal.Append(class, journal.Record{Kind: journal.IntentDone, Ref: id})
	if err == nil {
		err = t.Wait()
	}
	return err
}

// finishOthers ends what killed processes of the user left half done in mailboxes.
// The user's lock is held, and no other. did reports whether there was anything.
func (s *Store) finishOthers() (did bool) {
	list := s.leftBy(func(letter byte) bool { return letter != intentRename })
	if len(list) == 0 {
		return false
	}
	err := func() error {
		r := newReplay(s)
		for _, in := range list {
			effects, err := s.journal.Effects(in.ID)
			if err != nil {
				return err
			}
			for _, e := range effects {
				e.Undone = true
				r.add(e)
			}
			r.add(in)
		}
		return r.runLocked()
	}()
	if err != nil {
		s.opt.Note("what a killed process left half done cannot be finished now: " + err.Error())
		return false
	}
	for _, in := range list {
		s.endIntent(journal.Unsynced, in.ID)
	}
	return true
}

// leftBy gives the open intents of other processes whose letter which wants.
func (s *Store) leftBy(which func(letter byte) bool) (out []journal.Record) {
	if s.journal == nil {
		return nil
	}
	if left, err := s.journal.Left(); err != nil || !left {
		return nil
	}
	list, err := s.journal.Pending()
	if err != nil {
		return nil
	}
	for _, in := range list {
		if in.Kind == journal.Intent && !in.Own && len(in.Payload) > 0 && which(in.Payload[0]) {
			out = append(out, in)
		}
	}
	return out
}

// undoPlaced takes out what an intent put into a mailbox.
func (r *replay) undoPlaced(in journal.Record) error {
	if len(in.Payload) <= 33 {
		return nil
	}
	stem := string(in.Payload[33:])
	p, there, err := r.s.placeOf(in.Box)
	if err != nil || !there {
		return err
	}
	b := &replayBox{s: r.s, guid: in.Box}
	return b.locked(p, func() error {
		var back *wayBack
		if in.UID != 0 {
			if back, err = r.wayBack(guidOf(string(in.Payload[1:33])), in.UIDs); err != nil {
				return err
			}
		}
		for _, f := range b.files.list {
			if rest, ok := strings.CutPrefix(f.baseName(), stem); ok {
				if err := b.takeOut(f, rest, in.UID != 0, back); err != nil {
					return err
				}
			}
		}
		n := len(b.list.recs)
		b.list.recs = slices.DeleteFunc(b.list.recs, func(u uidRecord) bool { return strings.HasPrefix(u.base, stem) })
		b.dirty = b.dirty || n != len(b.list.recs)
		if err := b.mb.syncDirs(); err != nil {
			return err
		}
		if back != nil {
			return back.b.mb.syncDirs()
		}
		return nil
	})
}

// wayBack is the mailbox that messages were moved from.
type wayBack struct {
	b    *replayBox
	uids []uint32
}

// wayBack looks at the mailbox; nil if it is gone: then its messages stay where
// they are.
func (r *replay) wayBack(guid mailstore.GUID, uids numset.Set) (*wayBack, error) {
	p, there, err := r.s.placeOf(guid)
	if err != nil || !there {
		return nil, err
	}
	b := &replayBox{s: r.s, guid: guid}
	if ok, err := b.read(p); err != nil || !ok {
		return nil, err
	}
	w := &wayBack{b: b}
	for u := range uids.All() {
		w.uids = append(w.uids, u)
	}
	return w, nil
}

// takeOut removes one file, or brings it back to where it was moved from. What
// cannot go back stays: it may be the only one.
func (b *replayBox) takeOut(f found, rest string, moved bool, back *wayBack) error {
	path := b.mb.path(f.name)
	if !moved {
		b.did++
		if err := b.s.fs.Remove(path); err != nil && !notExist(err) {
			return err
		}
		return nil
	}
	digits, _, _ := strings.Cut(rest, ".")
	k := int(number(digits))
	if back == nil || digits == "" || k >= len(back.uids) {
		return nil
	}
	line, ok := back.b.lines[back.uids[k]]
	if !ok {
		return nil
	}
	base := back.b.list.recs[line].base
	b.did++
	if name, at := back.b.file(base); at >= 0 {
		// Both names: the rename was torn, or the file was copied. Never the last one.
		if name == "" {
			return nil
		}
		if err := b.s.fs.Remove(path); err != nil && !notExist(err) {
			return err
		}
		return nil
	}
	_, info := splitName(f.name[1:])
	to := "c" + base + info
	if f.name[0] == 'n' {
		to = "n" + base
	}
	return b.s.fs.RenameNoReplace(path, back.b.mb.path(to))
}

// renameIntent notes that a tree is about to be renamed; 0 where nothing was noted.
func (s *Store) renameIntent(from, to mailstore.Name, moves []move) (uint64, error) {
	if s.journal == nil || len(moves) < 2 || s.opt.Layout == FSLayout { // there one rename moves all
		return 0, nil
	}
	t, err := s.journal.Append(journal.Now, journal.Record{Kind: journal.Intent, Payload: []byte(string(intentRename) + from + "\x00" + to)})
	if err == nil {
		err = t.Wait()
	}
	if noRoom(err) {
		return 0, nil
	}
	if err != nil {
		return 0, s.fail("rename", err)
	}
	id, _ := t.IDs()
	return id, nil
}

// resumeRename goes on with a rename that a crash cut. The locks of the folders
// are held.
func (s *Store) resumeRename(in journal.Record) error {
	from, to, ok := strings.Cut(string(in.Payload[1:]), "\x00")
	if !ok {
		return nil
	}
	list, err := s.folders()
	if err != nil {
		return err
	}
	there := map[mailstore.Name]bool{}
	for _, f := range list {
		there[f.name] = true
	}
	var moves []move
	for _, f := range list {
		n := imapname.Name(f.name)
		if f.name != from && !n.Below(imapname.Name(from)) {
			continue
		}
		m, err := s.moveTo(f, from, to)
		if err != nil {
			return err
		}
		if there[m.to] { // somebody made it since
			s.opt.Note("the rename of " + from + " to " + to + ", which a crash cut, leaves " + m.from + ": " + m.to + " is taken")
			continue
		}
		moves = append(moves, m)
	}
	if len(moves) == 0 {
		return s.fs.SyncDir(s.opt.MailPath)
	}
	s.opt.Note("went on with the rename of " + from + " to " + to + ", which a crash cut")
	sortMoves(moves)
	return s.doMoves(from, to, moves)
}

// finishRenames ends renames that killed processes left. The locks of the folders
// are held.
func (s *Store) finishRenames() {
	for _, in := range s.leftBy(func(letter byte) bool { return letter == intentRename }) {
		err := s.resumeRename(in)
		if err == nil {
			err = s.endIntent(journal.Now, in.ID)
		}
		if err != nil {
			s.opt.Note("a rename that a killed process left half done cannot be finished now: " + err.Error())
		}
	}
}

// wholeTree makes sure that no rename is seen half done.
func (s *Store) wholeTree() {
	if len(s.leftBy(func(letter byte) bool { return letter == intentRename })) == 0 {
		return
	}
	if lock, err := s.begin(); err == nil { // waits for it, or finishes it
		s.end(lock)
	}
}
