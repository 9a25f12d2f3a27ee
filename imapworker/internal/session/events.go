package session

import (
	"time"

	"rookery/imapworker/internal/view"
	"rookery/internal/errkind"
	"rookery/internal/imapwire"
)

// idling is the state of IDLE (RFC 2177).
type idling struct {
	tag    string
	notify time.Time // when "Still here" is due
	poll   time.Time // when other programs' changes are looked for
}

// Deadline is when Tick must be called next, zero if never.
func (s *Session) Deadline() time.Time {
	var due time.Time
	switch {
	case s.end != Running:
		return time.Time{}
	case s.idle == nil:
		due = s.heard.Add(s.cfg.Settings.AutoLogout)
	case s.view != nil && s.idle.poll.Before(s.idle.notify):
		due = s.idle.poll
	default:
		due = s.idle.notify
	}
	if n := s.notifyDue(); !n.IsZero() && n.Before(due) {
		return n
	}
	return due
}

// Tick does what is due. It may be called at any time.
func (s *Session) Tick(now time.Time) {
	s.now = now
	if s.end != Running {
		return
	}
	if s.idle == nil && !now.Before(s.heard.Add(s.cfg.Settings.AutoLogout)) {
		s.sayBye(TimedOut, "Disconnected: Inactivity", "Disconnected for inactivity.")
		return
	}
	s.tickNotify()
	if s.idle == nil {
		return
	}
	if s.view != nil && !now.Before(s.idle.poll) {
		s.idle.poll = now.Add(s.cfg.Settings.Poll)
		if s.cfg.MayPoll == nil || s.cfg.MayPoll(s.view.Box().Info().GUID, now) {
			s.tellIdle(true)
		}
	}
	if s.idle != nil && !now.Before(s.idle.notify) {
		s.idle.notify = now.Add(s.cfg.Settings.IdleNotify)
		s.enc.Status("", imapwire.OK, imapwire.Code{}, "Still here")
		s.flush()
	}
}

// Changed is called when Config.Changes fired: another session of this process
// changed the selected mailbox.
func (s *Session) Changed(now time.Time) {
	s.now = now
	s.tellIdle(false)
}

// Wake is called when another process of this user changed the mail.
func (s *Session) Wake(now time.Time) {
	s.now = now
	if s.notify != nil {
		s.notify.soon(s)
	}
	s.tellIdle(true)
}

// tellIdle tells a client what is new without being asked. Without a command
// running nothing may be told but in IDLE (RFC 3501 §7.4.1, RFC 2177 §3) and to who
// has used NOTIFY.
func (s *Session) tellIdle(disk bool) {
	if s.end != Running || !s.listening() {
		return
	}
	s.tellMetadata()
	// RFC 5465 §6.1.2: SELECTED-DELAYED keeps sequence numbers between commands.
	before := s.enc.Len()
	s.tell(view.May{Expunge: s.idle != nil || !s.notify.delayed, Exists: true}, disk)
	if v := s.view; s.end == Running && s.enc.Len() > before && s.qresync && v != nil && v.HasModSeqs() && v.Behind() {
		// RFC 7162 §3.2: who is told mod-sequences while a lower one of an expunge has to
		// wait "MUST" be told HIGHESTMODSEQ. The next command may be UNSELECT, whose
		// answer says nothing of the mailbox.
		s.writeHighestModSeq(v)
	}
	s.flush()
}

// tell announces what is new in the selected mailbox.
func (s *Session) tell(may view.May, disk bool) {
	if s.view == nil {
		return
	}
	may, wanted := s.mayTell(may)
	next := s.view.Told().UIDNext()
	var err error
	if disk {
		err = s.view.Sync()
	} else {
		s.view.Refresh()
	}
	if err == nil && wanted {
		err = s.announce(may)
	}
	if err == nil {
		err = s.tellNew(next)
	}
	switch {
	case errkind.Is(err, errkind.NotFound):
		// RFC 3501 has no way to say that the selected mailbox is gone.
		s.sayBye(Broken, "Disconnected: Selected mailbox was deleted", "Selected mailbox was deleted, have to disconnect.")
	case errkind.Is(err, errkind.Unavailable):
		// Another user's process has it, and cannot be reached now. What the client was
		// told still holds; one line for the log until it goes on.
		if !s.cutOff {
			s.cutOff = true
			s.cfg.Log.Warn("sync of " + s.view.Box().Info().Name + ": " + err.Error())
		}
		return
	case err != nil:
		s.cfg.Log.Error("sync of " + s.view.Box().Info().Name + ": " + err.Error())
	}
	s.cutOff = s.cutOff && !disk
}

// run of IDLE.
//
//	idle = "IDLE" CRLF "DONE"                               RFC 2177 §4
type idleCommand struct{ tag string }

func parseIdle(p *parser) (request, bool) { return idleCommand{p.tag}, p.WantEnd() }

func (c idleCommand) run(s *Session) (view.Reply, error) {
	s.idle = &idling{tag: c.tag, notify: s.now.Add(s.cfg.Settings.IdleNotify), poll: s.now.Add(s.cfg.Settings.Poll)}
	s.framer.SetRaw(true)
	s.enc.Continue("idling")
	s.tellMetadata()
	s.tell(view.May{Expunge: true, Exists: true}, true)
	s.flush()
	return view.Reply{}, nil // endIdle answers
}

// endIdle ends IDLE by the client's line; nil stands for one that is no line.
func (s *Session) endIdle(line []byte) {
	tag := s.idle.tag
	s.idle = nil
	s.framer.SetRaw(false)
	s.tell(view.May{Expunge: true, Exists: true}, true)
	if s.end != Running {
		return
	}
	if equalFold(line, "DONE") {
		s.answer(tag, view.Done("Idle completed."))
		return
	}
	s.answer(tag, view.Bad("Expected DONE."))
}
