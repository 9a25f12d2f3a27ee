package session

import (
	"errors"
	"io/fs"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"rookery/imapworker/internal/sessiontest/peers"
	"rookery/internal/errkind"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore/memstore"
)

type keepLog struct{ lines []string }

func (k *keepLog) Info(text string)  { k.lines = append(k.lines, "info "+text) }
func (k *keepLog) Warn(text string)  { k.lines = append(k.lines, "warn "+text) }
func (k *keepLog) Error(text string) { k.lines = append(k.lines, "error "+text) }

// Every kind has an answer that shows nothing of the cause, and what is not the
// client's doing is logged with it.
func TestRefusals(t *testing.T) {
	want := map[errkind.Kind]string{
		errkind.Other: "SERVERBUG error", errkind.NotFound: "NONEXISTENT", errkind.Exists: "ALREADYEXISTS", errkind.NoPermission: "NOPERM",
		errkind.OverQuota: "OVERQUOTA", errkind.NoSpace: "OVERQUOTA error", errkind.Limit: "LIMIT", errkind.TooBig: "TOOBIG",
		errkind.InUse: "INUSE warn", errkind.Invalid: "CANNOT", errkind.Corrupt: "CORRUPTION error", errkind.Unavailable: "UNAVAILABLE warn",
		errkind.Expunged: "EXPUNGEISSUED", errkind.AuthFailed: "SERVERBUG error", errkind.AuthzFailed: "SERVERBUG error",
		errkind.Expired: "SERVERBUG error", errkind.Privacy: "SERVERBUG error", errkind.ContactAdmin: "CONTACTADMIN error",
		errkind.ReadOnly: "", errkind.IO: "SERVERBUG error", errkind.TooMany: "UNAVAILABLE error",
	}
	kinds := 0
	for kind := errkind.Other; kind.Valid(); kind++ {
		kinds++
		log := &keepLog{}
		s := &Session{cfg: Config{Log: log}}
		reply := s.refusal(errkind.New("op", kind, errors.New("/secret/path")))
		got := reply.Code.Name
		for _, line := range log.lines {
			got += " " + strings.Fields(line)[0]
			if !strings.Contains(line, "/secret/path") {
				t.Errorf("%v: log line %q lacks the cause", kind, line)
			}
		}
		if got != want[kind] || reply.Cond != imapwire.NO || strings.Contains(reply.Text, "/") {
			t.Errorf("%v: %q %+v, want %q", kind, got, reply, want[kind])
		}
	}
	if kinds != len(want) {
		t.Errorf("%d kinds, %d tested", kinds, len(want))
	}
}

// A client that is gone ends the session; nothing more is run.
func TestClientGone(t *testing.T) {
	out := &peers.Output{Broken: true}
	store := memstore.New(memstore.Options{})
	s := New(Config{Settings: Defaults(), Store: store, Out: out, Log: &keepLog{}, Changes: make(chan struct{}, 1)}, start)
	s.Input(start, []byte("a NOOP\r\n"))
	s.Input(start, []byte("b CREATE x\r\n"))
	if end, why := s.Ended(); end != Gone || why != "Disconnected: Io: read/write on closed pipe" {
		t.Errorf("%v %q", end, why)
	}
	if _, err := store.Lookup("x"); err == nil {
		t.Error("a command ran after the client was gone")
	}
}

// inStep is the end of what is sent for "sync NOOP", in whatever language.
var inStep = regexp.MustCompile(`(^|\n)sync OK [^\r\n]+\r\n$`)

