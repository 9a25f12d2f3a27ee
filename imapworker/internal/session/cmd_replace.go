package session

import (
	"rookery/imapworker/internal/view"
	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// replace =  "REPLACE" SP seq-number SP mailbox append-message      RFC 8508 §5
// uid     =/ "UID" SP replace
//
// The new message is there, durable, before the old one goes. A crash in between
// leaves both; an error takes the new one back, so that a client that is told NO
// has what it had.
type replacing struct {
	number    uint32 // a sequence number, or with uidPrefix a UID; 0 is "*"
	uidPrefix bool
	uid       mailstore.UID // of the message that goes
}

func parseReplace(p *parser) (request, bool) {
	c := &appendCommand{appendTarget: appendTarget{name: "REPLACE", replace: &replacing{uidPrefix: p.uid}}}
	return c, p.WantSP() && c.replace.parse(p) && p.WantSP() && p.mailbox(&c.mailbox) && c.piece.parse(p, nil, true)
}

// parse reads seq-number = nz-number / "*".
func (r *replacing) parse(p *parser) bool {
	return p.Byte('*') || p.WantNZNumber(&r.number)
}

// find finds the message that is to go.
func (r *replacing) find(s *Session) (refused view.Reply, err error) {
	v := s.view
	last := v.Len()
	switch {
	case v.ReadOnly():
		return refused, readOnly("replace")
	case r.uidPrefix && (last == 0 || r.number > v.UID(last)):
		return notThere(), nil
	case r.uidPrefix && r.number > 0:
		r.uid = r.number
	case last == 0 || r.number > last:
		return badSet, nil
	case r.number > 0:
		r.uid = v.UID(r.number)
	default:
		r.uid = v.UID(last)
	}
	if err := r.allowed(s); err != nil {
		return refused, err
	}
	if err := v.Sync(); err != nil {
		return refused, err
	}
	if _, known := v.Seq(r.uid); !known {
		return notThere(), nil
	}
	return refused, r.gone(s)
}

// allowed asks for the rights that STORE of \Deleted and EXPUNGE need (RFC 8508 §4.1),
// before anything is sent: the new message could not be taken back by a user who may
// add to the mailbox and remove nothing.
func (r *replacing) allowed(s *Session) error {
	sharer, ok := s.sharer()
	if !ok {
		return nil
	}
	rights, err := sharer.MyRights(s.view.Box().Info().Name)
	if err == nil && !rights.Has(acl.Deleted|acl.Expunge) {
		err = errkind.Newf("replace", errkind.NoPermission, "the rights t and e are needed")
	}
	return err
}

// row gives what may be told when the command ends with an answer: no EXPUNGE, of
// whatever message, in a REPLACE that has failed (RFC 8508 §3.4: "any untagged
// EXPUNGE response MUST NOT be sent until all actions are successfully completed").
func (to *appendTarget) row(cmd row, reply view.Reply, err error) row {
	if to.replace != nil && (err != nil || reply.Cond != imapwire.OK) {
		cmd.effect = keepsSeqs
	}
	return cmd
}

// notThere is the answer where a UID names no message: RFC 8508 §3.2, "can't
// remove specified message".
func notThere() view.Reply { return view.No("NONEXISTENT", "There is no such message.") }

// gone is an error once the message is not there any more.
func (r *replacing) gone(s *Session) error {
	if _, _, gone := s.view.Entry(r.uid); gone {
		return errkind.New("replace", errkind.Expunged, nil)
	}
	return nil
}

// credit tells the quota what will go: "only the net quota consumption is
// considered" (RFC 8508 §3.4).
func (r *replacing) credit(s *Session, to mailstore.Appender) {
	box := s.view.Box()
	if facts, err := box.Facts(r.uid, mailstore.FactsWant{Size: true}); err == nil {
		mailstore.Replaces(to, box.Info().Name, facts.Size)
	}
}

// commit adds the new message and expunges the old one.
func (r *replacing) commit(s *Session) (view.Reply, error) {
	if err := s.view.Sync(); err != nil {
		return view.Reply{}, err
	}
	if err := r.gone(s); err != nil {
		return view.Reply{}, err
	}
	s.aboutToAdd(string(s.append.mailbox))
	result, err := s.append.appender.Commit()
	if err != nil {
		return s.tryCreate(s.append.mailbox, err)
	}
	s.changed()
	gone, err := s.expunge(numset.Of(r.uid))
	if !gone.Contains(r.uid) {
		r.takeBack(s, result)
		if err == nil {
			err = errkind.New("replace", errkind.Expunged, nil) // by another session, just now
		}
		return view.Reply{}, err
	}
	if err != nil {
		s.cfg.Log.Warn("replace: " + err.Error())
	}
	s.counts.Appended += uint64(len(result.UIDs))
	s.madeHere(string(s.append.mailbox), result.UIDs)
	// RFC 8508 §4.3: before the EXPUNGE, in an untagged OK.
	if code := s.appendUID(s.append.mailbox, result); code.Name != "" {
		s.enc.Status("", imapwire.OK, code, "Replacement message is there.")
	}
	return view.Done("Replace completed."), nil
}

// takeBack removes the new message.
func (r *replacing) takeBack(s *Session, result mailstore.AppendResult) {
	box, err := s.cfg.Store.Open(string(s.append.mailbox))
	if err == nil {
		if _, err = box.Sync(); err == nil && box.Info().UIDValidity == result.UIDValidity {
			_, err = box.Expunge(numset.FromSorted(result.UIDs))
		}
		if closing := box.Close(); err == nil {
			err = closing
		}
	}
	if err != nil {
		s.cfg.Log.Error("replace: the new message cannot be taken back: " + err.Error())
	}
	s.view.Refresh()
}
