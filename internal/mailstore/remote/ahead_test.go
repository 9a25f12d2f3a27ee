package remote

import (
	"bytes"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// Many messages that are looked at in their order cost few calls.
func TestFewCalls(t *testing.T) {
	store := newStore()
	var all []string
	for i := range 1000 {
		all = append(all, fmt.Sprintf("Subject: %d\r\n\r\nbody\r\n", i))
	}
	add(t, store, "INBOX", all...)
	own := open(t, store, "INBOX")
	for uid := mailstore.UID(1); uid <= 1000; uid++ {
		own.PutCached(uid, "imap.envelope", bytes.Repeat([]byte("e"), 300))
	}
	s := serve(t, asOwner(t, store), ServeOptions{}, ClientOptions{})
	mb := open(t, s, "INBOX")
	calls := func() uint32 { s.mu.Lock(); defer s.mu.Unlock(); return s.last }
	count := func(what string, most uint32, each func(uid mailstore.UID)) {
		t.Helper()
		before := calls()
		for uid := mailstore.UID(1); uid <= 1000; uid++ {
			each(uid)
		}
		if n := calls() - before; n > most {
			t.Errorf("%s of 1,000 messages: %d calls", what, n)
		}
	}
	cache := mailstore.Cache(mb)
	count("a fact that the owner has", 15, func(uid mailstore.UID) {
		if v, ok := cache.AppendCached([]byte("-"), uid, "imap.envelope"); !ok || len(v) != 301 {
			t.Fatal(uid, ok, len(v))
		}
	})
	count("a fact that he has not", 15, func(uid mailstore.UID) {
		if _, ok := cache.AppendCached(nil, uid, "imap.body"); ok {
			t.Fatal(uid)
		}
	})
	count("facts", 15, func(uid mailstore.UID) {
		if f, err := mb.Facts(uid, mailstore.FactsWant{Size: true, GUID: true}); err != nil || f.Size != int64(len(all[uid-1])) || f.GUID == (mailstore.GUID{}) {
			t.Fatal(uid, f, err)
		}
	})
	count("small messages", 60, func(uid mailstore.UID) {
		if got := text(t, mb, uid); got != all[uid-1] {
			t.Fatal(uid, got)
		}
	})
	// What is made here stays here.
	mb.PutCached(7, "imap.body", []byte("mine"))
	if v, ok := mb.Cached(7, "imap.body"); !ok || string(v) != "mine" {
		t.Error(ok, v)
	}
	if _, ok := own.Cached(7, "imap.body"); ok {
		t.Error("a guest's fact is in the owner's cache")
	}
	if n := s.facts.size; n > 512<<10 {
		t.Errorf("%d octets of facts are kept", n)
	}
}

// A fact that must not be believed is not, and nothing is asked for without a judge.
func TestUsable(t *testing.T) {
	store := newStore()
	add(t, store, "INBOX", "x\r\n")
	own := open(t, store, "INBOX")
	own.PutCached(1, "good", []byte("v"))
	own.PutCached(1, "bad", []byte("v"))
	s := serve(t, asOwner(t, store), ServeOptions{}, ClientOptions{Usable: func(field string, _ []byte) bool { return field == "good" }})
	mb := open(t, s, "INBOX")
	if v, ok := mb.Cached(1, "good"); !ok || string(v) != "v" {
		t.Error(ok, v)
	}
	if v, ok := mb.Cached(1, "bad"); ok || v != nil {
		t.Error("a fact that must not be believed was")
	}
	owner, guest := pair(t)
	defer func() { Serve(t.Context(), owner, asOwner(t, store), ServeOptions{}) }()
	c, err := NewClient(guest, ClientOptions{})
	must(t, err)
	defer c.Close()
	box := &clientBox{c: c}
	if _, ok := box.Cached(1, "good"); ok || c.last != 0 {
		t.Error("facts are asked for that nobody can judge")
	}
}

// maker makes facts of the owner's own mailbox.
type maker struct {
	mb           mailstore.Mailbox
	made, closed atomic.Int32
}

func (m *maker) Is(box mailstore.GUID, uidValidity uint32) bool {
	return m.mb.Info().GUID == box && m.mb.Info().UIDValidity == uidValidity
}

func (m *maker) Make(uid mailstore.UID, field string) ([]byte, bool) {
	m.made.Add(1)
	return []byte(fmt.Sprint(field, uid)), field == "made"
}

func (m *maker) Close() error { m.closed.Add(1); return nil }

// Facts that the owner's cache lacks are made at his end, for who may read, of the
// mailbox that is open and of no other.
func TestMaker(t *testing.T) {
	store := shared(t)
	add(t, store, "Box", slices.Repeat([]string{"x"}, 500)...)
	makers := map[mailstore.Name]*maker{"Box": {mb: open(t, store, "Box")}, "Look": {mb: open(t, store, "Mine")}}
	s := serve(t, asGuest(t, store, "bob"), ServeOptions{Maker: func(name mailstore.Name) Maker { return makers[name] }}, ClientOptions{})
	mb, other := open(t, s, "Box"), open(t, s, "Look")
	before := s.last
	for uid := mailstore.UID(1); uid <= 502; uid++ {
		if v, ok := mb.Cached(uid, "made"); !ok || string(v) != fmt.Sprint("made", uid) {
			t.Fatal(uid, ok, v)
		}
	}
	if n := s.last - before; n > 25 {
		t.Errorf("%d calls", n)
	}
	if _, ok := mb.Cached(1, "unknown"); ok {
		t.Error("a fact was made that cannot be")
	}
	if _, ok := mb.Cached(5000, "made"); ok {
		t.Error("a fact was made of a message that is not there")
	}
	if _, ok := other.Cached(1, "made"); ok || makers["Look"].made.Load() != 0 {
		t.Error("a fact was made of another mailbox")
	}
	n := makers["Box"].made.Load()
	give(t, store, "Box", "user=bob l")
	if _, ok := mb.Cached(1, "made too"); ok || makers["Box"].made.Load() != n {
		t.Error("a fact was made for who may not read")
	}
	must(t, mb.Close())
	s.stop()
	if makers["Box"].closed.Load() != 1 || makers["Look"].closed.Load() != 1 {
		t.Error("a maker is not closed")
	}
}

// What is told beforehand is gone when the message is, and when the right to read is.
func TestToldBeforehand(t *testing.T) {
	store := shared(t)
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprint("message ", i, "\r\n"))
	}
	add(t, store, "Box", many...)
	s := serve(t, asGuest(t, store, "bob"), ServeOptions{}, ClientOptions{})
	mb := open(t, s, "Box")
	for uid := mailstore.UID(1); uid <= 12; uid++ { // those after 12 come along
		text(t, mb, uid)
		_, err := mb.Facts(uid, mailstore.FactsWant{Size: true})
		must(t, err)
	}
	own := open(t, store, "Box")
	_, err := own.Expunge(numset.Span(20, 22))
	must(t, err)
	_, err = mb.Sync()
	must(t, err)
	if _, err := mb.Message(20); !errkind.Is(err, errkind.Expunged) {
		t.Errorf("an expunged message was opened: %v", err)
	}
	if _, err := mb.Facts(21, mailstore.FactsWant{Size: true}); !errkind.Is(err, errkind.Expunged) {
		t.Errorf("facts of an expunged message: %v", err)
	}
	for uid := mailstore.UID(24); uid <= 40; uid++ {
		text(t, mb, uid)
	}
	give(t, store, "Box", "user=bob l")
	if _, err := mb.Sync(); !errkind.Is(err, errkind.NotFound) {
		t.Fatal(err)
	}
	if _, err := mb.Message(41); !errkind.Is(err, errkind.NotFound) {
		t.Errorf("a message was read without the right to: %v", err)
	}
	if _, ok := mb.Cached(41, "f"); ok {
		t.Error("a fact was read without the right to")
	}
}
