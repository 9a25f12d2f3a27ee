package engine

import (
	"slices"

	"rookery/authd/internal/authdb"
	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/ipc"
	"rookery/internal/ipc/authmsg"
	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/settings"
)

// Shares is the list of what users share.
type Shares interface {
	// With gives what others share with a guest; more: there is more than limit.
	With(guest acl.Who, limit int) (boxes []redeemmsg.Shared, more bool)
	// Lets reports whether an owner shares anything with a guest.
	Lets(owner string, guest acl.Who) bool
}

// maxAnswer bounds what one user is told of, in mailboxes.
const maxAnswer = 100_000

// noVisit is the answer for an owner who is not there and for one who shares
// nothing with the guest: a guest must not tell the one from the other.
const noVisit = "no such user shares anything with you"

// SharesOf gives what is shared with a user, in parts for send.
func (e *Engine) SharesOf(m *redeemmsg.SharesOf, list Shares, send func(ipc.Message) error) error {
	guest, problem := e.guest(m.User)
	if problem != nil {
		part := &redeemmsg.Shares{ID: m.ID, Last: true}
		if problem.Kind != errkind.NotFound { // a user of whom no userdb knows, as with prefetch alone, has nothing
			part.Text = problem.Text
		}
		return send(part)
	}
	boxes, more := list.With(guest, maxAnswer)
	if more {
		e.logger.Warnf("more than %d mailboxes are shared with user %s: he does not see the others", maxAnswer, logName(m.User))
	}
	for {
		n, size := 0, 0
		for n < len(boxes) && n < redeemmsg.MaxPart {
			if size += len(boxes[n].Owner) + len(boxes[n].Name) + 8; n > 0 && size > redeemmsg.MaxPartBytes {
				break
			}
			n++
		}
		part := &redeemmsg.Shares{ID: m.ID, Boxes: boxes[:n], Last: n == len(boxes)}
		boxes = boxes[n:]
		if err := send(part); err != nil || part.Last {
			return err
		}
	}
}

// Visit answers whether a user may be let in at another's. The list decides first:
// only of an owner who shares something is anything asked.
func (e *Engine) Visit(m *redeemmsg.Visit, list Shares) ipc.Message {
	refused := &redeemmsg.Failed{ID: m.ID, Kind: errkind.NotFound, Text: noVisit}
	guest, problem := e.guest(m.Guest)
	if problem != nil {
		if problem.Kind != errkind.NotFound {
			problem.ID = m.ID
			return problem
		}
		return refused
	}
	if !list.Lets(m.Owner, guest) {
		return refused
	}
	owner, problem := e.user(m.Owner)
	switch {
	case problem == nil:
		return &redeemmsg.Visited{ID: m.ID, Owner: owner, Groups: guest.Groups}
	case problem.Kind == errkind.NotFound: // he was deleted; what he had shared is still in the list
		return refused
	}
	problem.ID = m.ID
	return problem
}

// user asks the userdbs who somebody is. name is as auth_username_format left it.
func (e *Engine) user(name string) (identity, *redeemmsg.Failed) {
	x := e.inner(authmsg.Peer{Service: "imap"})
	x.authcid, x.user = name, name
	q := authdb.Query{User: name, Vars: x.vars(name)}
	if _, res, _ := authdb.LookupUser(x.cfg.Userdbs, q, nil); res == authdb.Unknown {
		return identity{}, &redeemmsg.Failed{Kind: errkind.NotFound}
	}
	rec, err := x.record(nil)
	if err != nil {
		return identity{}, &redeemmsg.Failed{Kind: errkind.Unavailable, Text: "the userdb failed; the log has the reason"}
	}
	return rec, nil
}

// guest is a user as lists see him: his groups are told by nobody but the userdb and
// the settings.
func (e *Engine) guest(name string) (acl.Who, *redeemmsg.Failed) {
	rec, problem := e.user(name)
	if problem != nil {
		return acl.Who{}, problem
	}
	groups := e.config.Load().ACLGroups
	for _, f := range rec.Fields {
		if text, ok := cutField(f, settings.ACLGroups.Name()); ok {
			v, err := settings.ACLGroups.Decl().FromText(text)
			if err != nil {
				e.logger.Errorf("userdb: user %s: %s: %v", logName(name), settings.ACLGroups.Name(), err)
				return acl.Who{}, &redeemmsg.Failed{Kind: errkind.Unavailable, Text: "the userdb failed; the log has the reason"}
			}
			groups = v.([]string)
		}
	}
	groups = slices.DeleteFunc(slices.Clone(groups), func(g string) bool { return g == "" || len(g) > redeemmsg.MaxACLGroup })
	slices.Sort(groups)
	groups = slices.Compact(groups)
	if len(groups) > redeemmsg.MaxACLGroups {
		// Some of them alone could leave out one from which something is taken away.
		e.logger.Errorf("user %s is in %d groups, at most %d can be: others' mailboxes are not shown to him", logName(name), len(groups), redeemmsg.MaxACLGroups)
		return acl.Who{}, &redeemmsg.Failed{Kind: errkind.NotFound}
	}
	return acl.Who{User: name, Groups: groups}, nil
}

// Users lists the users whom the userdbs can name, in order, and the userdbs that
// cannot.
func (e *Engine) Users() (names, unlisted []string) {
	cfg := e.config.Load()
	permitted := func(id authdb.ID) bool {
		return id.N != 0 && id.N >= cfg.FirstUID && (cfg.LastUID == 0 || id.N <= cfg.LastUID)
	}
	for _, u := range cfg.Userdbs {
		list, ok, err := u.Names(permitted)
		if err != nil {
			e.logger.Errorf("userdb %s: %v", u.Name, err)
		}
		if !ok || err != nil {
			unlisted = append(unlisted, u.Name)
		}
		for _, name := range list {
			if as, err := cfg.userName(name); err == nil && as == name { // else nobody can log in by it
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), unlisted[:min(len(unlisted), 64)]
}

// Knows reports whether a userdb knows somebody, or may: one that fails is no reason
// to say no.
func (e *Engine) Knows(name string) bool {
	_, problem := e.user(name)
	return problem == nil || problem.Kind != errkind.NotFound
}

// cutField gives the value of "name=value".
func cutField(field, name string) (string, bool) {
	if len(field) > len(name) && field[:len(name)] == name && field[len(name)] == '=' {
		return field[len(name)+1:], true
	}
	return "", false
}
