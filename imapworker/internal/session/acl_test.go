package session

import (
	"slices"
	"strings"
	"testing"

	"rookery/imapworker/internal/sessiontest/peers"
	"rookery/internal/acl"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/guarded"
	"rookery/internal/transcript"
)

// openShared is openPeer with a guard around the store. Session 1 is ann's, whose mail
// it is; 2 is bob's, who is in the group staff, 3 carol's, 4 an anonymous user's. More
// lines are
//
//	given: acl MAILBOX LINE;LINE;…   as in dovecot-acl
//	given: wide                      imap_acl_allow_anyone
func openShared(t *testing.T, given []string) transcript.Peer {
	t.Helper()
	var plain, lists []string
	wide := false
	for _, line := range given {
		switch words := strings.SplitN(line, " ", 2); words[0] {
		case "acl":
			lists = append(lists, words[1])
		case "wide":
			wide = true
		default:
			plain = append(plain, line)
		}
	}
	p := openPeer(t, plain).(*peer)
	keeper, ok := mailstore.ACLs(p.store)
	if !ok {
		t.Fatal("the store keeps no lists")
	}
	for _, line := range lists {
		name, text, _ := strings.Cut(line, " ")
		list, err := acl.Parse([]byte(strings.ReplaceAll(text, ";", "\n")))
		if err == nil {
			err = keeper.EditACL(name, func(acl.List) (acl.List, error) { return list, nil })
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	users := []acl.Who{{User: "ann", Owner: true}, {User: "bob", Groups: []string{"staff"}}, {User: "carol"}, {User: "anonymous", Anonymous: true}}
	inner := p.store
	p.Begin = func(out *peers.Output, changes chan struct{}) *Session {
		who := users[0]
		users = users[1:]
		p.store, _ = guarded.Wrap(inner, guarded.Options{Who: who, Owner: "ann", Wide: wide})
		defer func() { p.store = inner }()
		return p.begin(out, changes)
	}
	return p
}

func TestACL(t *testing.T) {
	everywhereWith(t, "testdata/acl/*.txt", openShared)
}

// A store that keeps no lists has none of the commands, and says so.
func TestNoACL(t *testing.T) {
	transcript.Run(t, "testdata/noacl/*.txt", openPeer)
}

// seenAlone keeps what one user has seen of one mailbox.
type seenAlone struct{ own guarded.Own }

func (s *seenAlone) Own(mailstore.GUID, uint32) (guarded.Own, error) { return s.own, nil }

func (s *seenAlone) Change(_ mailstore.GUID, _ uint32, change func(guarded.Own) guarded.Own) error {
	s.own = change(s.own)
	return nil
}

// Where \Seen is the user's own, "s" makes a mailbox no READ-WRITE one, and lets him
// keep it (RFC 4314 §5.2, example 1).
func TestACLOwnSeen(t *testing.T) {
	p := openShared(t, []string{"mailbox INBOX 2", "acl INBOX user=bob lrs"}).(*peer)
	defer p.Close()
	guard, _ := guarded.Wrap(p.store, guarded.Options{Who: acl.Who{User: "bob"}, Owner: "ann", Private: &seenAlone{}})
	p.Begin = func(out *peers.Output, changes chan struct{}) *Session {
		inner := p.store
		p.store = guard
		defer func() { p.store = inner }()
		return p.begin(out, changes)
	}
	p.Send(1, []byte("a SELECT INBOX\r\na STORE 1 +FLAGS (\\Seen)\r\na FETCH 2 (BODY[TEXT])\r\na STATUS INBOX (UNSEEN)\r\n"))
	got := string(p.Take(1))
	for _, want := range []string{"[PERMANENTFLAGS (\\Seen)]", "a OK [READ-ONLY] Select", "* 1 FETCH (FLAGS (\\Seen", "* STATUS INBOX (UNSEEN 0)"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
	if st, err := p.store.Status("INBOX", mailstore.StatusWant{}); err != nil || st.Unseen != 2 {
		t.Errorf("of the owner's %d are unseen, %v", st.Unseen, err)
	}
}

// The words are offered where the store keeps to lists, after the others (RFC 4314 §2:
// RIGHTS= tells the rights that RFC 2086 has not).
func TestACLWords(t *testing.T) {
	p := openShared(t, nil).(*peer)
	defer p.Close()
	plain := New(Config{Settings: p.settings, Store: p.store}, p.Now).offered()
	guarded := p.Session(1).offered()
	want := append(plain, "ACL", "RIGHTS=texk", "LIST-MYRIGHTS")
	if !slices.Equal(guarded, want) {
		t.Errorf("%q, want %q", guarded, want)
	}
}
