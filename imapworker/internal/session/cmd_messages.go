package session

import (
	"fmt"

	"rookery/imapworker/internal/view"
	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// badSet is the answer to a sequence number beyond the last message
// (RFC 3501 §9 seq-number: "should respond with a tagged BAD response").
var badSet = view.Bad("Message number beyond the last message.")

// expunge     = "EXPUNGE"                                 RFC 3501 §6.4.3
// uid-expunge = "UID" SP "EXPUNGE" SP sequence-set        RFC 4315 §2.1
type expunge struct {
	set numset.Expr // nil for EXPUNGE
}

func parseExpunge(p *parser) (request, bool) {
	var c expunge
	return &c, (!p.uid || p.WantSP() && p.WantSet(&c.set)) && p.WantEnd()
}

func (c *expunge) run(s *Session) (view.Reply, error) {
	if s.view.ReadOnly() {
		return view.Reply{}, readOnly("expunge")
	}
	if err := s.view.Sync(); err != nil {
		return view.Reply{}, err
	}
	if err := s.mayExpunge(); err != nil {
		return view.Reply{}, err
	}
	uids := s.deleted(c.set, c.set != nil)
	if c.set != nil {
		uids = s.most(uids)
	}
	if _, err := s.expunge(uids); err != nil {
		return view.Reply{}, err
	}
	return view.Done("Expunge completed."), nil
}

// deleted gives the messages with \Deleted, all or those that set names.
func (s *Session) deleted(set numset.Expr, some bool) numset.Set {
	all := s.view.Deleted()
	if !some || all.Empty() {
		return all.Clone()
	}
	cur := s.view.Newest()
	named := set.Resolve(cur.At(cur.Len() - 1).UID)
	if set.HasSaved() {
		named = named.Union(s.view.Saved())
	}
	return all.Intersect(named)
}

// expunge removes messages for good.
func (s *Session) expunge(uids numset.Set) (numset.Set, error) {
	if uids.Empty() {
		return uids, nil
	}
	gone, err := s.view.Box().Expunge(uids)
	s.counts.Expunged += gone.Len()
	if !gone.Empty() {
		s.removed = true
		s.changed()
	}
	s.view.Refresh()
	return gone, err
}

// copy = "COPY" SP sequence-set SP mailbox                RFC 3501 §6.4.7
// move = "MOVE" SP sequence-set SP mailbox                RFC 6851 §3.1
type copyCommand struct {
	tag     string
	set     numset.Expr
	mailbox imapname.Name
	uid     bool
	move    bool
}

func parseCopy(p *parser) (request, bool) { return parseTransfer(p, false) }
func parseMove(p *parser) (request, bool) { return parseTransfer(p, true) }

func parseTransfer(p *parser, move bool) (request, bool) {
	c := &copyCommand{tag: p.tag, uid: p.uid, move: move}
	return c, p.WantSP() && p.WantSet(&c.set) && p.WantSP() && p.mailbox(&c.mailbox) && p.WantEnd()
}

func (c *copyCommand) run(s *Session) (view.Reply, error) {
	uids, err := s.view.Resolve(c.set, c.uid)
	if err != nil {
		return badSet, nil
	}
	if c.move && s.view.ReadOnly() {
		return view.Reply{}, readOnly("move")
	}
	if err := s.view.Sync(); err != nil {
		return view.Reply{}, err
	}
	if c.move {
		uids = s.most(uids)
	} else if refused := s.tooManyToCopy(uids); refused.Cond != "" {
		return refused, nil
	}
	if !c.uid {
		// All or none: what was named by number and is gone cannot be copied.
		for uid := range uids.All() {
			if _, _, gone := s.view.Entry(uid); gone {
				return view.Reply{}, errkind.New("copy", errkind.Expunged, nil)
			}
		}
	}
	// The store cannot be asked how far it is. It can be broken off, and has then put
	// back what it had begun.
	s.aboutToAdd(string(c.mailbox))
	transfer := mailstore.Transfer{UIDs: uids, To: string(c.mailbox), Move: c.move, Stop: s.goOn}
	var result mailstore.CopyResult
	s.slowly(c.tag, func() { result, err = transfer.Of(s.view.Box()) })
	if len(result.To) > 0 {
		s.madeHere(string(c.mailbox), result.To)
		s.changed()
		if folder, err := s.cfg.Store.Lookup(string(c.mailbox)); err == nil && folder.Attrs&mailstore.UseTrash != 0 {
			s.counts.Trashed += uint64(len(result.To))
		}
	}
	s.view.Refresh()
	if c.move {
		s.tellMoved(c.mailbox, result)
	}
	switch {
	case err != nil:
		return s.tryCreate(c.mailbox, err)
	case len(result.To) > 0:
	case !c.uid && !uids.Empty():
		// Expunged between the look above and the copy.
		return view.Reply{}, errkind.New("copy", errkind.Expunged, nil)
	default:
		return view.Done("No messages found."), nil
	}
	if c.move {
		return view.Done("Move completed."), nil
	}
	return view.Reply{Cond: imapwire.OK, Code: s.copyUID(c.mailbox, result), Text: "Copy completed."}, nil
}

// copyUID is the code that tells what a COPY or MOVE made; it is none where the user may
// not look at that (RFC 9051 §6.4.7).
func (s *Session) copyUID(to imapname.Name, result mailstore.CopyResult) (code imapwire.Code) {
	if s.mayRead(to) {
		code.Name = "COPYUID"
		code.Args = fmt.Sprintf("%d %s %s", result.UIDValidity, numset.FromSorted(result.From), numset.FromSorted(result.To))
	}
	return code
}

// tellMoved tells what a MOVE has moved, also one that failed after that or was broken
// off: COPYUID comes in an untagged OK before the EXPUNGEs (RFC 6851 §4.3).
func (s *Session) tellMoved(to imapname.Name, result mailstore.CopyResult) {
	if len(result.From) == 0 {
		return
	}
	s.removed = true
	s.counts.Expunged += uint64(len(result.From))
	if code := s.copyUID(to, result); code.Name != "" {
		s.enc.Status("", imapwire.OK, code, "Moved UIDs.")
	}
}
