// Package peers plays transcripts to other IMAP servers and compares what they answer
// with what the transcripts say, as far as the RFCs leave no freedom.
//
// Only the program `peers` uses it, and tests. It must never know our own servers'
// packages, nor be part of a program that serves mail.
package peers

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// cut takes one response off a stream: a line with the literals that it announces. ok is
// false if the response is not whole yet.
func cut(p []byte) (response, rest []byte, ok bool) {
	at := 0
	for {
		end := bytes.Index(p[at:], []byte("\r\n"))
		if end < 0 {
			return nil, p, false
		}
		end += at
		n, literal := literalAt(p[at:end])
		if !literal {
			return p[:end], p[end+2:], true
		}
		if at = end + 2 + n; at > len(p) {
			return nil, p, false
		}
	}
}

// literalAt reads "{n}" or "{n+}" at the end of a line.
func literalAt(line []byte) (n int, ok bool) {
	n, _, ok = literalEnd(line)
	return n, ok
}

func literalEnd(line []byte) (n int, waits, ok bool) {
	open := bytes.LastIndexByte(line, '{')
	if open < 0 || len(line) == 0 || line[len(line)-1] != '}' {
		return 0, false, false
	}
	digits, plus := bytes.CutSuffix(line[open+1:len(line)-1], []byte("+"))
	n, err := strconv.Atoi(string(digits))
	return n, !plus, err == nil && n >= 0 && len(digits) > 0 && len(digits) < 9
}

// responses takes all whole responses off a stream.
func responses(p []byte) (all []string, rest []byte) {
	for {
		r, after, ok := cut(p)
		if !ok {
			return all, p
		}
		all, p = append(all, string(r)), after
	}
}

// node is an atom, a string or a list of a response.
type node struct {
	text string
	list []node // nil where it is none
	quo  bool   // a string
}

// parse reads the nodes of a response. It never fails: what is odd becomes an atom.
func parse(s string) []node {
	nodes, _ := parseList(s, 0)
	return nodes
}

const depthLimit = 64

func parseList(s string, depth int) (all []node, rest string) {
	all = []node{}
	for s != "" {
		switch c := s[0]; {
		case c == ' ':
			s = s[1:]
		case c == ')':
			return all, s[1:]
		case c == '(' && depth < depthLimit:
			var list []node
			list, s = parseList(s[1:], depth+1)
			all = append(all, node{list: list})
		case c == '"':
			var n node
			n, s = parseQuoted(s[1:])
			all = append(all, n)
		case c == '{' || strings.HasPrefix(s, "~{"):
			var n node
			n, s = parseLiteral(s)
			all = append(all, n)
		default:
			end := atomEnd(s)
			all, s = append(all, node{text: s[:end]}), s[end:]
		}
	}
	return all, ""
}

func parseQuoted(s string) (node, string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == '"':
			return node{text: b.String(), quo: true}, s[i+1:]
		default:
			b.WriteByte(s[i])
		}
	}
	return node{text: b.String(), quo: true}, ""
}

func parseLiteral(s string) (node, string) {
	line, rest, ok := strings.Cut(s, "\r\n")
	n, literal := literalAt([]byte(line))
	if !ok || !literal || n > len(rest) {
		return node{text: s}, ""
	}
	return node{text: rest[:n], quo: true}, rest[n:]
}

// atomEnd finds the end of an atom; what stands in brackets belongs to it, as in
// BODY[HEADER.FIELDS (Subject)].
func atomEnd(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '[':
			depth++
		case c == ']' && depth > 0:
			depth--
		case depth == 0 && i > 0 && (c == ' ' || c == '(' || c == ')'):
			return i
		}
	}
	return len(s)
}

// String writes a node so that equal values look equal: a string is its text.
func (n node) String() string {
	switch {
	case n.list != nil:
		var parts []string
		for _, e := range n.list {
			parts = append(parts, e.String())
		}
		return "(" + strings.Join(parts, " ") + ")"
	case n.quo:
		return strconv.Quote(n.text)
	case strings.EqualFold(n.text, "NIL"):
		return "NIL"
	}
	return strconv.Quote(n.text)
}

// Tagged is what a tagged response says, or an untagged OK, NO, BAD or BYE.
type Tagged struct {
	Tag, Cond string
	Code      string // its name: "TRYCREATE"
	Args      string
}

// status reads a response as one of condition.
func status(s string) (t Tagged, ok bool) {
	tag, rest, _ := strings.Cut(s, " ")
	cond, text, _ := strings.Cut(rest, " ")
	cond = strings.ToUpper(cond)
	if !slices.Contains([]string{"OK", "NO", "BAD", "BYE", "PREAUTH"}, cond) {
		return t, false
	}
	t = Tagged{Tag: tag, Cond: cond}
	if strings.HasPrefix(text, "[") {
		if end := atomEnd(text); end > 1 && text[end-1] == ']' {
			name, args, _ := strings.Cut(text[1:end-1], " ")
			t.Code, t.Args = strings.ToUpper(name), args
		}
	}
	return t, true
}
