package journal

import (
	"fmt"
	"slices"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
)

// resolved is what batches say together.
type resolved struct {
	recs []Record // effects, open intents and reservations, by ID, each once
}

// resolve puts the records of batches together: in the order of their IDs, each
// once, without what was cancelled, voided, finished, or is of a mailbox that was
// deleted later.
func resolve(found []batch, boot string) resolved {
	var all []Record
	skip := voided(found)
	for _, b := range found {
		recs, ok := decodeBody(&b.head, b.body)
		if !ok || skip[b.seq] {
			continue
		}
		for i := range recs {
			recs[i].cycle, recs[i].owner = b.cycle, b.owner
			recs[i].SameBoot = b.boot != "" && b.boot == boot
		}
		all = append(all, recs...)
	}
	slices.SortStableFunc(all, func(a, b Record) int { return cmpUint(a.ID, b.ID) })
	all = slices.CompactFunc(all, func(a, b Record) bool { return a.ID == b.ID })
	d := decideOver(all)
	var set resolved
	open := map[uint64]int{}
	for _, r := range all {
		if d.cancelled(r.ID) || r.Kind.Effect() && r.Kind != Gone && r.ID < d.gone[r.Box] {
			continue
		}
		switch r.Kind {
		case Intent, Reservation:
			if d.finished[r.ID] {
				continue
			}
			open[r.ID] = len(set.recs)
		case Step:
			if at, ok := open[r.Ref]; ok {
				set.recs[at].Steps = append(set.recs[at].Steps, r.Payload)
			}
			continue
		case IntentDone, Settle, cancel, void:
			continue
		case Message, Large:
			r.Expunged = slices.ContainsFunc(d.expunges, func(e *Record) bool { return e.covers(&r) })
		}
		if _, ok := open[r.Ref]; ok && r.Kind.Effect() {
			r.Undone = true
		}
		set.recs = append(set.recs, r)
	}
	return set
}

// decisions are what records say of others.
type decisions struct {
	cancels  []*Record
	finished map[uint64]bool
	gone     map[mailstore.GUID]uint64 // ID of the newest Gone
	expunges []*Record
}

func decideOver(all []Record) *decisions {
	d := &decisions{finished: map[uint64]bool{}, gone: map[mailstore.GUID]uint64{}}
	for i := range all {
		if all[i].Kind == cancel {
			d.cancels = append(d.cancels, &all[i])
		}
	}
	for i := range all {
		r := &all[i]
		if d.cancelled(r.ID) {
			continue
		}
		switch r.Kind {
		case IntentDone, Settle:
			d.finished[r.Ref] = true
		case Gone:
			d.gone[r.Box] = max(d.gone[r.Box], r.ID)
		case Expunge:
			d.expunges = append(d.expunges, r)
		}
	}
	return d
}

func (d *decisions) cancelled(id uint64) bool {
	for _, c := range d.cancels {
		if id >= c.Ref && id < c.Ref+uint64(c.UID) {
			return true
		}
	}
	return false
}

// sound takes the batches that count after a crash: from the first live one to
// the torn tail. damaged are the sequence numbers of batches that were on disk
// and cannot be read; cut is how many valid batches lie beyond the tear.
func sound(found []batch) (live []batch, damaged []uint64, cut int) {
	var synced, liveCycle, first uint64 = 0, 1, 1
	for _, b := range found {
		synced = max(synced, b.synced)
		if b.liveCycle > liveCycle {
			liveCycle, first = b.liveCycle, b.liveSeq
		}
	}
	skip := voided(found)
	next := first
	for i, b := range found {
		if b.cycle < liveCycle || b.seq < next {
			continue
		}
		if b.seq-next > segments*segmentBlocks {
			next = b.seq - 1 // more than there can be: one stands for all
		}
		for ; next < b.seq; next++ {
			switch {
			case skip[next]:
			case next <= synced:
				if len(damaged) < maxDamaged {
					damaged = append(damaged, next)
				}
			default:
				return live, damaged, len(found) - i
			}
		}
		live, next = append(live, b), b.seq+1
	}
	return live, damaged, 0
}

// maxDamaged bounds the list: noise could name any number.
const maxDamaged = segments * segmentBlocks

