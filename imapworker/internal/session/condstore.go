package session

import (
	"strconv"

	"rookery/imapworker/internal/view"
	"rookery/internal/imapwire"
)

// enableCondstore is called by each CONDSTORE enabling command (RFC 7162 §3.1),
// once it is certain to be carried out. The first one while a mailbox is selected
// is told its HIGHESTMODSEQ; SELECT itself tells it in any case.
func (s *Session) enableCondstore() {
	if s.condstore {
		return
	}
	s.condstore = true
	if s.view != nil {
		s.view.WantModSeqs()
		if s.view.HasModSeqs() {
			s.writeHighestModSeq(s.view)
		}
	}
}

// enableQresync makes all that is told from now on fit for a client that keeps
// its copy of a mailbox over connections (RFC 7162 §3.2.3).
func (s *Session) enableQresync() {
	s.enableCondstore()
	s.qresync = true
	s.wantVanished()
}

// wantVanished makes the selected mailbox's expunges be told by UIDs if the client
// has enabled that.
func (s *Session) wantVanished() {
	if uidOnly := s.enc.Options.UIDOnly; s.view != nil && (s.qresync || uidOnly) {
		s.view.WantVanished(uidOnly)
	}
}

// tellHighest puts HIGHESTMODSEQ into the answer of a command for a client that
// takes the highest mod-sequence that it has seen for the point up to which it has
// all changes: after an expunge, since no MODSEQ told of that (RFC 7162 §3.2.7),
// and while there are expunges that may not be told yet, since a later change of
// flags may have been (§3.2, §6).
func (s *Session) tellHighest(reply view.Reply) view.Reply {
	v := s.view
	s.highestSaid = true
	if !s.qresync || v == nil || !v.HasModSeqs() || !s.removed && !v.Behind() {
		return reply
	}
	if reply.Cond != imapwire.OK || reply.Code.Name != "" {
		s.writeHighestModSeq(v)
		return reply
	}
	reply.Code = highestCode(v)
	return reply
}

func highestCode(v *view.View) imapwire.Code {
	return imapwire.Code{Name: highestModSeq, Args: strconv.FormatUint(v.HighestModSeq(), 10)}
}

// writeHighestModSeq writes the response code HIGHESTMODSEQ, or NOMODSEQ where
// mod-sequences would not last (RFC 7162 §3.1.2). SELECT has it whether it was
// asked for or not: a client may then begin to use it at once.
func (s *Session) writeHighestModSeq(v *view.View) {
	if !v.HasModSeqs() {
		s.enc.Status("", imapwire.OK, imapwire.Code{Name: "NOMODSEQ"}, "No mod-sequences here.")
		return
	}
	s.enc.Status("", imapwire.OK, highestCode(v), "Highest")
}
