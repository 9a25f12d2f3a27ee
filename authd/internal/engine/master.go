package engine

import (
	"errors"
	"fmt"

	"rookery/authd/internal/authdb"
	"rookery/authd/internal/sasl"
	"rookery/authd/internal/ticket"
	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/ipc/authmsg"
	"rookery/internal/ipc/redeemmsg"
)

// Redeem answers master, who shows a ticket.
func (e *Engine) Redeem(m *redeemmsg.Redeem) ipc.Message {
	claims, err := e.tickets.Redeem(e.now(), m.Ticket, m.Channel, m.Service, m.Session)
	if err == nil && claims.Kind != "login" {
		err = fmt.Errorf("tickets of a %q channel are not for logins", claims.Kind)
	}
	if err != nil {
		who := ""
		if claims.Record.User != "" {
			who = fmt.Sprintf(" (issued to user %s, session <%s>)", logName(claims.Record.User), logName(claims.Session))
		}
		e.logger.Session(m.Session).Errorf("refused a ticket of login channel %d for %s, session <%s>: %v%s", m.Channel, logName(m.Service), logName(m.Session), err, who)
		return &redeemmsg.Failed{ID: m.ID, Kind: ticketKind(err), Text: "The login ticket is not valid."}
	}
	return &redeemmsg.Redeemed{ID: m.ID, Record: claims.Record}
}

// ticketKind parts what an honest login process may show, when it or we were slow
// or an earlier authd issued the ticket, from what it cannot: another's.
func ticketKind(err error) errkind.Kind {
	switch {
	case errors.Is(err, ticket.ErrUnknown):
		return errkind.NotFound
	case errors.Is(err, ticket.ErrExpired):
		return errkind.Expired
	}
	return errkind.AuthFailed
}

// Lookup asks the userdbs about a user without a login, for rookeryctl -u.
func (e *Engine) Lookup(m *redeemmsg.Lookup) ipc.Message {
	x := e.inner(authmsg.Peer{Service: m.Service})
	user, err := x.cfg.userName(m.User)
	if err != nil {
		return &redeemmsg.Failed{ID: m.ID, Kind: errkind.NotFound, Text: err.Error()}
	}
	x.authcid, x.user = m.User, user
	q := authdb.Query{User: user, Vars: x.vars(user)}
	if _, res, _ := authdb.LookupUser(x.cfg.Userdbs, q, nil); res == authdb.Unknown {
		return &redeemmsg.Failed{ID: m.ID, Kind: errkind.NotFound, Text: "no such user in any userdb"}
	}
	rec, err := x.record(nil)
	if err != nil {
		return &redeemmsg.Failed{ID: m.ID, Kind: errkind.Unavailable, Text: "the userdb failed; the log has the reason"}
	}
	return &redeemmsg.Redeemed{ID: m.ID, Record: rec}
}

// Test tries a password for rookeryctl auth test, without delays or penalty,
// and hands the answer to reply. It blocks while the password is compared.
func (e *Engine) Test(m *redeemmsg.Test, reply func(ipc.Message)) {
	x := e.inner(authmsg.Peer{Service: m.Service, Session: "auth-test", Remote: m.Remote, Secured: true})
	x.mech = "PLAIN"
	x.test = func(a answer) {
		if a.ok {
			reply(&redeemmsg.Redeemed{ID: m.ID, Record: a.who})
			return
		}
		text := a.text
		if text == "" {
			text = a.kind.String()
		}
		reply(&redeemmsg.Failed{ID: m.ID, Kind: a.kind, Text: text})
	}
	if len(m.User) == 0 || len(m.User) > sasl.MaxName || m.Password.Len() > sasl.MaxPassword {
		x.refuse(errkind.Invalid, "user name or password is too long or empty", 0)
		return
	}
	x.verifyPlain(sasl.Action{Kind: sasl.Verify, Authcid: m.User, Password: m.Password})
}

// inner is an exchange that belongs to no channel.
func (e *Engine) inner(peer authmsg.Peer) *exchange {
	c := &Client{e: e, kind: "ctl", send: func(ipc.Message) error { return nil }, exchanges: map[uint64]*exchange{}}
	return newExchange(c, &authmsg.Begin{Peer: peer})
}
