package session

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rookery/imapworker/internal/sessiontest/peers"
	"rookery/internal/acl"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/guarded"
	"rookery/internal/mailstore/remote/remotetest"
	"rookery/internal/transcript"
)

// inBoth plays transcripts in memory and on a Maildir, but for those named.
func inBoth(t *testing.T, pattern string, open func(*testing.T, []string) transcript.Peer, but ...string) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcript matches %s", pattern)
	}
	files = slices.DeleteFunc(files, func(f string) bool {
		return slices.Contains(but, strings.TrimSuffix(filepath.Base(f), ".txt"))
	})
	for _, driver := range []string{"memory", "maildir"} {
		t.Run(driver, func(t *testing.T) {
			for _, file := range files {
				transcript.Run(t, file, func(t *testing.T, given []string) transcript.Peer {
					if driver != "memory" {
						given = append([]string{"driver " + driver, "as-memory"}, given...)
					}
					return open(t, given)
				})
			}
		})
	}
}

// What users see of each other's mail is the same by a channel between two processes.
func TestSharingByChannel(t *testing.T) {
	inBoth(t, "testdata/sharing/*.txt", func(t *testing.T, given []string) transcript.Peer {
		return openCommunity(t, append([]string{"channels"}, given...))
	})
}

// abroad is openShared's peer whose sessions 2 to 4 come by a channel each. A name on it is
// the owner's own.
type abroad struct {
	*peer
	links []*remotetest.Link
}

// Send delivers what the channels tell, too.
func (a *abroad) Send(n int, b []byte) {
	a.peer.Session(n).Input(a.Now, b)
	a.settle()
}

func (a *abroad) settle() {
	for _, l := range a.links {
		l.Settle()
	}
	a.Settle()
}

func (a *abroad) Event(words string) {
	a.peer.Event(words)
	a.settle()
}

func (a *abroad) Close() {
	a.Peers.Close()
	for _, l := range a.links {
		if err := l.End(); err != nil {
			a.t.Error(err)
		}
	}
	if err := a.store.Close(); err != nil {
		a.t.Error(err)
	}
}

// The table of RFC 4314 in transcripts, with all but the owner on the other end of a
// channel.
func TestACLByChannel(t *testing.T) {
	inBoth(t, "testdata/acl/*.txt", func(t *testing.T, given []string) transcript.Peer {
		a := &abroad{}
		a.peer = openShared(t, given).(*peer)
		begin, n := a.Begin, 0
		wide := strings.Contains(strings.Join(given, "\n"), "wide")
		a.Begin = func(out *peers.Output, changes chan struct{}) *Session {
			n++
			if n == 1 {
				return begin(out, changes)
			}
			who := []acl.Who{{User: "bob", Groups: []string{"staff"}}, {User: "carol"}, {User: "anonymous", Anonymous: true}}[n-2]
			guard, _ := guarded.Wrap(a.store, guarded.Options{Who: who, Owner: "ann", Wide: wide})
			link := remotetest.Connect(t, guard, "ann")
			a.links = append(a.links, link)
			return a.beginOn(link.Client, out, changes)
		}
		return a
	}, "select") // what a list takes from flags that may be changed is told with the next look at the mailbox
}

// beginOn begins a session on another store than the peer's.
func (p *peer) beginOn(store mailstore.Store, out *peers.Output, changes chan struct{}) *Session {
	own := p.store
	p.store = store
	defer func() { p.store = own }()
	return p.begin(out, changes)
}

// What changes mail is answered by a channel as without one: the owner's own session on
// the other end of one.
func TestBaseByChannel(t *testing.T) {
	for _, name := range []string{"copy_move", "expunge_timing", "idle", "silent", "store_gone"} {
		inBoth(t, "testdata/"+name+".txt", func(t *testing.T, given []string) transcript.Peer {
			a := &abroad{peer: openPeer(t, given).(*peer)}
			a.Begin = func(out *peers.Output, changes chan struct{}) *Session {
				guard, _ := guarded.Wrap(a.store, guarded.Options{Who: acl.Who{User: "ann", Owner: true}, Owner: "ann"})
				link := remotetest.Connect(t, guard, "ann")
				a.links = append(a.links, link)
				return a.beginOn(link.Client, out, changes)
			}
			return a
		})
	}
}

