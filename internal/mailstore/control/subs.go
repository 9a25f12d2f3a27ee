package control

import (
	"slices"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/imapname/mutf7"
	"rookery/internal/mailstore"
	"rookery/internal/vfs"
)

// SubsFile is the file of subscribed names.
const SubsFile = "subscriptions"

const (
	courierSubs = "courierimapsubscribed"
	maxSubs     = 4 << 20 // octets that are read of a list
	maxSubsIn   = 100000  // names
)

// Subs is a list of subscribed names, as read.
type Subs struct {
	v1    bool
	sep   byte // between levels in version 1
	lines []subsLine
}

type subsLine struct {
	raw  string
	name mailstore.Name // "" if the line is no name
}

// ReadSubs reads the list. sep separates levels in version 1. As long as there is
// none, Courier's list in the directory courier is taken over ("": none).
func (d Dir) ReadSubs(sep byte, courier string) (Subs, error) {
	data, err := vfs.ReadFile(d.FS, vfs.Join(d.Path, SubsFile), maxSubs)
	if err == nil || !vfs.NotExist(err) {
		return parseSubs(string(data), sep), vfs.Kinded("read subscriptions", err)
	}
	if courier != "" {
		old, err := vfs.ReadFile(d.FS, vfs.Join(courier, courierSubs), maxSubs)
		if err == nil || !vfs.NotExist(err) {
			return parseCourierSubs(string(old), sep), vfs.Kinded("read subscriptions", err)
		}
	}
	return parseSubs("", sep), nil
}

// Names gives the names in the list, in its order.
func (l Subs) Names() []mailstore.Name {
	var out []mailstore.Name
	for _, x := range l.lines {
		if x.name != "" {
			out = append(out, x.name)
		}
	}
	return out
}

// Edit adds a name (on) or removes it and gives the whole new file: nil if it
// stays as it is, never nil if it is to be written. most is how many lines there
// may be: one more is errkind.Limit. Removing a name that is not there is
// errkind.NotFound.
func (l Subs) Edit(name mailstore.Name, on bool, most int) ([]byte, error) {
	there := slices.ContainsFunc(l.lines, func(x subsLine) bool { return x.name == name })
	switch {
	case on && there:
		return nil, nil
	case on && len(l.lines) >= most:
		return nil, errkind.Newf("subscribe", errkind.Limit, "too many names are subscribed")
	case on:
		if l.v1 && l.sep != '/' && strings.IndexByte(name, l.sep) >= 0 {
			l = l.asV2() // version 1 cannot tell this name's dot from a level's
		}
		l.lines = append(l.lines, subsLine{subsRaw(name, l.v1, l.sep), name})
	case !there:
		return nil, errkind.Newf("unsubscribe", errkind.NotFound, "the name is not subscribed")
	default:
		l.lines = slices.DeleteFunc(l.lines, func(x subsLine) bool { return x.name == name })
	}
	return l.format(), nil
}

func parseSubs(text string, sep byte) Subs {
	l := Subs{v1: text != "", sep: sep}
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

func parseCourierSubs(text string, sep byte) Subs {
	l := Subs{sep: sep}
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

// subsName decodes the levels of a name; "" if they are none. Version 2 escapes
// control characters as Dovecot does: \001 before 0, 1, t, r, n.
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

func (l Subs) format() []byte {
	out := []byte{}
	if !l.v1 {
		out = append(out, "V\t2\n\n"...)
	}
	for _, x := range l.lines {
		out = append(append(out, x.raw...), '\n')
	}
	return out
}

func (l Subs) asV2() Subs {
	out := Subs{sep: l.sep}
	for _, x := range l.lines {
		if x.name != "" {
			x.raw = subsRaw(x.name, false, 0)
		}
		out.lines = append(out.lines, x)
	}
	return out
}
