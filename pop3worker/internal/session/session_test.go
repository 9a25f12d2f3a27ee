package session

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/numset"
	"rookery/internal/transcript"
)

// mails are the messages that "given: mails N" puts into INBOX, in this order.
var mails = []string{
	"Subject: one\r\nFrom: a@example.test\r\n\r\nline 1\r\nline 2\r\n.\r\n..two dots\r\nlast\r\n",
	"Subject: two\r\n\r\nno line end",
	"Subject: head only\r\n",
	"Subject: nul\r\n\r\na\x00b\r\n",
	"Subject: empty body\r\n\r\n",
	"\r\nno header\r\n",
	"Subject: " + strings.Repeat("x", 70000) + "\r\n\r\n" + strings.Repeat("0123456789\r\n", 3),
}

// peer is a session over a store in memory, for transcripts.
type peer struct {
	t     *testing.T
	store *memstore.Store
	box   mailstore.Mailbox
	cfg   Config
	s     *Session
	out   bytes.Buffer
	over  bool
	flaky *failing
}

// failing is a mailbox whose Expunge fails after removing one message, and in
// which one message may be unreadable.
type failing struct {
	mailstore.Mailbox
	fail       bool
	unreadable mailstore.UID
}

func (f *failing) Facts(uid mailstore.UID, want mailstore.FactsWant) (mailstore.Facts, error) {
	if uid == f.unreadable {
		return mailstore.Facts{}, errkind.Newf("read message", errkind.IO, "bad sector")
	}
	return f.Mailbox.Facts(uid, want)
}

func (f *failing) Message(uid mailstore.UID) (mailstore.Message, error) {
	if uid == f.unreadable {
		return nil, errkind.Newf("read message", errkind.IO, "bad sector")
	}
	return f.Mailbox.Message(uid)
}

func (f *failing) Expunge(uids numset.Set) (numset.Set, error) {
	if !f.fail {
		return f.Mailbox.Expunge(uids)
	}
	done, _ := f.Mailbox.Expunge(numset.Of(uids.Min()))
	return done, errors.New("disk on fire")
}

func openPeer(t *testing.T, given []string) transcript.Peer {
	t.Helper()
	p := &peer{t: t, store: memstore.New(memstore.Options{}), cfg: Config{Expire: -1, Implementation: "Rookery"}}
	n := 0
	for _, g := range given {
		switch key, value, _ := strings.Cut(g, " "); key {
		case "mails":
			fmt.Sscan(value, &n)
		case "last":
			p.cfg.EnableLast = true
		case "noflags":
			p.cfg.NoFlagUpdates = true
		case "flag":
			p.cfg.DeletedFlag, p.cfg.DeleteByFlag = value, true
		case "nonuls":
			p.cfg.NoNULs = true
		case "eoh":
			p.cfg.EndOfHeaders = true
		case "rename":
			p.cfg.RenameUIDL = true
		case "totals":
			p.cfg.Totals = true
		case "expire":
			fmt.Sscan(value, &p.cfg.Expire)
		case "delay":
			fmt.Sscan(value, &p.cfg.LoginDelay)
		case "uidl":
			p.cfg.NeedMD5 = value == "md5"
			p.cfg.UIDL = func(v *UIDLVars) (string, error) {
				return map[string]string{"md5": v.MD5, "uid": fmt.Sprint(v.UID), "same": "same", "long": strings.Repeat("l", 71)}[value], nil
			}
		default:
			t.Fatalf("given: %s", g)
		}
	}
	p.fill(n)
	p.begin()
	return p
}

func (p *peer) fill(n int) {
	p.t.Helper()
	for i := range n {
		a, err := p.store.Append("INBOX")
		if err != nil {
			p.t.Fatal(err)
		}
		w, err := a.Add(mailstore.AppendMeta{}, int64(len(mails[i%len(mails)])))
		if err == nil {
			_, err = io.WriteString(w, mails[i%len(mails)])
		}
		if err == nil {
			_, err = a.Commit()
		}
		if err != nil {
			p.t.Fatal(err)
		}
	}
	box, err := p.store.Open("INBOX")
	if err != nil {
		p.t.Fatal(err)
	}
	p.flaky = &failing{Mailbox: box}
	p.box = p.flaky
}

func (p *peer) begin() {
	s, err := New(p.cfg, p.box, true)
	if err != nil {
		p.t.Fatal(err)
	}
	p.s, p.over = s, false
	p.out.Write(s.Begin())
}

