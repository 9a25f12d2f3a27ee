package session

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"rookery/imapworker/internal/sessiontest/peers"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
)

func TestSearching(t *testing.T) { everywhere(t, "testdata/searching/*.txt") }

func TestFilters(t *testing.T) { boxesEverywhere(t, "testdata/filters/*.txt") }

// A command that takes long tells how far it is, each time that 10 seconds have
// passed and with numbers that ascend and stay below the goal (RFC 9585 §3, §4).
func TestInProgress(t *testing.T) {
	for _, test := range []struct{ tag, command, want string }{
		{"a1", "SEARCH BODY nonsense", `* OK [INPROGRESS ("a1" 32 64)] Still working.` + "\n" + `* OK [INPROGRESS ("a1" 63 64)] Still working.`},
		{"a]", "UID SEARCH TEXT nonsense", "* OK [INPROGRESS (NIL 32 64)] Still working.\n* OK [INPROGRESS (NIL 63 64)] Still working."},
		{"a2", "SEARCH UNSEEN", ""}, // which costs nothing
		{"a3", "SORT (SUBJECT) UTF-8 BODY body", `* OK [INPROGRESS ("a3" 16 64)] Still working.` + "\n" + `* OK [INPROGRESS ("a3" 32 64)] Still working.`},
		{"a4", "THREAD REFS UTF-8 BODY body", `* OK [INPROGRESS ("a4" 16 64)] Still working.` + "\n" + `* OK [INPROGRESS ("a4" 32 64)] Still working.`},
		{"a5", "ESEARCH IN (selected mailboxes (a b c)) BODY body", `* OK [INPROGRESS ("a5" 0 4)] Still working.` + "\n" + `* OK [INPROGRESS ("a5" 0 4)] Still working.` + "\n" +
			`* OK [INPROGRESS ("a5" 1 4)] Still working.` + "\n" + `* OK [INPROGRESS ("a5" 3 4)] Still working.`},
	} {
		p := openPeer(t, []string{"mailbox INBOX 64"}).(*peer)
		now := start
		p.clock = func() time.Time {
			now = now.Add(6 * time.Second)
			return now
		}
		p.Send(1, []byte("s SELECT INBOX\r\n"))
		p.Take(1)
		p.Send(1, fmt.Appendf(nil, "%s %s\r\n", test.tag, test.command))
		var got []string
		for line := range strings.SplitSeq(string(p.Take(1)), "\r\n") {
			if strings.Contains(line, "INPROGRESS") {
				got = append(got, line)
			}
		}
		if strings.Join(got, "\n") != test.want {
			t.Errorf("%s: got\n%s\nwant\n%s", test.command, strings.Join(got, "\n"), test.want)
		}
		p.Close()
	}
}

// mirrored shows one mailbox under a second name, as a link within the store would.
type mirrored struct{ mailstore.Store }

func (s mirrored) Open(name mailstore.Name) (mailstore.Mailbox, error) {
	if name == "link" {
		name = "INBOX"
	}
	return s.Store.Open(name)
}

