package session

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rookery/imapworker/internal/fetch"
	"rookery/imapworker/internal/search"
	"rookery/internal/imapwire"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/maildir"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/message"
	"rookery/internal/transcript"
	"rookery/internal/vfs/memfs"
)

var (
	parseFetchFully  = fetch.Parser(fetch.Config{Limits: message.DefaultLimits()})
	parseSearchFully = search.Parser(search.Config{Limits: message.DefaultLimits()})
)

// output keeps what a client would get.
type output struct {
	buf    []byte
	broken bool
}

func (o *output) Flush(enc *imapwire.Encoder) error {
	if o.broken {
		return io.ErrClosedPipe
	}
	o.buf = append(o.buf, enc.Bytes()...)
	enc.Reset()
	return nil
}

func (o *output) Body(m mailstore.Message, off, n int64) error {
	p := make([]byte, n)
	_, err := m.ReadAt(p, off)
	o.buf = append(o.buf, p...)
	return err
}

type logLines struct{ t *testing.T }

func (l logLines) Info(text string)  {}
func (l logLines) Warn(text string)  { l.t.Logf("warning: %s", text) }
func (l logLines) Error(text string) { l.t.Errorf("error logged: %s", text) }

// peer is some sessions of one user on one store, with a clock of their own.
type peer struct {
	t        *testing.T
	store    mailstore.Store
	settings Settings
	now      time.Time
	sessions [transcript.Sessions + 1]*Session
	outs     [transcript.Sessions + 1]*output
	changes  [transcript.Sessions + 1]chan struct{}
}

var start = time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC)

func openPeer(t *testing.T, given []string) transcript.Peer {
	p := &peer{t: t, now: start, settings: Defaults()}
	opt, driver, space := memstore.Options{}, "", mailstore.Namespace{}
	var boxes [][]string
	for _, line := range given {
		words := strings.Fields(line)
		n, _ := strconv.Atoi(words[len(words)-1])
		switch words[0] {
		case "mailbox":
			boxes = append(boxes, words[1:])
		case "quota":
			opt.Quota.StorageLimit = uint64(n)
		case "keywords":
			opt.KeywordLimit = n
		case "max-message":
			p.settings.MaxMessage = int64(n)
		case "max-line":
			p.settings.MaxLine = n
		case "driver":
			driver = words[1]
		case "prefix": // PREFIX [shown]
			space = mailstore.Namespace{Prefix: words[1], Separator: words[1][len(words[1])-1], List: true, ListPrefix: len(words) > 2}
		case "separator":
			opt.Separator = words[1][0]
		case "workarounds":
			p.settings.DelayNewMail, p.settings.ExtraSeparator, p.settings.LsubFlags = true, true, true
		case "bad-commands":
			p.settings.BadCommands = n
		default:
			t.Fatalf("given: %s is not understood", line)
		}
	}
	p.store = memstore.New(opt)
	if driver == "maildir" {
		p.store = p.openMaildir(space)
	}
	for _, box := range boxes {
		p.fill(box)
	}
	return p
}

// openMaildir opens an empty Maildir on a disk in memory, whose clock goes on
// a little with each look, as a real one does.
func (p *peer) openMaildir(space mailstore.Namespace) mailstore.Store {
	p.t.Helper()
	var ticks atomic.Int64
	disk := memfs.New(memfs.Options{Now: func() time.Time { return start.Add(time.Duration(ticks.Add(1)) * time.Microsecond) }})
	if err := disk.Mkdir("Maildir", 0o700); err != nil {
		p.t.Fatal(err)
	}
	special := []maildir.Special{{Name: prefixOf(space) + "Sent", Use: mailstore.UseSent}}
	store, err := maildir.Open(maildir.Options{FS: disk, MailPath: "Maildir", Namespace: space, Special: special, Note: func(text string) { p.t.Log(text) }})
	if err != nil {
		p.t.Fatal(err)
	}
	return store
}

// fill makes a mailbox: its name, its special use if any, its number of messages.
func (p *peer) fill(words []string) {
	use := mailstore.Attr(0)
	for _, u := range uses {
		if _, isMemory := p.store.(*memstore.Store); isMemory && u.name == words[1] {
			use = u.attr
		}
	}
	if _, err := p.store.Create(words[0], use); err != nil && words[0] != "INBOX" {
		p.t.Fatal(err)
	}
	n, err := strconv.Atoi(words[len(words)-1])
	if err != nil || n == 0 {
		return
	}
	a, err := p.store.Append(words[0])
	for i := 0; err == nil && i < n; i++ {
		text := fmt.Sprintf("Subject: message %d\r\n\r\nbody\r\n", i+1)
		var w io.Writer
		if w, err = a.Add(mailstore.AppendMeta{}, int64(len(text))); err == nil {
			_, err = io.WriteString(w, text)
		}
	}
	if err == nil {
		_, err = a.Commit()
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) session(n int) *Session {
	if p.sessions[n] == nil {
		p.outs[n], p.changes[n] = &output{}, make(chan struct{}, 1)
		p.sessions[n] = New(Config{Settings: p.settings, Store: p.store, Out: p.outs[n], Log: logLines{p.t}, Changes: p.changes[n],
			Jobs: Jobs{Fetch: parseFetchFully, Search: parseSearchFully}}, p.now)
	}
	return p.sessions[n]
}

func (p *peer) Send(n int, bytes []byte) {
	p.session(n).Input(p.now, bytes)
	p.settle()
}

// settle delivers what the sessions' mailboxes told.
func (p *peer) settle() {
	for i, s := range p.sessions {
		if s == nil {
			continue
		}
		select {
		case <-p.changes[i]:
			s.Changed(p.now)
		default:
		}
	}
}

func (p *peer) Event(words string) {
	verb, rest, _ := strings.Cut(words, " ")
	switch verb {
	case "login":
		p.session(1).Start(rest)
	case "pass": // time
		d, err := time.ParseDuration(rest)
		if err != nil {
			p.t.Fatal(err)
		}
		p.advance(d)
	case "bye":
		p.session(1).Bye(p.now, rest)
	case "deliver":
		p.fill([]string{rest, "1"})
	case "gone":
		p.session(1).Close("gone")
	default:
		p.t.Fatalf("event %q is not understood", words)
	}
	p.settle()
}

// advance moves the clock and calls Tick whenever a session has asked for it.
func (p *peer) advance(d time.Duration) {
	end := p.now.Add(d)
	for {
		next := end
		for _, s := range p.sessions {
			if s == nil {
				continue
			}
			if due := s.Deadline(); !due.IsZero() && due.Before(next) {
				next = due
			}
		}
		p.now = next
		for _, s := range p.sessions {
			if s != nil {
				s.Tick(p.now)
			}
		}
		if !next.Before(end) {
			return
		}
	}
}

func (p *peer) Take(n int) []byte {
	if p.outs[n] == nil {
		return nil
	}
	out := p.outs[n].buf
	p.outs[n].buf = nil
	return out
}

func (p *peer) Close() {
	for _, s := range p.sessions {
		if s != nil {
			s.Close("end of test")
		}
	}
	if err := p.store.Close(); err != nil {
		p.t.Error(err)
	}
}

func TestTranscripts(t *testing.T) { transcript.Run(t, "testdata/*.txt", openPeer) }