// Recover gives everything that is still in the journal to apply, has it made
// certain, and opens the journal for Append. It does nothing where another
// process has the journal open. After an error the journal takes no records, and
// what it holds stays for the next Open.
func (j *Journal) Recover(apply func(Record) error) error {
	j.cp.Lock()
	defer j.cp.Unlock()
	j.io.Lock()
	defer j.io.Unlock()
	if j.recovered.Load() {
		return nil
	}
	if j.alone {
		if err := j.replay(apply); err != nil {
			return err
		}
		if err := j.users.Lock(false, 0); err != nil {
			return failed("lock journal", err)
		}
		j.alone = false
	}
	j.recovered.Store(true)
	return nil
}

func (j *Journal) replay(apply func(Record) error) error {
	if j.file == nil || j.lastClean {
		return nil
	}
	_, found, err := j.readAll(j.file)
	if err != nil {
		return failed("read journal", err)
	}
	live, damaged, cut := sound(found)
	if len(damaged) > 0 {
		j.o.Note(fmt.Sprintf("%s: %d of its batches, from number %d on, were on disk and cannot be read; the rest is used", FileName, len(damaged), damaged[0]))
	}
	if cut > 0 {
		j.o.Note(fmt.Sprintf("%s: cut at a torn write; %d batches beyond it were never answered for", FileName, cut))
	}
	set := resolve(live, j.boot)
	var effects []Record
	some := false
	for _, r := range set.recs {
		if r.Kind == Reservation {
			continue // nobody has it any more
		}
		if err := apply(r); err != nil {
			return errkind.Wrap("recover", err)
		}
		if some = true; r.Kind.Effect() {
			effects = append(effects, r)
		}
	}
	// Also where there are intents alone: it is then that they are finished.
	if some && j.o.Checkpoint != nil {
		if err := j.o.Checkpoint(effects); err != nil {
			return errkind.Wrap("recover", err)
		}
	}
	j.pending = map[uint64]*Record{}
	j.isPending.Store(0)
	return j.mark(&work{upTo: j.cycle + 1, seq: j.nextSeq}, true)
}

// readOn follows what other processes wrote, and calls then with what there is,
// while nobody writes; not where there is no journal. io is held.
func (j *Journal) readOn(then func() error) error {
	if err := j.mend(); err != nil {
		return err
	}
	if j.file == nil {
		if _, err := j.o.FS.Stat(j.path(FileName)); err != nil {
			return nil
		}
		if err := j.openFile(); err != nil {
			return failed("open journal", err)
		}
	}
	if err := j.file.Lock(false, j.o.LockWait); err != nil {
		return failed("lock journal", err)
	}
	defer j.file.Unlock()
	err := j.refresh()
	if err == nil {
		err = then()
	}
	return failed("read journal", err)
}

// Left reports whether another process has an open intent: under the lock under
// which such are made, whether there is one that a killed process left. It costs
// six short system calls.
func (j *Journal) Left() (left bool, err error) {
	j.io.Lock()
	defer j.io.Unlock()
	err = j.readOn(func() error {
		for _, r := range j.pending {
			left = left || r.Kind == Intent && !r.Own
		}
		return nil
	})
	return left, err
}

// Effects gives the effects that refer to the open intent of this ID, in order.
func (j *Journal) Effects(intent uint64) (list []Record, err error) {
	j.io.Lock()
	defer j.io.Unlock()
	err = j.readOn(func() error {
		w := &work{}
		defer j.release(w)
		found, err := j.readLive(w)
		if err != nil {
			return err
		}
		for _, r := range resolve(found, j.boot).recs {
			if r.Kind.Effect() && r.Ref == intent {
				r.Payload, r.Data = slices.Clone(r.Payload), slices.Clone(r.Data)
				list = append(list, r)
			}
		}
		return nil
	})
	return list, err
}

// Pending gives the open intents and reservations of all processes, by ID, after
// reading on. Own tells this process's own.
func (j *Journal) Pending() ([]Record, error) {
	j.io.Lock()
	defer j.io.Unlock()
	if err := j.readOn(func() error { return nil }); err != nil {
		return nil, err
	}
	list := make([]Record, 0, len(j.pending))
	for _, r := range j.pending {
		c := *r
		for i := range r.steps {
			c.Steps = append(c.Steps, r.steps[i].Payload)
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Record) int { return cmpUint(a.ID, b.ID) })
	return list, nil
}
