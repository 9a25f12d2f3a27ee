package authdb

import (
	"fmt"
	"sort"
	"strings"

	"rookery/internal/settings"
)

// UserEntry is who a user is.
type UserEntry struct {
	UID, GID   ID
	Home       string
	GroupsUser string // system_groups_user: whose groups of /etc/group
	Fields     Fields // settings for this user
}

// Userdb is one [[userdb]].
type Userdb struct {
	Rules
	UsernameFormat settings.Template
	Defaults       []TemplateField
	Override       []TemplateField
	look           func(q Query, pass Fields) (UserEntry, bool, error)
	list           func() (*Table, error) // nil: it cannot say whom it knows
}

// PasswdFile makes u a userdb over a passwd-file; extra fields count with the
// prefix "userdb_" only.
func (u *Userdb) PasswdFile(env Env, path settings.Template) *Userdb {
	src := env.passwdFiles()
	u.look = func(q Query, _ Fields) (UserEntry, bool, error) {
		e, err := lookIn(src, path, q, (*Table).Find)
		if e == nil {
			return UserEntry{}, false, err
		}
		return UserEntry{UID: e.UID, GID: e.GID, Home: e.Home, Fields: e.Extra.WithPrefix("userdb_")}, true, nil
	}
	if !strings.Contains(path.String(), "%{") {
		u.list = func() (*Table, error) { return listed(src, path.String()) }
	}
	return u
}

func listed(src *source[*Table], path string) (*Table, error) {
	t, cut, err := src.get(path)
	if err == nil && cut {
		err = errUnsettled
	}
	return t, err
}

// Passwd makes u a userdb over the system's passwd file.
func (u *Userdb) Passwd(env Env, path settings.Template) *Userdb {
	src := newSource(env, ParsePasswd)
	u.look = func(q Query, _ Fields) (UserEntry, bool, error) {
		e, err := lookIn(src, path, q, (*Table).Find)
		if e == nil {
			return UserEntry{}, false, err
		}
		return UserEntry{UID: e.UID, GID: e.GID, Home: e.Home, GroupsUser: e.User}, true, nil
	}
	u.list = func() (*Table, error) { return listed(src, path.String()) }
	return u
}

// Names lists whom a database knows, in no order; ok is false where it cannot. permitted
// says which uids a user may have: a system has more than those with mail.
func (u *Userdb) Names(permitted func(ID) bool) (names []string, ok bool, err error) {
	if f := u.UsernameFormat.String(); u.list == nil || f != "" && f != "%{user}" {
		return nil, false, nil // which user's part a name in the file is cannot be told
	}
	t, err := u.list()
	if err != nil {
		return nil, true, err
	}
	for name, e := range t.users {
		if !e.UID.Set || permitted(e.UID) {
			names = append(names, name)
		}
	}
	return names, true, nil
}

// Static makes u a userdb that gives every user what its fields say.
func (u *Userdb) Static() *Userdb {
	u.look = func(Query, Fields) (UserEntry, bool, error) { return UserEntry{}, true, nil }
	return u
}

// Prefetch makes u a userdb that takes the passdb's userdb_ fields; without
// any the user is not found, so that the next userdb is asked.
func (u *Userdb) Prefetch() *Userdb {
	u.look = func(_ Query, pass Fields) (UserEntry, bool, error) {
		f := pass.WithPrefix("userdb_")
		return UserEntry{Fields: f}, len(f) > 0, nil
	}
	return u
}

