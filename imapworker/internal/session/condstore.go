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

// writeHighestModSeq writes the response code HIGHESTMODSEQ, or NOMODSEQ where
// mod-sequences would not last (RFC 7162 §3.1.2). SELECT has it whether it was
// asked for or not: a client may then begin to use it at once.
func (s *Session) writeHighestModSeq(v *view.View) {
	if !v.HasModSeqs() {
		s.enc.Status("", imapwire.OK, imapwire.Code{Name: "NOMODSEQ"}, "No mod-sequences here.")
		return
	}
	s.enc.Status("", imapwire.OK, imapwire.Code{Name: highestModSeq, Args: strconv.FormatUint(v.HighestModSeq(), 10)}, "Highest")
}
