package session

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"rookery/imapworker/internal/fetch"
	"rookery/imapworker/internal/search"
	"rookery/imapworker/internal/sessiontest/peers"
	"rookery/imapworker/internal/sessiontest/stores"
	"rookery/imapworker/internal/sorting"
	"rookery/imapworker/internal/view"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/annotation"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/mailstore/nametree"
	"rookery/internal/message"
	"rookery/internal/transcript"
	"rookery/internal/vfs/memfs"
)

// allJobs are the commands of other packages, as the worker has them.
func allJobs() Jobs {
	fetching := fetch.Parser(fetch.Config{Limits: message.DefaultLimits()})
	cfg := search.Config{Limits: message.DefaultLimits(), FetchItems: view.TakesItems(fetching)}
	return Jobs{Fetch: fetching, Search: search.Parser(cfg), Sort: sorting.Sort(cfg), Thread: sorting.Thread(cfg),
		Multi: search.Multi(cfg), CheckFilter: search.CheckFilter}
}

// peer is some sessions of one user on one store, with a clock of their own.
type peer struct {
	peers.Peers[*Session]
	t        *testing.T
	store    mailstore.Store
	settings Settings
	shown    *shownModSeqs // nil: mod-sequences are shown as they are
	compress func()        // Config.Compress
	leaves   bool          // Config.Unauthenticate
	kicked   func() string // Config.Kicked
	await    func(line []byte) (stop func())
	clock    func() time.Time
	disk     *memfs.Clock // the store's, where it goes with the sessions'
	ids      shownIDs
}

var start = time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC)

func openPeer(t *testing.T, given []string) transcript.Peer {
	p := &peer{t: t, settings: Defaults()}
	p.Now, p.Begin = start, p.begin
	opt, driver, space := memstore.Options{}, "", mailstore.Namespace{}
	noModSeqs, asMemory := false, false
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
		case "guids": // in memory: they begin behind this number
			opt.FirstGUID = uint64(n)
		case "separator":
			opt.Separator = words[1][0]
		case "workarounds":
			p.settings.DelayNewMail, p.settings.ExtraSeparator, p.settings.LsubFlags = true, true, true
		case "as-memory": // on Maildir, all that another store shows otherwise as the one in memory does
			asMemory = true
		case "modseqs": // none, or from-1000
			noModSeqs = words[1] == "none"
			p.shown = &shownModSeqs{}
		case "save-limit":
			p.settings.SaveLimit = n
		case "message-limit":
			p.settings.MessageLimit = n
		case "clock": // what passes for the sessions passes for the store
			p.disk = memfs.NewClock(start)
			opt.Now = p.disk.Now
		case "no-utf8":
			p.settings.UTF8 = false
		case "compress":
			p.compress = func() {}
		case "unauthenticate":
			p.leaves = true
		case "bad-commands":
			p.settings.BadCommands = n
		default:
			t.Fatalf("given: %s is not understood", line)
		}
	}
	p.store = memstore.New(opt)
	switch driver {
	case "maildir", "mbox", "pack":
		p.shown = &shownModSeqs{asMemory: asMemory || driver != "maildir"}
		p.store = p.open(driver, space)
	}
	for _, box := range boxes {
		p.fill(box)
	}
	if noModSeqs {
		p.store = withoutModSeqs{p.store}
	}
	return p
}

// diskClock is the clock of a new disk.
func (p *peer) diskClock() func() time.Time {
	if p.disk != nil {
		return p.disk.Now
	}
	return memfs.NewClock(start).Now
}

// open opens an empty store of a format, on a disk whose clock goes on a little with
// each look, as a real one does.
func (p *peer) open(format string, space mailstore.Namespace) mailstore.Store {
	p.t.Helper()
	return stores.Open(p.t, format, stores.Options{Now: p.diskClock(), Namespace: space,
		Special: []nametree.Special{{Name: prefixOf(space) + "Sent", Use: mailstore.UseSent}}})
}

// fill makes a mailbox: its name, its special use if any, its number of messages.
func (p *peer) fill(words []string) {
	use := mailstore.Attr(0)
	for _, u := range annotation.Uses {
		if _, isMemory := p.store.(*memstore.Store); isMemory && u.Name == words[1] {
			use = u.Attr
		}
	}
	if _, err := p.store.Create(words[0], use); err != nil && !errkind.Is(err, errkind.Exists) && words[0] != "INBOX" {
		p.t.Fatal(err)
	}
	// Some stores begin to count a mailbox's changes only when somebody looks.
	if _, err := p.store.Status(words[0], mailstore.StatusWant{}); err != nil {
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

func (p *peer) begin(out *peers.Output, changes chan struct{}) *Session {
	return New(Config{Settings: p.settings, Store: p.store, Out: out, Log: peers.Lines{T: p.t}, Changes: changes, Compress: p.compress, Unauthenticate: p.leaves, Clock: p.clock,
		Kicked: p.kicked, Await: p.await, Jobs: allJobs()}, p.Now)
}

func (p *peer) Event(words string) {
	verb, rest, _ := strings.Cut(words, " ")
	switch verb {
	case "login":
		p.Session(1).Start(rest)
	case "pass": // time
		d, err := time.ParseDuration(rest)
		if err != nil {
			p.t.Fatal(err)
		}
		p.advance(d)
	case "bye":
		p.Session(1).Bye(p.Now, rest)
	case "deliver":
		p.fill([]string{rest, "1"})
	case "gone":
		p.Session(1).Close("gone")
	default:
		p.t.Fatalf("event %q is not understood", words)
	}
	p.Settle()
}

// advance moves the clock and calls Tick whenever a session has asked for it.
func (p *peer) advance(d time.Duration) {
	end := p.Now.Add(d)
	if p.disk != nil {
		p.disk.Jump(d)
	}
	for {
		next := end
		p.Each(func(s *Session) {
			if due := s.Deadline(); !due.IsZero() && due.Before(next) {
				next = due
			}
		})
		p.Now = next
		p.Each(func(s *Session) { s.Tick(p.Now) })
		if !next.Before(end) {
			return
		}
	}
}

func (p *peer) Close() {
	p.Peers.Close()
	if err := p.store.Close(); err != nil {
		p.t.Error(err)
	}
}

func TestTranscripts(t *testing.T) {
	transcript.RunIn(t, "testdata/*.txt", openPeer, stores.Variants(func(_, name string) bool {
		return inMemory[name] != "" || strings.HasPrefix(name, "maildir_")
	}, "as-memory")...)
}

// inMemory are transcripts that only the store in memory plays, and why; Maildir has
// some of its own (maildir_…).
var inMemory = map[string]string{
	"append": "its quota", "replace_quota": "its quota", "limits": "its limit of keywords", "catenate_limits": "its UIDVALIDITY",
	"mailboxes": "its UIDVALIDITYs", "names": "its UIDVALIDITYs", "select": "its MODSEQs", "separator": "its separator", "x_mailbox": "its separator",
}
