package maildir

import (
	"encoding/binary"
	"slices"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/journal"
	"rookery/internal/numset"
	"rookery/internal/vfs"
)

// What goes through the user's journal: small messages whole, so that one sync
// makes them certain for all who wait; flag changes and expunges, which then
// survive a power cut without a sync of the folder.
//
// A message's record has its base name, flags, keywords and bytes; Payload has
// the keys of its uidlist record. A record of flags has the file names as they
// were and are (see appendFlagged), so that recovery changes nothing that another
// program changed since. Both and expunges name the mailbox by its GUID: it may
// have another name when it is recovered.

// openJournal opens the user's journal and does what a crash left undone. A disk
// that cannot be written has none; everything is then made certain in its place.
func (s *Store) openJournal() error {
	if s.opt.NoSync {
		return nil
	}
	j, err := journal.Open(journal.Options{FS: s.fs, Dir: s.opt.ControlPath, FileMode: s.opt.FileMode, Checkpoint: s.settle, Note: s.opt.Note, LockWait: s.opt.LockWait})
	if err != nil {
		kind := diskKind(err)
		if kind == errkind.Other {
			kind = errkind.Of(err)
		}
		return s.withoutJournal(errkind.New("open journal", kind, err))
	}
	r := newReplay(s)
	s.replaying = r
	err = j.Recover(r.add)
	s.replaying = nil
	if err != nil {
		j.Close()
		return s.withoutJournal(s.fail("recover journal", err))
	}
	s.journal = j
	return nil
}

// withoutJournal lets a store open whose journal cannot be recovered, because
// nothing can be written there now or a mailbox in it is damaged: mail can be
// read, and room be made. What the journal holds comes back when the store is
// opened after that; after a mere end of a process all of it is in place anyway.
func (s *Store) withoutJournal(err error) error {
	if errkind.Is(err, errkind.InUse) {
		return err // another process recovers it: to go on would be to overtake it
	}
	if _, serr := s.fs.Stat(join(s.opt.ControlPath, journal.FileName)); !notExist(serr) {
		s.opt.Note("the user's journal cannot be used: " + err.Error())
	}
	return nil
}

// journalable reports whether a job can go through the journal: messages that fit
// together into one batch of records.
func (mb *mailbox) journalable(j *addJob) bool {
	if mb.s.journal == nil {
		return false
	}
	for _, it := range j.items {
		if it.data == nil {
			return false
		}
	}
	recs, ok := mb.records(j, func(int) uint32 { return 1 })
	size := 0
	for i := range recs {
		n := recs[i].EncodedSize()
		if n > journal.MaxRecord {
			return false
		}
		size += n
	}
	return ok && size > 0 && size <= journal.MaxAppend
}

// records are what a job is in the journal: its messages, what leaves the mailbox
// that they are moved from, and where there are several an intent before them.
func (mb *mailbox) records(j *addJob, uid func(i int) uint32) (recs []journal.Record, ok bool) {
	ref := uint64(0)
	if j.stem != "" {
		recs = append(recs, journal.Record{Kind: journal.Intent, Box: guidOf(mb.hdr.guid), Payload: []byte{intentJournal}})
		ref = journal.RefFirst
	}
	for i, it := range j.items {
		r := mb.messageRecord(it, uid(i))
		r.Ref = ref
		recs = append(recs, r)
	}
	if j.src != nil {
		x, ok := j.leaves()
		if !ok {
			return nil, false
		}
		x.Ref = ref
		recs = append(recs, x)
	}
	return recs, true
}

// linked, as the operation of a Message, says that its file is a link of one whose
// bytes are certain: only its name waits for the checkpoint.
const linked = mailstore.AddFlags

func (mb *mailbox) messageRecord(it *addItem, uid uint32) journal.Record {
	r := journal.Record{Kind: journal.Message, Box: guidOf(mb.hdr.guid), UIDValidity: mb.hdr.validity, UID: uid, Base: it.base,
		Flags: it.flags, Keywords: it.keywords, GUID: messageGUID(it.base, it.ext), InternalDate: it.date, Size: it.known.Size,
		Payload: []byte(it.ext), Data: it.data}
	if it.kind != moveTmp && !it.unsynced && mb.s.can.link {
		r.Op = linked
	}
	return r
}

