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
	switch {
	case s.end != Running:
		return time.Time{}
	case s.idle == nil:
		return s.heard.Add(s.cfg.Settings.AutoLogout)
	case s.view != nil && s.idle.poll.Before(s.idle.notify):
		return s.idle.poll
	}
	return s.idle.notify
}

// Tick does what is due. It may be called at any time.
func (s *Session) Tick(now time.Time) {
	s.now = now
	if s.end != Running {
		return
	}
	if s.idle == nil {
		if !now.Before(s.heard.Add(s.cfg.Settings.AutoLogout)) {
			s.sayBye(TimedOut, "Disconnected: Inactivity", "Disconnected for inactivity.")
		}
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
	s.tellIdle(true)
}

// tellIdle tells an idle client what is new. Without a command running nothing
// may be told but in IDLE (RFC 3501 §7.4.1, RFC 2177 §3).
func (s *Session) tellIdle(disk bool) {
	if s.end != Running || s.idle == nil || s.view == nil {
		return
	}
	s.tell(view.May{Expunge: true, Exists: true}, disk)
	s.flush()
}

// tell announces what is new in the selected mailbox.
func (s *Session) tell(may view.May, disk bool) {
	if s.view == nil {
		return
	}
	var err error
	if disk {
		err = s.view.Sync()
	} else {
		s.view.Refresh()
	}
	if err == nil {
		err = s.view.Announce(&s.enc, may)
	}
	switch {
	case errkind.Is(err, errkind.NotFound):
		// RFC 3501 has no way to say that the selected mailbox is gone.
		s.sayBye(Broken, "Disconnected: Selected mailbox was deleted", "Selected mailbox was deleted, have to disconnect.")
	case err != nil:
		s.cfg.Log.Error("sync of " + s.view.Box().Info().Name + ": " + err.Error())
	}
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
