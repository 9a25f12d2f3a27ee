package robust

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// state is what is known of something after all answers.
type state uint8

const (
	no    state = iota // its end was acknowledged
	maybe              // a command about it had no answer
	yes                // acknowledged
)

// folder is a mailbox of the model.
type folder struct {
	names []string // more than one: a RENAME had no answer
	is    state
	box   map[string]*placed // by message id
}

// placed is one message in one mailbox.
type placed struct {
	id       string
	uid      uint32 // 0: not known
	validity uint32
	is       state
	flags    map[string]state // of those that were ever set
	movedTo  *folder          // of a MOVE without answer: the message must be here or there
}

// model is what one user's mail must be.
type model struct {
	owner string
	mu    sync.Mutex
	inbox *folder
	all   []*folder
	named map[string]string // "mailbox validity uid" to the message's id
	uidls map[string]string // id to UIDL
	wrong []string
}

func newModel(owner string) *model {
	inbox := &folder{names: []string{"INBOX"}, is: yes, box: map[string]*placed{}}
	return &model{owner: owner, inbox: inbox, all: []*folder{inbox}, named: map[string]string{}, uidls: map[string]string{}}
}

// do changes the model.
func (m *model) do(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

// complain notes what must not be.
func (m *model) complain(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.wrong) < 20 {
		m.wrong = append(m.wrong, m.owner+": "+fmt.Sprintf(format, args...))
	}
}

// saw notes that a UID names a message. It must never name another.
func (m *model) saw(mailbox string, validity, uid uint32, id string) {
	if uid == 0 || validity == 0 || id == "" {
		return
	}
	key := fmt.Sprintf("%s %d %d", mailbox, validity, uid)
	m.mu.Lock()
	was, ok := m.named[key]
	m.named[key] = id
	m.mu.Unlock()
	if ok && was != id {
		m.complain("%s named %s and names %s", key, was, id)
	}
}

// message makes a message with CRLF line ends whose every byte can be checked.
func message(owner, id string, size int) string {
	var body strings.Builder
	for body.Len() < size {
		fmt.Fprintf(&body, "%016x%016x%016x\r\n", rand.Uint64(), rand.Uint64(), rand.Uint64())
	}
	return fmt.Sprintf("From: %s <x@example.test>\r\nSubject: %s\r\nX-Owner: %s\r\nX-Id: %s\r\nX-Sum: %s\r\n\r\n%s",
		owner, id, owner, id, checksum(owner, id, body.String()), body.String())
}

func checksum(owner, id, body string) string {
	h := sha256.Sum256([]byte(owner + "\n" + id + "\n" + body))
	return hex.EncodeToString(h[:])
}

func header(text, name string) string {
	head, _, _ := strings.Cut(text, "\r\n\r\n")
	for line := range strings.SplitSeq(head, "\r\n") {
		if v, ok := strings.CutPrefix(line, name+": "); ok {
			return v
		}
	}
	return ""
}

// check tests a message that was read: it is this user's and whole. It gives its id.
func (m *model) check(text string) string {
	id := header(text, "X-Id")
	_, body, ok := strings.Cut(text, "\r\n\r\n")
	switch {
	case header(text, "X-Owner") != m.owner:
		m.complain("was shown a message of %q: %.200q", header(text, "X-Owner"), text)
	case !ok || checksum(m.owner, id, body) != header(text, "X-Sum"):
		m.complain("message %s is damaged: %d bytes, %.300q", id, len(text), text)
	default:
		return id
	}
	return ""
}

// fetched is one FETCH response.
type fetched struct {
	uid   uint32
	flags []string
	body  string
}

var (
	fetchHead  = regexp.MustCompile(`^\* \d+ FETCH \(`)
	fetchUID   = regexp.MustCompile(`\bUID (\d+)`)
	fetchFlags = regexp.MustCompile(`\bFLAGS \(([^)]*)\)`)
	fetchBody  = regexp.MustCompile(`BODY\[\] \{(\d+)\}\r\n`)
)

