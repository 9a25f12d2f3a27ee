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
		m = append(m, s.names.Pattern(reference, text))
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
	known := make(map[string]int, len(folders))
	folders = slices.Clone(folders)
	for i, f := range folders {
		known[f.Name] = i
	}
	for _, name := range subscribed {
		for n := imapname.Name(name); n != ""; n = n.Parent() {
			i, ok := known[string(n)]
			if !ok {
				i = len(folders)
				known[string(n)] = i
				folders = append(folders, mailstore.Folder{Name: string(n), Attrs: mailstore.NonExistent | mailstore.NoSelect})
			}
			if string(n) == name {
				folders[i].Attrs |= mailstore.Subscribed
			}
		}
	}
	t := &tree{shown: map[string]bool{}}
	for _, ns := range s.cfg.Store.Namespaces() {
		name := strings.TrimSuffix(prefixOf(ns), imapname.Separator)
		kids := slices.ContainsFunc(folders, func(f mailstore.Folder) bool {
			return f.Attrs&mailstore.NonExistent == 0 && imapname.Name(f.Name).Below(imapname.Name(name))
		})
		if !ns.List || name == "" || !kids && !ns.ListPrefix {
			continue
		}
		t.shown[name] = true
		i, ok := known[name]
		if !ok {
			i = len(folders)
			folders = append(folders, mailstore.Folder{Name: name, Attrs: mailstore.NonExistent | mailstore.NoSelect})
		}
		if kids {
			folders[i].Attrs |= mailstore.HasChildren
		}
	}
	slices.SortFunc(folders, func(a, b mailstore.Folder) int { return strings.Compare(order(a.Name), order(b.Name)) })
	t.folders = folders
	return t, nil
}

// order gives a sort key under which a mailbox is followed by all below it, and
// INBOX comes first.
func order(name string) string {
	key := strings.ReplaceAll(name, imapname.Separator, "\x00")
	if name == imapname.Inbox || imapname.Name(name).Below(imapname.Inbox) {
		return "\x01" + key
	}
	return "\x02" + key
}

// below gives the names below name.
func (t *tree) below(name string) []mailstore.Folder {
	key := order(name)
	i, _ := slices.BinarySearchFunc(t.folders, key+"\x00", func(f mailstore.Folder, k string) int { return strings.Compare(order(f.Name), k) })
	j := i
	for j < len(t.folders) && strings.HasPrefix(order(t.folders[j].Name), key+"\x00") {
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
