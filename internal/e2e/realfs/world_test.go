package realfs

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// world is what was answered: for each mailbox its UIDs and what they name.
type world struct {
	boxes    map[mailstore.Name]map[mailstore.UID]letter
	validity map[mailstore.Name]uint32
	subs     map[mailstore.Name]bool
}

// letter is a message and its flags.
type letter struct {
	text  string
	flags mailstore.Flags
}

func newWorld() *world {
	return &world{map[mailstore.Name]map[mailstore.UID]letter{"INBOX": {}}, map[mailstore.Name]uint32{}, map[mailstore.Name]bool{}}
}

func (w *world) clone() *world {
	c := newWorld()
	for n, b := range w.boxes {
		c.boxes[n] = maps.Clone(b)
	}
	c.validity, c.subs = maps.Clone(w.validity), maps.Clone(w.subs)
	return c
}

// body is a message that says its name, of about size octets.
func body(name string, size int) string {
	head := "Subject: " + name + "\r\nMessage-ID: <" + name + "@realfs.test>\r\n\r\n"
	line := strings.Repeat(name+" ", 8)[:16] + "\r\n"
	return head + strings.Repeat(line, max(1, (size-len(head))/len(line)))
}

// player runs steps on a store and keeps the world.
type player struct {
	t     *testing.T
	store mailstore.Store
	w     *world
}

// step is one operation, to its answer.
type step struct {
	name string
	do   func(*player)
}

// steps is a history with each kind of operation that promises something.
var steps = []step{
	{"append small", func(p *player) { p.append("INBOX", 0, body("one", 900)) }},
	{"append flagged", func(p *player) { p.append("INBOX", mailstore.Flagged|mailstore.Seen, body("two", 4000)) }},
	{"append large", func(p *player) { p.append("INBOX", 0, body("large", 300<<10)) }},
	{"create", func(p *player) { p.create("Work") }},
	{"append many", func(p *player) {
		p.append("Work", 0, body("m1", 2000), body("m2", 90<<10), body("m3", 100), body("m4", 5000))
	}},
	{"copy", func(p *player) { p.copy("INBOX", "Work", 1, 2) }},
	{"flags", func(p *player) { p.flag("Work", mailstore.Seen|mailstore.Answered, 1, 2) }},
	{"move", func(p *player) { p.move("Work", "INBOX", 2, 3) }},
	{"subscribe", func(p *player) { must(p.t, p.store.Subscribe("Work", true)); p.w.subs["Work"] = true }},
	{"create child", func(p *player) { p.create("Work/Deep") }},
	{"append child", func(p *player) { p.append("Work/Deep", 0, body("deep", 700)) }},
	{"rename", func(p *player) { p.rename("Work", "Old") }},
	{"expunge", func(p *player) { p.expunge("INBOX", 1) }},
	{"append after", func(p *player) { p.append("INBOX", mailstore.Draft, body("after", 1500)) }},
	{"delete", func(p *player) { must(p.t, p.store.Delete("Old/Deep")); delete(p.w.boxes, "Old/Deep") }},
}

func (p *player) create(name mailstore.Name) {
	_, err := p.store.Create(name, 0)
	must(p.t, err)
	p.w.boxes[name] = map[mailstore.UID]letter{}
}

func (p *player) append(name mailstore.Name, flags mailstore.Flags, bodies ...string) {
	a, err := p.store.Append(name)
	must(p.t, err)
	for _, b := range bodies {
		w, err := a.Add(mailstore.AppendMeta{Flags: flags}, int64(len(b)))
		must(p.t, err)
		_, err = io.WriteString(w, b)
		must(p.t, err)
	}
	res, err := a.Commit()
	must(p.t, err)
	for i, u := range res.UIDs {
		p.w.boxes[name][u] = letter{bodies[i], flags}
	}
	p.w.validity[name] = res.UIDValidity
}

func (p *player) open(name mailstore.Name) mailstore.Mailbox {
	b, err := p.store.Open(name)
	must(p.t, err)
	_, err = b.Sync()
	must(p.t, err)
	return b
}

func (p *player) copy(from, to mailstore.Name, uids ...mailstore.UID) {
	b := p.open(from)
	defer b.Close()
	res, err := b.Copy(numset.FromSorted(uids), to)
	must(p.t, err)
	p.arrived(from, to, res)
}

