package policy

import (
	"slices"

	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/settings"
)

// SharesUID reports whether the settings keep several users under one uid
// whoever logs in: mail_uid, or a userdb that gives all its users one.
func SharesUID(set *settings.Set) bool {
	uid, _ := sharedTexts(set)
	return uid != ""
}

// sharedTexts are uid and gid as the settings give them to all users; "" if
// they do not.
func sharedTexts(set *settings.Set) (uid, gid string) {
	uid, gid = settings.MailUID.Get(set), settings.MailGID.Get(set)
	for _, db := range set.Userdbs() {
		if t, ok := db.Fields.Get("uid"); ok {
			uid = t.String()
		}
		if t, ok := db.Fields.Get("gid"); ok {
			gid = t.String()
		}
	}
	return uid, gid
}

// SharedIdentity is whom the workers of all users run as, where the settings
// say so: spares can then wait before the first login.
func (p *Policy) SharedIdentity() (Identity, bool) {
	uidText, gidText := sharedTexts(p.Set)
	uid, ok := settings.UIDText(uidText)
	if u, named := p.Idents.Lookup(uidText); named {
		uid, ok = u.UID, true
	}
	gid, isNumber := settings.UIDText(gidText)
	if !isNumber {
		var found bool
		if gid, found = p.Idents.Group(gidText); !found {
			ok = false
		}
	}
	if !ok || p.OneUID != 0 {
		return Identity{}, false
	}
	id, err := p.Identify(redeemmsg.Record{UID: uid, GID: gid})
	slices.Sort(id.Groups)
	return id, err == nil
}
