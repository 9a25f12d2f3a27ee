package policy

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/settings"
	"rookery/master/internal/idents"
)

func policyOf(t *testing.T, change func(*settings.Set)) *Policy {
	t.Helper()
	db, err := idents.Read(fstest.MapFS{
		"etc/passwd": {Data: []byte("root:x:0:0::/root:\nann:x:1000:1000::/home/ann:\n")},
		"etc/group":  {Data: []byte("root:x:0:ann\nmail:x:8:ann,bob\nshadow:x:42:bob\nshared:x:2000:\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	set := settings.New()
	if change != nil {
		change(set)
	}
	return &Policy{Set: set, Idents: db}
}

func put(t *testing.T, set *settings.Set, name string, raw any) {
	t.Helper()
	if err := set.SetRaw(settings.Lookup(name), raw); err != nil {
		t.Fatal(err)
	}
}

func TestIdentify(t *testing.T) {
	p := policyOf(t, func(s *settings.Set) {
		put(t, s, "last_valid_uid", int64(2000))
		put(t, s, "first_valid_gid", int64(5))
		put(t, s, "last_valid_gid", int64(3000))
		put(t, s, "mail_access_groups", []any{"shared"})
	})
	p.Services = []idents.User{{Name: "rookery-auth", UID: 998, GID: 997}}
	ann := redeemmsg.Record{User: "ann", UID: 1000, GID: 1000, Groups: []string{"mail", "shadow", "root"}}
	for name, c := range map[string]struct {
		change func(*redeemmsg.Record)
		want   Identity
		reason string
	}{
		"system user":    {func(*redeemmsg.Record) {}, Identity{1000, 1000, []uint32{8, 2000}, true}, ""},
		"another's name": {func(r *redeemmsg.Record) { r.User = "bob" }, Identity{1000, 1000, []uint32{2000}, false}, ""},
		"another's uid":  {func(r *redeemmsg.Record) { r.UID = 1001 }, Identity{1001, 1000, []uint32{2000}, false}, ""},
		"uid 0":          {func(r *redeemmsg.Record) { r.UID = 0 }, Identity{}, "gives uid 0,"},
		"gid 0":          {func(r *redeemmsg.Record) { r.GID = 0 }, Identity{}, "gives gid 0,"},
		"uid -1":         {func(r *redeemmsg.Record) { r.UID = 1<<32 - 1 }, Identity{}, "gives uid 4294967295,"},
		"low uid":        {func(r *redeemmsg.Record) { r.UID = 499 }, Identity{}, "below first_valid_uid (500)"},
		"first uid":      {func(r *redeemmsg.Record) { r.UID = 500 }, Identity{500, 1000, []uint32{2000}, false}, ""},
		"last uid":       {func(r *redeemmsg.Record) { r.UID = 2000 }, Identity{2000, 1000, []uint32{2000}, false}, ""},
		"high uid":       {func(r *redeemmsg.Record) { r.UID = 2001 }, Identity{}, "above last_valid_uid (2000)"},
		"low gid":        {func(r *redeemmsg.Record) { r.GID = 4 }, Identity{}, "below first_valid_gid (5)"},
		"gid shadow":     {func(r *redeemmsg.Record) { r.GID = 42 }, Identity{}, "the group shadow, which is never taken"},
		"authd's uid":    {func(r *redeemmsg.Record) { r.UID = 998 }, Identity{}, "rookery-auth is a user of the server itself"},
		"authd's gid":    {func(r *redeemmsg.Record) { r.GID = 997 }, Identity{}, "rookery-auth is a user of the server itself"},
		"high gid":       {func(r *redeemmsg.Record) { r.GID = 3001 }, Identity{}, "above last_valid_gid (3000)"},
	} {
		r := ann
		c.change(&r)
		got, err := p.Identify(r)
		if c.reason == "" && (err != nil || !reflect.DeepEqual(got, c.want)) || c.reason != "" && (err == nil || !strings.Contains(err.Error(), c.reason)) {
			t.Errorf("%s: %+v, %v; want %+v %s", name, got, err, c.want, c.reason)
		}
	}
	p = policyOf(t, func(s *settings.Set) { put(t, s, "mail_access_groups", []any{"none"}) })
	if _, err := p.Identify(ann); err == nil {
		t.Error("a group that is not there was passed over")
	}
	p.OneUID = 1234
	if got, err := p.Identify(redeemmsg.Record{User: "x"}); err != nil || got.UID != 1234 {
		t.Errorf("%+v %v", got, err)
	}
}

// What differs between two sessions must or must not part their workers.
func TestKey(t *testing.T) {
	p := policyOf(t, nil)
	base := redeemmsg.Record{User: "ann", UID: 1000, GID: 1000, Home: "/h", Fields: []string{"mail_path=/m"}}
	key := func(p *Policy, service string, r redeemmsg.Record) any {
		t.Helper()
		g, err := p.Grant(service, r)
		if err != nil {
			t.Fatal(err)
		}
		return g.Key
	}
	was := key(p, "imap", base)
	same := base
	same.Mech, same.TLS, same.Remote, same.Local = "PLAIN", true, netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2")
	if key(p, "imap", same) != was {
		t.Error("another session has another worker")
	}
	for name, change := range map[string]func(*redeemmsg.Record){
		"user": func(r *redeemmsg.Record) { r.User = "bob" }, "uid": func(r *redeemmsg.Record) { r.UID++ }, "gid": func(r *redeemmsg.Record) { r.GID++ },
		"home": func(r *redeemmsg.Record) { r.Home = "/i" }, "fields": func(r *redeemmsg.Record) { r.Fields = nil },
		"groups": func(r *redeemmsg.Record) { r.Groups = []string{"mail"} }, "master": func(r *redeemmsg.Record) { r.Master = "m" },
		"anonymous": func(r *redeemmsg.Record) { r.Anonymous = true },
	} {
		r := base
		change(&r)
		if key(p, "imap", r) == was {
			t.Errorf("%s: one worker for two records", name)
		}
	}
	if key(p, "pop3", base) == was {
		t.Error("one worker for two services")
	}
	changed := policyOf(t, func(s *settings.Set) { put(t, s, "mail_max_keyword_length", int64(60)) })
	if key(changed, "imap", base) == was {
		t.Error("one worker for two generations of its settings")
	}
	other := policyOf(t, func(s *settings.Set) { put(t, s, "login_greeting", "Hi.") })
	if key(other, "imap", base) != was {
		t.Error("a setting that the worker does not get parts workers")
	}
}

func TestLimits(t *testing.T) {
	p := policyOf(t, func(s *settings.Set) {
		put(t, s, "mail_max_userip_connections", int64(7))
		put(t, s, "limits_exempt_networks", []any{"127.0.0.0/8"})
	})
	r := redeemmsg.Record{User: "ann", UID: 1000, GID: 1000, Remote: netip.MustParseAddrPort("192.0.2.1:1")}
	g, err := p.Grant("imap", r)
	if err != nil || g.MaxIP != 7 || g.MaxUser != 200 || g.NoIP {
		t.Errorf("%+v %v", g, err)
	}
	r.Fields = []string{"mail_max_user_connections=3", "mail_max_userip_connections=0"}
	r.Remote = netip.MustParseAddrPort("[::ffff:127.0.0.1]:1")
	g, err = p.Grant("imap", r)
	if err != nil || g.MaxIP != 0 || g.MaxUser != 3 || !g.NoIP {
		t.Errorf("%+v %v", g, err)
	}
	r.Fields = []string{"first_valid_uid=1"}
	if _, err := p.Grant("imap", r); err == nil {
		t.Error("a userdb set what only the configuration may")
	}
}

func TestDirs(t *testing.T) {
	p := policyOf(t, func(s *settings.Set) {
		put(t, s, "mail_inbox_path", "/var/mail/%{user}")
		put(t, s, "rawlog_dir", "%{home}/rawlog")
	})
	got, err := p.Dirs("imap", redeemmsg.Record{User: "ann", Home: "/home/ann/"})
	want := Dirs{Make: []string{"/home/ann/Maildir", "/var/mail/ann"}, Also: []string{"/home/ann/rawlog"}, Home: "/home/ann"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %v", got, err)
	}
	for _, r := range []redeemmsg.Record{
		{User: "../bob", Home: "/home/x"}, {User: "ann", Home: ""}, {User: "ann", Home: "relative"}, {User: "ann", Home: "/home/../root"},
		{User: "ann", Home: "/h", Fields: []string{"mail_path=/"}},
	} {
		if got, err := p.Dirs("imap", r); err == nil {
			t.Errorf("%+v gave %+v", r, got)
		}
	}
}

func TestRoots(t *testing.T) {
	for _, c := range []struct {
		dirs []string
		home string
		want []Root
	}{
		{[]string{"/h/a/Maildir"}, "/h/a", []Root{{"/h/a/Maildir", true}}},
		{[]string{"/m/a", "/m/a/index", "/m/a"}, "", []Root{{"/m/a", true}}},
		{[]string{"/h/a/M", "/h/a/index"}, "/h/a", []Root{{"/h/a", true}, {"/h/a/M", false}, {"/h/a/index", false}}},
		{[]string{"/h/a/M", "/h/ab"}, "/h/a", []Root{{"/h/a/M", false}, {"/h/ab", false}}},
		{[]string{"/h/a/M", "/var/mail/a"}, "/", []Root{{"/h/a/M", false}, {"/var/mail/a", false}}},
	} {
		if got := Roots(c.dirs, c.home); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v, home %q: %v, want %v", c.dirs, c.home, got, c.want)
		}
	}
}

func TestSharedIdentity(t *testing.T) {
	for _, c := range []struct {
		uid, gid string
		want     Identity
		ok       bool
	}{
		{"", "", Identity{}, false},
		{"5000", "2000", Identity{UID: 5000, GID: 2000}, true},
		{"ann", "shared", Identity{UID: 1000, GID: 2000}, true},
		{"ann", "nothing", Identity{}, false},
		{"5000", "", Identity{}, false},
		{"root", "shared", Identity{}, false},
		{"5000", "0", Identity{}, false},
	} {
		p := policyOf(t, func(s *settings.Set) {
			put(t, s, "mail_uid", c.uid)
			put(t, s, "mail_gid", c.gid)
		})
		got, ok := p.SharedIdentity()
		if ok != c.ok || ok && !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q %q: %+v %t", c.uid, c.gid, got, ok)
		}
		if SharesUID(p.Set) != (c.uid != "") {
			t.Errorf("%q: shares a uid: %t", c.uid, SharesUID(p.Set))
		}
	}
}

// How many of others' mail a user may have open, and how many may have his, are
// settings that a userdb may set for one user.
func TestGuestLimits(t *testing.T) {
	set := settings.New()
	settings.MailMaxGuestConnections.Put(set, 3)
	settings.MailMaxGuests.Put(set, 4)
	p := &Policy{Set: set}
	for _, c := range []struct {
		fields         []string
		visits, guests int
	}{{nil, 3, 4}, {[]string{"mail_max_guest_connections=5", "mail_max_guests=6"}, 5, 6}} {
		g, err := p.Grant("imap", redeemmsg.Record{User: "ann", Fields: c.fields})
		if err != nil || g.MaxVisits != c.visits || g.MaxGuests != c.guests {
			t.Errorf("%q: %d, %d, %v", c.fields, g.MaxVisits, g.MaxGuests, err)
		}
	}
}
