package view

import (
	"slices"

	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// changes is what the client does not know yet.
type changes struct {
	expunged []int           // positions in told, ascending
	flags    []mailstore.UID // messages of both whose flags (or mod-sequence) differ from what the client believes
	newer    bool            // messages were added
}

func (v *View) unchanged() bool {
	return len(v.flags) == 0 && v.told.HighestModSeq() == v.cur.HighestModSeq() &&
		v.told.Len() == v.cur.Len() && v.told.UIDNext() == v.cur.UIDNext()
}

// diff compares what the client was told with the newest picture.
func (v *View) diff() changes {
	var c changes
	told, cur := v.told, v.cur
	shares, _ := cur.(mailstore.PictureSharer)
	olds, news := mailstore.EntryWindow{Of: told}, mailstore.EntryWindow{Of: cur}
	i, j := 0, 0
	for i < told.Len() && j < cur.Len() {
		if shares != nil && !news.Has(j) {
			if n := shares.Shared(j, told, i); n > 0 {
				i, j = i+n, j+n
				continue
			}
		}
		a, b := olds.At(i), news.At(j)
		switch {
		case a.UID < b.UID:
			c.expunged = append(c.expunged, i)
			i++
		case a.UID > b.UID:
			// UIDs only ascend, so a message cannot come in between; were one
			// to, it would be told once the view is made anew.
			j++
		default:
			if a.ModSeq != b.ModSeq && v.unbelieved(i, b) {
				c.flags = append(c.flags, a.UID)
			}
			i++
			j++
		}
	}
	for ; i < told.Len(); i++ {
		c.expunged = append(c.expunged, i)
	}
	c.newer = j < cur.Len()
	v.diffTold(&c)
	return c
}

// diffTold adds those that the client was told other flags of meanwhile, although
// they are again as they were.
func (v *View) diffTold(c *changes) {
	before := len(c.flags)
	for uid := range v.flags {
		i, counted := v.told.Find(uid)
		j, there := v.cur.Find(uid)
		if !counted || !there {
			continue
		}
		if b := v.cur.At(j); v.told.At(i).ModSeq == b.ModSeq && v.unbelieved(i, b) {
			c.flags = append(c.flags, uid)
		}
	}
	if len(c.flags) > before {
		slices.Sort(c.flags)
	}
}

// unbelieved reports whether the client believes something else of the message at
// pos of told than its newest entry says.
func (v *View) unbelieved(pos int, now mailstore.Entry) bool {
	was := v.believed(pos)
	return v.modSeqs && was.modSeq != now.ModSeq || !sameState(was, flagState{flags: now.Flags, keywords: v.cur.Keywords(now.Keywords)})
}

// Foreseen reports whether the flags of message seq are what the client expects
// after its own change: what it believed, changed so.
func (v *View) Foreseen(seq uint32, change mailstore.FlagChange) bool {
	was := v.believed(int(seq) - 1)
	e, keywords, _ := v.Entry(v.UID(seq))
	flags := was.flags
	switch change.Op {
	case mailstore.AddFlags:
		flags |= change.Flags
	case mailstore.RemoveFlags:
		flags &^= change.Flags
	default:
		flags = change.Flags
	}
	expected := func(keyword string) bool {
		named := HasKeyword(change.Keywords, keyword)
		switch change.Op {
		case mailstore.AddFlags:
			return named || HasKeyword(was.keywords, keyword)
		case mailstore.RemoveFlags:
			return !named && HasKeyword(was.keywords, keyword)
		}
		return named
	}
	if e.Flags != flags {
		return false
	}
	for _, k := range keywords {
		if !expected(k) {
			return false
		}
	}
	for _, list := range [...][]string{was.keywords, change.Keywords} {
		for _, k := range list {
			if expected(k) != HasKeyword(keywords, k) {
				return false
			}
		}
	}
	return true
}

// PendingExpunges reports whether the newest picture lacks messages that the
// client knows.
func (v *View) PendingExpunges() bool { return !v.unchanged() && len(v.diff().expunged) > 0 }

// May says what Announce may tell.
type May struct {
	Expunge bool // EXPUNGE; where there are expunges and they may not be told, nothing is
	Exists  bool // new messages
	NoFlags bool // no changes of flags: the client does not want them
	UID     bool // UID in FETCH responses, as answers to UID commands must have (RFC 3501 §6.4.8)
}

// Announce writes what the client does not know yet and may be told now:
// EXPUNGE, EXISTS, RECENT, FLAGS and FETCH responses.
func (v *View) Announce(e *imapwire.Encoder, may May) error {
	if v.unchanged() {
		v.AnnounceKeywords(e)
		return nil
	}
	c := v.diff()
	if may.NoFlags {
		c.flags = nil
	}
	if len(c.expunged) > 0 && !may.Expunge {
		v.announceEarly(e, c.flags)
		return nil
	}
	v.writeExpunged(e, c.expunged)
	told := v.cur
	if c.newer && !may.Exists {
		told = upTo(v.cur, v.told.UIDNext())
	}
	v.told, v.flags = told, nil
	var err error
	if c.newer && may.Exists {
		err = v.claimRecent()
		e.Exists(uint32(v.told.Len()))
		v.WriteRecent(e)
	} else if len(c.expunged) > 0 && v.RecentCount() != v.recentTold {
		// RFC 3501 §7.3.2: RECENT comes when the size of the mailbox changes.
		v.WriteRecent(e)
	}
	v.AnnounceKeywords(e)
	for _, uid := range c.flags {
		v.WriteFlags(e, uid, may.UID)
	}
	return err
}

// writeExpunged tells that messages at positions of told are gone.
func (v *View) writeExpunged(e *imapwire.Encoder, positions []int) {
	if v.vanished {
		var uids numset.Set
		for _, pos := range positions {
			uids.Add(v.told.At(pos).UID)
		}
		e.Vanished(false, uids)
		return
	}
	for n, pos := range positions {
		// Each number counts from what the one before left (RFC 3501 §7.4.1).
		e.Expunge(uint32(pos - n + 1))
	}
}

// announceEarly tells the flags of messages while others are expunged and that
// may not be told yet. A client that keeps mod-sequences needs them: it takes the
// highest that it has seen for the point up to which it knows all, and what it
// sees of one message must not be above what it lacks of another.
func (v *View) announceEarly(e *imapwire.Encoder, flags []mailstore.UID) {
	if !v.modSeqs || len(flags) == 0 {
		return
	}
	v.AnnounceKeywords(e)
	for _, uid := range flags {
		v.WriteFlags(e, uid, true)
		v.MarkTold(uid)
	}
}

// WriteRecent writes the RECENT response.
func (v *View) WriteRecent(e *imapwire.Encoder) {
	v.recentTold = v.RecentCount()
	e.Recent(v.recentTold)
}

// AnnounceKeywords tells the mailbox's flags when there are new ones: a client must
// know a keyword before it sees it in FETCH (RFC 3501 §7.2.6). It also tells when
// the user may change others than before (RFC 4314 §5.1.1).
func (v *View) AnnounceKeywords(e *imapwire.Encoder) {
	if v.newKeywords() || v.box.Info().PermanentFlags != v.may {
		v.WriteFlagList(e)
	}
}

// newKeywords reports whether the mailbox knows keywords that were not told, and adds
// them to those that were. None of these is taken back: an index that is built anew
// knows of those alone that messages have, and there may be other ones as many; but a
// message that is gone, and cannot be told gone yet, still shows its own.
func (v *View) newKeywords() bool {
	names := v.box.Keywords()
	if len(names) <= len(v.keywords) && slices.Equal(names, v.keywords[:len(names)]) {
		return false
	}
	told := len(v.keywords)
	for _, name := range names {
		if !slices.Contains(v.keywords, name) {
			v.keywords = append(v.keywords, name)
		}
	}
	return len(v.keywords) > told
}

// WriteFlagList writes the FLAGS and PERMANENTFLAGS responses.
func (v *View) WriteFlagList(e *imapwire.Encoder) {
	v.newKeywords()
	info, keywords := v.box.Info(), v.keywords
	v.may = info.PermanentFlags
	e.FlagsResponse(append(SystemFlags(mailstore.AllFlags), keywords...))
	permanent := []string{}
	text := "Read-only mailbox."
	if !v.readOnly {
		permanent = SystemFlags(info.PermanentFlags)
		// A keyword needs the right that \Answered needs (RFC 4314 §4).
		if info.PermanentFlags&mailstore.Answered != 0 {
			permanent = append(permanent, keywords...)
		}
		if info.NewKeywords {
			permanent = append(permanent, `\*`)
		}
		text = "Flags permitted."
	}
	var args imapwire.Encoder
	args.FlagList(permanent)
	e.Status("", imapwire.OK, imapwire.Code{Name: "PERMANENTFLAGS", Args: string(args.Bytes())}, text)
}

// WriteFlags writes "* n FETCH (FLAGS (…))" of one message, with its UID if
// wanted. A client that keeps mod-sequences gets UID and MODSEQ in each (RFC 7162
// §3.2.4, which §3.1.4.2 says servers without QRESYNC should follow), one of
// IMAP4rev2 the UID (RFC 9051 §7.5.2: "MUST include UID"). It writes
// nothing of a message that the client does not know.
func (v *View) WriteFlags(e *imapwire.Encoder, uid mailstore.UID, withUID bool) {
	seq, ok := v.Seq(uid)
	if !ok {
		return
	}
	e.Fetch(seq, uid)
	if (withUID || v.modSeqs || e.Options.Rev2) && !e.Options.UIDOnly {
		e.Atom("UID").SP().Num(uid).SP()
	}
	e.Atom("FLAGS").SP().FlagList(v.Flags(uid))
	if v.modSeqs {
		entry, _, _ := v.Entry(uid)
		e.SP().ModSeq(v.ModSeqOf(entry))
	}
	e.Close().CRLF()
}

// FirstUnseen is the sequence number of the first message without \Seen, 0 if
// there is none.
func (v *View) FirstUnseen() uint32 {
	for i := range v.told.Len() {
		if v.told.At(i).Flags&mailstore.Seen == 0 {
			return uint32(i) + 1
		}
	}
	return 0
}

// older is a snapshot without its newest messages.
type older struct {
	mailstore.Snapshot
	n    int
	next mailstore.UID
}

func upTo(s mailstore.Snapshot, next mailstore.UID) older {
	if o, ok := s.(older); ok {
		s = o.Snapshot
	}
	n, _ := s.Find(next)
	return older{s, n, next}
}

func (o older) Len() int               { return o.n }
func (o older) UIDNext() mailstore.UID { return o.next }

func (o older) Find(uid mailstore.UID) (int, bool) {
	if pos, ok := o.Snapshot.Find(uid); pos < o.n {
		return pos, ok
	}
	return o.n, false
}

// HasKeyword reports whether names holds keyword, whatever its case.
func HasKeyword(names []string, keyword string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return equalFold(name, keyword) })
}
