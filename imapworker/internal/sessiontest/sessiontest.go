// Package sessiontest replays transcripts against the session machine with
// commands of other packages as they are, on a store in memory or of one of the formats,
// whose messages come from files.
//
// Only tests of the IMAP worker use it.
package sessiontest

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"rookery/imapworker/internal/session"
	"rookery/imapworker/internal/sessiontest/peers"
	"rookery/imapworker/internal/sessiontest/stores"
	"rookery/imapworker/internal/view"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/numset"
	"rookery/internal/transcript"
	"rookery/internal/vfs/memfs"
)

// Start is the sessions' time.
var Start = time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC)

// Opener gives what transcript.Run wants. INBOX is filled by the lines
//
//	given: mail FILE [internaldate RFC3339] [flags \Seen $Keyword …]
//
// and "given: driver FORMAT" before them keeps the messages in a mail format, not in memory;
// the events "expunge UID", "flags UID \Seen …", "deliver FILE" are other
// sessions' doings. UIDVALIDITY is shown as 1001, HIGHESTMODSEQ as 1000, MAILBOXID as
// (F1), and no $Forwarded that no message has, unless there is a line
//
//	given: numbers as they are
func Opener(jobs session.Jobs) func(*testing.T, []string) transcript.Peer {
	return func(t *testing.T, given []string) transcript.Peer {
		p := &peer{t: t, jobs: jobs, store: memstore.New(memstore.Options{Now: func() time.Time { return Start }})}
		p.Now, p.Begin = Start, p.begin
		for _, g := range given {
			words := strings.Fields(g)
			switch words[0] {
			case "driver":
				p.store = stores.Open(t, words[1], stores.Options{Now: memfs.NewClock(Start).Now})
			case "mail":
				p.forwarded = p.forwarded || slices.Contains(words, "$Forwarded")
				p.add(words[1], words[2:])
			case "numbers":
				p.asTheyAre = true
			default:
				t.Fatalf("given: %s", g)
			}
		}
		return p
	}
}

// opener is Opener with a store of a format, or in "memory".
func opener(jobs session.Jobs, driver string) func(*testing.T, []string) transcript.Peer {
	return func(t *testing.T, given []string) transcript.Peer {
		if driver != "memory" {
			given = append([]string{"driver " + driver}, given...)
		}
		return Opener(jobs)(t, given)
	}
}

// Everywhere replays transcripts in memory, and in each format but for those named.
func Everywhere(t *testing.T, pattern string, jobs func() session.Jobs, but ...string) {
	left := func(_, name string) bool { return slices.Contains(but, name) }
	open := func(t *testing.T, given []string) transcript.Peer { return Opener(jobs())(t, given) }
	transcript.RunIn(t, pattern, open, stores.Variants(left)...)
}

type peer struct {
	peers.Peers[*session.Session]
	t         *testing.T
	store     mailstore.Store
	jobs      session.Jobs
	asTheyAre bool // numbers
	forwarded bool // some message has $Forwarded
}

// numbers are what each store has otherwise.
var numbers = regexp.MustCompile(`\[(UIDVALIDITY|HIGHESTMODSEQ|MAILBOXID) [^]]*\]`)

// Take is transcript.Peer's.
func (p *peer) Take(n int) []byte {
	got := p.Peers.Take(n)
	if p.asTheyAre {
		return got
	}
	if !p.forwarded { // a Maildir knows the keyword from the start: it is the flag P of its file names
		got = bytes.ReplaceAll(got, []byte(`\Draft $Forwarded`), []byte(`\Draft`))
	}
	return numbers.ReplaceAllFunc(got, func(code []byte) []byte {
		shown := map[byte]string{'U': "[UIDVALIDITY 1001]", 'H': "[HIGHESTMODSEQ 1000]", 'M': "[MAILBOXID (F1)]"}
		return []byte(shown[code[1]])
	})
}

// add appends a file of testdata; LF in it becomes CRLF.
func (p *peer) add(file string, words []string) {
	p.t.Helper()
	data, err := os.ReadFile("testdata/" + file)
	if err != nil {
		p.t.Fatal(err)
	}
	data = bytes.ReplaceAll(bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
	meta := mailstore.AppendMeta{InternalDate: Start}
	for i := 0; i < len(words); i++ {
		switch words[i] {
		case "internaldate":
			i++
			if meta.InternalDate, err = time.Parse(time.RFC3339, words[i]); err != nil {
				p.t.Fatal(err)
			}
		case "flags":
			meta.Flags, meta.Keywords = split(words[i+1:])
			i = len(words)
		default:
			p.t.Fatalf("mail %s: %s", file, words[i])
		}
	}
	a, err := p.store.Append("INBOX")
	if err == nil {
		var w io.Writer
		if w, err = a.Add(meta, int64(len(data))); err == nil {
			if _, err = w.Write(data); err == nil {
				_, err = a.Commit()
			}
		}
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func split(words []string) (flags mailstore.Flags, keywords []string) {
	for _, w := range words {
		if f, ok := view.SystemFlag(w); ok {
			flags |= f
		} else {
			keywords = append(keywords, w)
		}
	}
	return flags, keywords
}

func (p *peer) begin(out *peers.Output, changes chan struct{}) *session.Session {
	return session.New(session.Config{Settings: session.Defaults(), Store: p.store, Out: out, Log: peers.Lines{T: p.t}, Changes: changes, Jobs: p.jobs}, Start)
}

func (p *peer) Event(words string) {
	p.t.Helper()
	w := strings.Fields(words)
	box, err := p.store.Open("INBOX")
	if err != nil {
		p.t.Fatal(err)
	}
	defer box.Close()
	switch w[0] {
	case "deliver":
		p.add(w[1], w[2:])
	case "expunge":
		uid, _ := strconv.ParseUint(w[1], 10, 32)
		_, err = box.Expunge(numset.Of(uint32(uid)))
	case "flags":
		uid, _ := strconv.ParseUint(w[1], 10, 32)
		flags, keywords := split(w[2:])
		_, err = box.Store(mailstore.FlagChange{UIDs: numset.Of(uint32(uid)), Flags: flags, Keywords: keywords})
	default:
		err = fmt.Errorf("event %q", words)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.Settle()
}

func (p *peer) Close() {
	p.Peers.Close()
	p.store.Close()
}
