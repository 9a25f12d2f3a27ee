package mailtool

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"rookery/internal/ipc"
	"rookery/internal/ipc/toolmsg"
	"rookery/internal/mailstore"
	"rookery/internal/pop3wire"
)

func TestTokens(t *testing.T) {
	got, err := tokens("LIST (\\HasNoChildren) \".\" {5}\r\na(\"b ( x \"q\\\"u\" [UIDVALIDITY 7])")
	want := []token{{text: "LIST"}, {isList: true, list: []token{{text: `\HasNoChildren`}}}, {text: ".", quoted: true}, {text: `a("b `, quoted: true},
		{isList: true, list: []token{{text: "x"}, {text: `q"u`, quoted: true}, {isList: true, list: []token{{text: "UIDVALIDITY"}, {text: "7"}}}}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %v", got, err)
	}
	for _, bad := range []string{"(", `"x`, `"x\`, "{5}\r\nx", strings.Repeat("(", 100)} {
		if got, err := tokens(bad); err == nil {
			t.Errorf("%q was read as %+v", bad, got)
		}
	}
	if got, err := tokens("OK a) text ]"); err != nil || len(got) != 5 {
		t.Errorf("%+v %v", got, err)
	}
}

func FuzzTokens(f *testing.F) {
	f.Add("1 FETCH (FLAGS (\\Seen) UID 7)")
	f.Add("LIST () \".\" {3}\r\nabc")
	f.Fuzz(func(t *testing.T, s string) { tokens(s) })
}

func TestResponses(t *testing.T) {
	for in, want := range map[string]string{"* LIST {3}\r\na\r\n x\r\n": "* LIST {3}\r\na\r\n x", "a\n": "a", "half": "", "{2000000}\r\nx": ""} {
		got, err := newIMAPClient(bytes.NewBufferString(in)).response()
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q %v", in, got, err)
		}
	}
}

// oldServer is a server that tells of a store what a test wants.
func oldServer(t *testing.T, answers map[string]string) int {
	t.Helper()
	mine, theirs, err := ipc.StreamPair()
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(mine), "old server")
	conn, err := net.FileConn(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		in := bufio.NewScanner(conn)
		for in.Scan() {
			tag, command, _ := strings.Cut(in.Text(), " ")
			answer, ok := answers[command]
			if !ok {
				fmt.Fprintf(conn, "%s BAD %s\r\n", tag, command)
				continue
			}
			fmt.Fprintf(conn, "%s%s OK done\r\n", strings.ReplaceAll(answer, "\n", "\r\n"), tag)
		}
	}()
	return theirs
}

func TestAdopt(t *testing.T) {
	h := newHome(t)
	s := h.current(t)
	if _, err := s.Create("Ärger/x", 0); err != nil {
		t.Fatal(err)
	}
	s.Subscribe("Ärger/x", true)
	put(t, s, "INBOX", "Subject: 1\r\n\r\n", mailstore.AppendMeta{Flags: mailstore.Seen, Keywords: []string{"$K"}})
	put(t, s, "INBOX", "Subject: 2\r\n\r\n", mailstore.AppendMeta{})
	validity := func(n string) uint32 {
		st, err := s.Status(n, mailstore.StatusWant{})
		if err != nil {
			t.Fatal(err)
		}
		return st.UIDValidity
	}
	same := map[string]string{
		`LIST "" "*"`:           "* LIST (\\HasNoChildren) \".\" INBOX\n* LIST () \".\" \"&AMQ-rger.x\"\n* LIST (\\Noselect) \".\" &AMQ-rger\n",
		`LSUB "" "*"`:           "* LSUB () \".\" &AMQ-rger.x\n",
		`EXAMINE "INBOX"`:       fmt.Sprintf("* 2 EXISTS\n* OK [UIDVALIDITY %d] fine (really)\n* OK [UIDNEXT 3] x\n", validity("INBOX")),
		`EXAMINE "&AMQ-rger.x"`: fmt.Sprintf("* OK [UIDVALIDITY %d]\n* OK [UIDNEXT 1]\n", validity("Ärger/x")),
		`UID FETCH 1:* (FLAGS)`: "* 1 FETCH (UID 1 FLAGS (\\Recent $k \\Seen))\n* 2 FETCH (FLAGS () UID 2)\n",
	}
	ask := func(changes map[string]string) (text string, exit uint8) {
		answers := map[string]string{}
		for k, v := range same {
			answers[k] = v
		}
		for k, v := range changes {
			answers[k] = v
		}
		c := dial(t, h)
		defer c.hang()
		fd := oldServer(t, answers)
		defer unix.Close(fd)
		if err := c.flow.Send(&toolmsg.Request{Verb: toolmsg.Adopt, Options: []string{"against"}}); err != nil {
			t.Fatal(err)
		}
		if err := c.flow.SendFD(&toolmsg.Stream{}, fd); err != nil {
			t.Fatal(err)
		}
		lines, done := c.finish()
		return fmt.Sprint(lines, done.Text), done.Exit
	}
	// The second mailbox has no messages, so its FETCH differs: give each its own.
	one := map[string]string{`UID FETCH 1:* (FLAGS)`: same[`UID FETCH 1:* (FLAGS)`]}
	if text, exit := ask(one); exit != 65 || !strings.Contains(text, "UID 1 is missing here") || strings.Contains(text, "INBOX messages:2 same:false") {
		t.Errorf("%d %s", exit, text)
	}
	s.Delete("Ärger/x")
	s.Subscribe("Ärger/x", false)
	same[`LIST "" "*"`], same[`LSUB "" "*"`] = "* LIST () \".\" INBOX\n", ""
	if text, exit := ask(nil); exit != 0 || !strings.Contains(text, "same:true") {
		t.Errorf("%d %s", exit, text)
	}
	for what, change := range map[string][2]string{
		"UIDVALIDITY is":            {`EXAMINE "INBOX"`, "* OK [UIDVALIDITY 9]\n"},
		"UIDNEXT is 3 here, 5":      {`EXAMINE "INBOX"`, fmt.Sprintf("* OK [UIDVALIDITY %d]\n* OK [UIDNEXT 5]\n", validity("INBOX"))},
		"UID 2 is here alone":       {`UID FETCH 1:* (FLAGS)`, "* 1 FETCH (UID 1 FLAGS ($k \\Seen))\n"},
		"has the flags ($k \\seen)": {`UID FETCH 1:* (FLAGS)`, "* 1 FETCH (UID 1 FLAGS ($k))\n* 2 FETCH (FLAGS () UID 2)\n"},
		"has a mailbox More":        {`LIST "" "*"`, "* LIST () \".\" INBOX\n* LIST () \".\" {4}\nMore\n"},
		"alone":                     {`LSUB "" "*"`, "* LSUB () \".\" More\n"},
	} {
		if text, exit := ask(map[string]string{change[0]: change[1]}); exit != 65 || !strings.Contains(text, what) {
			t.Errorf("%s: %d %s", what, exit, text)
		}
	}
	c := dial(t, h)
	if lines := c.must(toolmsg.Adopt, nil); lines[0]["messages"] != 2.0 || lines[0]["keywords"] != "$K" {
		t.Errorf("%v", lines)
	}
}

// POP3's unique ids are compared in the order of its numbers; those that another
// server gave are told as they are.
func TestAdoptUIDLs(t *testing.T) {
	h := newHome(t)
	s := h.current(t)
	put(t, s, "INBOX", "Subject: 1\r\n\r\n", mailstore.AppendMeta{})
	put(t, s, "INBOX", "Subject: 2\r\n\r\n", mailstore.AppendMeta{UIDL: "kept id", Order: 1})
	st, err := s.Status("INBOX", mailstore.StatusWant{})
	if err != nil {
		t.Fatal(err)
	}
	hash := pop3wire.UniqueID("kept id") // no client may be told a space
	first := fmt.Sprintf("00000001%08x", st.UIDValidity)
	for _, c := range []struct{ answer, want string }{
		{"+OK\r\n1 " + hash + "\r\n2 " + first + "\r\n.\r\n", "same:true"},
		{"+OK\r\n1 " + first + "\r\n2 " + hash + "\r\n.\r\n", "message 1 has the UIDL " + hash + " here, " + first + " there"},
		{"+OK\r\n1 " + hash + "\r\n.\r\n", "there are 2 messages here, 1 there"},
		{"-ERR no\r\n", "answers UIDL with"},
		{"+OK\r\nx\r\n.\r\n", "has the line"},
		{"+OK\r\n1 a\r\n", "the other server"},
	} {
		mine, theirs, err := ipc.StreamPair()
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(mine), "old server")
		go func() {
			in := bufio.NewScanner(f)
			in.Scan()
			_, _ = f.WriteString(c.answer)
			if !strings.HasSuffix(c.answer, ".\r\n") {
				f.Close()
			}
		}()
		cl := dial(t, h)
		if err := cl.flow.Send(&toolmsg.Request{Verb: toolmsg.Adopt, Options: []string{"against-pop3"}}); err != nil {
			t.Fatal(err)
		}
		if err := cl.flow.SendFD(&toolmsg.Stream{}, theirs); err != nil {
			t.Fatal(err)
		}
		unix.Close(theirs)
		lines, done := cl.finish()
		if text := fmt.Sprint(lines, done.Text); !strings.Contains(text, c.want) || (done.Exit == 0) != (c.want == "same:true") {
			t.Errorf("%q: %d %s", c.answer, done.Exit, text)
		}
		f.Close()
	}
}
