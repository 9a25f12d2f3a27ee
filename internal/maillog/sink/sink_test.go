package sink

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"rookery/internal/ipc/logmsg"
)

var at = time.Date(2026, 11, 2, 8, 5, 9, 0, time.UTC)

func TestLineShapes(t *testing.T) {
	login := &Line{Time: at, Role: "login", PID: 7, Event: &logmsg.Event{Level: logmsg.Info, Prefix: "imap-login", Session: "s1",
		Text: "Disconnected (auth failed, 1 attempts in 2 secs): user=<u>, method=PLAIN, rip=192.0.2.7, lip=192.0.2.1, session=<s1>"}}
	worker := &Line{Time: at, Role: "imap", User: "ann", PID: 4711, Event: &logmsg.Event{Level: logmsg.Error, Session: "s1", Text: "disk full",
		KV: []logmsg.Field{{Key: "mailbox", Value: "a b"}, {Key: "n", Value: "3"}}}}
	cases := []struct{ name, got, want string }{
		{"file", string(login.AppendFile(nil, &Style{})), "Nov 02 08:05:09 imap-login: Info: Disconnected (auth failed, 1 attempts in 2 secs): user=<u>, method=PLAIN, rip=192.0.2.7, lip=192.0.2.1, session=<s1>\n"},
		{"syslog", string(login.AppendSyslog(nil, &Style{}, "mail", "dovecot")), "<22>Nov  2 08:05:09 dovecot: imap-login: Disconnected (auth failed, 1 attempts in 2 secs): user=<u>, method=PLAIN, rip=192.0.2.7, lip=192.0.2.1, session=<s1>"},
		{"worker file", string(worker.AppendFile(nil, &Style{})), "Nov 02 08:05:09 imap(ann)<4711><s1>: Error: disk full mailbox=\"a b\" n=3\n"},
		{"worker journal", string(worker.AppendJournal(nil, &Style{})), "<3>imap(ann)<4711><s1>: Error: disk full mailbox=\"a b\" n=3\n"},
		{"worker syslog", string(worker.AppendSyslog(nil, &Style{}, "local3", "x")), "<155>Nov  2 08:05:09 x: imap(ann)<4711><s1>: Error: disk full mailbox=\"a b\" n=3"},
	}
	for _, c := range cases {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.name, c.got, c.want)
		}
	}
}

func TestNobodyWritesInAnothersName(t *testing.T) {
	cases := []struct {
		role, user, prefix, text, want string
	}{
		{"imap", "ann", "imap-login", "x", "imap(ann)<1>: Info: x"},
		{"imap", "a): auth: x", "", "x", "imap(a%29%3A%20auth%3A%20x)<1>: Info: x"},
		{"login", "", "auth", "x", "login: Info: x"},
		{"imap", "a,192.0.2.7", "", "pam(x,192.0.2.7): unknown user", "imap(a%2C192.0.2.7)<1>: Info: pam (x,192.0.2.7): unknown user"},
		{"pop3", "a", "", "Disconnected (auth failed, 1 attempts): user=<x>, rip=192.0.2.7", "pop3(a)<1>: Info: Disconnected (auth failed, 1 attempts): user=<x>, rip =192.0.2.7"},
		{"auth", "", "", "static(x,192.0.2.7): unknown user", "auth: Info: static(x,192.0.2.7): unknown user"},
		{"imap", "ann", "", "a\nNov 02 08:05:09 imap-login: Info: b\x7f\x1b[2J", `imap(ann)<1>: Info: a\x0aNov 02 08:05:09 imap-login: Info: b\x7f\x1b[2J`},
		{"imap", "ann", "", "\u202egnp.exe \xff \u0085 ü", `imap(ann)<1>: Info: \u202egnp.exe \xff \u0085 ü`},
	}
	for _, c := range cases {
		l := &Line{Time: at, Role: c.role, User: c.user, PID: 1, Event: &logmsg.Event{Level: logmsg.Info, Prefix: c.prefix, Text: c.text}}
		if got := string(l.AppendFile(nil, &Style{})); got != "Nov 02 08:05:09 "+c.want+"\n" {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	NewJSON(&b).Write(&Line{Time: at, Role: "login", PID: 7, Event: &logmsg.Event{Level: logmsg.Warning, Prefix: "imap-login", Session: "s", Text: "a\nb",
		KV: []logmsg.Field{{Key: "k", Value: "v\n"}}}})
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil || strings.Count(b.String(), "\n") != 1 {
		t.Fatal(err, b.String())
	}
	delete(got, "@timestamp")
	want := map[string]any{"@level": "warn", "@message": `a\x0ab`, "@module": "imap-login", "pid": 7.0, "session": "s", "k": "v\n"}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s is %v, want %v", k, got[k], v)
		}
	}
	if len(got) != len(want) {
		t.Error(got)
	}
}

// A worker that was taken over writes no line in another's name by its fields.
func TestJSONFieldsForgeNothing(t *testing.T) {
	var b bytes.Buffer
	var kv []logmsg.Field
	for _, k := range []string{"@module", "@message", "@level", "@timestamp", "pid", "user", "severity"} {
		kv = append(kv, logmsg.Field{Key: k, Value: "forged"})
	}
	NewJSON(&b).Write(&Line{Time: at, Role: "imap", User: "ann", PID: 7, Event: &logmsg.Event{Level: logmsg.Info, Text: "x", KV: kv}})
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for k, want := range map[string]any{"@module": "imap", "@message": "x", "@level": "info", "pid": 7.0, "user": "ann", "field_module": "forged"} {
		if got[k] != want {
			t.Errorf("%s is %v, want %v", k, got[k], want)
		}
	}
	if got["@timestamp"] == "forged" || got["severity"] != nil {
		t.Error(got)
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\nb\x00\xff\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range string(AppendClean(nil, s)) {
			if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == '\u202e' {
				t.Fatalf("%q let %q through", s, r)
			}
		}
	})
}

func TestStyle(t *testing.T) {
	style := &Style{Timestamp: "%Y-%m-%dT%H:%M:%S.%L%z [%%] ", MailHead: func(protocol, user, pid, session string) string {
		return protocol + "|" + user + "|" + pid + "|" + session
	}}
	when := time.Date(2026, 1, 2, 3, 4, 5, 67e6, time.FixedZone("X", -5400))
	l := &Line{Time: when, Role: "pop3", User: "a b", PID: 9, Event: &logmsg.Event{Level: logmsg.Info, Session: "s", Text: "x"}}
	if got := string(l.AppendFile(nil, style)); got != "2026-01-02T03:04:05.067-0130 [%] pop3|a%20b|9|s: Info: x\n" {
		t.Error(got)
	}
	if got := string(AppendTime(nil, "%b %e %j %y %F %T %I %p %s %Z %a %A %B %q %", when)); got != "Jan  2 002 26 2026-01-02 03:04:05 03 AM 1767328445 X Fri Friday January %q %" {
		t.Error(got)
	}
}
