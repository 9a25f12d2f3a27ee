package maillog

import (
	"strings"
	"testing"

	"rookery/internal/ipc/logmsg"
)

type keep struct{ events []*logmsg.Event }

func (k *keep) SendEvent(e *logmsg.Event) { k.events = append(k.events, e) }

func TestDerivedLoggers(t *testing.T) {
	k := &keep{}
	root := New(k)
	l := root.Prefix("imap-login").Session("s1").With("a", "1")
	l.With("b", "2").Infof("hello %d", 7)
	l.Warnf("again")
	root.Log(logmsg.Error, strings.Repeat("x", logmsg.MaxText+1))
	if len(k.events) != 3 {
		t.Fatal(len(k.events))
	}
	e := k.events[0]
	if e.Text != "hello 7" || e.Prefix != "imap-login" || e.Session != "s1" || len(e.KV) != 2 || e.Level != logmsg.Info {
		t.Errorf("%+v", e)
	}
	if len(k.events[1].KV) != 1 || k.events[1].Level != logmsg.Warning {
		t.Errorf("a derived logger changed its parent: %+v", k.events[1])
	}
	if got := k.events[2].Text; len(got) != logmsg.MaxText || !strings.HasSuffix(got, "...") {
		t.Error("an overlong line is cut, not lost")
	}
}

func TestFilter(t *testing.T) {
	f, err := ParseFilter("user=Ann remote_ip=192.0.2.7 ip=2001:db8::/32")
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		user, ip string
		want     bool
	}{{"ann", "", true}, {"ANN", "198.51.100.1", true}, {"bob", "192.0.2.7", true}, {"bob", "192.0.2.8", false}, {"bob", "", false},
		{"", "2001:db8::9", true}, {"", "2001:db9::9", false}, {"bob", "no address", false}, {"", "::ffff:192.0.2.7", true}}
	for _, c := range cases {
		if got := f.Matches(c.user, c.ip); got != c.want {
			t.Errorf("%q %q: %t", c.user, c.ip, got)
		}
	}
	if none, err := ParseFilter("  "); err != nil || none.Matches("ann", "192.0.2.7") {
		t.Error("an empty filter matches nothing")
	}
	if all, _ := ParseFilter("*"); !all.Matches("", "") || !Everything().Matches("x", "") {
		t.Error("* matches everything")
	}
	for _, bad := range []string{"ann", "user=", "ip=x", "ip=1.2.3.4/99", strings.Repeat("user=a ", 65)} {
		if _, err := ParseFilter(bad); err == nil {
			t.Errorf("%.20q was accepted", bad)
		}
	}
}

func TestSetDebugReachesDerivedLoggers(t *testing.T) {
	root := New(&keep{})
	l := root.Session("s")
	if l.Debugging("ann", "") {
		t.Error("debugging is off at first")
	}
	f, _ := ParseFilter("user=ann")
	root.SetDebug(f)
	if !l.Debugging("ann", "") || l.Debugging("bob", "") {
		t.Error("the filter did not reach the derived logger")
	}
}
