// Package journal is the user's journal: one small control file, allocated and
// zeroed beforehand, into which everything goes that must be certain before an
// answer and whose own place on the disk would cost a sync each: small messages,
// flag changes, expunges, intents of what takes several steps, reservations of
// quota. One fdatasync serves all who wait.
//
// Storage drivers and the wrappers around a store (quota) call it. It must never
// know a format, a path of mail or a protocol: a driver tells it what to keep,
// applies what it gives back after a crash, and says when a record's effect is
// certain without it.
//
// # How a driver uses it
//
//	j, err := journal.Open(journal.Options{FS: fs, Dir: control, Checkpoint: s.settle, Note: note})
//	err = j.Recover(s.replay)        // before anyone looks; does nothing if another process has the journal
//
//	// APPEND of a small message, under the mailbox's lock:
//	t, err := j.Append(journal.Now, journal.Record{Kind: journal.Message, Box: guid, UIDValidity: v, UID: u,
//	        Base: base, Flags: flags, Keywords: words, GUID: g, InternalDate: d, Size: n, Data: bytes})
//	if err == nil { err = t.Wait() } // on disk; ten deliveries that wait share one sync
//	... link the file into place, append the uidlist, both unsynced ...
//	if failed { t.Cancel(); answer NO }
//	t.Done()                         // the effect is in place: a checkpoint may look at it
//
// A STORE: Append(Soon, Record{Kind: Flags, …}), rename the files, Done. With
// mail_fsync = "always": Append(Now, …) and Wait. With "never": Append(Unsynced, …).
//
// Where Append or Wait answer errkind.Unavailable (the journal has no room just
// now, or its locks cannot be had), TooBig (see MaxRecord, MaxAppend) or NoSpace
// (the journal could not be made), the driver goes the way without a journal:
// put the file into place, sync it, sync the directory and the uidlist.
//
// # Classes
//
//   - Now: Wait returns when the records are on disk. For what is answered OK.
//   - Soon: they are kept in memory, written and synced together within
//     Options.Soon (a second at most) or with the next Now. Wait returns at once.
//     A power cut may take the last second; kill -9 takes nothing that matters,
//     since the effects are in the kernel's hands already. While the disk takes
//     nothing it is tried again, ever more seldom; once a megabyte waits, Append
//     answers Unavailable.
//   - Unsynced: Wait returns when they are in the file, where kill -9 cannot take
//     them and other processes see them; whoever syncs next syncs them, too. For
//     reservations, and for intents with mail_fsync = "never".
//
// The records of one Append lie in one batch, so they survive all or none. IDs
// are given when they are written, ascending over all processes of the user; the
// order of the Appends of a process is kept, whatever their class.
//
// # Kinds
//
// Effects: Message (with its bytes), Large (a message whose file is synced: only
// the UID is new), Flags, Keywords, Expunge, Gone (the mailbox was deleted:
// earlier records of it are forgotten). They live until a checkpoint. After
// Append a driver must call Done or Cancel on the Ticket, soon: a record that is
// neither keeps its segment.
//
// Pending: Intent, with Steps that refer to it, lives until its Done record;
// Reservation until its Settle. They are carried on by checkpoints. The payloads
// are the driver's own, and must be enough to finish or undo the work: effects
// that refer to an intent (Record.Ref) may be checkpointed before it ends.
// Pending gives those that are open, of all processes. An intent that is open
// while the caller holds the lock under which such intents are made was left by
// a killed process (Left tells at little cost whether there is one): finish it or
// undo it, then append IntentDone. All that is pending may take MaxPending bytes
// together, else Append answers Limit.
//
// Effects of one Append behind their Intent, with RefFirst as their Ref, are the
// cheap way where everything fits into the journal: once they are on disk the work
// is done, whatever happens, and IntentDone may be Unsynced, after the last visible
// step. Such an intent that is open says that steps may be missing; Effects gives
// what they are.
//
// # Checkpoints
//
// The file is a ring of 8 segments. When 4 are in use, a goroutine of the journal
// calls Options.Checkpoint with the effects of the closed ones, in order. The
// callback makes them certain in their own places: sync the files (SyncFiles does
// it fast), then directories, then uidlists. When it answers nil the records are
// forgotten. It must call nothing of the journal, and must not wait for a lock
// that somebody may hold while he waits for the journal. Record.Own tells that
// this process wrote the record and called Done: its effect is in place. For
// another process's record whose effect is not to be seen, try the mailbox's
// lock without waiting: with the lock, the file is gone for good or never came
// (settled); without it, answer errkind.InUse, and it is asked again later.
// Record.Expunged says that an expunge of the message is in the journal.
// A callback may be given the same records again. Only effects are given. Their
// memory is the journal's: nothing of them may be kept.
//
// # Recovery
//
// Processes of a user that have the journal open hold a shared lock on
// rookery-journal-users. Recover runs only in a process that has it alone; then
// every effect that is still in the journal is passed on in the order of IDs,
// once, cancelled ones and those of a mailbox that is Gone left out, each with
// the boot id it was written under. Open intents come in their place, with the
// payloads of their steps in Record.Steps; effects that refer to an open intent
// have Record.Undone set. apply must be able to do the same again: a crash during
// recovery repeats it. Then Options.Checkpoint is asked for all of them, and the
// journal starts empty. What the driver does (and storage-notes of the project
// say why): match by base name, since flags rename a file; write a file again
// whose size or bytes differ; on the same boot (Record.SameBoot) a message with a
// UID in the uidlist and no file was removed by somebody and stays away; the
// uidlist wins where it gave the UID to another file.
//
// Close, by the last process, makes everything certain by one more checkpoint and
// writes a clean mark; Clean says after Open whether there was one.
//
// # Errors of the disk
//
// A failed fdatasync is never tried again on that descriptor: those who wait get
// errkind.IO (or NoSpace), the file is opened again, what can be read of the
// failed batch is voided by a record in a new batch, and what was Soon is written
// again. Until that works every Append answers the error.
//
// Where there is no room Wait waits for a checkpoint, two seconds at most, and not
// at all if the last one failed for a reason that will not pass. A journal that
// somebody removed or replaced while it was open is told of and made anew.
//
// # The file
//
// rookery-journal, 1 MiB, mode as Options.FileMode; all numbers little-endian.
// 8 segments of 128 KiB, each of 32 blocks of 4096 bytes. Block 0 of every
// segment is the same head, written once:
//
//	 0  8  "RookJrn1"
//	 8 16  nonce, random: what a mail contains cannot pass for a batch
//	24  4  block size (4096)
//	28  4  blocks in a segment (32)
//	32  4  segments (8)
//	36  4  CRC-32C of bytes 0 to 35
//
// A segment is filled from block 1 with batches. Each starts at a block's
// beginning and is padded with zeroes to its end, so that a torn write cannot hit
// bytes that were answered for. The use number n of the ring ("cycle", from 1)
// lies in segment n mod 8. A batch:
//
//	  0  4  "RKJb"
//	  4  4  CRC-32C of bytes 8 to 159
//	  8 16  nonce of the head
//	 24  8  cycle
//	 32  8  sequence number of the batch, from 1, ascending by 1
//	 40  8  oldest live cycle: records of older ones are settled
//	 48  8  sequence number of the first live batch
//	 56  8  sequence number up to which all batches are known to be on disk
//	 64  8  the next ID after this batch
//	 72  8  owner: random number of the process that wrote it
//	 80  4  length of the body
//	 84  4  CRC-32C of the body
//	 88  4  number of records
//	 92  2  bits: 1 clean mark
//	 94  1  length of the boot id, at most 64
//	 95  1  zero
//	 96 64  boot id (its SHA-256 in hex if it is longer)
//	160     records, without padding between them
//
// A record:
//
//	  0  4  length of the whole record
//	  4  1  kind
//	  5  1  flags (mailstore.Flags)
//	  6  1  operation (mailstore.FlagOp)
//	  7  1  zero
//	  8  8  ID
//	 16  8  Ref
//	 24 16  mailbox GUID
//	 40 16  message GUID
//	 56  4  UIDVALIDITY
//	 60  4  UID
//	 64  8  INTERNALDATE, Unix seconds; the smallest number is "none"
//	 72  8  SAVEDATE, the same
//	 80  8  size
//	 88  8  octets (reservations)
//	 96  8  messages (reservations)
//	104  2  length of the base name
//	106  2  number of keywords
//	108  4  number of UID ranges
//	112  4  length of the payload
//	116  4  length of the data
//	120     base name; keywords, each a length byte and its bytes; ranges, first
//	        and last UID in 4 bytes each; payload; data
//
// Reading it after a crash: valid batches whose cycle is not below the newest
// "oldest live cycle" are put in order. Where a sequence number is missing, a later
// batch tells what it means: if one knows the missing one to be on disk, it was
// damaged, which is told and the rest is used; if one voids it, it was a failed
// write; else it is the torn tail of what nobody was answered for, and is cut
// there. What was cut can never come back, since the next batch starts a new cycle
// and names it as the oldest live one.
package journal
