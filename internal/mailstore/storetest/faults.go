package storetest

import (
	"errors"
	"slices"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/vfs/faultfs"
)

// model runs a history and remembers what was answered: what must be there
// afterwards, what may be, and what must not.
type model struct {
	e      *env
	p      *process
	box    string // prefix of names other than INBOX
	dead   bool   // the power is off: nothing is done any more
	exact  bool   // no power cut: what was refused must not be there
	want   errkind.Kind
	folder map[mailstore.Name]fate
	mail   map[mailstore.Name]map[string]*letter
	told   map[slot]string // a UID that was shown, and its message
	oneOf  [][]place       // in at least one of these
	subs   map[mailstore.Name]fate
	uid    map[mailstore.Name]map[string]mailstore.UID
}

type fate uint8

const (
	mustNot fate = iota
	may
	must
)

// letter is what is known of a message in one mailbox.
type letter struct {
	fate   fate
	states []string // what its flags may be
}

type slot struct {
	validity uint32
	box      mailstore.Name
	uid      mailstore.UID
}

type place struct {
	box mailstore.Name
	id  string
}

func newModel(e *env, p *process) *model {
	return &model{e: e, p: p, folder: map[mailstore.Name]fate{}, mail: map[mailstore.Name]map[string]*letter{},
		told: map[slot]string{}, subs: map[mailstore.Name]fate{}, uid: map[mailstore.Name]map[string]mailstore.UID{}}
}

func (m *model) name(n mailstore.Name) mailstore.Name {
	if n == "INBOX" || m.box == "" {
		return n
	}
	return m.box + n
}

// ok reports whether an operation was answered with success; it notes death and
// checks that an injected error is told by its cause.
func (m *model) ok(what string, err error) bool {
	m.e.Helper()
	if m.dead = m.dead || m.p.fault.Dead(); err == nil {
		return true // answered, be it with the last change before the cut
	}
	if errors.Is(err, faultfs.ErrDead) || m.dead {
		m.dead = true
		return false
	}
	if err != nil && (m.want == 0 || !errkind.Is(err, m.want)) {
		m.e.Errorf("%s: %v (%v); injected %q", what, err, errkind.Of(err), m.p.fault.Failed())
	}
	return err == nil
}

func (m *model) letter(box mailstore.Name, id string) *letter {
	if m.mail[box] == nil {
		m.mail[box], m.uid[box] = map[string]*letter{}, map[string]mailstore.UID{}
	}
	l := m.mail[box][id]
	if l == nil {
		l = &letter{}
		m.mail[box][id] = l
	}
	return l
}

// failed is what a refused addition leaves: nothing, if the machine lives.
func (m *model) failed(l *letter) {
	if m.exact {
		l.fate = mustNot
	} else {
		l.fate = may
	}
}

func (m *model) shown(box mailstore.Name, validity uint32, uid mailstore.UID, id string) {
	k := slot{validity, box, uid}
	if old, ok := m.told[k]; ok && old != id {
		m.e.Errorf("UID %d of %s was %s, is %s", uid, box, old, id)
	}
	m.told[k] = id
	m.uid[box][id] = uid
}

func state(f mailstore.Flags, keywords []string) string {
	k := slices.Clone(keywords)
	slices.Sort(k)
	return flagText(f) + "[" + strings.Join(k, " ") + "]"
}

func (m *model) append(box mailstore.Name, f mailstore.Flags, keywords []string, ids ...string) {
	if m.dead {
		return
	}
	box = m.name(box)
	var bodies []string
	for _, id := range ids {
		l := m.letter(box, id)
		l.fate, l.states = may, []string{state(f, keywords)}
		bodies = append(bodies, text(id))
	}
	r, err := tryAppend(m.p, box, mailstore.AppendMeta{Flags: f, Keywords: keywords}, bodies...)
	done := m.ok("append", err)
	for i, id := range ids {
		if l := m.letter(box, id); done {
			l.fate = must
			m.shown(box, r.UIDValidity, r.UIDs[i], id)
		} else if !m.dead {
			m.failed(l)
		}
	}
}

// in opens a mailbox for one step.
func (m *model) in(box mailstore.Name, f func(mb mailstore.Mailbox)) {
	if m.dead {
		return
	}
	mb, err := m.p.Open(box)
	if err != nil && m.want != 0 && !m.p.fault.Dead() {
		mb, err = m.p.Open(box) // the injected error has passed
	}
	if m.ok("open "+box, err) {
		f(mb)
		mb.Close()
	}
}

func (m *model) ids(box mailstore.Name, ids []string) (set []mailstore.UID) {
	for _, id := range ids {
		if u := m.uid[box][id]; u != 0 && m.mail[box][id].fate != mustNot {
			set = append(set, u)
		}
	}
	return set
}

func (m *model) flags(box mailstore.Name, op mailstore.FlagOp, f mailstore.Flags, keywords []string, after string, ids ...string) {
	box = m.name(box)
	m.in(box, func(mb mailstore.Mailbox) {
		for _, id := range ids {
			l := m.letter(box, id)
			l.states = append(l.states, after)
		}
		_, err := mb.Store(mailstore.FlagChange{UIDs: uids(m.ids(box, ids)...), Op: op, Flags: f, Keywords: keywords})
		m.ok("store", err)
	})
}

