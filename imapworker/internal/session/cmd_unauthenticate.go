package session

import "rookery/imapworker/internal/view"

// unauthenticate = "UNAUTHENTICATE"                       RFC 8437 §6
//
// The session ends here: login, which has found the command by itself, gives nothing
// that comes behind it to this process, answers it, and has another process serve the
// user who logs in next. So there is nothing to reset (§4.1), and no word to say: what
// came before is answered, and the end of the stream tells login that it is.
type unauthenticate struct{}

func parseUnauthenticate(p *parser) (request, bool) { return unauthenticate{}, p.WantEnd() }

func (unauthenticate) run(s *Session) (view.Reply, error) {
	switch {
	case !s.cfg.Unauthenticate:
		return view.Bad("Unknown command."), nil
	case s.compressed:
		// login cannot see what is compressed: RFC 8437 §3 has BAD where it "is not
		// advertised".
		return view.Bad("UNAUTHENTICATE is not possible under COMPRESS."), nil
	}
	s.finish(LoggedOut, "Disconnected: Unauthenticated")
	return view.Reply{}, nil
}
