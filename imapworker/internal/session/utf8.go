package session

import "rookery/imapworker/internal/view"

// headerScan looks for octets above 127 in a message's header fields, as it comes.
type headerScan struct {
	high bool // there are some
	over bool // the header is
	line int  // octets of the present line, CR aside
}

func (h *headerScan) see(p []byte) {
	for i := 0; i < len(p) && !h.over; i++ {
		switch b := p[i]; {
		case b == '\n':
			h.over = h.line == 0
			h.line = 0
		case b != '\r':
			h.line++
			h.high = h.high || b >= 0x80
		}
	}
}

// eightBitHeader refuses what a client that has not enabled UTF-8 may not append
// where UTF8=ACCEPT is offered (RFC 9755 §4: "MUST reject, with a NO response").
var eightBitHeader = view.No("CANNOT", "The header has octets above 127: ENABLE UTF8=ACCEPT first, or encode them.")

// wantsASCII reports whether headers that this client appends must be US-ASCII.
func (s *Session) wantsASCII() bool { return s.cfg.Settings.UTF8 && !s.enc.Options.UTF8OK() }
