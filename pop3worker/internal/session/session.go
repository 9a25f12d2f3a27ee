// Package session is POP3 after login as a machine without input and output
// (RFC 1939 §5 and §6, RFC 2449, RFC 6856): bytes in, bytes and effects out.
//
// The POP3 worker feeds it and does what the effects say. It asks the mail
// store, and nothing else; it must never read a clock or a socket.
package session

import (
	"cmp"
	"slices"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
	"rookery/internal/pop3wire"
)

// maxLine is the longest command line. RFC 2449 §4 has 255 octets; some
// clients pad.
const maxLine = 2048

// maxBad is how many wrong commands in a row end the session.
const maxBad = 20

// Config is what the settings say.
type Config struct {
	UIDL           func(*UIDLVars) (string, error) // pop3_uidl_format; nil for Dovecot's "%08x%08x" of UID and UIDVALIDITY
	RenameUIDL     bool                            // pop3_uidl_duplicates = "rename"
	NoFlagUpdates  bool
	EnableLast     bool
	DeletedFlag    string      // keyword that hides a message; ""
	DeleteByFlag   bool        // QUIT sets DeletedFlag instead of removing
	NoNULs         bool        // outlook-no-nuls
	EndOfHeaders   bool        // oe-ns-eoh
	Expire         int         // days; below 0 is NEVER
	LoginDelay     int         // seconds; 0 announces none
	Implementation string      // "" announces none
	NeedMD5        bool        // the UIDL format uses %{md5}
	Totals         bool        // the log tells the maildrop's size, even if the client never asked
	Failed         func(error) // is told of errors of the store that are not the client's doing; nil: nobody
}

// UIDLVars are the values of pop3_uidl_format.
type UIDLVars struct {
	UID, UIDValidity    uint32
	Filename, GUID, MD5 string
}

// Effect is what the caller does next.
type Effect uint8

// The effects.
const (
	None  Effect = iota // feed more bytes
	Send                // send Session.Body to the client, then call Sent
	Close               // flush and close; the session is over
)

// Stats are for pop3_logout_format and the log.
type Stats struct {
	TopCount, RetrCount, DeletedCount, MessageCount int
	TopBytes, RetrBytes, DeletedBytes, MessageBytes int64
}

// Session is one client's. It is not for several goroutines.
type Session struct {
	cfg      Config
	box      mailstore.Mailbox
	split    *pop3wire.Splitter
	msgs     []message
	sized    bool // sizes are known
	uidled   bool
	seen     []mailstore.UID // to be marked as seen
	deleted  int
	highest  int // for LAST
	oldest   int // LAST when the session began
	bad      int
	first    string // the answer to the first bad command
	out      []byte
	effect   Effect
	Body     Body // valid while the effect is Send
	stats    Stats
	quitting bool
}

// message is one of the maildrop, in the order of its number.
type message struct {
	uid     mailstore.UID
	size    int64
	uidl    string
	order   uint32
	deleted bool
	seen    bool
	sized   bool   // size is known, or cannot be
	known   bool   // order and kept are
	kept    string // an id of another server
}

// New takes the messages that are there now: their numbers never change while
// the session lasts (RFC 1939 §5). ownOrder asks each message for the order of
// another server (uidlist's O field).
func New(cfg Config, box mailstore.Mailbox, ownOrder bool) (*Session, error) {
	snap, err := box.Sync()
	if err != nil {
		return nil, err
	}
	s := &Session{cfg: cfg, box: box, split: pop3wire.NewSplitter(maxLine)}
	s.take(snap)
	s.learn()
	if ownOrder {
		if err := s.sortByOrder(); err != nil {
			return nil, err
		}
	}
	for i, m := range s.msgs {
		if m.seen {
			s.oldest = i + 1
		}
	}
	s.highest = s.oldest
	s.stats.MessageCount = len(s.msgs)
	return s, nil
}

// take makes the maildrop of a picture.
func (s *Session) take(snap mailstore.Snapshot) {
	s.msgs = make([]message, 0, snap.Len())
	var buf [128]mailstore.Entry
	for pos := 0; ; {
		n := mailstore.Entries(snap, pos, buf[:])
		if n == 0 {
			return
		}
		for _, e := range buf[:n] {
			if s.cfg.DeletedFlag != "" && slices.Contains(snap.Keywords(e.Keywords), s.cfg.DeletedFlag) {
				continue
			}
			s.msgs = append(s.msgs, message{uid: e.UID, seen: e.Flags&mailstore.Seen != 0})
		}
		pos += n
	}
}

// learn takes what the mailbox knows of all messages at once, while they are in
// the order of their UIDs.
func (s *Session) learn() {
	i := 0
	s.eachKnown(mailstore.FactsWant{Size: true, UIDL: true}, func(uid mailstore.UID, f mailstore.Facts, known mailstore.FactsWant) {
		for i < len(s.msgs) && s.msgs[i].uid < uid {
			i++
		}
		if i == len(s.msgs) || s.msgs[i].uid != uid {
			return
		}
		m := &s.msgs[i]
		if known.Size {
			m.size, m.sized = f.Size, true
		}
		m.order, m.kept, m.known = f.Order, f.UIDL, true
	})
}