// Whatever comes, the machine answers only well-formed lines, and ends or stays
// in step.
func FuzzSession(f *testing.F) {
	f.Add("a SELECT INBOX\r\nb STORE 1 +FLAGS (\\Deleted x)\r\nc EXPUNGE\r\n")
	f.Add("a APPEND INBOX (\\Seen) {3+}\r\nabc {2+}\r\nde\r\nb IDLE\r\nDONE\r\n")
	f.Add("a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (% *) RETURN (STATUS (MESSAGES))\r\nb LSUB \"\" %\r\n")
	f.Add("a CREATE a/b\r\nb RENAME a c\r\nc STATUS c/b (UIDNEXT SIZE)\r\nd DELETE c/b\r\ne ID (\"a\" NIL)\r\n")
	f.Add("a SELECT INBOX\r\nb COPY 1:* INBOX\r\nc UID MOVE 2 INBOX\r\nd UNSELECT\r\ne CLOSE\r\n")
	f.Add("a SELECT INBOX\r\nb UID FETCH 1:* (FLAGS BODY[]<0.5> BODYSTRUCTURE)\r\nc SEARCH RETURN (MIN) OR UNSEEN NOT 1:2 SUBJECT \"x\"\r\n")
	f.Add("a SELECT INBOX\r\nb REPLACE 1 INBOX CATENATE (TEXT {3+}\r\nabc URL /INBOX/;UID=2/;SECTION=TEXT/;PARTIAL=0.2)\r\nc UID REPLACE 3 INBOX ~{2+}\r\nx\x00\r\nd FETCH 1:* (BINARY[1]<0.2> BINARY.SIZE[] PREVIEW (LAZY) EMAILID THREADID)\r\n")
	f.Add("a SELECT INBOX\r\nb UID FETCH 1:* (X-GUID X-MAILBOX SAVEDATE) (PARTIAL -1:-2 CHANGEDSINCE 1)\r\nc APPEND INBOX {1+}\r\nx CATENATE (URL {13+}\r\n/INBOX/;UID=1 TEXT {0+}\r\n)\r\n")
	f.Add("a SELECT INBOX (CONDSTORE)\r\nb STORE 2 (UNCHANGEDSINCE 200) +FLAGS.SILENT (x)\r\nc FETCH 1:* (FLAGS) (CHANGEDSINCE 1)\r\nd SEARCH RETURN (MIN) MODSEQ \"/flags/x\" all 0\r\n")
	f.Add("a SELECT INBOX\r\nb SEARCH RETURN (SAVE UPDATE PARTIAL -1:-2) 1,$\r\nc STORE $ +FLAGS (\\Seen)\r\nd SORT RETURN (UPDATE SAVE) (REVERSE DATE) UTF-8 $\r\n" +
		"e STORE 1 +FLAGS (\\Seen \\Deleted)\r\nf EXPUNGE\r\ng CANCELUPDATE \"b\" \"d\"\r\nh UIDBATCHES 10 1:2\r\n")
	f.Add("a SETMETADATA \"\" (/private/filters/values/x \"OR SEEN FILTER y\")\r\nb ESEARCH IN (subtree (INBOX b) personal) RETURN (COUNT) NOT FILTER x UIDAFTER 1\r\n")
	f.Add("a SETMETADATA INBOX (/private/comment {3+}\r\na\r\n /shared/x ~{1+}\r\n\x00)\r\nb GETMETADATA (DEPTH infinity MAXSIZE 2) INBOX (/private /shared)\r\nc ENABLE METADATA\r\nd LIST \"\" * RETURN (METADATA (/private/comment))\r\n")
	f.Add("a GETQUOTAROOT x\r\nb GETQUOTA \"User quota\"\r\nc SETQUOTA \"User quota\" (STORAGE 1 MESSAGE 2)\r\nd STATUS INBOX (DELETED DELETED-STORAGE MAILBOXID APPENDLIMIT)\r\n")
	f.Add("a CREATE x (USE (\\Drafts \\Sent))\r\nb LANGUAGE de-AT fr\r\nc LIST (SPECIAL-USE) \"\" *\r\nd SETMETADATA x (/private/specialuse \"\\\\Junk\")\r\ne NAMESPACE\r\nf NOTIFY SET (PERSONAL (MailboxMetadataChange ServerMetadataChange))\r\n")
	f.Add("a ENABLE IMAP4rev2 UTF8=ACCEPT\r\nb CREATE \"e\xcc\x81/x\"\r\nc RENAME \"e\xcc\x81/x\" \"o\xcc\x88\"\r\nd SELECT inbox\r\ne SEARCH UNSEEN\r\nf FETCH 1:* (FLAGS BODY[]<4294967296.1>)\r\ng CHECK\r\n")
	f.Add("a APPEND INBOX UTF8 (~{4+}\r\n\xc3\xbc: ) (\\Seen) UTF8 (~{2+}\r\nab)\r\nb ENABLE UTF8=ACCEPT\r\nc APPEND inbox CATENATE (UTF8 (~{3+}\r\nx\x00\xc3) TEXT {1+}\r\ny)\r\nd COMPRESS DEFLATE\r\ne LIST \"\" \"\xc3\xa9%\"\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		if len(in) > 4096 {
			return
		}
		p := openPeer(t, []string{"mailbox INBOX 2", "quota 10000", "max-message 5000"}).(*peer)
		log := &keepLog{}
		out := &peers.Output{}
		s := New(Config{Settings: p.settings, Store: p.store, Out: out, Log: log, Changes: make(chan struct{}, 1), Jobs: allJobs(), Compress: func() {}}, start)
		s.Input(start, []byte(in))
		end, _ := s.Ended()
		if end == Running && s.framer.Idle() && s.idle == nil {
			out.Take()
			s.Input(start, []byte("sync NOOP\r\n"))
			if got := string(out.Take()); !inStep.MatchString(got) && s.end == Running {
				t.Fatalf("%q: not in step: %q", in, got)
			}
		}
		for _, line := range log.lines {
			if strings.HasPrefix(line, "error") {
				t.Fatalf("%q: %s", in, line)
			}
		}
		s.Close("")
	})
}

// A file whose permissions are wrong is the administrator's business, though the
// kind is that of a client who asks for too much.
func TestDiskPermissionIsLogged(t *testing.T) {
	log := &keepLog{}
	s := &Session{cfg: Config{Log: log}}
	s.refusal(errkind.New("read uidlist", errkind.NoPermission, &fs.PathError{Op: "open", Path: "/p", Err: syscall.EACCES}))
	if len(log.lines) != 1 || log.lines[0] != "error read uidlist: permission denied: open /p: permission denied" {
		t.Errorf("%q", log.lines)
	}
}

// Of a session's bad commands the first alone has a line: a client can send any
// number of them.
func TestFirstBadCommandIsLogged(t *testing.T) {
	log := &keepLog{}
	s := New(Config{Settings: Defaults(), Store: memstore.New(memstore.Options{}), Out: &peers.Output{}, Log: log, Changes: make(chan struct{}, 1)}, start)
	s.Input(start, []byte("a NONSENSE\r\nb NOOP\r\nc NO\x00OP\r\n"))
	if len(log.lines) != 1 || log.lines[0] != "info Bad command, answered: Unknown command." {
		t.Errorf("%q", log.lines)
	}
}
