package worker

import (
	"slices"
	"strings"
	"testing"

	"rookery/internal/errkind"
	"rookery/internal/maillog"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/quota"
	"rookery/internal/numset"
	"rookery/internal/settings"
	"rookery/internal/vfs"
)

func template(t *testing.T, text string) settings.Template {
	t.Helper()
	out, err := settings.ParseTemplate(text, []string{"user", "home", "protocol"})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func spacesHost(t *testing.T, rows ...settings.Row) (*Host, vfs.FS) {
	t.Helper()
	disk, err := vfs.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	set := settings.New()
	for _, r := range rows {
		set.PutRow("namespace", r)
	}
	h := &Host{Log: maillog.Discard(), Settings: set, Changed: func() {}, roots: []root{{"/", disk}}}
	h.User.User, h.User.Home = "ann", "/home"
	if err := vfs.MkdirAll(disk, "home/alt", 0o700); err != nil {
		t.Fatal(err)
	}
	return h, disk
}

func have(t *testing.T, disk vfs.FS, path string) bool {
	t.Helper()
	_, err := disk.Stat(path)
	return err == nil
}

// Each namespace has what its table says; what it does not say is the settings'
// for the one with INBOX alone.
func TestSpaces(t *testing.T) {
	h, disk := spacesHost(t,
		settings.Row{Name: "lists", Values: map[string]any{"prefix": "Lists.", "mail_path": template(t, "~/lists"), "mailbox_list_layout": "fs", "subscriptions": false},
			Sub: []settings.Row{{Name: "Noise", Values: map[string]any{"quota_ignore": true}}, {Name: "INBOX", Values: map[string]any{"autoexpunge_max_mails": int64(3)}}}},
		settings.Row{Name: "inbox", Values: map[string]any{"inbox": true}},
		settings.Row{Name: "packed", Values: map[string]any{"prefix": "Packed.", "mail_driver": "pack", "mail_path": template(t, "~/packed"), "mail_alt_path": template(t, "~/alt"),
			"mail_control_path": template(t, "~/packed-control"), "mail_index_path": template(t, "~/packed-index"), "hidden": true, "list": "no"}})
	put(t, h.Settings, "mail_control_path", "~/control")
	s, err := h.OpenStore("imap")
	if err != nil {
		t.Fatal(err)
	}
	spaces := s.Namespaces()
	if len(spaces) != 3 || spaces[0].Prefix != "" || spaces[1].Prefix != "Lists." || spaces[2].Prefix != "Packed." || !spaces[2].Hidden || spaces[2].List || !spaces[1].List {
		t.Errorf("%+v", spaces)
	}
	for _, n := range []string{"Lists/Go/Nuts", "Lists/Noise", "Packed/x", "Work"} {
		if _, err := s.Create(n, 0); err != nil {
			t.Fatal(n, err)
		}
	}
	fill(t, s, "Packed/x", 2)
	for _, n := range []string{"Lists/Go/Nuts", "Work", "Packed/x"} {
		if err := s.Subscribe(n, true); err != nil {
			t.Fatal(n, err)
		}
	}
	read := func(path string) string {
		b, _ := vfs.ReadFile(disk, path, 1<<16)
		return strings.NewReplacer("\t", "/", ".", "/").Replace(string(b))
	}
	if got := read("home/control/subscriptions"); !strings.Contains(got, "Lists/Go/Nuts") || !strings.Contains(got, "Work") || strings.Contains(got, "x") {
		t.Errorf("the subscriptions of INBOX's namespace: %q", got)
	}
	if got := read("home/packed-control/subscriptions"); !strings.Contains(got, "x") {
		t.Errorf("the subscriptions of a namespace with its own: %q", got)
	}
	for _, path := range []string{"home/Maildir/.Work/cur", "home/lists/Go/Nuts/cur", "home/packed/00000001.pack", "home/packed-control", "home/packed-index"} {
		if !have(t, disk, path) {
			t.Errorf("%s is not there", path)
		}
	}
	for _, path := range []string{"home/lists/.Go.Nuts", "home/control/x"} {
		if have(t, disk, path) {
			t.Errorf("%s is there", path)
		}
	}
	if p, err := h.Settings.SpacePaths(h.Settings.Namespaces()[2], "ann", "/home", "imap"); err != nil || p.Alt != "/home/alt" || p.Control != "/home/packed-control" || p.Inbox != "" {
		t.Errorf("%+v %v", p, err)
	}
	// What a mailbox's table says holds under its whole name.
	rule := quotaOptions(h.Settings, roots(spaces), h.boxes()).Rule
	if rule("Lists/Noise").Class != quota.Ignored || rule("Noise").Class != quota.Counted || rule("Packed/rookery-held/ab").Class != quota.Held || rule("rookery-held/ab").Class != quota.Held {
		t.Error("a rule is another's")
	}
	if rules := retainRules(h.boxes()); len(rules) != 1 || rules[0].Mailbox != "Lists/INBOX" {
		t.Errorf("%+v", rules)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// Mail expunged in a namespace is held there, and comes back there.
func TestSpacesHold(t *testing.T) {
	h, disk := spacesHost(t, settings.Row{Name: "inbox", Values: map[string]any{"inbox": true}},
		settings.Row{Name: "old", Values: map[string]any{"prefix": "Old.", "mail_path": template(t, "~/old")}})
	s, err := h.OpenStore("imap")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Create("Old/x", 0); err != nil {
		t.Fatal(err)
	}
	fill(t, s, "Old/x", 3)
	mb, err := s.Open("Old/x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mb.Expunge(numset.Span(1, 3)); err != nil {
		t.Fatal(err)
	}
	mb.Close()
	var dirs []string
	disk.ReadDir("home/old", func(e vfs.DirEntry) bool { dirs = append(dirs, e.Name); return true })
	if !slices.ContainsFunc(dirs, func(n string) bool { return strings.HasPrefix(n, ".rookery-held.") }) {
		t.Errorf("held messages are not in their namespace: %q", dirs)
	}
	list, err := s.List()
	if err != nil || slices.ContainsFunc(list, func(f mailstore.Folder) bool { return strings.Contains(f.Name, "held") }) {
		t.Error(list, err)
	}
}

// Two namespaces never open one place, whatever their templates come to.
func TestSpacesApart(t *testing.T) {
	h, _ := spacesHost(t, settings.Row{Name: "inbox", Values: map[string]any{"inbox": true}},
		settings.Row{Name: "same", Values: map[string]any{"prefix": "Same.", "mail_path": template(t, "/home/%{user}")}})
	put(t, h.Settings, "mail_path", "~/ann")
	s, err := h.OpenStore("imap")
	if !errkind.Is(err, errkind.Invalid) || !strings.Contains(err.Error(), "lies") {
		t.Errorf("%v", err)
	}
	if err == nil {
		s.Close()
	}
}
