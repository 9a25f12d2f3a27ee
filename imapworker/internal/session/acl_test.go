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
	transcript.Run(t, "testdata/acl/*.txt", openShared)
	for _, driver := range []string{"maildir", "mbox", "pack"} {
		t.Run(driver, func(t *testing.T) {
			transcript.Run(t, "testdata/acl/*.txt", func(t *testing.T, given []string) transcript.Peer {
				return openShared(t, append([]string{"driver " + driver, "as-memory"}, given...))
			})
		})
	}
}

// A store that keeps no lists has none of the commands, and says so.
func TestNoACL(t *testing.T) {
	transcript.Run(t, "testdata/noacl/*.txt", openPeer)
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
