package authdb

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"rookery/internal/settings"
)

// memFiles is a tree of files in memory.
type memFiles struct {
	files map[string]string
	stamp map[string]Stamp
	reads int
	fail  error
}

func newMemFiles() *memFiles {
	return &memFiles{files: map[string]string{}, stamp: map[string]Stamp{}}
}

func (m *memFiles) put(path, text string, at time.Time) {
	m.files[path] = text
	s := m.stamp[path]
	m.stamp[path] = Stamp{Inode: s.Inode, Size: int64(len(text)), ModTime: at}
}

func (m *memFiles) Stat(path string) (Stamp, error) {
	if m.fail != nil {
		return Stamp{}, m.fail
	}
	if _, ok := m.files[path]; !ok {
		return Stamp{}, fmt.Errorf("stat %s: %w", path, fs.ErrNotExist)
	}
	return m.stamp[path], nil
}

func (m *memFiles) Read(path string, limit int64) ([]byte, Stamp, error) {
	m.reads++
	return []byte(m.files[path]), m.stamp[path], nil
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

type world struct {
	files    *memFiles
	now      time.Time
	problems []string
}

func newWorld() *world { return &world{files: newMemFiles(), now: epoch} }

func (w *world) env() Env {
	return Env{Files: w.files, Now: func() time.Time { return w.now }, Report: func(ps []Problem) {
		for _, p := range ps {
			w.problems = append(w.problems, p.String())
		}
	}}
}

func tmpl(t testing.TB, s string) settings.Template {
	t.Helper()
	out, err := settings.ParseTemplate(s, []string{"user", "remote_ip", "protocol"})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func query(user string) Query {
	return Query{User: user, Mech: "PLAIN", Vars: settings.Vars{"user": user, "remote_ip": "192.0.2.7", "protocol": "imap"}}
}

func showEntry(e *Entry) string {
	if e == nil {
		return "none"
	}
	id := func(i ID) string {
		if !i.Set {
			return "-"
		}
		return fmt.Sprint(i.N)
	}
	return fmt.Sprintf("%q %v uid=%s gid=%s home=%q %v", e.Password, e.HasPassword, id(e.UID), id(e.GID), e.Home, e.Extra)
}

func TestParsePasswdFile(t *testing.T) {
	text := strings.Join([]string{
		"# comment",
		"",
		":leading colon:x",
		"full:{PLAIN}pass:1000:1001:Gecos, here:/home/full:/bin/sh:userdb_mail=maildir:/srv/full:INDEX=/x allow_nets=2001:db8::/32,192.0.2.1 nodelay",
		"bare",
		"pass:{SHA256}abc=",
		"crlf:x:1:2::/h::a=b\r",
		"badid:x:abc:1::",
		"bigid:x:4294967295:1::",
		"dup:one",
		"dup:two",
		"old13:abcdefghijklm[13]",
		"old34:00112233[34]",
		"old56:00112233[56]",
		"pw:with::::/home/pw",
		"nul:\x00:1:1",
		"ctl\x01:x",
		"flag:x::::::nologin=no reason=closed",
		"badfield:x::::::=v",
		"twice:x::::::a=1 a=2",
		"u with space@d:x",
		strings.Repeat("l", 256) + ":x",
		"last:x:5:6",
	}, "\n")
	table, problems := ParsePasswdFile("/etc/rookery/users", []byte(text))
	want := map[string]string{
		"full":           `"{PLAIN}pass" true uid=1000 gid=1001 home="/home/full" [{userdb_mail maildir:/srv/full:INDEX=/x} {allow_nets 2001:db8::/32,192.0.2.1} {nodelay yes}]`,
		"bare":           `"" false uid=- gid=- home="" []`,
		"pass":           `"{SHA256}abc=" true uid=- gid=- home="" []`,
		"crlf":           `"x" true uid=1 gid=2 home="/h" [{a b}]`,
		"badid":          "none",
		"bigid":          "none",
		"dup":            `"one" true uid=- gid=- home="" []`,
		"old13":          `"{CRYPT}abcdefghijklm" true uid=- gid=- home="" []`,
		"old34":          `"{PLAIN-MD5}00112233" true uid=- gid=- home="" []`,
		"old56":          `"{DIGEST-MD5}00112233" true uid=- gid=- home="" []`,
		"pw":             `"with" true uid=- gid=- home="/home/pw" []`,
		"flag":           `"x" true uid=- gid=- home="" [{nologin no} {reason closed}]`,
		"twice":          `"x" true uid=- gid=- home="" [{a 1}]`,
		"u with space@d": `"x" true uid=- gid=- home="" []`,
		"last":           `"x" true uid=5 gid=6 home="" []`,
		"":               "none",
		"# comment":      "none",
		"leading colon":  "none",
	}
	for user, entry := range want {
		if got := showEntry(table.Find(user)); got != entry {
			t.Errorf("%q: got %s\nwant %s", user, got, entry)
		}
	}
	wantProblems := []string{
		`/etc/rookery/users:8: user badid: uid "abc" is not a number from 0 to 4294967294 (line skipped)`,
		`/etc/rookery/users:9: user bigid: uid "4294967295" is not a number from 0 to 4294967294 (line skipped)`,
		`/etc/rookery/users:11: user dup is already on line 10, which counts (line skipped)`,
		`/etc/rookery/users:16: NUL byte in line (line skipped)`,
		`/etc/rookery/users:17: control character in user name (line skipped)`,
		`/etc/rookery/users:18: user flag: nologin=no still means nologin, as a field's presence decides; remove it`,
		`/etc/rookery/users:19: user badfield: extra field "=v" has no name (line skipped)`,
		`/etc/rookery/users:20: user twice: extra field a is there twice, the first counts`,
		`/etc/rookery/users:22: user name of 256 bytes, at most 255 (line skipped)`,
	}
	var got []string
	for _, p := range problems {
		got = append(got, p.String())
	}
	if !slices.Equal(got, wantProblems) {
		t.Errorf("problems:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(wantProblems, "\n"))
	}
}

func TestParsePasswd(t *testing.T) {
	table, problems := ParsePasswd("/etc/passwd", []byte("root:x:0:0:root:/root:/bin/sh\n+nis::::::\nbad:x:1\nnoid:x::1::/h:/s\nann:x:1000:1000:Ann,,,:/home/ann:/bin/sh\n"))
	if got := showEntry(table.Find("ann")); got != `"x" true uid=1000 gid=1000 home="/home/ann" []` {
		t.Error(got)
	}
	if table.Len() != 2 || len(problems) != 2 || problems[0].String() != "/etc/passwd:3: 3 fields, need 7 (line skipped)" ||
		problems[1].String() != "/etc/passwd:4: user noid: no uid or gid (line skipped)" {
		t.Errorf("%d users, %v", table.Len(), problems)
	}
}

func TestShadow(t *testing.T) {
	day := epoch.Unix() / 86400
	text := fmt.Sprintf("ok:$6$x$y:%d:0:99999:7:::\nlocked:!$6$x$y:1:0:99999:7:::\nstar:*:1:0:99999:7:::\nempty::1:0:99999:7:::\n"+
		"expired:$6$x:%d:0:99999:7::%d:\ntoday:$6$x:%d::::: %d:\nlast:$6$x:%d:0:99999:7::%d:\naged:$6$x:%d:0:30:7:::\nage30:$6$x:%d:0:30:7:::\n"+
		"change:$6$x:0:0:99999:7:::\nshort:x:1\nok:again:1:0:99999:7:::\nnever:$6$x:::::::\n",
		day, day, day, day, day, day, day+1, day-31, day-30)
	table, problems := ParseShadow("/etc/shadow", []byte(text))
	for user, want := range map[string]ShadowState{
		"ok": ShadowOK, "locked": ShadowLocked, "star": ShadowLocked, "empty": ShadowNoPasswd, "expired": ShadowExpired,
		"last": ShadowOK, "aged": ShadowAged, "age30": ShadowOK, "change": ShadowAged, "never": ShadowOK,
	} {
		e := table.Find(user)
		if e == nil || e.State(epoch) != want {
			t.Errorf("%s: %+v, want state %d", user, e, want)
		}
	}
	if len(problems) != 3 || problems[0].Line != 6 || problems[1].String() != "/etc/shadow:11: 3 fields, need 9 (line skipped)" ||
		problems[2].String() != "/etc/shadow:12: user ok is already on line 1, which counts (line skipped)" {
		t.Errorf("%v", problems)
	}
}

func TestAllowNets(t *testing.T) {
	for _, c := range []struct {
		list, remote string
		want, bad    bool
	}{
		{"192.0.2.0/24", "192.0.2.7", true, false},
		{"192.0.2.0/24", "192.0.3.7", false, false},
		{"192.0.2.0/24", "::ffff:192.0.2.7", true, false},
		{"192.0.2.7", "192.0.2.7", true, false},
		{"10.0.0.1, 2001:db8::/32", "2001:db8:1::5", true, false},
		{"local", "192.0.2.7", false, false},
		{"local", "", true, false},
		{"192.0.2.0/24", "", false, false},
		{"", "192.0.2.7", false, false},
		{"192.0.2.0/33", "192.0.2.7", false, true},
		{"localhost", "127.0.0.1", false, true},
	} {
		var remote netip.Addr
		if c.remote != "" {
			remote = netip.MustParseAddr(c.remote)
		}
		got, err := AllowNets(c.list, remote)
		if got != c.want || (err != nil) != c.bad {
			t.Errorf("AllowNets(%q, %s) = %v, %v", c.list, c.remote, got, err)
		}
	}
}

func TestRereading(t *testing.T) {
	w := newWorld()
	p := (&Passdb{}).PasswdFile(w.env(), tmpl(t, "/users"))
	look := func() string {
		e, err := p.Look(query("u"))
		if err != nil {
			return "error: " + err.Error()
		}
		return fmt.Sprintf("%v %s", e.Found, e.Stored)
	}
	if got := look(); !strings.HasPrefix(got, "error: stat /users") {
		t.Errorf("no file: %s", got)
	}
	w.files.put("/users", "u:1\nbroken:x:y\n", epoch.Add(-time.Hour))
	for range 3 {
		if got := look(); got != "true 1" {
			t.Errorf("got %s", got)
		}
	}
	if w.files.reads != 1 {
		t.Errorf("an unchanged file was read %d times", w.files.reads)
	}
	if len(w.problems) != 1 {
		t.Errorf("problems %q, want one", w.problems)
	}
	// The same size and another mtime; the same mtime and another inode.
	w.files.put("/users", "u:2\nbroken:x:y\n", epoch.Add(-time.Minute))
	if got := look(); got != "true 2" {
		t.Errorf("changed mtime: %s", got)
	}
	s := w.files.stamp["/users"]
	s.Inode++
	w.files.files["/users"], w.files.stamp["/users"] = "u:3\nbroken:x:y\n", s
	if got := look(); got != "true 3" {
		t.Errorf("changed inode: %s", got)
	}
	// Written within the clock's grain of our reading: read once more later.
	w.files.put("/users", "u:4\n", w.now)
	look()
	w.files.files["/users"] = "u:5\n"
	if got := look(); got != "true 4" {
		t.Errorf("at once: %s", got)
	}
	w.now = w.now.Add(3 * time.Second)
	if got := look(); got != "true 5" {
		t.Errorf("later: %s", got)
	}
	reads := w.files.reads
	w.now = w.now.Add(3 * time.Second)
	look()
	if w.files.reads != reads {
		t.Error("read again although nothing is in doubt")
	}
	delete(w.files.files, "/users")
	if got := look(); !strings.HasPrefix(got, "error: ") {
		t.Errorf("removed: %s", got)
	}
}

// A path per domain; no file is an unknown user, and no name leaves the place.
func TestPathWithVariables(t *testing.T) {
	w := newWorld()
	w.files.put("/etc/auth/example.test/users", "u@example.test:1\n", epoch)
	w.files.put("/etc/users", "evil:1\n", epoch)
	p := (&Passdb{}).PasswdFile(w.env(), tmpl(t, "/etc/auth/%{user | domain}/users"))
	for user, want := range map[string]string{
		"u@example.test": "true", "x@example.test": "false", "u@other.test": "false",
		"evil@..": "false", "evil@.": "false", "evil@../../etc": "false", "evil": "false",
	} {
		e, err := p.Look(query(user))
		if got := fmt.Sprint(e.Found); got != want || err != nil {
			t.Errorf("%s: %s, %v; want %s", user, got, err, want)
		}
	}
	for i := range 2 * maxCached {
		path := fmt.Sprintf("/etc/auth/d%d/users", i)
		w.files.put(path, "u:1\n", epoch)
		if _, err := p.Look(query(fmt.Sprintf("u@d%d", i))); err != nil {
			t.Fatal(err)
		}
	}
}

// A file that is emptied and written anew in place must not turn its users into
// unknown ones: their passwords would be called wrong.
func TestFileBeingWritten(t *testing.T) {
	w := newWorld()
	path := tmpl(t, "/users")
	pass, user := (&Passdb{}).PasswdFile(w.env(), path), (&Userdb{}).PasswdFile(w.env(), path)
	shadow := (&Passdb{}).Shadow(w.env(), path)
	look := func(name, want string) {
		t.Helper()
		e, err := pass.Look(query(name))
		got := e.Stored
		if err != nil {
			got = "error"
		} else if !e.Found {
			got = "none"
		}
		if got != want {
			t.Fatalf("%s: %s, want %s (%v)", name, got, want, err)
		}
	}
	w.files.put("/users", "ann:1\nbob:2\n", w.now.Add(-time.Hour))
	look("bob", "2")
	w.files.put("/users", "", w.now)
	look("bob", "error")
	if _, _, err := user.Look(query("bob"), nil); !errors.Is(err, errUnsettled) {
		t.Fatal("userdb:", err)
	}
	if _, err := shadow.Look(query("bob")); !errors.Is(err, errUnsettled) {
		t.Fatal("shadow:", err)
	}
	w.files.put("/users", "ann:1\nbo", w.now)
	look("ann", "1")
	look("bob", "error")
	look("bo", "error")
	w.files.put("/users", "ann:1\nbob:2\n", w.now)
	look("bob", "2")
	look("eve", "none")
	w.files.put("/users", "ann:1\nbob:3", w.now) // as an editor leaves it that ends no last line
	look("bob", "error")
	w.now = w.now.Add(mtimeDoubt)
	look("bob", "3")
	look("eve", "none")
	w.files.put("/users", "", w.now)
	w.now = w.now.Add(mtimeDoubt)
	look("ann", "none") // nobody wrote it for two seconds: it is meant so
	w.files.put("/users", "", w.now.Add(time.Hour))
	look("ann", "none") // a clock that went back is no writer
}

func TestCacheIsBounded(t *testing.T) {
	w := newWorld()
	s := newSource(w.env(), ParsePasswdFile)
	for i := range 2 * maxCached {
		path := fmt.Sprintf("/f%d", i)
		w.files.put(path, "u:1\n", epoch)
		w.now = w.now.Add(time.Second)
		if _, _, err := s.get(path); err != nil {
			t.Fatal(err)
		}
		if len(s.cached) > maxCached {
			t.Fatalf("%d files are cached", len(s.cached))
		}
	}
}

func TestPassdbShadow(t *testing.T) {
	w := newWorld()
	day := epoch.Unix() / 86400
	w.files.put("/etc/shadow", fmt.Sprintf("ok:$6$x$y:%d:0:99999:7:::\nlocked:!$6$x$y:1:0:99999:7:::\nempty::1:0:99999:7:::\naged:$6$a:1:0:30:7:::\n", day), epoch)
	p := (&Passdb{}).Shadow(w.env(), tmpl(t, "/etc/shadow"))
	for user, want := range map[string]PassEntry{
		"ok":     {Found: true, Stored: "$6$x$y"},
		"locked": {Found: true, State: Disabled},
		"empty":  {Found: true, State: Disabled},
		"aged":   {Found: true, Stored: "$6$a", State: Expired},
		"nobody": {},
	} {
		got, err := p.Look(query(user))
		if err != nil || got.Found != want.Found || got.Stored != want.Stored || got.State != want.State {
			t.Errorf("%s: %+v, %v", user, got, err)
		}
	}
}

func TestUsernameFormat(t *testing.T) {
	w := newWorld()
	w.files.put("/users", "ann:x:5:6\n", epoch)
	p := (&Passdb{UsernameFormat: tmpl(t, "%{user | username}")}).PasswdFile(w.env(), tmpl(t, "/users"))
	u := (&Userdb{UsernameFormat: tmpl(t, "%{user | username}")}).PasswdFile(w.env(), tmpl(t, "/users"))
	if e, err := p.Look(query("ann@example.test")); !e.Found || err != nil {
		t.Errorf("passdb: %+v %v", e, err)
	}
	if e, found, err := u.Look(query("ann@example.test"), nil); !found || e.UID.N != 5 || err != nil {
		t.Errorf("userdb: %+v %v", e, err)
	}
}

func TestFieldsOfConfiguration(t *testing.T) {
	w := newWorld()
	w.files.put("/users", "u:x:::::: a=own b=own\n", epoch)
	p := &Passdb{Defaults: []TemplateField{{"a", tmpl(t, "default")}, {"c", tmpl(t, "%{user}")}}, Override: []TemplateField{{"b", tmpl(t, "forced %{remote_ip}")}}}
	p.PasswdFile(w.env(), tmpl(t, "/users"))
	e, err := p.Look(query("u"))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"a": "own", "b": "forced 192.0.2.7", "c": "u"} {
		if got, _ := e.Fields.Get(key); got != want {
			t.Errorf("%s=%q, want %q", key, got, want)
		}
	}
}

// What a database holds is text: a user name or a home with %{…} is not expanded.
func TestNoDoubleExpansion(t *testing.T) {
	w := newWorld()
	w.files.put("/users", "%{remote_ip}:x:1:1::/home/%{user}::userdb_x=%{user}\n", epoch)
	u := (&Userdb{Defaults: []TemplateField{{"y", tmpl(t, "<%{user}>")}}}).PasswdFile(w.env(), tmpl(t, "/users"))
	e, found, err := u.Look(query("%{remote_ip}"), nil)
	if err != nil || !found || e.Home != "/home/%{user}" {
		t.Errorf("%+v %v %v", e, found, err)
	}
	if got := strings.Join(e.Fields.Settings(), " "); got != "x=%{user} y=<%{remote_ip}>" {
		t.Errorf("fields %s", got)
	}
}

// With auth_username_chars = "" a name may hold anything, but it leads no path
// into another user's folder.
func TestNamesInPaths(t *testing.T) {
	for _, key := range []string{"home", "mail_path", "mail", "rawlog_dir"} {
		u := (&Userdb{Override: []TemplateField{{key, tmpl(t, "/v/%{user}")}}}).Static()
		for _, name := range []string{"bob/Maildir", "%{home}", ".", ".."} {
			if e, _, err := u.Look(query(name), nil); err == nil {
				t.Errorf("%s of %q: %+v", key, name, e)
			}
		}
		if _, _, err := u.Look(query("bob"), nil); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	u := (&Userdb{Override: []TemplateField{{"x", tmpl(t, "%{user}")}}}).Static()
	if _, _, err := u.Look(query("a/b"), nil); err != nil {
		t.Errorf("a field that is no path: %v", err)
	}
}

func TestUserdbs(t *testing.T) {
	w := newWorld()
	w.files.put("/users", "u:x:1000:1001::/home/u::userdb_quota=1G plain=x userdb_home=/over\nnoid:x\n", epoch)
	w.files.put("/etc/passwd", "ann:x:1002:1003:Ann:/home/ann:/bin/sh\n", epoch)
	env := w.env()
	static := func(fields ...TemplateField) *Userdb {
		return (&Userdb{Defaults: fields, Rules: Rules{Driver: "static"}}).Static()
	}
	file := (&Userdb{Rules: Rules{Driver: "passwd-file"}}).PasswdFile(env, tmpl(t, "/users"))
	passwd := (&Userdb{Rules: Rules{Driver: "passwd"}}).Passwd(env, tmpl(t, "/etc/passwd"))
	over := (&Userdb{Override: []TemplateField{{"uid", tmpl(t, "7")}, {"home", tmpl(t, "/v/%{user}")}}, Rules: Rules{Driver: "passwd-file"}}).PasswdFile(env, tmpl(t, "/users"))
	show := func(e UserEntry, r Result, err error) string {
		return fmt.Sprintf("%v %v/%v %s %s %s", r, e.UID.N, e.GID.N, e.Home, e.GroupsUser, strings.Join(e.Fields.Settings(), " "))
	}
	for _, c := range []struct {
		name, user string
		dbs        []*Userdb
		pass       Fields
		want       string
	}{
		{"file", "u", []*Userdb{file}, nil, "0 1000/1001 /over  quota=1G"},
		{"unknown", "x", []*Userdb{file}, nil, "2 0/0   "},
		{"passwd", "ann", []*Userdb{file, passwd}, nil, "0 1002/1003 /home/ann ann "},
		{"override", "u", []*Userdb{over}, nil, "0 7/1001 /v/u  quota=1G"},
		{"static", "u@d", []*Userdb{static(TemplateField{"uid", tmpl(t, "5")}, TemplateField{"gid", tmpl(t, "6")}, TemplateField{"home", tmpl(t, "/h/%{user | domain}/%{user | username}")})}, nil, "0 5/6 /h/d/u  "},
		{"bad uid", "u", []*Userdb{static(TemplateField{"uid", tmpl(t, "%{user}")})}, nil, "6 0/0   "},
		{"prefetch", "p", []*Userdb{(&Userdb{}).Prefetch(), file}, Fields{{"userdb_uid", "9"}, {"userdb_mail", "maildir:~/M:INDEX=/i"}, {"nodelay", "yes"}}, "0 9/0   mail_driver=maildir mail_index_path=/i mail_path=~/M"},
		{"no prefetch", "u", []*Userdb{(&Userdb{}).Prefetch(), file}, Fields{{"nodelay", "yes"}}, "0 1000/1001 /over  quota=1G"},
		{"continue", "u", []*Userdb{{Rules: Rules{OnSuccess: ContinueOK}, look: file.look}, static(TemplateField{"uid", tmpl(t, "3")}, TemplateField{"z", tmpl(t, "1")})}, nil, "0 3/1001 /over  quota=1G z=1"},
	} {
		e, r, err := LookupUser(c.dbs, query(c.user), c.pass)
		if got := show(e, r, err); got != c.want {
			t.Errorf("%s: got  %q\nwant %q (%v)", c.name, got, c.want, err)
		}
	}
	w.files.fail = errors.New("i/o error")
	if _, r, err := LookupUser([]*Userdb{file}, query("u"), nil); r != Internal || err == nil || err.Error() != "passwd-file: i/o error" {
		t.Errorf("failure: %v %v", r, err)
	}
}

// The chain's rules, one row each: databases' actions and results, then the end.
func TestChain(t *testing.T) {
	type step struct {
		r   Rules
		res Result
	}
	def := Rules{}
	for _, c := range []struct {
		name  string
		steps []step
		want  Result
		asked int
	}{
		{"first success ends", []step{{def, OK}, {def, Mismatch}}, OK, 1},
		{"failure goes on", []step{{def, Mismatch}, {def, OK}}, OK, 2},
		{"all fail", []step{{def, Mismatch}, {def, Unknown}}, Mismatch, 2},
		{"unknown", []step{{def, Unknown}, {def, Unknown}}, Unknown, 2},
		{"internal outweighs mismatch", []step{{def, Internal}, {def, Mismatch}}, Internal, 2},
		{"success outweighs internal", []step{{def, Internal}, {def, OK}}, OK, 2},
		{"return-fail on failure", []step{{Rules{OnFailure: ReturnFail}, Mismatch}, {def, OK}}, Mismatch, 1},
		{"return keeps what was", []step{{Rules{OnSuccess: ContinueOK}, OK}, {Rules{OnFailure: Return}, Unknown}, {def, Mismatch}}, OK, 2},
		{"return without success", []step{{Rules{OnFailure: Return}, Unknown}, {def, OK}}, Unknown, 1},
		{"continue leaves failure", []step{{Rules{OnSuccess: Continue}, OK}, {def, Unknown}}, Unknown, 2},
		{"continue-ok holds", []step{{Rules{OnSuccess: ContinueOK}, OK}, {def, Mismatch}}, OK, 2},
		{"continue-fail takes it back", []step{{Rules{OnSuccess: ContinueOK}, OK}, {Rules{OnFailure: ContinueFail}, Mismatch}}, Mismatch, 2},
		{"return-ok on failure", []step{{Rules{OnFailure: ReturnOK}, Unknown}}, OK, 1},
		{"internal may end", []step{{Rules{OnInternal: ReturnFail}, Internal}, {def, OK}}, Internal, 1},
		{"skip authenticated", []step{{Rules{OnSuccess: ContinueOK}, OK}, {Rules{Skip: SkipAuthenticated, OnFailure: ReturnFail}, Mismatch}}, OK, 1},
		{"skip unauthenticated", []step{{Rules{Skip: SkipUnauthenticated}, OK}, {def, Mismatch}}, Mismatch, 1},
	} {
		chain, asked := NewChain(false), 0
		for _, s := range c.steps {
			if chain.Wants(s.r) {
				asked++
				chain.Report(s.r, s.res)
			}
		}
		if got := chain.Final(); got != c.want || asked != c.asked {
			t.Errorf("%s: %v after %d, want %v after %d", c.name, got, asked, c.want, c.asked)
		}
	}
	chain := NewChain(true)
	chain.Deny()
	if chain.Final() != Disabled || !chain.Ended() {
		t.Error("deny does not end the walk")
	}
}

func TestMatchUser(t *testing.T) {
	for _, c := range []struct {
		filter, user string
		want         bool
	}{
		{"", "u", true}, {"*@a", "u@a", true}, {"*@a", "u@b", false}, {"!*@a", "u@a", false}, {"!*@a", "u@b", true},
		{"u? !ux", "uy", true}, {"u? !ux", "ux", false}, {"*a*b*", "xaxbx", true}, {"*a*b*", "xbxax", false}, {"a, b", "b", true},
	} {
		if got := MatchUser(c.filter, c.user); got != c.want {
			t.Errorf("MatchUser(%q, %q) = %v", c.filter, c.user, got)
		}
	}
}

func FuzzPasswdFile(f *testing.F) {
	f.Add([]byte("u:{PLAIN}p:1:2:g:/h:/s:a=b c\n"))
	f.Add([]byte("u:x[34]\r\n#\n:x\nu:y\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		table, problems := ParsePasswdFile("/f", data)
		for user, e := range table.users {
			if user == "" || user != e.User || checkUser(user) != nil || len(e.Extra) > MaxFields {
				t.Errorf("%q: %+v", user, e)
			}
		}
		for _, p := range problems {
			if strings.ContainsAny(p.String(), "\n\x00\x1b") {
				t.Errorf("problem %q would break a log line", p.String())
			}
		}
		ParsePasswd("/f", data)
		if st, _ := ParseShadow("/f", data); st != nil {
			for _, e := range st.users {
				e.State(epoch)
			}
		}
	})
}
