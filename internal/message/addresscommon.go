package message

import "strings"

// common reads an address of one of the forms that nearly all have, as element
// would, but without a copy of anything:
//
//	joe@example.org
//	Joe Public <joe@example.org>
//	"Public, Joe" <joe@example.org>
//
// up to a comma or the end. It reports false, and reads nothing, if it is another.
func (p *addressParser) common() bool {
	s, i := p.s, p.i
	for i < len(s) && (s[i] == ' ' || s[i] == ',') {
		i++
	}
	if i == len(s) {
		p.i = i
		return true
	}
	name := ""
	if at := dotAtom(s, i); at == i || at == len(s) || s[at] != '@' {
		end, next := p.phrase(i)
		if next == 0 {
			return false
		}
		name = strings.TrimPrefix(s[i:end], `"`)
		i = next + 1
	} else {
		return p.address("", i, at, 0)
	}
	at := dotAtom(s, i)
	return at > i && at < len(s) && s[at] == '@' && p.address(name, i, at, '>')
}

// address reads a domain from at on, which has the "@", and what closes the address.
func (p *addressParser) address(name string, local, at int, closing byte) bool {
	s := p.s
	end := dotAtom(s, at+1)
	if end == at+1 || s[at+1] == '[' {
		return false
	}
	next := end
	if closing != 0 {
		if next == len(s) || s[next] != closing {
			return false
		}
		next++
	}
	if next < len(s) {
		if s[next] != ',' {
			return false
		}
		next++
	}
	p.i = next
	p.list = append(p.list, Address{Name: name, Mailbox: s[local:at], Host: s[at+1 : end]})
	return true
}

// phrase reads words with one space between them, or one quoted string, from i on,
// a space and "<", which is at next; 0 if something else stands there.
func (p *addressParser) phrase(i int) (end, next int) {
	s := p.s
	if s[i] == '"' {
		n := strings.IndexAny(s[i+1:], "\"\\")
		if end = i + 1 + n; n <= 0 || p.noQuote || !strings.HasPrefix(s[end:], `" <`) {
			return 0, 0
		}
		return end, end + 2
	}
	for i < len(s) {
		start := i
		for i < len(s) && isWordByte(s[i]) {
			i++
		}
		if i == start || i+1 >= len(s) || s[i] != ' ' {
			return 0, 0
		}
		if s[i+1] == '<' {
			return i, i + 1
		}
		i++
	}
	return 0, 0
}

// dotAtom gives the end of the words and dots from i on; i if a dot comes first.
func dotAtom(s string, i int) int {
	if i < len(s) && s[i] == '.' {
		return i
	}
	for i < len(s) && (s[i] == '.' || isWordByte(s[i])) {
		i++
	}
	return i
}
