package session

import (
	"strconv"

	"rookery/imapworker/internal/view"
	"rookery/internal/imapwire"
	"rookery/internal/numset"
)

// MESSAGELIMIT and SAVELIMIT (RFC 9738): how many messages one command may work on,
// or one COPY or APPEND alone. A command that can works on the highest of its
// messages and says where it stopped. EXPUNGE, CLOSE and STATUS have no limit (§3.1).

// limitWords are the capabilities.
func (s *Session) limitWords() (words []string) {
	set := &s.cfg.Settings
	if set.MessageLimit > 0 {
		words = append(words, "MESSAGELIMIT="+strconv.Itoa(set.MessageLimit))
	}
	if set.SaveLimit > 0 && set.SaveLimit == int(s.saveLimit()) {
		words = append(words, "SAVELIMIT="+strconv.Itoa(set.SaveLimit))
	}
	return words
}

// saveLimit is what holds for COPY and APPEND; 0 is no limit.
func (s *Session) saveLimit() uint64 {
	most, save := s.cfg.Settings.MessageLimit, s.cfg.Settings.SaveLimit
	if save == 0 || most > 0 && most <= save {
		return uint64(most)
	}
	return uint64(save)
}

// most gives those of uids that a command may work on, and notes where it stops.
func (s *Session) most(uids numset.Set) numset.Set {
	kept, cut := view.Most(uids, uint64(s.cfg.Settings.MessageLimit))
	if cut {
		s.lowest, _ = kept.At(0)
	}
	return kept
}

// tellLimit puts the code into the answer of a command that left messages out: into
// the tagged OK, or where that has another code, or is a NO, into an untagged response
// before it: NO beside EXPUNGEISSUED (§3.1).
func (s *Session) tellLimit(reply view.Reply) view.Reply {
	if s.lowest == 0 {
		return reply
	}
	limit := uint64(s.cfg.Settings.MessageLimit)
	code, text := view.LimitCode(limit, s.lowest), "Done for the last "+strconv.FormatUint(limit, 10)+" messages."
	if reply.Cond == imapwire.OK && reply.Code.Name == "" {
		return view.Reply{Cond: imapwire.OK, Code: code, Text: text}
	}
	cond := imapwire.NO
	if reply.Cond == imapwire.OK && reply.Code.Name != "EXPUNGEISSUED" {
		cond = imapwire.OK // beside HIGHESTMODSEQ or MODIFIED, of which RFC 9738 says nothing
	}
	s.enc.Status("", cond, code, text)
	return reply
}

// tooManyToCopy refuses a COPY: all messages are copied or none (RFC 3501 §6.4.7).
// The code names the lowest UID of the highest ones that could be.
func (s *Session) tooManyToCopy(uids numset.Set) (refused view.Reply) {
	limit := s.saveLimit()
	kept, cut := view.Most(uids, limit)
	if !cut {
		return view.Reply{}
	}
	lowest, _ := kept.At(0)
	return view.TooMany(limit, lowest, "Too many messages to copy at once.")
}

// tooManyToAppend refuses an APPEND that has begun so many messages (RFC 3502
// §6.3.11: all or none).
func (s *Session) tooManyToAppend(begun uint64) (refused view.Reply) {
	if limit := s.saveLimit(); limit > 0 && begun > limit {
		return view.TooMany(limit, 0, "Too many messages to append at once.")
	}
	return view.Reply{}
}