// journalJobs makes jobs certain through the journal and shows them. Those that
// the journal does not take come back in rest. Op and all locks are held.
func (mb *mailbox) journalJobs(jobs []*addJob) (rest []*addJob, err error) {
	own := mb.beginOwn()
	next := mb.hdr.next
	var took []*addJob
	for _, j := range jobs {
		// For the last time: its records are one write, and its files are few.
		if j.err = j.stopped(); j.err != nil {
			continue
		}
		if j.err = mb.giveNames(j); j.err != nil {
			continue
		}
		if j.uids, j.err = mb.giveUIDs(j.items); j.err != nil {
			continue
		}
		recs, ok := mb.records(j, func(i int) uint32 { return j.uids[i] })
		if ok {
			j.ticket, err = mb.s.journal.Append(journal.Now, recs...)
		}
		if err != nil || !ok {
			mb.ungive(j)
			rest = append(rest, j)
			continue
		}
		took = append(took, j)
	}
	took, left := mb.certain(took)
	rest = append(rest, left...)
	mb.placeAll(took)
	if err := mb.showJournaled(took, own); err != nil {
		for _, j := range took {
			mb.cancel(j)
		}
		if len(took) > 0 && took[len(took)-1].uids == nil {
			mb.hdr.next = next
		}
		return rest, err
	}
	return rest, nil
}

// certain waits for the records. What the journal had no room for goes another way.
func (mb *mailbox) certain(jobs []*addJob) (took, left []*addJob) {
	for _, j := range jobs {
		err := j.ticket.Wait()
		switch {
		case err == nil:
			took = append(took, j)
		case errkind.Is(err, errkind.Unavailable):
			j.ticket, j.uids = nil, nil
			left = append(left, j)
		default:
			j.ticket, j.uids = nil, nil
			j.err = mb.s.fail("sync", err)
		}
	}
	return took, left
}

// placeAll puts the files into place; a job that fails is cancelled.
func (mb *mailbox) placeAll(jobs []*addJob) {
	for _, j := range jobs {
		if j.src != nil && j.src != mb {
			j.away = j.src.leaving()
		}
		for i, it := range j.items {
			if j.err = mb.placeFile(it); j.err != nil {
				for _, done := range j.items[:i] {
					mb.takeBack(done)
				}
				mb.cancel(j)
				break
			}
		}
	}
}

// cancel takes a job's records back: it is about to be answered NO.
func (mb *mailbox) cancel(j *addJob) {
	if j.ticket == nil {
		return
	}
	if err := j.ticket.Cancel(); err != nil {
		mb.s.opt.Note("a message of " + mb.nameNow() + " that was refused may come back after a power cut: " + err.Error())
	}
	j.ticket, j.uids = nil, nil
}

// showJournaled writes the uidlist, without a sync, and the index.
func (mb *mailbox) showJournaled(jobs []*addJob, own *ownChange) error {
	var done []*addJob
	var recs []uidRecord
	var beyond []moreChange
	for _, j := range jobs {
		if j.err != nil {
			continue
		}
		done = append(done, j)
		j.uidv = mb.hdr.validity
		for i, it := range j.items {
			base, _ := splitName(it.name[1:])
			recs = append(recs, uidRecord{j.uids[i], it.ext, base})
			if len(it.more) > 0 {
				beyond = append(beyond, moreChange{j.uids[i], base, it.more})
			}
		}
	}
	if len(done) == 0 {
		mb.keepState(own)
		return nil
	}
	err := mb.saveMore(beyond, true)
	if err == nil {
		err = mb.appendUIDs(nil, recs, mb.s.opt.SyncChanges)
	}
	if err != nil {
		mb.undo(done)
		return mb.s.fail("write uidlist", err)
	}
	own.end()
	mb.show(done, recs)
	for _, j := range done {
		j.ticket.Done()
		if id, _ := j.ticket.IDs(); j.stem != "" {
			mb.s.endIntent(journal.Unsynced, id) // an error means that it is looked at again
		}
		if j.away != nil {
			j.away.left(j.moved())
		}
	}
	return nil
}

// flagged is one message of a record of flags.
type flagged struct {
	uid      uint32
	was, is  string   // the file's name after its base name; was begins with 'n' or 'c', for new/ or cur/
	more     []uint16 // keywords beyond the letters, now
	moreSome bool     // which changed
}

