package engine

import (
	"errors"
	"fmt"
	"strings"

	"rookery/authd/internal/authdb"
	"rookery/authd/internal/ticket"
	"rookery/internal/errkind"
	"rookery/internal/ipc/authmsg"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/settings"
)

// identity is who an exchange let in.
type identity = redeemmsg.Record

// grant ends an exchange with success: the user's record is made and a ticket
// issued for it.
func (x *exchange) grant(fields authdb.Fields) {
	if x.noLogin {
		x.refuse(errkind.AuthzFailed, x.reason, 0)
		return
	}
	rec, err := x.record(fields)
	if err != nil {
		x.reason = ""
		x.end(authdb.Internal)
		return
	}
	x.succeed(rec)
}

func (x *exchange) succeed(rec identity) {
	if x.test != nil {
		x.test(answer{ok: true, who: rec})
		return
	}
	now := x.e.now()
	t, err := x.e.tickets.Issue(now, x.cfg.TicketLifetime, ticket.Claims{Channel: x.c.channel, Kind: x.c.kind,
		Service: x.peer.Service, Session: x.peer.Session, Record: rec})
	if err != nil {
		x.fail(x.source(), err.Error())
		x.end(authdb.Internal)
		return
	}
	if x.cfg.Penalty && !x.cfg.exempt(x.peer.Remote.Addr()) {
		x.e.penalties.Succeeded(now, x.peer.Remote.Addr())
	}
	if x.debugging() {
		x.log().Debugf("client passdb out: OK %d user=%s", x.id, logName(rec.User))
	}
	x.c.finish(x, &authmsg.Granted{ID: x.id, User: rec.User, Master: rec.Master, Ticket: t})
}

// errRecord means that the reason is in the log.
var errRecord = errors.New("no usable user record")

// record asks the userdbs who the user is.
func (x *exchange) record(fields authdb.Fields) (identity, error) {
	q := authdb.Query{User: x.user, Mech: x.mech, Vars: x.vars(x.user)}
	entry, res, err := authdb.LookupUser(x.cfg.Userdbs, q, fields)
	switch {
	case res == authdb.Internal && err != nil:
		x.fail("userdb", err.Error())
		return identity{}, errRecord
	case res != authdb.OK:
		x.fail("userdb", "user not found from any userdbs")
		return identity{}, errRecord
	}
	rec := identity{User: x.user, Master: x.master, Mech: x.mech, Remote: x.peer.Remote, Local: x.peer.Local, TLS: x.peer.TLS,
		Anonymous: x.mech == "ANONYMOUS", Fields: entry.Fields.Settings()}
	if rec.Home, err = x.cfg.home(entry, q.Vars); err == nil {
		rec.UID, rec.GID, err = x.cfg.ids(entry)
	}
	if err != nil {
		x.fail("userdb", err.Error())
		return identity{}, errRecord
	}
	if x.debugging() {
		x.log().Debugf("master userdb out: USER %d %s uid=%d gid=%d home=%s %s", x.id, logName(rec.User), rec.UID, rec.GID, rec.Home, hidePasswords(rec.Fields))
	}
	return rec, nil
}

// hidePasswords shows fields but the values whose name has "pass" in it.
func hidePasswords(fields []string) string {
	out := make([]string, len(fields))
	for i, f := range fields {
		key, _, _ := strings.Cut(f, "=")
		if out[i] = f; strings.Contains(key, "pass") {
			out[i] = key + "=<hidden>"
		}
	}
	return strings.Join(out, " ")
}

func (c *Config) home(e authdb.UserEntry, vars settings.Vars) (string, error) {
	home := e.Home
	if home == "" {
		var err error
		if home, err = c.MailHome.ExpandPath(vars); err != nil {
			return "", fmt.Errorf("mail_home: %w", err)
		}
		return home, nil
	}
	if !strings.HasPrefix(home, "/") || strings.Contains(home+"/", "/../") || strings.IndexByte(home, 0) >= 0 || len(home) > redeemmsg.MaxPath {
		return "", fmt.Errorf("home %q is not an absolute path", logName(home))
	}
	return home, nil
}

// ids gives uid and gid, or says which setting to change. master checks the
// same by itself and believes nobody.
func (c *Config) ids(e authdb.UserEntry) (uid, gid uint32, err error) {
	u, g := e.UID, e.GID
	if !u.Set {
		u = c.MailUID
	}
	if !g.Set {
		g = c.MailGID
	}
	switch {
	case !u.Set:
		return 0, 0, errors.New("the userdb gives no uid and mail_uid is not set")
	case !g.Set:
		return 0, 0, errors.New("the userdb gives no gid and mail_gid is not set")
	case u.N == 0 || u.N < c.FirstUID || c.LastUID > 0 && u.N > c.LastUID:
		return 0, 0, fmt.Errorf("uid %d is not permitted: first_valid_uid is %d, last_valid_uid %d", u.N, c.FirstUID, c.LastUID)
	case g.N == 0 || g.N < c.FirstGID || c.LastGID > 0 && g.N > c.LastGID:
		return 0, 0, fmt.Errorf("gid %d is not permitted: first_valid_gid is %d, last_valid_gid %d", g.N, c.FirstGID, c.LastGID)
	}
	return u.N, g.N, nil
}

// anonymous lets everybody in as auth_anonymous_username. The trace is the
// client's word and proves nothing (RFC 4505 §5).
func (x *exchange) anonymous(trace []byte) {
	x.authcid, x.user = x.cfg.AnonymousUser, x.cfg.AnonymousUser
	if len(trace) > 0 {
		x.info(x.source(), "anonymous login, trace: "+string(trace))
	} else {
		x.info(x.source(), "anonymous login")
	}
	x.grant(nil)
}