// eachKnown calls do for the messages of which the mailbox can tell in one pass:
// all or none.
func (s *Session) eachKnown(want mailstore.FactsWant, do func(mailstore.UID, mailstore.Facts, mailstore.FactsWant)) {
	mailstore.KnownFacts(s.box, want, func(uid mailstore.UID, f mailstore.Facts, known mailstore.FactsWant) bool {
		do(uid, f, known)
		return true
	})
}

// sortByOrder puts messages with a kept order first, by it, the others after
// them by UID.
func (s *Session) sortByOrder() error {
	any := false
	for i := range s.msgs {
		m := &s.msgs[i]
		if !m.known {
			f, err := s.box.Facts(m.uid, mailstore.FactsWant{UIDL: true})
			if errkind.Is(err, errkind.Expunged) {
				continue
			}
			if err != nil {
				return err
			}
			m.order = f.Order
		}
		any = any || m.order > 0
	}
	if any {
		slices.SortStableFunc(s.msgs, func(a, b message) int { return cmp.Compare(a.order-1, b.order-1) }) // 0 comes last
	}
	return nil
}

// Begin gives the answer to the login command.
func (s *Session) Begin() []byte { return pop3wire.AppendOK(nil, "Logged in.") }

// Feed takes bytes of the client. It tells how many it took, what to send, and
// what to do then; it stops early only for an effect.
func (s *Session) Feed(p []byte) (n int, out []byte, effect Effect) {
	s.out, s.effect = s.out[:0], None
	for {
		took, ev := s.split.Next(p[n:])
		n += took
		switch ev.Kind {
		case pop3wire.NeedMore:
			return n, s.out, s.effect
		case pop3wire.TooLong:
			s.fail("Line too long.")
		case pop3wire.NULByte:
			s.fail("NUL byte in a command.")
		case pop3wire.Line:
			s.command(pop3wire.Split(ev.Bytes))
		}
		if s.effect != None {
			return n, s.out, s.effect
		}
	}
}

// fail answers a command that is none.
func (s *Session) fail(text string) {
	if s.bad++; s.first == "" {
		s.first = text
	}
	if s.bad >= maxBad {
		s.out = pop3wire.AppendErr(s.out, "", "Too many bad commands.")
		s.effect = Close
		return
	}
	s.err("", text)
}

// FirstBad is the answer to the session's first bad command, "" if there was none:
// the log has a line on it, and not on the others, of which a client can send any
// number.
func (s *Session) FirstBad() string { return s.first }

func (s *Session) ok(text string) { s.out = pop3wire.AppendOK(s.out, text) }

func (s *Session) err(code pop3wire.Code, text string) { s.out = pop3wire.AppendErr(s.out, code, text) }

// storeError answers with an error of the store, in POP3's words.
func (s *Session) storeError(err error) {
	code, text := pop3wire.SysTemp, "Internal error; see the server's log."
	s.failed(err)
	switch errkind.Of(err) {
	case errkind.Expunged:
		text = "Message was deleted by another session."
	case errkind.InUse:
		code, text = pop3wire.InUse, "Mailbox is locked by another program."
	case errkind.NoSpace, errkind.OverQuota:
		text = "Disk full."
	case errkind.Corrupt, errkind.IO:
		code = pop3wire.SysPerm
	case errkind.NotFound:
		text = "Mailbox was deleted."
	}
	s.err(code, text)
}

// failed tells the log of what is not the client's doing.
func (s *Session) failed(err error) {
	if err == nil {
		return
	}
	if kind := errkind.Of(err); kind != errkind.Expunged && kind != errkind.NotFound && s.cfg.Failed != nil {
		s.cfg.Failed(err)
	}
}

// Stats tells what the session did so far.
func (s *Session) Stats() Stats {
	st := s.stats
	for _, m := range s.msgs {
		st.MessageBytes += m.size
	}
	return st
}

// Finish is called once the client has its last answer: it learns what the log
// tells of the maildrop and the client never asked for.
func (s *Session) Finish() {
	if !s.cfg.Totals || s.sized {
		return
	}
	for i := range s.msgs {
		if s.learnSize(&s.msgs[i]) != nil {
			return // the store fails: the log has lines enough
		}
	}
}

// Flush stores the seen marks that are due: after some idle seconds, and at
// the end. Deletions are never part of it.
func (s *Session) Flush() error {
	if len(s.seen) == 0 {
		return nil
	}
	slices.Sort(s.seen)
	set := numset.FromSorted(slices.Compact(s.seen))
	s.seen = nil
	_, err := s.box.Store(mailstore.FlagChange{UIDs: set, Op: mailstore.AddFlags, Flags: mailstore.Seen})
	return err
}

// Bye gives the last line when the server ends the session: nothing is deleted.
func Bye(text string) []byte { return pop3wire.AppendErr(nil, pop3wire.SysTemp, text) }