func (m *model) expunge(box mailstore.Name, ids ...string) {
	box = m.name(box)
	m.in(box, func(mb mailstore.Mailbox) {
		for _, id := range ids {
			m.letter(box, id).fate = may
		}
		got, err := mb.Expunge(uids(m.ids(box, ids)...))
		done := m.ok("expunge", err)
		if m.dead && !done {
			return
		}
		for _, id := range ids {
			l := m.letter(box, id)
			switch {
			case !m.exact && !m.e.h.ExpungesLast: // a power cut may bring it back
			case got.Contains(m.uid[box][id]):
				l.fate = mustNot
			case !done && l.states != nil && m.uid[box][id] != 0:
				l.fate = must
			}
		}
	})
}

// transfer is copy or move.
func (m *model) transfer(move bool, from, to mailstore.Name, ids ...string) {
	from, to = m.name(from), m.name(to)
	m.in(from, func(mb mailstore.Mailbox) {
		set := m.ids(from, ids)
		var was []fate
		for _, id := range ids {
			f, t := m.letter(from, id), m.letter(to, id)
			was = append(was, f.fate)
			if t.fate == mustNot {
				t.fate = may
			}
			t.states = append(t.states, f.states...)
			if move {
				if f.fate == must {
					m.oneOf = append(m.oneOf, []place{{from, id}, {to, id}})
				}
				f.fate = may
			}
		}
		var r mailstore.CopyResult
		var err error
		if move {
			r, err = mb.Move(uids(set...), to)
		} else {
			r, err = mb.Copy(uids(set...), to)
		}
		done := m.ok("copy or move", err)
		if m.dead && !done {
			return
		}
		for i, id := range ids {
			f, t := m.letter(from, id), m.letter(to, id)
			k := slices.Index(r.From, m.uid[from][id])
			switch {
			case done && k >= 0:
				t.fate = must
				m.shown(to, r.UIDValidity, r.To[k], id)
				if move {
					f.fate = mustNot
				}
			case !done && !move:
				m.failed(t)
			case !done && m.exact && was[i] == must && k < 0:
				// A move that was refused may have happened: it is in one of them.
			}
		}
	})
}

func (m *model) create(names ...mailstore.Name) {
	for _, n := range names {
		if m.dead {
			return
		}
		n = m.name(n)
		m.folder[n] = may
		_, err := m.p.Create(n, 0)
		if m.ok("create", err) {
			m.folder[n] = must
		} else if m.exact && !m.dead {
			// Refused once; the history goes on with it.
			if _, err = m.p.Create(n, 0); err != nil && !errkind.Is(err, errkind.Exists) {
				m.e.Errorf("create again: %v", err)
			}
			m.folder[n] = must
		}
	}
}

func (m *model) delete(n mailstore.Name) {
	if m.dead {
		return
	}
	n = m.name(n)
	m.folder[n] = may
	for _, l := range m.mail[n] {
		l.fate = may
	}
	err := m.p.Delete(n)
	if !m.ok("delete", err) && m.exact && !m.dead {
		err = m.p.Delete(n)
		if errkind.Is(err, errkind.NotFound) {
			err = nil
		}
		if err != nil {
			m.e.Errorf("delete again: %v", err)
		}
	}
	if err == nil {
		m.folder[n] = mustNot
		delete(m.mail, n)
		delete(m.uid, n)
	}
}

func (m *model) rename(from, to mailstore.Name) {
	if m.dead {
		return
	}
	from, to = m.name(from), m.name(to)
	was := m.folder[from]
	m.folder[from], m.folder[to] = may, may
	had := map[string]fate{}
	for id, l := range m.mail[from] {
		had[id] = l.fate
		t := m.letter(to, id)
		t.states = append(t.states, l.states...)
		if l.fate == must {
			m.oneOf = append(m.oneOf, []place{{from, id}, {to, id}})
			t.fate, l.fate = may, may
		}
	}
	err := m.p.Rename(from, to)
	done := m.ok("rename", err)
	if m.dead && !done {
		return
	}
	if !done && m.exact {
		if err := m.p.Rename(from, to); err != nil && !errkind.Is(err, errkind.NotFound) {
			m.e.Errorf("rename again: %v", err)
		}
		done = true
	}
	if done && was == must {
		m.folder[from], m.folder[to] = mustNot, must
		for id := range m.mail[from] {
			m.letter(to, id).fate = had[id]
			m.uid[to][id] = m.uid[from][id]
		}
		delete(m.mail, from)
	}
}

func (m *model) subscribe(n mailstore.Name, on bool) {
	if m.dead {
		return
	}
	n = m.name(n)
	if !on && m.subs[n] != must {
		return // it was refused
	}
	m.subs[n] = may
	if m.ok("subscribe", m.p.Subscribe(n, on)) {
		m.subs[n] = mustNot
		if on {
			m.subs[n] = must
		}
	}
}