// A mailbox that is there under two names is searched once (RFC 7377 §2.2).
func TestSearchedOnce(t *testing.T) {
	p := openPeer(t, []string{"mailbox INBOX 1", "mailbox other 1"}).(*peer)
	defer p.Close()
	p.store = mirrored{p.store}
	p.Send(1, []byte("a ESEARCH IN (mailboxes (link INBOX other)) ALL\r\n"))
	want := "* ESEARCH (TAG \"a\" MAILBOX link UIDVALIDITY 1001) UID ALL 1\r\n" +
		"* ESEARCH (TAG \"a\" MAILBOX other UIDVALIDITY 1002) UID ALL 1\r\na OK Esearch completed.\r\n"
	if got := string(p.Take(1)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

var objectIDs = regexp.MustCompile(`EMAILID \(([^)]*)\) THREADID (NIL|\(([^)]*)\))`)

// What FETCH tells as EMAILID and THREADID is found by it, exactly, and the GUID
// of a message too (RFC 8474 §6).
func TestObjectKeys(t *testing.T) {
	for _, driver := range []string{"memory", "maildir", "mbox", "pack"} {
		t.Run(driver, func(t *testing.T) {
			p := openPeer(t, []string{"driver " + driver}).(*peer)
			defer p.Close()
			ask := func(command string) string {
				p.Send(1, []byte("t "+command+"\r\n"))
				return string(p.Take(1))
			}
			for _, head := range []string{"Message-ID: <a@x>", "Message-ID: <b@x>\r\nReferences: <a@x>", "Message-ID: <c@x>", "Subject: none"} {
				text := head + "\r\n\r\nbody\r\n"
				ask(fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(text), text))
			}
			ask("SELECT INBOX")
			ids := objectIDs.FindAllStringSubmatch(ask("FETCH 1:* (EMAILID THREADID)"), -1)
			if len(ids) != 4 || ids[3][2] != "NIL" {
				t.Fatalf("identifiers: %q", ids)
			}
			box, err := p.store.Open("INBOX")
			if err != nil {
				t.Fatal(err)
			}
			defer box.Close()
			facts, err := box.Facts(2, mailstore.FactsWant{GUID: true})
			if err != nil {
				t.Fatal(err)
			}
			for _, test := range []struct{ keys, want string }{
				{"EMAILID " + ids[0][1], " 1"}, {"EMAILID " + ids[3][1], " 4"},
				{"OR EMAILID " + ids[0][1] + " EMAILID " + ids[2][1], " 1 3"},
				{"EMAILID " + strings.ToUpper(ids[0][1]), ""}, {"EMAILID " + ids[0][3], ""},
				{"THREADID " + ids[0][3], " 1 2"}, {"THREADID " + ids[1][3], " 1 2"}, {"THREADID " + ids[2][3], " 3"},
				{"NOT THREADID " + ids[0][3], " 3 4"}, {"THREADID " + ids[0][1], ""},
				{"X-GUID " + hex.EncodeToString(facts.GUID[:]), " 2"},
			} {
				if got, want := ask("SEARCH "+test.keys), "* SEARCH"+test.want+"\r\nt OK Search completed.\r\n"; got != want {
					t.Errorf("%s: got %q, want %q", test.keys, got, want)
				}
			}
		})
	}
}

// A search that needs only some of what it could find does not ask for the rest.
func TestEnough(t *testing.T) {
	for _, test := range []struct {
		command, want string
		most          int // messages that are asked
	}{
		{"SEARCH RETURN (MIN) SUBJECT message", "MIN 1", 1},
		{"SEARCH RETURN (MAX) SUBJECT message", "MAX 600", 256},
		{"SEARCH RETURN (PARTIAL 1:5) SUBJECT message", "PARTIAL (1:5 1:5)", 5},
		{"SEARCH RETURN (PARTIAL -1:-5) SUBJECT message", "PARTIAL (-1:-5 596:600)", 256},
		{"SEARCH RETURN (PARTIAL -3:-300) SUBJECT message", "PARTIAL (-3:-300 301:598)", 512},
		{"SEARCH RETURN (MAX PARTIAL -2:-1) SUBJECT message", "MAX 600 PARTIAL (-2:-1 599:600)", 256},
		{"SEARCH RETURN (MIN PARTIAL 2:3) SUBJECT message", "MIN 1 PARTIAL (2:3 2:3)", 3},
		{"SEARCH RETURN (PARTIAL -1:-5 COUNT) SUBJECT message", "PARTIAL (-1:-5 596:600) COUNT 600", 600},
		{"SEARCH RETURN (MIN MAX) SUBJECT message", "MIN 1 MAX 600", 600},
		{"SEARCH RETURN (MIN UPDATE) SUBJECT message", "MIN 1", 600},
		{"SEARCH RETURN (MAX) SUBJECT \"message 7\"", "MAX 79", 600},
		{"SEARCH RETURN (COUNT) UID 595:* SUBJECT message 5:598", "COUNT 4", 4},
		{"SEARCH RETURN (ALL) UIDAFTER 590 UIDBEFORE 593 ALL", "ALL 591:592", 0},
		{"SEARCH RETURN (ALL) OR 1:2 SUBJECT \"message 9\"", "ALL 1:2,9,90:99", 600},
	} {
		p := openPeer(t, []string{"mailbox INBOX 600"}).(*peer)
		counting := &countingStore{Store: p.store}
		p.store = counting
		p.Send(1, []byte("s SELECT INBOX\r\n"))
		p.Take(1)
		p.Send(1, []byte("t "+test.command+"\r\n"))
		if got, want := string(p.Take(1)), `* ESEARCH (TAG "t") `+test.want+"\r\nt OK Search completed.\r\n"; got != want {
			t.Errorf("%s: got %q, want %q", test.command, got, want)
		}
		if counting.opened > test.most {
			t.Errorf("%s: %d messages were opened, at most %d are needed", test.command, counting.opened, test.most)
		}
		p.Close()
	}
}

// countingStore counts the messages that are opened.
type countingStore struct {
	mailstore.Store
	opened int
}

type countingBox struct {
	mailstore.Mailbox
	of *countingStore
}

func (s *countingStore) Open(name mailstore.Name) (mailstore.Mailbox, error) {
	box, err := s.Store.Open(name)
	return countingBox{box, s}, err
}

func (b countingBox) Message(uid mailstore.UID) (mailstore.Message, error) {
	b.of.opened++
	return b.Mailbox.Message(uid)
}

// manyNames is a store with more mailboxes than there are.
type manyNames struct {
	mailstore.Store
	n int
}

func (s manyNames) List() ([]mailstore.Folder, error) {
	out := make([]mailstore.Folder, s.n)
	for i := range out {
		out[i].Name = fmt.Sprintf("m%05d", i)
	}
	return out, nil
}

// brokenBox is a store one of whose mailboxes cannot be opened.
type brokenBox struct{ mailstore.Store }

func (s brokenBox) Open(name mailstore.Name) (mailstore.Mailbox, error) {
	if name == "a" {
		return nil, errkind.Newf("open", errkind.Corrupt, "the index is damaged")
	}
	return s.Store.Open(name)
}

// ESEARCH searches no more mailboxes than it may, takes no more names, and tells of
// the others where one cannot be searched (RFC 7377 §2.4).
func TestSearchedMailboxes(t *testing.T) {
	for _, test := range []struct {
		wrap          func(mailstore.Store) mailstore.Store
		command, want string
	}{
		{func(s mailstore.Store) mailstore.Store { return manyNames{s, 10_001} }, "ESEARCH IN (personal) ALL", "a NO [LIMIT] Too many mailboxes to search at once.\r\n"},
		{func(s mailstore.Store) mailstore.Store { return manyNames{s, 10_000} }, "ESEARCH IN (personal mailboxes INBOX) ALL", "a NO [LIMIT] Too many mailboxes to search at once.\r\n"},
		{func(s mailstore.Store) mailstore.Store { return manyNames{s, 10_000} }, "ESEARCH IN (personal) ALL", "a OK Esearch completed.\r\n"},
		{func(s mailstore.Store) mailstore.Store { return brokenBox{s} }, "ESEARCH IN (personal) ALL",
			"* ESEARCH (TAG \"a\" MAILBOX INBOX UIDVALIDITY 1001) UID ALL 1\r\n* ESEARCH (TAG \"a\" MAILBOX b UIDVALIDITY 1003) UID ALL 1\r\n" +
				"a NO [CORRUPTION] The stored data is damaged.\r\n"},
		{nil, "ESEARCH IN (mailboxes (" + strings.TrimSpace(strings.Repeat("x ", 1001)) + ")) ALL", "a BAD Error in command ESEARCH: expected fewer mailboxes at byte 2025.\r\n"},
		{nil, "ESEARCH IN (" + strings.TrimSpace(strings.Repeat("personal ", 1001)) + ") ALL", "a BAD Error in command ESEARCH: expected fewer mailboxes at byte 9022.\r\n"},
	} {
		p := openPeer(t, []string{"mailbox INBOX 1", "mailbox a 1", "mailbox b 1"}).(*peer)
		log := &keepLog{}
		store := p.store
		if test.wrap != nil {
			store = test.wrap(store)
		}
		out := &peers.Output{}
		s := New(Config{Settings: p.settings, Store: store, Out: out, Log: log, Changes: make(chan struct{}, 1), Jobs: allJobs()}, start)
		s.Input(start, []byte("a "+test.command+"\r\n"))
		if got := string(out.Take()); got != test.want {
			t.Errorf("%.60s: got %q, want %q", test.command, got, test.want)
		}
		s.Close("")
		p.Close()
	}
}
