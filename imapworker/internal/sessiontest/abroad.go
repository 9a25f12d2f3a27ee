package sessiontest

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rookery/imapworker/internal/session"
	"rookery/imapworker/internal/sessiontest/peers"
	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/guarded"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/mailstore/others"
	"rookery/internal/mailstore/remote/remotetest"
	"rookery/internal/mailstore/spaces"
	"rookery/internal/transcript"
)

// Abroad replays transcripts as another user to whom the owner of INBOX has granted all
// rights: he has it in his namespace "Other Users", and it comes to him by a channel. In
// memory and on a Maildir, but for those named.
func Abroad(t *testing.T, pattern string, jobs func() session.Jobs, but ...string) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcript matches %s", pattern)
	}
	for _, driver := range []string{"memory", "maildir"} {
		t.Run(driver, func(t *testing.T) {
			for _, file := range files {
				if slices.Contains(but, strings.TrimSuffix(filepath.Base(file), ".txt")) {
					continue
				}
				transcript.Run(t, file, func(t *testing.T, given []string) transcript.Peer {
					return openAbroad(t, opener(jobs(), driver)(t, given).(*peer))
				})
			}
		})
	}
}

const abroadName = `"Other Users/ann/INBOX"`

// abroad is a peer whose sessions are another user's than the owner's. Transcripts have
// his INBOX for the owner's.
type abroad struct {
	*peer
	link   *remotetest.Link
	held   map[int][]byte // what may be the beginning of a name, by session
	shares []others.Share
}

func openAbroad(t *testing.T, p *peer) *abroad {
	t.Helper()
	keeper, ok := mailstore.ACLs(p.store)
	if !ok {
		t.Fatal("the store keeps no lists")
	}
	err := keeper.EditACL("INBOX", func(l acl.List) (acl.List, error) {
		return l.Changed(acl.ID{Kind: acl.User, Name: "bob"}, acl.Change{Rights: acl.All})
	})
	if err != nil {
		t.Fatal(err)
	}
	guard, _ := guarded.Wrap(p.store, guarded.Options{Who: acl.Who{User: "bob"}, Owner: "ann"})
	a := &abroad{peer: p, link: remotetest.Connect(t, guard, "ann"), held: map[int][]byte{}, shares: []others.Share{{Owner: "ann", Name: "INBOX"}}}
	foreign, err := others.Open(others.Options{Directory: a, Hidden: []string{"bob"},
		Namespace: mailstore.Namespace{Kind: mailstore.OtherUsers, Prefix: "Other Users/", Separator: '/', List: true}})
	if err != nil {
		t.Fatal(err)
	}
	own, _ := guarded.Wrap(memstore.New(memstore.Options{}), guarded.Options{Who: acl.Who{User: "bob", Owner: true}, Owner: "bob"})
	whole := spaces.Extend(own, foreign)
	p.Begin = func(out *peers.Output, changes chan struct{}) *session.Session {
		return session.New(session.Config{Settings: session.Defaults(), Store: whole, Out: out, Log: peers.Lines{T: t}, Changes: changes, Jobs: p.jobs}, Start)
	}
	return a
}

// Shares is others.Directory's.
func (a *abroad) Shares() ([]others.Share, error) { return a.shares, nil }

// Reach is others.Directory's.
func (a *abroad) Reach(owner string) (mailstore.Sharer, error) {
	if owner != "ann" {
		return nil, errkind.Newf("reach", errkind.NotFound, "nobody")
	}
	return a.link.Client, nil
}

// Send is transcript.Peer's: the name is put in also where it comes in pieces.
func (a *abroad) Send(n int, b []byte) {
	const name = "INBOX"
	var out []byte
	held := a.held[n]
	for _, c := range b {
		if held = append(held, c); string(held) == name {
			out, held = append(out, abroadName...), nil
		}
		for len(held) > 0 && !strings.HasPrefix(name, string(held)) {
			out, held = append(out, held[0]), held[1:]
		}
	}
	a.held[n] = held
	if len(out) > 0 {
		a.Session(n).Input(a.Now, out)
	}
	a.settle()
}

func (a *abroad) settle() {
	a.link.Settle()
	a.Settle()
}

// Event is transcript.Peer's.
func (a *abroad) Event(words string) {
	a.peer.Event(words)
	a.settle()
}

// Take is transcript.Peer's.
func (a *abroad) Take(n int) []byte {
	return bytes.ReplaceAll(a.peer.Take(n), []byte(abroadName), []byte("INBOX"))
}

// Close is transcript.Peer's.
func (a *abroad) Close() {
	a.Peers.Close()
	if err := a.link.End(); err != nil {
		a.t.Error(err)
	}
	a.store.Close()
}
