package session

import (
	"strings"
	"testing"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/mailstore/mbox"
	"rookery/internal/mailstore/spaces"
	"rookery/internal/transcript"
	"rookery/internal/vfs/memfs"
)

// openSpaces is a user with four namespaces: his mail, an archive in mbox files, one
// that LIST and NAMESPACE do not show, and one whose subscriptions the first keeps.
func openSpaces(t *testing.T, given []string) transcript.Peer {
	t.Helper()
	disk := memfs.New(memfs.Options{Now: memfs.NewClock(start).Now})
	space := func(prefix string) mailstore.Namespace {
		return mailstore.Namespace{Prefix: prefix, Separator: '.', List: true, ListPrefix: strings.HasPrefix(prefix, "Far")}
	}
	note := func(text string) { t.Log(text) }
	box := func(ns mailstore.Namespace, dir string, special ...maildir.Special) mailstore.Store {
		s, err := maildir.Open(maildir.Options{FS: disk, MailPath: dir, Namespace: ns, Special: special, Note: note})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	archive, err := mbox.Open(mbox.Options{Options: engine.Options{FS: disk, Namespace: space("Old."), Note: note,
		Special: []engine.Special{{Name: "Old/All", Use: mailstore.UseArchive, Auto: engine.AutoCreate}}}, MailPath: "archive", Zone: time.UTC, JournalSize: 24 << 10})
	if err != nil {
		t.Fatal(err)
	}
	quiet := mailstore.Namespace{Prefix: "Quiet.", Separator: '.', Hidden: true}
	store, err := spaces.Join([]spaces.Member{
		{Store: archive, Subscriptions: true},
		{Store: box(space(""), "Maildir", maildir.Special{Name: "Sent", Use: mailstore.UseSent, Auto: maildir.AutoSubscribe}), Inbox: true, Subscriptions: true},
		{Store: box(quiet, "quiet"), Subscriptions: true},
		{Store: box(space("Far.Off."), "far")},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range given {
		t.Fatalf("given: %s is not understood", line)
	}
	p := &peer{t: t, settings: Defaults(), store: store, shown: &shownModSeqs{alike: true}}
	p.Now, p.Begin = start, p.begin
	return p
}

func TestSpaces(t *testing.T) { transcript.Run(t, "testdata/spaces/*.txt", openSpaces) }