func (p *peer) Send(_ int, b []byte) {
	for !p.over {
		n, out, effect := p.s.Feed(b)
		b = b[n:]
		p.out.Write(out)
		switch effect {
		case None:
			return
		case Close:
			p.over = true
			p.out.WriteString("(closed)\r\n")
		case Send:
			for {
				piece, err := p.s.Body.Append(nil)
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					p.t.Fatal(err)
				}
				p.out.Write(piece)
			}
			p.s.Sent()
		}
	}
}

// Event: "flags" shows the stored flags, "expunge N" is another session's,
// "again" begins a new session, "flush" is ten idle seconds, "stats" shows them.
func (p *peer) Event(words string) {
	p.t.Helper()
	key, value, _ := strings.Cut(words, " ")
	switch key {
	case "flags":
		snap := p.box.Snapshot()
		for i := range snap.Len() {
			e := snap.At(i)
			fmt.Fprintf(&p.out, "(uid %d seen %t %v)\r\n", e.UID, e.Flags&mailstore.Seen != 0, snap.Keywords(e.Keywords))
		}
	case "expunge":
		var uid uint32
		fmt.Sscan(value, &uid)
		if _, err := p.flaky.Mailbox.Expunge(numset.Of(uid)); err != nil {
			p.t.Fatal(err)
		}
	case "again":
		p.begin()
	case "flush":
		if err := p.s.Flush(); err != nil {
			p.t.Fatal(err)
		}
	case "break":
		p.flaky.fail = true
	case "unreadable":
		fmt.Sscan(value, &p.flaky.unreadable)
	case "finish":
		p.s.Finish()
	case "stats":
		fmt.Fprintf(&p.out, "(%+v)\r\n", p.s.Stats())
	default:
		p.t.Fatalf("event %q", words)
	}
}

func (p *peer) Take(int) []byte {
	b := bytes.Clone(p.out.Bytes())
	p.out.Reset()
	return b
}

func (p *peer) Close() { p.box.Close(); p.store.Close() }

func TestTranscripts(t *testing.T) { transcript.Run(t, "testdata/*.txt", openPeer) }

func TestOverlongLineIsOneError(t *testing.T) {
	p := openPeer(t, nil).(*peer)
	defer p.Close()
	p.Take(1)
	p.Send(1, []byte(strings.Repeat("A", 100000)+"\r\nNOOP\r\n"))
	if got := string(p.Take(1)); got != "-ERR Line too long.\r\n+OK\r\n" {
		t.Errorf("%q", got)
	}
}

func FuzzSession(f *testing.F) {
	f.Add([]byte("STAT\r\nLIST\r\nTOP 1 1\r\nRETR 2\r\nDELE 1\r\nRSET\r\nQUIT\r\n"))
	f.Add([]byte("UIDL 1\nLAST\r\n\x00\r\nRETR 99999999999999999999\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		p := openPeer(t, []string{"mails 3"}).(*peer)
		defer p.Close()
		p.Send(1, in)
		for _, line := range strings.Split(strings.TrimSuffix(string(p.Take(1)), "\r\n"), "\r\n") {
			if strings.ContainsAny(line, "\r\n") {
				t.Fatalf("%q", line)
			}
		}
	})
}

// An answer says "see the server's log": the log has the cause. Of bad commands
// the first alone is told.
func TestLogIsTold(t *testing.T) {
	var told []string
	store := memstore.New(memstore.Options{})
	box, err := store.Open("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	a, err := store.Append("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w, err := a.Add(mailstore.AppendMeta{}, int64(len(mails[0])))
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, mails[0])
	}
	if _, err := a.Commit(); err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Failed: func(err error) { told = append(told, err.Error()) }}, &failing{Mailbox: box, fail: true}, false)
	if err != nil {
		t.Fatal(err)
	}
	s.Feed([]byte("NONSENSE\r\nNO\x00OP\r\nDELE 1\r\nDELE 2\r\n"))
	if got := s.FirstBad(); got != "Unknown command." {
		t.Errorf("first bad command: %q", got)
	}
	if _, out, _ := s.Feed([]byte("QUIT\r\n")); string(out) != "-ERR [SYS/TEMP] 1 deleted messages not removed.\r\n" {
		t.Errorf("QUIT: %q", out)
	}
	if len(told) != 1 || told[0] != "disk on fire" {
		t.Errorf("told: %q", told)
	}
}
