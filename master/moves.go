package master

import (
	"path"
	"slices"

	"rookery/internal/ipc/ctlmsg"
	"rookery/internal/ipc/redeemmsg"
	"rookery/master/internal/policy"
	"rookery/master/internal/relocated"
)

// settle gives a record with the places that the user's mail was moved to. A move
// that the settings have caught up with is forgotten.
func (m *master) settle(service string, r redeemmsg.Record) (redeemmsg.Record, error) {
	mv, ok := m.moves.Find(r.User)
	if !ok {
		return r, nil
	}
	out, overtaken, err := m.cfg.policy.Settle(service, r, policy.Moved{From: mv.From, To: mv.To})
	if overtaken && mv.Old == "" {
		go func() {
			if m.moves.Forget(r.User) == nil {
				m.post(func() {
					m.log.Infof("settings and userdb say that the mail of %s is in %s: the move of it is not kept any more", r.User, mv.To)
				})
			}
		}()
	}
	return out, err
}

// moving is a move of a user's mail that a rookeryctl is at.
type moving struct {
	User     string `json:"user"`
	From     string `json:"from"`
	To       string `json:"to"`
	Switched bool   `json:"switched"` // the mail is at To; what is at From is to be freed
	own      string // the settings' place
	busy     bool
}

// moveTool starts a process that can see a second place, to move a user's mail
// there, or to free it if he has moved. With look nothing is made.
func (m *master) moveTool(h *holds, user, target string, look bool, to func(reply)) {
	if h.move != nil {
		to(failed(exitUsage, "this connection has a move already"))
		return
	}
	m.toolFor(user, to, func(rec redeemmsg.Record) {
		mv, known := m.moves.Find(rec.User)
		now, err := m.settle("imap", rec)
		own, at := "", ""
		if err == nil {
			own, _, err = m.cfg.policy.MailPath("imap", rec)
		}
		if err == nil {
			var fixed bool
			if at, fixed, err = m.cfg.policy.MailPath("imap", now); err == nil && fixed {
				err = &policy.Refusal{Reason: "the namespace with INBOX has a mail_path of its own, which is the same for all; write it as the setting mail_path"}
			}
		}
		if err != nil {
			to(refusedTool(rec.User, err))
			return
		}
		next := &moving{User: rec.User, From: at, To: target, own: own}
		pending := known && mv.Old != "" && mv.To == at
		switch {
		case target == at && pending:
			next.From, next.Switched = mv.Old, true
		case target == at:
			to(failed(exitUsage, "the mail of %s is in %s already", rec.User, at))
			return
		case pending && !look:
			to(failed(exitUsage, "the mail of %s was moved to %s, and the old mail in %s is still to be freed: finish it with --to %s, or keep it there with --forget", rec.User, at, mv.Old, at))
			return
		default:
			err = m.cfg.policy.CheckTarget("imap", now, target)
		}
		if err != nil {
			to(refusedTool(rec.User, err))
			return
		}
		h.move = next
		m.placeTool(now, func(d *policy.Dirs) {
			switch {
			case next.Switched:
				d.Also = append(slices.Clone(d.Also), next.From)
			case look:
				d.Also = append(slices.Clone(d.Also), target)
			default:
				d.Make = append(slices.Clone(d.Make), target)
			}
		}, next, to)
	})
}

// mailMove notes what has become of the connection's move.
func (m *master) mailMove(h *holds, what string, to func(reply)) {
	v := h.move
	if v == nil || v.busy {
		to(failed(exitUsage, "there is no move on this connection"))
		return
	}
	rec := relocated.Move{User: v.User, From: v.own, To: v.To}
	switch what {
	case "switch", "switch-keep":
		// A session of now would go on at the old place.
		if !slices.Contains(h.users, v.User) || !h.granted {
			to(failed(exitUsage, "%s is not held", v.User))
			return
		}
		if what == "switch" {
			rec.Old = v.From
		}
	case "freed":
		if !v.Switched {
			to(failed(exitUsage, "the mail of %s has not moved", v.User))
			return
		}
	default:
		to(failed(exitUsage, "%q is no step of a move", what))
		return
	}
	v.busy = true
	go func() {
		err := m.moves.Put(rec)
		m.post(func() {
			v.busy = false
			if err != nil {
				to(failed(exitOSErr, "%v", err))
				return
			}
			if what != "freed" {
				v.Switched = true
				m.log.Infof("the mail of %s is in %s now, it was in %s", v.User, v.To, v.From)
			}
			to(reply{body: struct{}{}})
		})
	}()
}

// mailForget drops a move: the settings' place counts again, or what is to be
// freed is left alone.
func (m *master) mailForget(r *ctlmsg.Request, to func(reply)) {
	mv, ok := m.moves.Find(r.Args[0])
	if !ok {
		to(failed(67, "no move of the mail of %q is kept; names are as rookeryctl relocate --list shows them", r.Args[0]))
		return
	}
	if mv.Old == "" {
		to(failed(exitUsage, "without it, the server would look for the mail of %s in %s again; let the userdb say mail_path = %s first, and the move is forgotten at his next login", mv.User, mv.From, path.Clean(mv.To)))
		return
	}
	mv.Old = ""
	go func() {
		err := m.moves.Put(mv)
		m.post(func() {
			if err != nil {
				to(failed(exitOSErr, "%v", err))
				return
			}
			to(reply{body: mv})
		})
	}()
}
