package engine_test

import (
	"slices"
	"testing"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/engine"
	"rookery/internal/mailstore/pack"
	"rookery/internal/vfs/memfs"
)

// A mailbox that the settings subscribe has one name, before and after it is
// made, also in a namespace with a prefix.
func TestPromisedBelowPrefix(t *testing.T) {
	s, err := pack.Open(pack.Options{FS: memfs.New(memfs.Options{}), MailPath: "mail", LockWait: 20 * time.Second, PackSize: 1 << 20, Step: 4096, JournalStep: 4096,
		Namespace: mailstore.Namespace{Prefix: "Old.", Separator: '.'}, Special: []engine.Special{{Name: "Old/All", Use: mailstore.UseArchive, Auto: engine.AutoSubscribe}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, when := range []string{"before", "after"} {
		subs, err := s.Subscriptions()
		if want := []string{"Old/All"}; err != nil || !slices.Equal(subs, want) {
			t.Errorf("%s it is made: subscriptions %q, %v, want %q", when, subs, err, want)
		}
		list, err := s.List()
		want := []mailstore.Folder{{Name: "INBOX"}, {Name: "Old/All", Attrs: mailstore.Subscribed | mailstore.UseArchive}}
		if err != nil || !slices.Equal(list, want) {
			t.Errorf("%s it is made: list %v, %v, want %v", when, list, err, want)
		}
		mb, err := s.Open("Old/All")
		if err != nil {
			t.Fatal(err)
		}
		if got := mb.Info().Name; got != "Old/All" {
			t.Errorf("it is made as %q", got)
		}
		mb.Close()
	}
}
