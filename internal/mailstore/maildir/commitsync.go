package maildir

import (
	"errors"
	"slices"
	"sync"

	"rookery/internal/mailstore/journal"
	"rookery/internal/vfs"
)

// syncers bounds how many files are synced at once: they share commits of the
// file system's journal.
const syncers = 8

// syncItems makes files and their names certain: each new file by its own sync,
// which keeps its name, too, since it was renamed before; links and renames,
// whose bytes are certain already, by one sync of the directory.
func (mb *mailbox) syncItems(jobs []*addJob) error {
	if mb.s.opt.NoSync {
		return nil
	}
	var fresh, shared []*addItem
	dirs := map[byte]bool{}
	for _, j := range jobs {
		for _, it := range j.items {
			if it.kind == moveTmp && !it.synced {
				fresh = append(fresh, it)
			} else {
				dirs[it.name[0]] = true
				if it.unsynced && !it.copied {
					shared = append(shared, it)
				}
			}
		}
	}
	for _, d := range []struct {
		letter byte
		name   string
	}{{'c', "cur"}, {'n', "new"}} {
		if dirs[d.letter] {
			if err := mb.s.fs.SyncDir(join(mb.dir, d.name)); err != nil {
				return err
			}
		}
	}
	if err := mb.syncShared(shared); err != nil {
		return err
	}
	return syncFresh(fresh)
}

// syncFresh makes the bytes of new files certain, and the names of those that were
// renamed before.
func syncFresh(fresh []*addItem) error {
	if len(fresh) == 1 {
		return fresh[0].file.Sync()
	}
	var wg sync.WaitGroup
	errs := make([]error, len(fresh))
	for w := range min(syncers, len(fresh)) {
		wg.Go(func() {
			for i := w; i < len(fresh); i += syncers {
				errs[i] = fresh[i].file.Sync()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// aheadStep is how many files are synced between two questions whether to go on.
const aheadStep = 8 * syncers

// syncAhead makes the new files of a job certain that can be broken off, before they
// are put into their place: what is there can only be taken back as long as that is not
// too much, and their syncs are what takes long. Their names need a sync of the directory
// then, which a job of few files does better without.
func (mb *mailbox) syncAhead(j *addJob) error {
	if j.goOn == nil || len(j.items) <= aheadStep || mb.s.opt.NoSync {
		return nil
	}
	for part := range slices.Chunk(j.items, aheadStep) {
		if err := j.stopped(); err != nil {
			return err
		}
		part = slices.DeleteFunc(slices.Clone(part), func(it *addItem) bool { return it.kind != moveTmp })
		if err := syncFresh(part); err != nil {
			return mb.s.fail("sync", err)
		}
		for _, it := range part {
			it.synced = true
		}
	}
	return nil
}

// syncShared makes the bytes of files certain that came through the journal: what
// was linked or renamed is the same file, whose bytes the journal knows under
// another mailbox only.
func (mb *mailbox) syncShared(items []*addItem) error {
	for part := range slices.Chunk(items, 128) { // files that are open at once
		var files []vfs.File
		var err error
		for _, it := range part {
			var f vfs.File
			if f, err = mb.s.fs.OpenFile(mb.path(it.name), vfs.Read, 0); err != nil {
				break
			}
			files = append(files, f)
		}
		if err == nil {
			err = journal.SyncFiles(files)
		}
		for _, f := range files {
			f.Close()
		}
		if err != nil {
			return err
		}
	}
	return nil
}