// parseFetch reads a FETCH response as harness gives it; ok is false for others.
func parseFetch(line string) (f fetched, ok bool) {
	if !fetchHead.MatchString(line) {
		return f, false
	}
	rest := line
	if at := fetchBody.FindStringSubmatchIndex(line); at != nil {
		n, _ := strconv.Atoi(line[at[2]:at[3]])
		if at[1]+n <= len(line) {
			f.body = line[at[1] : at[1]+n]
			rest = line[:at[0]] + line[at[1]+n:]
		}
	}
	if g := fetchUID.FindStringSubmatch(rest); g != nil {
		n, _ := strconv.ParseUint(g[1], 10, 32)
		f.uid = uint32(n)
	}
	if g := fetchFlags.FindStringSubmatch(rest); g != nil {
		f.flags = strings.Fields(g[1])
	}
	return f, true
}

// found is a mailbox at the end.
type found struct {
	validity uint32
	box      map[string][]fetched // by message id
}

// compare holds what is there against what must be.
func (m *model) compare(have map[string]found) {
	known := map[string]bool{}
	for _, f := range m.all {
		var name string
		n := 0
		for _, candidate := range f.names {
			known[candidate] = true
			if _, ok := have[candidate]; ok {
				name = candidate
				n++
			}
		}
		switch {
		case len(f.names) == 1 && f.is == no && m.reused(f):
			continue
		case f.is == yes && n != 1:
			m.complain("mailbox %q: %d of it are there", f.names, n)
		case f.is == no && n > 0:
			m.complain("mailbox %q was deleted and is there", name)
		case n == 1:
			m.compareBox(name, f, have[name])
		}
	}
	for name := range have {
		if !known[name] && !slices.Contains([]string{"Drafts", "Junk", "Sent", "Trash"}, name) {
			m.complain("nobody made mailbox %q", name)
		}
	}
	for _, f := range m.all {
		for _, p := range f.box {
			if p.movedTo != nil && f.is == yes && p.movedTo.is == yes && !m.there(have, p.id) {
				m.complain("message %s was lost by a MOVE without answer", p.id)
			}
		}
	}
}

// reused reports whether a deleted mailbox's name is a later one's.
func (m *model) reused(f *folder) bool {
	for _, g := range m.all {
		if g != f && g.is != no && slices.Contains(g.names, f.names[0]) {
			return true
		}
	}
	return false
}

func (m *model) there(have map[string]found, id string) bool {
	for _, f := range have {
		if len(f.box[id]) > 0 {
			return true
		}
	}
	return false
}

func (m *model) compareBox(name string, f *folder, have found) {
	for id, p := range f.box {
		got := have.box[id]
		switch {
		case len(got) > 1:
			m.complain("%s: message %s is there %d times", name, id, len(got))
		case p.is == yes && f.is == yes && len(got) == 0:
			m.complain("%s: acknowledged message %s (UID %d) is lost", name, id, p.uid)
		case p.is == no && len(got) > 0:
			m.complain("%s: message %s (UID %d) was removed and is there", name, id, got[0].uid)
		case len(got) == 1:
			m.comparePlaced(name, p, have.validity, got[0])
		}
	}
	for id := range have.box {
		if f.box[id] == nil {
			m.complain("%s: nobody put message %s there", name, id)
		}
	}
}

func (m *model) comparePlaced(name string, p *placed, validity uint32, got fetched) {
	if p.uid != 0 && (p.uid != got.uid || p.validity != validity) {
		m.complain("%s: message %s had UID %d of %d, has %d of %d", name, p.id, p.uid, p.validity, got.uid, validity)
	}
	for flag, is := range p.flags {
		if has := slices.Contains(got.flags, flag); is == yes && !has || is == no && has {
			m.complain("%s: message %s (UID %d): flag %s should be %v, flags are %q", name, p.id, got.uid, flag, is == yes, got.flags)
		}
	}
	for _, flag := range got.flags {
		if _, known := p.flags[flag]; !known && flag != `\Recent` && !(flag == `\Seen` && p.uid == 0) {
			m.complain("%s: message %s has flag %s that nobody set", name, p.id, flag)
		}
	}
}

// lf is a text as it stands in a Maildir of ours.
func lf(text string) string {
	return string(bytes.ReplaceAll([]byte(text), []byte("\r\n"), []byte("\n")))
}
