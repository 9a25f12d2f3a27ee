// Package index keeps what is known of the messages of a user's mailboxes, so
// that opening one reads nothing per message: UIDs, flags, keywords, MODSEQs,
// sizes, dates, where each message lies, which were expunged when, and derived
// facts as ready bytes.
//
// Drivers (maildir, pack, mbox, through package engine or not) call it; nobody
// above them does. It must never know a protocol or what a message's bytes mean.
// Everything in its log, snapshots and caches is derived: a driver must be able
// to make all of it anew from mail and control files, with the same UIDs, flags
// and keywords, at any moment. Only MODSEQs come from here, and their ceiling is
// a control file of this package.
//
// # Files
//
// In Options.LogDir: rookery.index.log, one for all mailboxes of the user. In
// each mailbox's own directory (User.Box): rookery.index, its snapshot, and
// rookery.index.cache. In Options.ControlDir: rookery-lock, the OFD lock of
// whoever writes, which is never removed, and rookery-modseq, the ceiling below
// which MODSEQs were handed out. The file rookery-lock of that directory is this
// package's alone: a driver's own lock on the same file would wait for itself.
//
// # How a driver works with it
//
// Opening a mailbox, and at each Sync:
//
//	box, err := user.Box(guid, dir) // once; guid and UIDVALIDITY come from control
//	v, err := box.Follow()          // what our processes did, this one included; no lock
//	if v.Built() && v.UIDValidity() == validity && v.State() == stampsOf(disk) {
//		return v // SELECT: nothing was read per message
//	}
//
// Otherwise the disk was changed by somebody else, or the index knows nothing:
//
//	if err := user.Lock(wait); err != nil { … } // reads the log to its end
//	defer user.Unlock()
//	v = box.View()                // another process may have done the work meanwhile
//	if !v.Built() || v.UIDValidity() != validity {
//		// A view that is not Built needs no Reset: this is for one that is wrong.
//		if v.Built() { box.Reset("its UIDVALIDITY is another one") }
//		tx, err := box.Begin()    // begins empty; tx.View() is empty, v is not
//		defer tx.Abort()
//		tx.Validity(validity)
//		for each message, by UID  { tx.Add(index.Record{UID: …, Size: -1, Loc: …}) }
//		tx.Next(uidNextOfControl)
//		tx.State(stampsOf(disk))
//		v = tx.Commit()
//	} else {
//		tx, err := box.Begin()
//		defer tx.Abort()
//		… compare v with the disk: tx.Set, tx.Loc, tx.Remove, tx.Add …
//		tx.State(stampsOf(disk))
//		v = tx.Commit()
//	}
//
// A change (STORE, APPEND, EXPUNGE):
//
//	user.Lock(wait)
//	defer user.Unlock()
//	v := box.View()
//	… the disk work, control synced as far as mail_fsync asks …
//	tx, err := box.Begin()
//	tx.Set(pos, flags, set); tx.State(…)
//	v = tx.Commit()
//
// Positions in a Tx are those of tx.View(). Commit comes after the control sync:
// what it publishes, readers in all processes show at once, and a UID that was
// shown must never be another message's. A driver may do its disk work before,
// under a lock of its own per mailbox, and take User.Lock from Begin to Commit
// only; then it compares with tx.View() again. User.Lock is not a file system's
// lock of a format (dovecot-uidlist.lock): take those inside it or before it,
// always in the same order.
//
// # Rules
//
//   - View.At, Find and the like take no lock and make no system call, and may be
//     called with any lock held. Views are immutable, and a session keeps its own
//     as long as it likes.
//   - One MODSEQ for each transaction that changes what clients see: the number
//     after the mailbox's last. One that begins empty takes a number above every
//     MODSEQ that any process gave before, in any mailbox of the user.
//     Bits, Loc, Facts, State, Next and Validity are no change for clients.
//   - After Reset, loss, damage or an unclean end, View is not Built: it shows what
//     was known last (nothing, in a process that knew nothing), and the first
//     transaction begins empty and gives every message a MODSEQ above all before:
//     every message counts as changed then, and history of expunges begins there.
//     A driver therefore asks Built after each Follow and after each User.Lock.
//   - A record's Size, Date, Saved, Sent and GUID that Tx.Add leaves unknown are
//     taken from what the index knew before, where UID and Loc are the same.
//   - Numbers of keyword sets are the mailbox's and stay what they are until it is
//     built anew: a driver asks KeywordSet for the number, in that transaction.
//   - Commit never fails: the disk's refusals (a full disk) end in a Note and an
//     index that is rebuilt later, not in an error for the user. The picture that
//     Commit gives may be one that is not Built then.
//   - Watchers, names of folders and \Recent are the driver's: a bit of Bits is
//     the place for "nobody was told yet". Bits are shared by all processes.
//   - Files below LogDir and the mailboxes' directories whose names begin with
//     "rookery.index" are this package's: a driver neither removes nor links them,
//     but for a folder that goes as a whole, after Box.Drop.
//   - Box.Rename comes after the directory was moved; Drop before or after it is
//     removed.
//
// # What may happen to the files
//
// FORMAT.md has them byte by byte. Nothing in them is believed without a
// checksum: each record of a snapshot has one of its own, which is compared at
// every use, because a check of a block at its first use would believe noise that
// is written over a file later, while it is mapped. A snapshot names its own inode
// and mtime, and rookery-modseq names the log, so that an older version that is
// put back is known as such. A log that is removed while it is open is written
// again; one that is damaged is given up, and a new one begins a new lineage, to
// which no older snapshot belongs.
//
// A snapshot that is cut or overwritten while pictures of it are in use is found
// at the next read of a record. UIDs are known then from the heap (as ranges), all
// else comes from the newest picture, after Box.OnDamage's function had its chance
// to rebuild; such an entry has MODSEQ 0.
//
// Unsynced files are lost in a power cut, or stay as they were at some moment:
// the log names the run of the machine (vfs.FS.BootID), and is believed in another
// only if Options.KeepClean marked it as synced. The first write after that takes
// the mark away, and syncs that.
package index