// Look finds the user. An error is an internal failure.
func (u *Userdb) Look(q Query, pass Fields) (UserEntry, bool, error) {
	q, err := lookupName(u.UsernameFormat, q)
	if err != nil {
		return UserEntry{}, false, err
	}
	e, found, err := u.look(q, pass)
	if err != nil || !found {
		return UserEntry{}, false, err
	}
	defaults, err := expandFields(u.Defaults, q.Vars)
	if err != nil {
		return UserEntry{}, false, err
	}
	override, err := expandFields(u.Override, q.Vars)
	if err != nil {
		return UserEntry{}, false, err
	}
	own := e.Fields
	for _, step := range []struct {
		fields  Fields
		replace bool
	}{{own, true}, {override, true}, {defaults, false}} {
		if err := e.take(step.fields, step.replace); err != nil {
			return UserEntry{}, false, err
		}
	}
	e.Fields = override.other().Merge(own.other()).Merge(defaults.other())
	return e, true, nil
}

// LookupUser walks the userdbs. The error is that of the last database that failed.
func LookupUser(dbs []*Userdb, q Query, pass Fields) (UserEntry, Result, error) {
	chain := NewChain(false)
	var out UserEntry
	var failure error
	for _, u := range dbs {
		if !chain.Wants(u.Rules) {
			continue
		}
		e, found, err := u.Look(q, pass)
		res := OK
		switch {
		case err != nil:
			res, failure = Internal, fmt.Errorf("%s: %w", u.Driver, err)
		case !found:
			res = Unknown
		default:
			out = out.under(e)
		}
		chain.Report(u.Rules, res)
	}
	if res := chain.Final(); res != OK {
		return UserEntry{}, res, failure
	}
	return out, OK, nil
}

// under gives the later entry's values, and the earlier's where it has none.
func (e UserEntry) under(later UserEntry) UserEntry {
	if !later.UID.Set {
		later.UID = e.UID
	}
	if !later.GID.Set {
		later.GID = e.GID
	}
	if later.Home == "" {
		later.Home = e.Home
	}
	if later.GroupsUser == "" {
		later.GroupsUser = e.GroupsUser
	}
	later.Fields = later.Fields.Merge(e.Fields)
	return later
}

// take sets what has a place of its own out of fields; replace says whether
// they outweigh what is there.
func (e *UserEntry) take(fields Fields, replace bool) error {
	for _, f := range fields {
		switch f.Key {
		case "uid", "gid":
			id, err := parseID(f.Key, f.Value)
			if err != nil {
				return err
			}
			to := &e.UID
			if f.Key == "gid" {
				to = &e.GID
			}
			if id.Set && (replace || !to.Set) {
				*to = id
			}
		case "home":
			if replace || e.Home == "" {
				e.Home = f.Value
			}
		case "system_groups_user":
			if replace || e.GroupsUser == "" {
				e.GroupsUser = f.Value
			}
		}
	}
	return nil
}

// other gives the fields that have no place of their own, with Dovecot 2.3's
// "mail" turned into 2.4's settings.
func (f Fields) other() Fields {
	var out Fields
	for _, x := range f {
		switch x.Key {
		case "uid", "gid", "home", "system_groups_user":
		case "mail":
			out = out.Merge(mailLocation(x.Value))
		default:
			out = append(out, x)
		}
	}
	return out
}

// mailLocation reads Dovecot 2.3's "maildir:~/Maildir:INDEX=/x:CONTROL=/y".
func mailLocation(v string) Fields {
	driver, rest, ok := strings.Cut(v, ":")
	if !ok {
		return Fields{{"mail_path", v}}
	}
	parts := strings.Split(rest, ":")
	out := Fields{{"mail_driver", driver}}
	if parts[0] != "" {
		out = append(out, Field{"mail_path", parts[0]})
	}
	names := map[string]string{"INDEX": "mail_index_path", "CONTROL": "mail_control_path", "INBOX": "mail_inbox_path", "ALT": "mail_alt_path"}
	for _, p := range parts[1:] {
		key, value, _ := strings.Cut(p, "=")
		if name := names[key]; name != "" {
			out = append(out, Field{name, value})
		}
	}
	return out
}

// Settings lists the fields as "name=value", sorted, for the worker.
func (f Fields) Settings() []string {
	var out []string
	for _, x := range f {
		out = append(out, x.Key+"="+x.Value)
	}
	sort.Strings(out)
	return out
}
