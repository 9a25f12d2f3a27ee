// Package sessiontest replays transcripts against the session machine with
// commands of other packages as they are, on a store in memory whose messages come from
// files.
//
// Only tests of the IMAP worker use it.
package sessiontest

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"rookery/imapworker/internal/session"
	"rookery/imapworker/internal/sessiontest/peers"
	"rookery/imapworker/internal/view"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/memstore"
	"rookery/internal/numset"
	"rookery/internal/transcript"
)

// Start is the sessions' time.
var Start = time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC)

// Opener gives what transcript.Run wants. INBOX is filled by the lines
//
//	given: mail FILE [internaldate RFC3339] [flags \Seen $Keyword …]
//
// and the events "expunge UID", "flags UID \Seen …", "deliver FILE" are other
// sessions' doings.
func Opener(jobs session.Jobs) func(*testing.T, []string) transcript.Peer {
	return func(t *testing.T, given []string) transcript.Peer {
		p := &peer{t: t, store: memstore.New(memstore.Options{Now: func() time.Time { return Start }}), jobs: jobs}
		p.Now, p.Begin = Start, p.begin
		for _, g := range given {
			words := strings.Fields(g)
			if words[0] != "mail" {
				t.Fatalf("given: %s", g)
			}
			p.add(words[1], words[2:])
		}
		return p
	}
}

type peer struct {
	peers.Peers[*session.Session]
	t     *testing.T
	store *memstore.Store
	jobs  session.Jobs
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