// Annotations with all sets of rights, in all ways in which somebody can have them: "l"
// and one of "r", "s", "w", "i" and "p" (RFC 5464 §3.3); without "l" the mailbox is not
// there, to the letter.
func TestSharingNotesTable(t *testing.T) {
	step := acl.Rights(13)
	if testing.Short() {
		step = 131
	}
	lines := []string{"GETMETADATA Box /shared/comment", "GETMETADATA Box (/private/comment)", `SETMETADATA Box (/shared/comment "x")`, `SETMETADATA Box (/private/comment "x")`}
	for _, u := range aclUsers[1:] {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			for r := acl.Rights(0); r <= acl.All; r += step {
				has := r
				if u.has != nil {
					has = u.has(r)
				}
				want := fine
				switch {
				case !has.Has(acl.Lookup):
					want = absent
				case has&(acl.Read|acl.Seen|acl.Write|acl.Insert|acl.Post) == 0:
					want = forbidden
				}
				for _, line := range lines {
					got := abroadAnswers(t, u.list(r), "", line, "")
					last := got[len(got)-1]
					if want == fine && !strings.HasPrefix(last, "b OK") || want != fine && last != "b "+want {
						t.Fatalf("%s with %q: %q, want %q", line, has, last, want)
					}
				}
			}
		})
	}
}

// hiddenLines are commands about a mailbox of another's that is not to be known, with how
// often its owner is asked: about the selected mailbox, about others that NOTIFY looks at,
// and where something is to be made. What the owner's end then does for the one that is there and
// the one that is not, package guarded's tests compare.
var hiddenLines = []struct {
	line  string
	asked int
}{
	{"SELECT Box", 0}, {"EXAMINE Box", 0}, {"STATUS Box (MESSAGES)", 0}, {`LIST "" Box`, 0}, {`LIST "" Box RETURN (STATUS (MESSAGES) MYRIGHTS METADATA (/shared/comment))`, 0},
	{"APPEND Box {4+}\r\na: b", 0}, {"COPY 1 Box", 2}, {"MOVE 1 Box", 2}, {"REPLACE 1 Box {4+}\r\na: b", 2}, {"DELETE Box", 0}, {"RENAME Box Full/x", 0},
	{"GETACL Box", 0}, {"SETACL Box bob lr", 0}, {"DELETEACL Box bob", 0}, {"LISTRIGHTS Box bob", 0}, {"MYRIGHTS Box", 0}, {"GETQUOTAROOT Box", 0},
	{"GETMETADATA Box /shared/comment", 0}, {`SETMETADATA Box (/shared/comment "x" /private/comment "x")`, 0}, {"SUBSCRIBE Box", 0}, {"UNSUBSCRIBE Box", 0}, {`LSUB "" Box`, 0},
	{"NOTIFY SET (MAILBOXES Box (MessageNew MessageExpunge MailboxName MailboxMetadataChange))", 1}, {"NOTIFY SET STATUS (SUBTREE Box (MessageNew MessageExpunge))", 0},
	{"ESEARCH IN (mailboxes Box) ALL", 0}, {"CREATE Box/new", 1}, {"RENAME Full Box/new", 1},
}

// No command about a hidden mailbox goes to its owner where one about a mailbox that is not
// there does not, and the answers are the same.
func TestHiddenAsksNobody(t *testing.T) {
	for _, q := range hiddenLines {
		var answers [2]string
		for i, name := range []string{"Box", "Nil"} {
			c := openCommunity(t, []string{"channels", "ann mailbox INBOX 0", "ann mailbox Box 2", "ann mailbox Full 1", "ann acl Box user=bob rswipkxtea", "ann acl Full user=bob lrswipkxtea"}).(*community)
			if needs := strings.Fields(q.line)[0]; needs == "COPY" || needs == "MOVE" || needs == "REPLACE" {
				c.Send(2, []byte("a SELECT \"Other Users/ann/Full\"\r\n"))
				c.Take(2)
			}
			before := c.reached
			c.Session(2).Input(c.Now, []byte("b "+abroadAs(strings.ReplaceAll(q.line, "Box", name), "Other Users/ann/")+"\r\n"))
			answers[i] = fmt.Sprintf("asked %d times: %s", c.reached-before, strings.ReplaceAll(string(c.Take(2)), name, "Box"))
			c.Close()
		}
		if answers[0] != answers[1] {
			t.Errorf("%s: %s\nof a mailbox that is not there: %s", q.line, answers[0], answers[1])
		}
		if want := fmt.Sprintf("asked %d times: ", q.asked); !strings.HasPrefix(answers[0], want) {
			t.Errorf("%s: %s, want %s", q.line, answers[0], want)
		}
	}
}
