package foreign

import (
	"strconv"
	"strings"

	"rookery/internal/vfs"
)

// maxUIDList bounds the list of UIDs of one folder, in octets.
const maxUIDList = 1 << 28

// uidList is what another server's list says.
type uidList struct {
	validity, next uint32
	of             map[string]uint32 // by base name
}

// uidlist reads a folder's list: Dovecot's ("3 V<uidvalidity> N<next> …", then
// "<uid> [<keys>] :<name>") or, where there is none, Courier's or Dovecot's first
// version ("1 <uidvalidity> <next>", then "<uid> <name>"). What cannot be read gives
// no UID, and so does what does not ascend.
func (t *maildirTree) uidlist(place string) (l uidList) {
	l.of = map[string]uint32{}
	data, err := vfs.ReadFile(t.fs, join(place, "dovecot-uidlist"), maxUIDList)
	if err != nil {
		if data, err = vfs.ReadFile(t.fs, join(place, "courierimapuiddb"), maxUIDList); err != nil {
			return l
		}
	}
	head, rest, _ := strings.Cut(string(data), "\n")
	w := strings.Fields(head)
	switch {
	case len(w) >= 3 && w[0] == "1":
		l.validity, l.next = number(w[1]), number(w[2])
	case len(w) >= 2 && w[0] == "3":
		for _, key := range w[1:] {
			switch key[0] {
			case 'V':
				l.validity = number(key[1:])
			case 'N':
				l.next = number(key[1:])
			}
		}
	}
	if l.validity == 0 {
		return uidList{}
	}
	last := uint32(0)
	for line := range strings.Lines(rest) {
		text, whole := strings.CutSuffix(line, "\n")
		id, name, ok := strings.Cut(text, " ")
		if w[0] == "3" && ok {
			if !strings.HasPrefix(name, ":") {
				_, name, ok = strings.Cut(name, " :")
			}
			name = strings.TrimPrefix(name, ":")
		}
		uid := number(id)
		name, _, _ = strings.Cut(name, ":")
		if !whole || !ok || name == "" || uid <= last || uid == 1<<32-1 {
			continue
		}
		last = uid
		l.of[name] = uid
	}
	l.next = max(l.next, last+1)
	return l
}

// number reads a number of 32 bits; 0 if it is none.
func number(s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// courierKeywords reads courierimapkeywords: in ":list" names, an empty line, and
// for each message "BASE:PLACE PLACE …", places in the list of names; beside it a
// file for each message whose keywords changed since, a name a line, called BASE, or
// ".N.BASE", of which the highest N counts.
func (t *maildirTree) courierKeywords(place string) map[string][]string {
	dir := join(place, "courierimapkeywords")
	all, err := entries(t.fs, dir)
	if err != nil {
		return nil
	}
	out := map[string][]string{}
	if data, err := vfs.ReadFile(t.fs, join(dir, ":list"), maxSmall); err == nil {
		head, rest, _ := strings.Cut(string(data), "\n\n")
		names := strings.Split(head, "\n")
		for line := range strings.Lines(rest) {
			base, places, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
			var list []string
			for p := range strings.FieldsSeq(places) {
				if n := number(p); n < uint32(len(names)) && (n > 0 || p == "0") && validKeyword(names[n]) {
					list = append(list, names[n])
				}
			}
			out[base] = list
		}
	}
	rank := map[string]uint64{}
	for _, e := range all {
		base, n := e.Name, uint64(0)
		if rest, numbered := strings.CutPrefix(e.Name, "."); numbered {
			text, after, ok := strings.Cut(rest, ".")
			v, err := strconv.ParseUint(text, 10, 32)
			if !ok || err != nil {
				continue
			}
			base, n = after, v+1
		}
		if base == ":list" || strings.HasPrefix(base, ":") || n < rank[base] {
			continue
		}
		data, err := vfs.ReadFile(t.fs, join(dir, e.Name), 64<<10)
		if err != nil {
			continue
		}
		rank[base] = n
		var list []string
		for line := range strings.Lines(string(data)) {
			if k := strings.TrimRight(line, "\r\n"); validKeyword(k) {
				list = append(list, k)
			}
		}
		out[base] = list
	}
	return out
}
