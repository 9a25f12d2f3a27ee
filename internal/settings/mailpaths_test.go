package settings

import (
	"strings"
	"testing"
)

func TestMailPaths(t *testing.T) {
	set := New()
	for name, value := range map[string]string{"mail_path": "~/Maildir", "mail_index_path": "/var/index/%{user | domain}/%{user | username}", "mail_control_path": ""} {
		if err := set.SetRaw(Lookup(name), value); err != nil {
			t.Fatal(err)
		}
	}
	p, err := set.MailPaths("ann@example.test", "/home/ann/", "imap")
	if err != nil || p != (MailPaths{Mail: "/home/ann/Maildir", Index: "/var/index/example.test/ann"}) {
		t.Error(p, err)
	}
	if got := strings.Join(p.All(), " "); got != "/home/ann/Maildir /var/index/example.test/ann" {
		t.Error(got)
	}
	bad := []struct{ user, home, want string }{
		{"ann@example.test", "", "needs a home"},
		{"../bob", "/home/ann", "cannot be part of a path"},
		{"..@example.test", "/home/ann", "cannot be part of a path"},
		{"ann@..", "/home/ann", "cannot be part of a path"},
		{"a/b", "/home/ann", "cannot be part of a path"},
		{"@x", "/home/ann", "cannot be part of a path"},
		{"ann", "home", "is not absolute"},
		{"ann", "/home/../root", "leads upwards"},
	}
	for _, c := range bad {
		if p, err := set.MailPaths(c.user, c.home, "imap"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q %q: %v %v, want …%s…", c.user, c.home, p, err, c.want)
		}
	}
}
