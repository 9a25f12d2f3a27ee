package maildir

import (
	"slices"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/imapname/mutf7"
	"rookery/internal/mailstore"
	"rookery/internal/vfs"
)

// The file subscriptions has the subscribed names. Version 1 is a name a line,
// levels separated as in the tree ('.' in Maildir++); version 2 begins with the
// line "V<TAB>2" and an empty one, and separates levels by tabs. Names are in
// modified UTF-7; names in UTF-8 are read, too. Lines that are no names stay.
// A file is written in the version that it had; a new one in version 2.

const (
	subsFile  = "subscriptions"
	maxSubs   = 4 << 20 // octets
	maxSubsIn = 100000  // names
)

// subsList is the parsed file.
type subsList struct {
	v1    bool
	lines []subsLine
}

type subsLine struct {
	raw  string
	name mailstore.Name // "" if the line is no name
}

func parseSubs(text string, sep byte) subsList {
	l := subsList{v1: text != ""}
	if rest, ok := strings.CutPrefix(text, "V\t2\n"); ok {
		l.v1 = false
		text = strings.TrimPrefix(rest, "\n")
	}
	for line := range strings.SplitSeq(text, "\n") {
		if line == "" || len(l.lines) >= maxSubsIn {
			continue
		}
		parts := strings.Split(line, "\t")
		if l.v1 {
			parts = strings.Split(line, string(rune(sep)))
		}
		l.lines = append(l.lines, subsLine{line, subsName(parts, !l.v1)})
	}
	return l
}

// subsName decodes the levels of a name. Version 2 escapes control characters
// as Dovecot does: \001 before 0, 1, t, r, n.
func subsName(parts []string, escaped bool) mailstore.Name {
	out := make([]string, len(parts))
	for i, p := range parts {
		if escaped {
			p = unescapeTab(p)
		}
		text, err := mutf7.Decode(p)
		if err != nil {
			text = p
		}
		if strings.Contains(text, "/") {
			return ""
		}
		out[i] = text
	}
	n := strings.Join(out, "/")
	if imapname.Name(n).Check() != nil {
		return ""
	}
	return mailstore.Name(imapname.Canonical(n))
}

func unescapeTab(s string) string {
	if strings.IndexByte(s, 1) < 0 {
		return s
	}
	return strings.NewReplacer("\x010", "\x00", "\x011", "\x01", "\x01t", "\t", "\x01r", "\r", "\x01n", "\n").Replace(s)
}

// subsRaw is the line of a name.
func subsRaw(name mailstore.Name, v1 bool, sep byte) string {
	parts := imapname.Name(name).Parts()
	for i, p := range parts {
		parts[i] = mutf7.Encode(p)
	}
	if v1 {
		return strings.Join(parts, string(rune(sep)))
	}
	return strings.Join(parts, "\t")
}

func (l subsList) format() []byte {
	var out []byte
	if !l.v1 {
		out = append(out, "V\t2\n\n"...)
	}
	for _, x := range l.lines {
		out = append(append(out, x.raw...), '\n')
	}
	return out
}

// separator is the tree's own.
func (s *Store) separator() byte {
	if s.opt.Layout == FSLayout {
		return '/'
	}
	return '.'
}

func (s *Store) readSubs() (subsList, error) {
	data, err := vfs.ReadFile(s.fs, join(s.opt.ControlPath, subsFile), maxSubs)
	if err != nil && !notExist(err) {
		return subsList{}, s.fail("read subscriptions", err)
	}
	if err != nil { // Courier's list is taken over until there is one
		if old, cerr := vfs.ReadFile(s.fs, join(s.opt.MailPath, courierSubs), maxSubs); cerr == nil {
			return parseCourierSubs(string(old)), nil
		} else if !notExist(cerr) {
			return subsList{}, s.fail("read subscriptions", cerr)
		}
	}
	return parseSubs(string(data), s.separator()), nil
}

// courierSubs is Courier's list: a name a line, in modified UTF-7, with INBOX
// before all and '.' between the levels.
const courierSubs = "courierimapsubscribed"

func parseCourierSubs(text string) subsList {
	var l subsList
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if line == "" || len(l.lines) >= maxSubsIn {
			continue
		}
		if rest, ok := strings.CutPrefix(line, "INBOX."); ok {
			line = rest
		} else if line != "INBOX" {
			continue // of a shared folder
		}
		if name := subsName(strings.Split(line, "."), false); name != "" {
			l.lines = append(l.lines, subsLine{subsRaw(name, false, 0), name})
		}
	}
	return l
}

// subscribed gives the names in the file.
func (s *Store) subscribed() ([]mailstore.Name, error) {
	l, err := s.readSubs()
	var out []mailstore.Name
	for _, x := range l.lines {
		if x.name != "" {
			out = append(out, x.name)
		}
	}
	return out, err
}

// Subscriptions gives all subscribed names, with those that the settings
// subscribe as long as they have not been made.
func (s *Store) Subscriptions() ([]mailstore.Name, error) {
	names, err := s.subscribed()
	if err != nil {
		return nil, err
	}
	for _, sp := range s.opt.Special {
		if sp.Auto == AutoSubscribe {
			if _, there, err := s.lookDir(sp.Name); err == nil && !there {
				names = append(names, sp.Name)
			}
		}
	}
	for i, n := range names {
		names[i] = s.outName(n)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Subscribe adds or removes a name.
func (s *Store) Subscribe(name mailstore.Name, on bool) error {
	inner := s.canonical(name)
	if err := imapname.Name(inner).Check(); err != nil {
		return errkind.New("subscribe", errkind.Invalid, err)
	}
	if sp := s.special(inner); !on && sp != nil && sp.Auto == AutoSubscribe {
		// Only a mailbox that is there can be subscribed otherwise than the
		// settings say: find makes it, and subscribes it.
		if _, err := s.find(name); err != nil {
			return errkind.Wrap("subscribe", err)
		}
	}
	if err := s.lock(); err != nil {
		return errkind.Wrap("subscribe", err)
	}
	defer s.unlock()
	_, err := s.replaceLocked(join(s.opt.ControlPath, subsFile), func() ([]byte, error) {
		l, err := s.readSubs()
		if err != nil {
			return nil, err
		}
		return s.editSubs(l, inner, on)
	})
	return s.fail("subscribe", err)
}

// editSubs gives the new file, nil if it stays.
func (s *Store) editSubs(l subsList, name mailstore.Name, on bool) ([]byte, error) {
	at := slices.IndexFunc(l.lines, func(x subsLine) bool { return x.name == name })
	switch {
	case on && at >= 0:
		return nil, nil
	case on && len(l.lines) >= s.opt.MaxFolders:
		return nil, errkind.Newf("subscribe", errkind.Limit, "too many names are subscribed")
	case on:
		if sep := s.separator(); l.v1 && sep != '/' && strings.IndexByte(name, sep) >= 0 {
			l = l.asV2() // version 1 cannot tell this name's dot from a level's
		}
		l.lines = append(l.lines, subsLine{subsRaw(name, l.v1, s.separator()), name})
	case at < 0:
		return nil, errkind.Newf("unsubscribe", errkind.NotFound, "the name is not subscribed")
	default:
		l.lines = slices.DeleteFunc(l.lines, func(x subsLine) bool { return x.name == name })
	}
	if out := l.format(); out != nil {
		return out, nil
	}
	return []byte{}, nil
}

func (l subsList) asV2() subsList {
	out := subsList{}
	for _, x := range l.lines {
		if x.name != "" {
			x.raw = subsRaw(x.name, false, 0)
		}
		out.lines = append(out.lines, x)
	}
	return out
}
