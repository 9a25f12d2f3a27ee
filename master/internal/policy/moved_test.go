package policy

import (
	"slices"
	"strings"
	"testing"

	"rookery/internal/ipc/redeemmsg"
	"rookery/internal/settings"
)

func movedPolicy(t *testing.T, values map[string]string, rows ...settings.Row) *Policy {
	t.Helper()
	set := settings.New()
	for name, value := range values {
		if err := set.SetRaw(settings.Lookup(name), value); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range rows {
		set.PutRow("namespace", r)
	}
	return &Policy{Set: set}
}

func template(t *testing.T, text string) settings.Template {
	t.Helper()
	out, err := settings.ParseTemplate(text, []string{"user", "home", "protocol"})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A move leads all places below the old one to the new one, as long as settings and
// userdb lead to the old one.
func TestSettle(t *testing.T) {
	p := movedPolicy(t, map[string]string{"mail_path": "~/Maildir", "mail_control_path": "~/Maildir/control", "mail_index_path": "/var/index/%{user}"})
	ann := redeemmsg.Record{User: "ann", Home: "/home/ann", Fields: []string{"quota_storage_size=5M"}}
	got, over, err := p.Settle("imap", ann, Moved{"/home/ann/Maildir", "/disk2/%{ann}"})
	if err != nil || over || !slices.Equal(got.Fields, []string{"quota_storage_size=5M", "mail_path=/disk2/%%{ann}", "mail_control_path=/disk2/%%{ann}/control"}) {
		t.Errorf("%v %t %v", got.Fields, over, err)
	}
	d, err := p.Dirs("imap", got)
	if err != nil || !slices.Equal(d.Make, []string{"/disk2/%{ann}", "/disk2/%{ann}/control", "/var/index/ann"}) {
		t.Errorf("%+v %v", d, err)
	}
	if len(ann.Fields) != 1 {
		t.Error("the record that was given is changed")
	}
	for _, c := range []struct {
		fields []string
		over   bool
	}{{[]string{"mail_path=/disk2/ann"}, true}, {[]string{"mail_path=/disk3/ann"}, false}} {
		r := redeemmsg.Record{User: "ann", Home: "/home/ann", Fields: c.fields}
		got, over, err := p.Settle("imap", r, Moved{"/home/ann/Maildir", "/disk2/ann"})
		if err != nil || over != c.over || !slices.Equal(got.Fields, c.fields) {
			t.Errorf("%v: %v %t %v", c.fields, got.Fields, over, err)
		}
	}
	// A userdb's own path that was moved.
	r := redeemmsg.Record{User: "ann", Home: "/home/ann", Fields: []string{"mail_path=/disk1/ann/"}}
	got, _, err = p.Settle("imap", r, Moved{"/disk1/ann", "/disk2/ann"})
	if err != nil || !slices.Contains(got.Fields, "mail_path=/disk2/ann") || slices.Contains(got.Fields, "mail_path=/disk1/ann/") {
		t.Errorf("%v %v", got.Fields, err)
	}
}

// Places that would hold or lie in one of the user's, and mail that cannot be led
// elsewhere, are refused.
func TestCheckTarget(t *testing.T) {
	p := movedPolicy(t, map[string]string{"mail_path": "~/Maildir", "mail_control_path": "/ctl/%{user}"})
	ann := redeemmsg.Record{User: "ann", Home: "/home/ann"}
	for to, want := range map[string]string{"/disk2/ann": "", "/home/ann/Mail2": "", "rel": "no place", "/": "no place", "/a/../b": "no place", "/a\nb": "no place", "/home/ann/Maildir": "one in the other",
		"/home/ann/Maildir/x": "one in the other", "/home/ann": "one in the other", "/ctl": "one in the other", "/home": "one in the other"} {
		if err := p.CheckTarget("imap", ann, to); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", to, err, want)
		}
	}
	inner := settings.Row{Name: "old", Values: map[string]any{"prefix": "Old.", "mail_path": template(t, "~/Maildir/old")}}
	main := settings.Row{Name: "inbox", Values: map[string]any{"inbox": true}}
	if err := movedPolicy(t, map[string]string{"mail_path": "~/Maildir"}, main, inner).CheckTarget("imap", ann, "/disk2/ann"); err == nil || !strings.Contains(err.Error(), "put it elsewhere") {
		t.Errorf("a namespace below: %v", err)
	}
	if err := movedPolicy(t, map[string]string{"mail_path": "/m/%{protocol}/%{user}"}).CheckTarget("imap", ann, "/disk2/ann"); err == nil || !strings.Contains(err.Error(), "protocol") {
		t.Errorf("a place for each protocol: %v", err)
	}
}

// All roots of all namespaces are the user's, and no others; a namespace without a
// place of its own gets none.
func TestDirsOfSpaces(t *testing.T) {
	ann := redeemmsg.Record{User: "ann", Home: "/home/ann"}
	main := settings.Row{Name: "inbox", Values: map[string]any{"inbox": true, "mail_index_path": template(t, "/index/%{user}")}}
	old := settings.Row{Name: "old", Values: map[string]any{"prefix": "Old.", "mail_driver": "mbox", "mail_path": template(t, "/old/%{user}"), "mail_control_path": template(t, "/old-control/%{user}")}}
	values := map[string]string{"mail_path": "~/Maildir", "mail_control_path": "/ctl/%{user}", "mail_index_path": "/never"}
	d, err := movedPolicy(t, values, old, main).Dirs("imap", ann)
	if want := []string{"/home/ann/Maildir", "/ctl/ann", "/index/ann", "/old/ann", "/old-control/ann"}; err != nil || !slices.Equal(d.Make, want) || d.Inbox != "" {
		t.Errorf("%+v %v, want %q", d, err, want)
	}
	if _, err := movedPolicy(t, values, main, settings.Row{Name: "old", Values: map[string]any{"prefix": "Old."}}).Dirs("imap", ann); err == nil || !strings.Contains(err.Error(), "no place") {
		t.Error(err)
	}
}
