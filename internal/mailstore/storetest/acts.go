package storetest

import (
	"fmt"
	"slices"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// acts are what is done while index files are damaged. Each tells what was wrong
// with its answer, and keeps the truth up to date.
var acts = []struct {
	name string
	do   func(w *underWay) error
}{
	{"sync", func(w *underWay) error { _, err := w.who[0].mb.Sync(); return err }},
	{"append", func(w *underWay) error { return w.append("INBOX") }},
	{"store", (*underWay).storeOne},
	{"expunge", func(w *underWay) error {
		u := slices.Sorted(keys(w.mail["INBOX"]))[1]
		gone, err := w.who[0].mb.Expunge(numset.Of(u))
		if err == nil && !gone.Equal(numset.Of(u)) {
			err = fmt.Errorf("it expunged %s", gone)
		}
		if err == nil {
			delete(w.mail["INBOX"], u)
		}
		return err
	}},
	{"copy", func(w *underWay) error { return w.transfer("INBOX", "b", false) }},
	{"move", func(w *underWay) error { return w.transfer("INBOX", "b", true) }},
	{"move back", func(w *underWay) error { return w.transfer("b", "INBOX", true) }},
	{"message", func(w *underWay) error {
		_, u, m := w.pick("INBOX")
		b, err := body(w.who[1].mb, u)
		if err == nil && id(b) != m.id {
			err = fmt.Errorf("message %d is %q", u, b)
		}
		return err
	}},
	{"facts", func(w *underWay) error {
		_, u, _ := w.pick("INBOX")
		return w.facts(w.who[0], u)
	}},
	{"status", func(w *underWay) error {
		s, err := w.p.Status("INBOX", mailstore.StatusWant{Size: true})
		if n := len(w.mail["INBOX"]); err == nil && (int(s.Messages) != n || s.UIDNext != w.next["INBOX"]) {
			err = fmt.Errorf("%d messages and UIDNEXT %d, want %d and %d", s.Messages, s.UIDNext, n, w.next["INBOX"])
		}
		return err
	}},
	{"claim", func(w *underWay) error {
		if err := w.append("b"); err != nil {
			return err
		}
		_, err := w.who[3].mb.ClaimRecent(false)
		return err
	}},
	{"expunged since", func(w *underWay) error {
		gone, _, err := w.who[0].mb.ExpungedSince(0)
		for u := range w.mail["INBOX"] {
			if gone.Contains(u) {
				return fmt.Errorf("it tells that message %d was expunged", u)
			}
		}
		return err
	}},
	{"open", func(w *underWay) error {
		mb, err := w.p.Open("b")
		if err != nil {
			return err
		}
		if got, want := show(mb.Snapshot()), w.text("b"); got != want {
			w.Errorf("%s: it shows %s, want %s", w.what, got, want)
		}
		return mb.Close()
	}},
}

func (w *underWay) append(box mailstore.Name) error {
	w.n++
	name := fmt.Sprint("m", w.n)
	m := &known{id: name, flags: []mailstore.Flags{0, mailstore.Seen, mailstore.Flagged | mailstore.Draft}[w.n%3]}
	if w.n%4 == 0 {
		m.keywords = []string{"k" + fmt.Sprint(w.n%40)} // more than there are letters
	}
	r, err := tryAppend(w.p, box, mailstore.AppendMeta{Flags: m.flags, Keywords: m.keywords, SaveDate: time.Unix(int64(1e9+w.n), 0)}, text(name))
	if err != nil {
		return err
	}
	if len(r.UIDs) != 1 || r.UIDs[0] < w.next[box] || r.UIDValidity != w.who[0].info.UIDValidity && box == "INBOX" {
		return fmt.Errorf("it got %+v, UIDNEXT was %d", r, w.next[box])
	}
	w.mail[box][r.UIDs[0]], w.next[box] = m, r.UIDs[0]+1
	return nil
}

func (w *underWay) storeOne() error {
	list := slices.Sorted(keys(w.mail["INBOX"]))
	u := list[w.rnd.IntN(len(list))]
	m := w.mail["INBOX"][u]
	c := mailstore.FlagChange{UIDs: numset.Of(u), Op: mailstore.AddFlags, Flags: mailstore.Answered}
	was, words := m.flags, len(m.keywords)
	flags, keywords := was|mailstore.Answered, m.keywords
	switch w.rnd.IntN(3) {
	case 0:
		c.Op, flags = mailstore.RemoveFlags, was&^mailstore.Answered
	case 1:
		c.Op, flags, keywords = mailstore.SetFlags, mailstore.Answered, nil
	}
	r, err := w.who[0].mb.Store(c)
	if err != nil {
		return err
	}
	if want := was != flags || words != len(keywords); r.Changed.Contains(u) != want {
		return fmt.Errorf("it says that %s changed, of message %d, from %q to %q", r.Changed, u, flagText(was), flagText(flags))
	}
	m.flags, m.keywords = flags, keywords
	return nil
}

func (w *underWay) transfer(from, to mailstore.Name, move bool) error {
	x := w.who[0]
	if from != "INBOX" {
		x = w.who[3]
	}
	u := slices.Sorted(keys(w.mail[from]))[0]
	do := x.mb.Copy
	if move {
		do = x.mb.Move
	}
	r, err := do(numset.Of(u), to)
	if err != nil {
		return err
	}
	if len(r.From) != 1 || r.From[0] != u || len(r.To) != 1 || r.To[0] < w.next[to] {
		return fmt.Errorf("it answers %+v, UIDNEXT was %d", r, w.next[to])
	}
	m := *w.mail[from][u]
	m.fact = "" // another SAVEDATE
	w.mail[to][r.To[0]], w.next[to] = &m, r.To[0]+1
	if move {
		delete(w.mail[from], u)
	}
	return nil
}
