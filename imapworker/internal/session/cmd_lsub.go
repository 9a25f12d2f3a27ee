package session

import (
	"slices"
	"strings"

	"rookery/imapworker/internal/view"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
)

// lsub = "LSUB" SP mailbox SP list-mailbox                RFC 3501 §6.3.9
type lsub struct{ reference, pattern string }

func parseLsub(p *parser) (request, bool) {
	var c lsub
	return &c, p.WantSP() && p.WantMailbox(&c.reference) && p.WantSP() && p.WantListMailbox(&c.pattern) && p.WantEnd()
}

func (c *lsub) run(s *Session) (view.Reply, error) {
	t, err := s.loadTree()
	if err != nil {
		return view.Reply{}, err
	}
	m := s.matcher(c.reference, []string{c.pattern})
	isSubscribed := func(f mailstore.Folder) bool { return f.Attrs&mailstore.Subscribed != 0 }
	for _, f := range t.folders {
		if !m.match(f.Name) {
			continue
		}
		var attrs []string
		if !isSubscribed(f) {
			// RFC 3501 §6.3.9: with "%", a name that is not subscribed stands with
			// \Noselect for subscribed names below it that the pattern leaves out.
			if !t.hides(f.Name, m, isSubscribed) {
				continue
			}
			attrs = []string{`\Noselect`}
		} else if s.cfg.Settings.LsubFlags && f.Attrs&(mailstore.NoSelect|mailstore.NonExistent) != 0 {
			attrs = []string{`\Noselect`}
		}
		name, ok := s.names.Show(imapname.Name(f.Name))
		if !ok {
			continue
		}
		s.enc.Untagged().Atom("LSUB").SP().FlagList(attrs).SP().Quoted(s.separator()).SP().Mailbox(name).CRLF()
		if err := s.flushSome(); err != nil {
			return view.Reply{}, err
		}
	}
	return view.Done("Lsub completed."), nil
}

// patterns match a name if any of them does.
type patterns []imapname.Pattern

func (s *Session) matcher(reference string, texts []string) patterns {
	var m patterns
	for _, text := range texts {
		m = append(m, s.dialect(reference+text).Pattern(reference, text))
	}
	return m
}

func (m patterns) match(name string) bool {
	for _, p := range m {
		if p.Match(imapname.Name(name)) {
			return true
		}
	}
	return false
}

// tree is every name that LIST and LSUB know of: mailboxes, what they imply,
// subscriptions to what is not there and what those imply. It is sorted so that
// what lies below a name is together.
type tree struct {
	folders []mailstore.Folder
	shown   map[string]bool // prefixes of namespaces that LIST shows though no mailbox has the name
}

func (s *Session) loadTree() (*tree, error) {
	folders, err := s.cfg.Store.List()
	if err != nil {
		return nil, err
	}
	subscribed, err := s.cfg.Store.Subscriptions()
	if err != nil {
		return nil, err
	}
	t := &tree{folders: slices.Clone(folders), shown: map[string]bool{}}
	t.sort()
	t.subscribe(subscribed)
	for _, ns := range s.cfg.Store.Namespaces() {
		t.space(ns)
	}
	return t, nil
}

// sort puts what lies below a name behind it. A Store's list is sorted by bytes,
// which mostly is that order already.
func (t *tree) sort() {
	if !slices.IsSortedFunc(t.folders, byTree) {
		slices.SortFunc(t.folders, byTree)
	}
}

func byTree(a, b mailstore.Folder) int { return compareNames(a.Name, b.Name) }

// find gives the place of a name, or where it would stand.
func (t *tree) find(name string) (int, bool) {
	return slices.BinarySearchFunc(t.folders, name, func(f mailstore.Folder, n string) int { return compareNames(f.Name, n) })
}

// subscribe adds subscribed names that are no mailboxes, and what they imply.
func (t *tree) subscribe(names []string) {
	extra := map[string]mailstore.Attr{}
	for _, name := range names {
		if i, ok := t.find(name); ok {
			t.folders[i].Attrs |= mailstore.Subscribed
			continue
		}
		extra[name] |= mailstore.Subscribed
		for n := imapname.Name(name).Parent(); n != ""; n = n.Parent() {
			if _, ok := t.find(string(n)); !ok {
				extra[string(n)] |= 0
			}
		}
	}
	for name, a := range extra {
		t.folders = append(t.folders, mailstore.Folder{Name: name, Attrs: a | mailstore.NonExistent | mailstore.NoSelect})
	}
	t.sort()
}

// space adds the name of a namespace's prefix.
func (t *tree) space(ns mailstore.Namespace) {
	name := strings.TrimSuffix(prefixOf(ns), imapname.Separator)
	if !ns.List || name == "" {
		return
	}
	kids := slices.ContainsFunc(t.below(name), func(f mailstore.Folder) bool { return f.Attrs&mailstore.NonExistent == 0 })
	if !kids && !ns.ListPrefix {
		return
	}
	t.shown[name] = true
	i, ok := t.find(name)
	if !ok {
		t.folders = slices.Insert(t.folders, i, mailstore.Folder{Name: name, Attrs: mailstore.NonExistent | mailstore.NoSelect})
	}
	if kids {
		t.folders[i].Attrs |= mailstore.HasChildren
	}
}

// compareNames orders names so that a mailbox is followed by all below it, and
// INBOX comes first: as bytes, with the separator before all others.
func compareNames(a, b string) int {
	if x, y := inInbox(a), inInbox(b); x != y {
		if x {
			return -1
		}
		return 1
	}
	n := min(len(a), len(b))
	for i := range n {
		x, y := a[i], b[i]
		switch {
		case x == y:
		case x == '/':
			return -1
		case y == '/' || x > y:
			return 1
		default:
			return -1
		}
	}
	return len(a) - len(b)
}

// inInbox reports whether a name is INBOX or lies below it.
func inInbox(name string) bool {
	const inbox = string(imapname.Inbox)
	return strings.HasPrefix(name, inbox) && (len(name) == len(inbox) || name[len(inbox)] == '/')
}

// below gives the names below name.
func (t *tree) below(name string) []mailstore.Folder {
	i, ok := t.find(name)
	if ok {
		i++
	}
	j := i
	for j < len(t.folders) && imapname.Name(t.folders[j].Name).Below(imapname.Name(name)) {
		j++
	}
	return t.folders[i:j]
}

// hides reports whether a name below name is wanted but not matched.
func (t *tree) hides(name string, m patterns, wanted func(mailstore.Folder) bool) bool {
	for _, f := range t.below(name) {
		if wanted(f) && !m.match(f.Name) {
			return true
		}
	}
	return false
}

// flushSome sends what waits once it is much, between two responses.
func (s *Session) flushSome() error {
	ctx := view.Context{Enc: &s.enc, Out: &s.out}
	return ctx.Flush()
}
