// Package view holds what an IMAP session has told its client about the
// selected mailbox, and what the packages that implement commands (session,
// fetch, search) share: the context a command runs in and the reply it gives.
//
// Only code of the IMAP worker uses it. It must never read a clock, start a
// goroutine or do input and output but through the mailstore and Output.
//
// # Sequence numbers
//
// A client's sequence numbers are positions in the snapshot that it was told
// (RFC 3501 §2.3.1.2). A View keeps that snapshot until the changes since can be
// told: expunges wait while a command runs that uses sequence numbers
// (RFC 3501 §7.4.1), and what else is new waits with them, since an EXISTS
// that counts messages the client still believes in would be wrong.
package view

import (
	"iter"
	"slices"

	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// View is one session's view of its selected mailbox. It is not for several
// goroutines at once.
type View struct {
	box      mailstore.Mailbox
	readOnly bool
	told     mailstore.Snapshot          // the client's sequence numbers
	cur      mailstore.Snapshot          // the newest picture
	flags    map[mailstore.UID]flagState // told since told was made
	recent   numset.Set                  // the UIDs that are \Recent in this session
	keywords []string                    // what was told in FLAGS
	may      mailstore.Flags             // what was told in PERMANENTFLAGS
	modSeqs  bool                        // the client wants mod-sequences: see WantModSeqs
	vanished bool                        // and expunges by UIDs: see WantVanished
	saved    numset.Set                  // UIDs that "$" names, those of expunged messages too
	live     []Live                      // searches whose client is told what joins and leaves

	deleted    flagged
	recentTold uint32 // the number in the last RECENT
	hint       int    // the position in cur of the message that was looked at last
}

// flagState is what a client believes of one message.
type flagState struct {
	flags    mailstore.Flags
	keywords []string
	modSeq   mailstore.ModSeq // 0: it has not been told
}

// New makes the view of a mailbox that was just opened. readOnly is true for
// EXAMINE; \Recent is then looked at but not taken (RFC 3501 §6.3.2). The View
// does not own box: its maker closes it.
func New(box mailstore.Mailbox, readOnly bool) (*View, error) {
	snapshot, err := box.Sync()
	if err != nil {
		return nil, err
	}
	v := &View{box: box, readOnly: readOnly || box.Info().ReadOnly, told: snapshot, cur: snapshot}
	if err := v.claimRecent(); err != nil {
		return nil, err
	}
	v.keywords, v.may = slices.Clone(box.Keywords()), box.Info().PermanentFlags
	return v, nil
}

func (v *View) claimRecent() error {
	recent, err := v.box.ClaimRecent(v.readOnly)
	v.recent = v.recent.Union(recent)
	return err
}

// Box is the mailbox.
func (v *View) Box() mailstore.Mailbox { return v.box }

// ReadOnly reports whether the client may change nothing here.
func (v *View) ReadOnly() bool { return v.readOnly }

// Len is how many messages the client knows of.
func (v *View) Len() uint32 { return uint32(v.told.Len()) }

// Unseen is how many messages have no \Seen as far as the client knows.
func (v *View) Unseen() (n uint32) {
	all := mailstore.EntryWindow{Of: v.told}
	for i := range v.told.Len() {
		e := all.At(i)
		if last, ok := v.flags[e.UID]; ok {
			e.Flags = last.flags
		}
		if e.Flags&mailstore.Seen == 0 {
			n++
		}
	}
	return n
}

// Told is the snapshot whose positions are the client's sequence numbers less one.
func (v *View) Told() mailstore.Snapshot { return v.told }

// Newest is the newest snapshot that the view has looked at.
func (v *View) Newest() mailstore.Snapshot { return v.cur }

// UID gives the UID of message seq, 1 ≤ seq ≤ Len.
func (v *View) UID(seq uint32) mailstore.UID { return v.told.At(int(seq) - 1).UID }

// Seq gives the sequence number of uid.
func (v *View) Seq(uid mailstore.UID) (seq uint32, ok bool) {
	pos, ok := v.told.Find(uid)
	return uint32(pos) + 1, ok
}

// Recent reports whether the message is \Recent in this session.
func (v *View) Recent(uid mailstore.UID) bool { return v.recent.Contains(uid) }

// RecentCount is how many messages of the newest picture are \Recent.
func (v *View) RecentCount() uint32 {
	n := 0
	for _, r := range v.recent.Ranges() {
		first, _ := v.cur.Find(r.First)
		end, found := v.cur.Find(r.Last)
		if found {
			end++
		}
		n += end - first
	}
	return uint32(n)
}

// Resolve gives the UIDs that a sequence set of this client names. As sequence
// numbers each must be at most Len, "*" included where there is no message: else
// errkind.Invalid, for which the answer is BAD (RFC 3501 §9 seq-number). As UIDs
// anything may be named; only messages that the client knows of are given. "$" names
// what was saved, in either form.
func (v *View) Resolve(set numset.Expr, uid bool) (numset.Set, error) {
	seqs, err := v.Seqs(set, uid)
	if err != nil {
		return numset.Set{}, err
	}
	var out numset.Set
	for seq := range seqs.All() {
		out.Add(v.told.At(int(seq) - 1).UID)
	}
	return out, nil
}

// Each walks the messages of the client that are in uids, in ascending order,
// with their sequence numbers.
func (v *View) Each(uids numset.Set) iter.Seq2[uint32, mailstore.UID] { return v.each(uids) }

func (v *View) each(uids numset.Set) iter.Seq2[uint32, mailstore.UID] {
	told := v.told
	return func(yield func(uint32, mailstore.UID) bool) {
		for _, r := range uids.Ranges() {
			pos, _ := told.Find(r.First)
			for ; pos < told.Len(); pos++ {
				uid := told.At(pos).UID
				if uid > r.Last {
					break
				}
				if !yield(uint32(pos)+1, uid) {
					return
				}
			}
		}
	}
}

// Entry gives the newest state of a message that the client knows of. gone is
// true when it was expunged; the entry is then the last one known.
func (v *View) Entry(uid mailstore.UID) (e mailstore.Entry, keywords []string, gone bool) {
	// Commands walk: what is asked for is mostly the message of before, or the next.
	for pos := v.hint; pos < min(v.hint+2, v.cur.Len()); pos++ {
		if e = v.cur.At(pos); e.UID == uid {
			v.hint = pos
			return e, v.cur.Keywords(e.Keywords), false
		}
	}
	if pos, ok := v.cur.Find(uid); ok {
		v.hint = pos
		e = v.cur.At(pos)
		return e, v.cur.Keywords(e.Keywords), false
	}
	if pos, ok := v.told.Find(uid); ok {
		e = v.told.At(pos)
		// What was told last may be newer: mod-sequences must not go down.
		if last, ok := v.flags[uid]; ok {
			e.Flags, e.ModSeq = last.flags, max(e.ModSeq, last.modSeq)
			return e, last.keywords, true
		}
		return e, v.told.Keywords(e.Keywords), true
	}
	return mailstore.Entry{UID: uid}, nil, true
}

// Flags gives the names of a message's flags as FETCH FLAGS shows them:
// system flags, \Recent, keywords.
func (v *View) Flags(uid mailstore.UID) []string {
	e, keywords, _ := v.Entry(uid)
	names := SystemFlags(e.Flags)
	if v.recent.Contains(uid) {
		names = append(names, `\Recent`)
	}
	return append(names, keywords...)
}

// MarkTold notes that the client has just been told the newest flags of uid,
// so that they are not told again.
func (v *View) MarkTold(uid mailstore.UID) {
	if v.unchanged() {
		return // the client knows all there is
	}
	e, keywords, gone := v.Entry(uid)
	if gone {
		return
	}
	if pos, ok := v.told.Find(uid); ok && v.told.At(pos).ModSeq == e.ModSeq {
		delete(v.flags, uid)
		return
	}
	if v.flags == nil {
		v.flags = make(map[mailstore.UID]flagState)
	}
	v.flags[uid] = flagState{e.Flags, keywords, e.ModSeq}
}

// believed is what the client was last told of the message at pos of told.
func (v *View) believed(pos int) flagState {
	e := v.told.At(pos)
	if state, ok := v.flags[e.UID]; ok {
		return state
	}
	return flagState{e.Flags, v.told.Keywords(e.Keywords), e.ModSeq}
}

// Refresh takes the newest picture that this process knows, without a look at
// the disk: after a change of our own.
func (v *View) Refresh() { v.cur = v.box.Snapshot() }

// Sync looks for changes by others. errkind.NotFound says that the mailbox was
// deleted.
func (v *View) Sync() error {
	snapshot, err := v.box.Sync()
	if err == nil {
		v.cur = snapshot
	}
	return err
}

// MarkSeen sets \Seen on those of uids that do not have it, as BODY[] does
// (RFC 3501 §6.4.5), and gives those that it changed. In a read-only mailbox it
// does nothing.
func (v *View) MarkSeen(uids numset.Set) (numset.Set, error) {
	if v.readOnly || v.box.Info().PermanentFlags&mailstore.Seen == 0 {
		return numset.Set{}, nil
	}
	var unseen numset.Set
	for _, uid := range v.each(uids) {
		if e, _, gone := v.Entry(uid); !gone && e.Flags&mailstore.Seen == 0 {
			unseen.Add(uid)
		}
	}
	if unseen.Empty() {
		return unseen, nil
	}
	result, err := v.box.Store(mailstore.FlagChange{UIDs: unseen, Op: mailstore.AddFlags, Flags: mailstore.Seen})
	v.Refresh()
	return result.Changed, err
}

var systemFlags = [...]struct {
	flag mailstore.Flags
	name string
}{
	{mailstore.Answered, `\Answered`}, {mailstore.Flagged, `\Flagged`}, {mailstore.Deleted, `\Deleted`},
	{mailstore.Seen, `\Seen`}, {mailstore.Draft, `\Draft`},
}

// SystemFlags gives the names of system flags, in a slice of the caller's own.
func SystemFlags(f mailstore.Flags) []string {
	names := make([]string, 0, len(systemFlags)+2)
	for _, s := range systemFlags {
		if f&s.flag != 0 {
			names = append(names, s.name)
		}
	}
	return names
}

// SystemFlag gives the system flag of a name such as "\Seen", whatever its
// case. \Recent is none that can be stored.
func SystemFlag(name string) (mailstore.Flags, bool) {
	for _, s := range systemFlags {
		if equalFold(s.name, name) {
			return s.flag, true
		}
	}
	return 0, false
}

// sameState leaves mod-sequences aside.
func sameState(a flagState, b flagState) bool {
	return a.flags == b.flags && slices.Equal(a.keywords, b.keywords)
}