// look shows a mailbox to a client: what it sees must stay so.
func (m *model) look(box mailstore.Name) {
	box = m.name(box)
	m.in(box, func(mb mailstore.Mailbox) {
		s, err := mb.Sync()
		if !m.ok("sync", err) {
			return
		}
		for pos := range s.Len() {
			u := s.At(pos).UID
			if b, err := body(mb, u); m.ok("read", err) {
				if l := m.letter(box, id(b)); l.states == nil { // a delivery
					l.fate, l.states = may, []string{"[]"}
				}
				m.shown(box, mb.Info().UIDValidity, u, id(b))
			}
			if m.dead {
				return
			}
		}
		_, err = mb.ClaimRecent(false)
		m.ok("recent", err)
	})
}

// check compares a store that was opened afterwards with what was answered.
func (m *model) check(p *process) {
	e := m.e
	e.Helper()
	list, err := p.List()
	e.must(err)
	there := map[mailstore.Name]bool{}
	for _, f := range list {
		if f.Attrs&mailstore.NonExistent == 0 {
			there[f.Name] = true
		}
	}
	for n, f := range m.folder {
		if f == must && !there[n] || f == mustNot && there[n] {
			e.Errorf("mailbox %s: there is %v", n, there[n])
		}
	}
	subs, err := p.Subscriptions()
	e.must(err)
	for n, f := range m.subs {
		if got := slices.Contains(subs, n); f == must && !got || f == mustNot && got {
			e.Errorf("%s: subscribed is %v", n, got)
		}
	}
	has := map[place]int{}
	for box := range m.mail {
		if !there[box] {
			continue
		}
		mb := p.open(box)
		s, err := mb.Sync()
		e.must(err)
		for pos := range s.Len() {
			en := s.At(pos)
			b, err := body(mb, en.UID)
			name := id(b)
			if err != nil || b != text(name) && !strings.HasPrefix(b, "Subject: d") {
				e.Errorf("%s UID %d is not whole: %v %q", box, en.UID, err, b)
				continue
			}
			has[place{box, name}]++
			if old, ok := m.told[slot{mb.Info().UIDValidity, box, en.UID}]; ok && old != name {
				e.Errorf("%s UID %d was shown as %s and is %s", box, en.UID, old, name)
			}
			l := m.mail[box][name]
			switch st := state(en.Flags, s.Keywords(en.Keywords)); {
			case l == nil || l.fate == mustNot:
				if !strings.HasPrefix(name, "d") {
					e.Errorf("%s holds %s, which it must not", box, name)
				}
			case l.fate == may && !m.exact: // never answered: it may lack keywords
			case !m.exact && between(l.states, st): // a cut may take a part of what it may take whole
			case !slices.Contains(l.states, st):
				e.Errorf("%s %s has the flags %q, not one of %q", box, name, st, l.states)
			}
		}
	}
	for box, list := range m.mail {
		for id, l := range list {
			if n := has[place{box, id}]; l.fate == must && n == 0 || n > 1 {
				e.Errorf("%s of %s is there %d times", id, box, n)
			}
		}
	}
	for _, ps := range m.oneOf {
		n := 0
		for _, q := range ps {
			n += has[q]
		}
		// Later steps may have removed it in good order.
		if n == 0 && !slices.ContainsFunc(ps, func(q place) bool { l := m.mail[q.box][q.id]; return l == nil || l.fate == mustNot }) {
			if m.stillDue(ps) {
				e.Errorf("a message is in none of %v", ps)
			}
		}
	}
}

// between reports whether each flag and keyword of st is as some state has it.
func between(states []string, st string) bool {
	parts := func(s string) []string {
		flags, keys, _ := strings.Cut(strings.TrimSuffix(s, "]"), "[")
		return append(strings.Split(flags, ""), strings.Fields(keys)...)
	}
	have := parts(st)
	all := map[string]int{}
	for _, s := range states {
		for _, k := range parts(s) {
			all[k]++
		}
	}
	for _, k := range have {
		if all[k] == 0 {
			return false // nobody ever set it
		}
	}
	for k, n := range all {
		if n == len(states) && !slices.Contains(have, k) {
			return false // it was always set
		}
	}
	return true
}

// stillDue reports whether nothing but the last step touched the message.
func (m *model) stillDue(ps []place) bool {
	last := m.oneOf[len(m.oneOf)-1]
	return slices.Equal(ps, last)
}

// goOn uses the store after a fault: new mail gets new UIDs.
func (m *model) goOn(p *process) {
	e := m.e
	e.Helper()
	for box, f := range m.folder {
		if f != must {
			continue
		}
		r, err := tryAppend(p, box, mailstore.AppendMeta{}, text("after"))
		if err != nil {
			e.Errorf("append to %s afterwards: %v", box, err)
			continue
		}
		if old, ok := m.told[slot{r.UIDValidity, box, r.UIDs[0]}]; ok {
			e.Errorf("%s UID %d was %s and was given again", box, r.UIDs[0], old)
		}
	}
}