// appendFlagged encodes one: UID (4 octets, little-endian), was, is (a length
// octet and the text each), and how many keywords it has beyond the letters plus
// one, or 0 if those are as they were, with two octets each.
func (f flagged) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, f.uid)
	for _, s := range [...]string{f.was, f.is} {
		s = s[:min(len(s), 255)]
		b = append(append(b, byte(len(s))), s...)
	}
	if !f.moreSome {
		return append(b, 0)
	}
	b = append(b, byte(len(f.more)+1))
	for _, n := range f.more {
		b = binary.LittleEndian.AppendUint16(b, n)
	}
	return b
}

// parseFlagged reads a payload; it ends where something is wrong.
func parseFlagged(b []byte) (list []flagged) {
	text := func() (string, bool) {
		if len(b) == 0 || len(b) <= int(b[0]) {
			return "", false
		}
		s := string(b[1 : 1+int(b[0])])
		b = b[1+int(b[0]):]
		return s, true
	}
	for len(b) >= 4 {
		f := flagged{uid: binary.LittleEndian.Uint32(b)}
		b = b[4:]
		var ok1, ok2 bool
		f.was, ok1 = text()
		f.is, ok2 = text()
		if !ok1 || !ok2 || f.was == "" || len(b) == 0 {
			return list
		}
		n := int(b[0]) - 1
		if b = b[1:]; n >= 0 {
			if len(b) < 2*n {
				return list
			}
			f.moreSome = true
			for range n {
				f.more = append(f.more, binary.LittleEndian.Uint16(b))
				b = b[2:]
			}
		}
		list = append(list, f)
	}
	return list
}

// journalFlags notes changes of flags that were made. An error is one only where
// they have to be certain.
func (mb *mailbox) journalFlags(list []flagged) error {
	if len(list) == 0 || mb.s.opt.NoSync {
		return nil
	}
	// Pieces of which each fits into a record, whatever the names.
	for part := range slices.Chunk(list, 64) {
		var uids numset.Set
		var payload []byte
		for _, f := range part {
			uids.Add(f.uid)
			payload = f.append(payload)
		}
		if err := mb.journalChange(journal.Record{Kind: journal.Flags, UIDs: uids, Payload: payload}); err != nil {
			return err
		}
	}
	return nil
}

// journalExpunge notes what was removed.
func (mb *mailbox) journalExpunge(uids numset.Set) error {
	if uids.Empty() || mb.s.opt.NoSync {
		return nil
	}
	return mb.journalChange(journal.Record{Kind: journal.Expunge, UIDs: uids})
}

// journalChange notes a change that has been made. Where it must be certain
// before the answer and the journal cannot do it, the folder is synced.
func (mb *mailbox) journalChange(r journal.Record) error {
	r.Box, r.UIDValidity = guidOf(mb.hdr.guid), mb.hdr.validity
	class := journal.Soon
	if mb.s.opt.SyncChanges {
		class = journal.Now
	}
	err := errNoJournal
	if mb.s.journal != nil {
		var t *journal.Ticket
		if t, err = mb.s.journal.Append(class, r); err == nil {
			if err = t.Wait(); err == nil {
				t.Done()
			}
		}
	}
	if err == nil || class == journal.Soon {
		return nil
	}
	return mb.syncDirs()
}

var errNoJournal = errkind.Newf("journal", errkind.Unavailable, "there is none")

// syncDirs makes the names of a folder certain.
func (mb *mailbox) syncDirs() error {
	for _, d := range [...]string{"cur", "new"} {
		if err := mb.s.fs.SyncDir(join(mb.dir, d)); err != nil {
			return mb.s.fail("sync", err)
		}
	}
	if err := mb.s.syncFile(join(mb.ctl, moreFile)); err != nil {
		return mb.s.fail("sync", err)
	}
	return nil
}

// syncFile makes a file certain that may not be there.
func (s *Store) syncFile(path string) error {
	f, err := s.fs.OpenFile(path, vfs.Read, 0)
	if err != nil {
		if notExist(err) {
			return nil
		}
		return err
	}
	err = f.Sync()
	f.Close()
	return err
}
