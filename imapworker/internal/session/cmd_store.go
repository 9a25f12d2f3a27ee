package session

import (
	"errors"
	"strings"

	"rookery/imapworker/internal/view"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// store           = "STORE" SP sequence-set SP store-att-flags       RFC 3501 §6.4.6
// store-att-flags = (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag)))
//
// Before store-att-flags there may be store-modifiers:
//
//	"(" store-modifier *(SP store-modifier) ")" SP          RFC 4466 §2.5
//	store-modifier = "UNCHANGEDSINCE" SP mod-sequence-valzer   RFC 7162 §7
type store struct {
	set    numset.Expr
	change mailstore.FlagChange
	silent bool
	uid    bool
}

func parseStore(p *parser) (request, bool) {
	c := &store{uid: p.uid}
	var item string
	if !p.WantSP() || !p.WantSet(&c.set) || !p.WantSP() {
		return nil, false
	}
	if p.Peek() == '(' && !c.modifiers(p) {
		return nil, false
	}
	switch {
	case p.Byte('+'):
		c.change.Op = mailstore.AddFlags
	case p.Byte('-'):
		c.change.Op = mailstore.RemoveFlags
	}
	var names []string
	if !p.WantWord(&item) {
		return nil, false
	}
	switch strings.ToUpper(item) {
	case "FLAGS":
	case "FLAGS.SILENT":
		c.silent = true
	default:
		return nil, p.Fail("FLAGS or FLAGS.SILENT")
	}
	return c, p.WantSP() && p.WantFlags(&names) && p.s.parseFlags(p.Decoder, names, &c.change.Flags, &c.change.Keywords, &p.nameErr) && p.WantEnd()
}

// modifiers reads store-modifiers and the blank behind them.
func (c *store) modifiers(p *parser) bool {
	return p.WantList(func() bool {
		if c.change.UnchangedSince != nil {
			// RFC 7162 §7: "Only a single UNCHANGEDSINCE may be specified".
			return p.Fail("UNCHANGEDSINCE once")
		}
		var since uint64
		if !p.WantKeyword("UNCHANGEDSINCE") || !p.WantSP() || !p.WantModSeqZero(&since) {
			return false
		}
		c.change.UnchangedSince = (*mailstore.ModSeq)(&since)
		return true
	}) && p.WantSP()
}

var errLongKeyword = errors.New("keyword name is too long")

// parseFlags tells system flags and keywords apart. \Recent cannot be changed
// by a client (RFC 3501 §2.3.2), and no flag that begins with "\" but the five
// can be made. A keyword that is too long is no error of syntax: cannot then says
// what the command's NO has to.
func (s *Session) parseFlags(d *imapwire.Decoder, names []string, flags *mailstore.Flags, keywords *[]string, cannot *error) bool {
	for _, name := range names {
		if name[0] != '\\' {
			if len(name) > s.cfg.Settings.MaxKeyword {
				if *cannot == nil {
					*cannot = errLongKeyword
				}
				continue
			}
			if !view.HasKeyword(*keywords, name) {
				*keywords = append(*keywords, name)
			}
			continue
		}
		flag, ok := view.SystemFlag(name)
		if !ok {
			return d.Fail("a system flag that can be set")
		}
		*flags |= flag
	}
	return true
}

func (c *store) run(s *Session) (view.Reply, error) {
	uids, err := s.view.Resolve(c.set, c.uid)
	if err != nil {
		return badSet, nil
	}
	if c.change.UnchangedSince != nil {
		if !s.view.HasModSeqs() {
			return view.NoModSeqs(), nil
		}
		s.enableCondstore()
	}
	if s.view.ReadOnly() {
		return view.Reply{}, readOnly("store")
	}
	if err := s.view.Sync(); err != nil {
		return view.Reply{}, err
	}
	uids = s.most(uids)
	c.change.UIDs = uids
	result, err := c.store(s)
	s.view.Refresh()
	if !result.Changed.Empty() {
		s.changed()
	}
	if c.change.Op != mailstore.RemoveFlags && c.change.Flags&mailstore.Deleted != 0 {
		s.counts.Deleted += result.Changed.Len()
	}
	if err != nil {
		return view.Reply{}, err
	}
	return c.tell(s, result)
}

// store changes the messages. With UNCHANGEDSINCE those that have changed since
// are left alone, but for those whose change has nothing to do with this one
// (RFC 7162 §3.1.12): they are tried again, on condition that they are still as
// they were when that was seen.
func (c *store) store(s *Session) (mailstore.StoreResult, error) {
	box := s.view.Box()
	result, err := box.Store(c.change)
	if err != nil || result.Modified.Empty() {
		return result, err
	}
	s.view.Refresh()
	again, until := s.view.Untouched(result.Modified, *c.change.UnchangedSince, c.change)
	if again.Empty() {
		return result, nil
	}
	change := c.change
	change.UIDs, change.UnchangedSince = again, &until
	second, err := box.Store(change)
	result.Changed = result.Changed.Union(second.Changed)
	if err == nil {
		result.Modified = result.Modified.Minus(again).Union(second.Modified)
	}
	return result, err
}

// tell writes the responses of a STORE that was done.
func (c *store) tell(s *Session, result mailstore.StoreResult) (view.Reply, error) {
	gone, left := false, false
	var modified numset.Set // as the command names messages
	s.view.AnnounceKeywords(&s.enc)
	for seq, uid := range s.view.Each(c.change.UIDs) {
		if _, _, expunged := s.view.Entry(uid); expunged {
			gone = true
			continue
		}
		left = true
		failed := result.Modified.Contains(uid)
		switch {
		case failed && c.uid:
			modified.Add(uid)
		case failed:
			modified.Add(seq)
		}
		// RFC 3501 §6.4.6: .SILENT hides our own change, but not what another did,
		// before it or after: flags that the client cannot foresee are told. What
		// failed is told too, so that the client need not ask (RFC 7162 §3.1.3).
		if failed || !c.silent || !s.view.Foreseen(seq, c.change) {
			s.view.WriteFlags(&s.enc, uid, c.uid)
		} else if s.view.ModSeqs() && (c.change.UnchangedSince != nil || !s.view.KnowsModSeq(seq)) {
			// RFC 7162 §3.1.3: "MUST be sent, even if the .SILENT suffix is specified"
			s.view.WriteModSeq(&s.enc, uid)
		}
		s.view.MarkTold(uid)
		if err := s.flushSome(); err != nil {
			return view.Reply{}, err
		}
	}
	reply := view.Done("Store completed.")
	// RFC 2180 §4.2.1: with .SILENT, OK if it was done to all that are left.
	if gone && !c.uid && !(c.silent && left) {
		reply = view.No("EXPUNGEISSUED", "Some of the messages no longer exist.")
	}
	if !modified.Empty() {
		// RFC 7162 §3.1.3: in an OK, or in the NO that others of the set cause
		// (Example 11).
		reply.Code = imapwire.Code{Name: "MODIFIED", Args: imapwire.SetArg(modified)}
		if reply.Cond == imapwire.OK {
			reply.Text = "Conditional store failed for some."
		}
	}
	return reply, nil
}