func (p *player) move(from, to mailstore.Name, uids ...mailstore.UID) {
	b := p.open(from)
	defer b.Close()
	res, err := b.Move(numset.FromSorted(uids), to)
	must(p.t, err)
	p.arrived(from, to, res)
	for _, u := range res.From {
		delete(p.w.boxes[from], u)
	}
}

func (p *player) arrived(from, to mailstore.Name, res mailstore.CopyResult) {
	for i, u := range res.From {
		p.w.boxes[to][res.To[i]] = p.w.boxes[from][u]
	}
	p.w.validity[to] = res.UIDValidity
}

func (p *player) flag(name mailstore.Name, flags mailstore.Flags, uids ...mailstore.UID) {
	b := p.open(name)
	defer b.Close()
	_, err := b.Store(mailstore.FlagChange{UIDs: numset.FromSorted(uids), Op: mailstore.SetFlags, Flags: flags})
	must(p.t, err)
	for _, u := range uids {
		p.w.boxes[name][u] = letter{p.w.boxes[name][u].text, flags}
	}
}

func (p *player) expunge(name mailstore.Name, uids ...mailstore.UID) {
	b := p.open(name)
	defer b.Close()
	gone, err := b.Expunge(numset.FromSorted(uids))
	must(p.t, err)
	for u := range gone.All() {
		delete(p.w.boxes[name], u)
	}
}

func (p *player) rename(from, to mailstore.Name) {
	must(p.t, p.store.Rename(from, to))
	for _, n := range slices.Collect(maps.Keys(p.w.boxes)) {
		if n == from || strings.HasPrefix(n, from+"/") {
			moved := to + strings.TrimPrefix(n, from)
			p.w.boxes[moved], p.w.validity[moved] = p.w.boxes[n], p.w.validity[n]
			delete(p.w.boxes, n)
			delete(p.w.validity, n)
		}
	}
}

// compare tells how a store differs from what was answered. Flags and expunges
// of the last second may be lost unless always.
func compare(store mailstore.Store, w *world, always bool) (wrong []string) {
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	list, err := store.List()
	if err != nil {
		return []string{"list: " + err.Error()}
	}
	for _, f := range list {
		if _, ok := w.boxes[f.Name]; !ok && f.Attrs&(mailstore.NonExistent|mailstore.NoSelect) == 0 {
			bad("a mailbox %s is there", f.Name)
		}
	}
	for name, letters := range w.boxes {
		wrong = append(wrong, compareBox(store, name, letters, w.validity[name], always)...)
	}
	subs, err := store.Subscriptions()
	if err != nil {
		bad("subscriptions: %v", err)
	}
	for name := range w.subs {
		if !slices.Contains(subs, name) {
			bad("the subscription of %s is lost", name)
		}
	}
	return wrong
}

func compareBox(store mailstore.Store, name mailstore.Name, letters map[mailstore.UID]letter, validity uint32, always bool) (wrong []string) {
	bad := func(format string, args ...any) { wrong = append(wrong, name+": "+fmt.Sprintf(format, args...)) }
	box, err := store.Open(name)
	if err != nil {
		bad("open: %v", err)
		return wrong
	}
	defer box.Close()
	snap, err := box.Sync()
	if err != nil {
		bad("sync: %v", err)
		return wrong
	}
	if got := box.Info().UIDValidity; validity != 0 && got != validity {
		bad("UIDVALIDITY is %d, was %d", got, validity)
		return wrong
	}
	there := map[mailstore.UID]bool{}
	for i := range snap.Len() {
		e := snap.At(i)
		there[e.UID] = true
		want, ok := letters[e.UID]
		if !ok {
			if always {
				bad("UID %d is there", e.UID)
			}
			continue
		}
		if text := textOf(box, e.UID); text != want.text {
			bad("UID %d is %.60q, want %.60q", e.UID, text, want.text)
		}
		if always && e.Flags != want.flags {
			bad("UID %d has the flags %b, want %b", e.UID, e.Flags, want.flags)
		}
	}
	for u, l := range letters {
		if !there[u] {
			bad("UID %d (%.20q) is lost", u, l.text)
		}
	}
	return wrong
}

func textOf(box mailstore.Mailbox, uid mailstore.UID) string {
	m, err := box.Message(uid)
	if err != nil {
		return "error: " + err.Error()
	}
	defer m.Close()
	b, err := io.ReadAll(io.NewSectionReader(m, 0, m.Size()))
	if err != nil {
		return "error: " + err.Error()
	}
	return string(b)
}
