package session

import (
	"strings"
	"time"

	"rookery/imapworker/internal/view"
	"rookery/internal/imapwire"
)

// compress = "COMPRESS" SP algorithm                      RFC 4978 §5
//
// The machine's input and output stay as they are: whoever owns the stream has the
// layer (Config.Compress).
type compress struct{ tag, algorithm string }

func parseCompress(p *parser) (request, bool) {
	c := compress{tag: p.tag}
	return &c, p.WantSP() && p.WantAtom(&c.algorithm) && p.WantEnd()
}

func (c *compress) run(s *Session) (view.Reply, error) {
	switch {
	case s.cfg.Compress == nil:
		return view.Bad("Unknown command."), nil
	case !strings.EqualFold(c.algorithm, "DEFLATE"):
		// RFC 4978 §3: BAD for an "invalid or unknown argument"
		return view.Bad("Unknown compression algorithm."), nil
	case s.compressed:
		// RFC 4978 §3 has NO with this code where the same mechanism is active, and
		// names BAD for a second COMPRESS as well. NO says more, and does not count
		// among a client's bad commands. The text "SHOULD say which layer compresses".
		return view.No("COMPRESSIONACTIVE", "DEFLATE is active already, by COMPRESS."), nil
	}
	// §3: "the server MUST compress starting immediately after the CRLF which ends
	// the tagged OK response": nothing else may go out with it.
	s.answer(c.tag, view.Done("DEFLATE active."))
	s.flush()
	s.compressed, s.turned = true, true
	s.cfg.Compress()
	return view.Reply{}, nil
}

// Feed is Input, but that it stops behind a command after which the client's
// octets have to be read in another way (COMPRESS). It tells how many it took.
func (s *Session) Feed(now time.Time, p []byte) (taken int) {
	taken = len(p)
	s.now, s.heard, s.turned = now, now, false
	for s.end == Running && !s.turned {
		n, ev := s.framer.Next(p)
		p = p[n:]
		if ev.Kind == imapwire.NeedMore {
			break
		}
		s.take(ev)
	}
	s.flush()
	return taken - len(p)
}

// Damaged ends the session: what came from the client is no data that can be read.
func (s *Session) Damaged(now time.Time, why string) {
	s.now = now
	s.sayBye(Broken, "Disconnected: "+capital(why), "Compressed data cannot be read.")
}
