package confload

import "strings"

// statement is one line of a file, or several for a list or a long string:
// either a table's header or key = value.
type statement struct {
	line   int
	header string // the text within the brackets; "" for key = value
	double bool   // [[…]]
	key    string // as written, with quotes
	value  string // as written, without the comment after it
	broken string // what is wrong with the form, "" if nothing
}

// scan cuts a file into statements. It knows just enough of TOML for that
// (strings, comments, brackets): the values themselves are left to the TOML
// library. Each statement has its own line so that each problem can be told.
func scan(text string) []statement {
	s := &scanner{text: text, line: 1}
	var out []statement
	for s.skipBlank() {
		out = append(out, s.statement())
	}
	return out
}

type scanner struct {
	text string
	at   int
	line int
}

// skipBlank goes to the next statement; false at the end.
func (s *scanner) skipBlank() bool {
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == '\n':
			s.line++
			s.at++
		case c == ' ' || c == '\t' || c == '\r':
			s.at++
		case c == '#':
			s.skipLine()
		default:
			return true
		}
	}
	return false
}

// skipLine goes to the newline, not past it.
func (s *scanner) skipLine() {
	if i := strings.IndexByte(s.text[s.at:], '\n'); i >= 0 {
		s.at += i
		return
	}
	s.at = len(s.text)
}

func (s *scanner) statement() statement {
	st := statement{line: s.line}
	start := s.at
	if s.text[s.at] == '[' {
		s.skipLine()
		st.setHeader(s.text[start:s.at])
		return st
	}
	equals := s.findEquals()
	if equals < 0 {
		s.skipLine()
		st.key = strings.TrimSpace(s.text[start:s.at])
		st.broken = "is no setting"
		return st
	}
	st.key = strings.TrimSpace(s.text[start:equals])
	s.at = equals + 1
	st.value = strings.TrimSpace(s.value())
	return st
}

// findEquals looks for the "=" on this line, outside quotes.
func (s *scanner) findEquals() int {
	quoted := byte(0)
	for i := s.at; i < len(s.text); i++ {
		c := s.text[i]
		switch {
		case c == '\n':
			return -1
		case quoted == '"' && c == '\\':
			i++
		case quoted != 0:
			if c == quoted {
				quoted = 0
			}
		case c == '"' || c == '\'':
			quoted = c
		case c == '=':
			return i
		case c == '#':
			return -1
		}
	}
	return -1
}

// value reads to the end of the value, which may span lines within brackets
// and long strings. Comments are left out, newlines stay.
func (s *scanner) value() string {
	var b strings.Builder
	depth := 0
	for s.at < len(s.text) {
		c := s.text[s.at]
		switch {
		case c == '\n' && depth <= 0:
			return b.String()
		case c == '\n':
			s.line++
			b.WriteByte(c)
			s.at++
		case c == '#':
			s.skipLine()
		case c == '"' || c == '\'':
			b.WriteString(s.str(c))
		default:
			if c == '[' || c == '{' {
				depth++
			} else if c == ']' || c == '}' {
				depth--
			}
			b.WriteByte(c)
			s.at++
		}
	}
	return b.String()
}

// str reads one string with its quotes; a short one ends at the line's end at
// the latest.
func (s *scanner) str(quote byte) string {
	start := s.at
	long := strings.Repeat(string(quote), 3)
	if strings.HasPrefix(s.text[s.at:], long) {
		for s.at += 3; s.at < len(s.text); s.at++ {
			if quote == '"' && s.text[s.at] == '\\' && s.at+1 < len(s.text) {
				if s.text[s.at+1] == '\n' {
					s.line++
				}
				s.at++
				continue
			}
			if s.text[s.at] == '\n' {
				s.line++
			}
			if strings.HasPrefix(s.text[s.at:], long) {
				s.at += 3
				for range 2 { // up to two quotes may stand before the closing three
					if s.at < len(s.text) && s.text[s.at] == quote {
						s.at++
					}
				}
				break
			}
		}
		return s.text[start:min(s.at, len(s.text))]
	}
	for s.at++; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == '\n':
			return s.text[start:s.at]
		case c == '\\' && quote == '"' && s.at+1 < len(s.text) && s.text[s.at+1] != '\n':
			s.at++
		case c == quote:
			s.at++
			return s.text[start:s.at]
		}
	}
	return s.text[start:]
}

// setHeader reads "[name]" or "[[name]]" and a comment after it.
func (st *statement) setHeader(line string) {
	if i := strings.IndexByte(line, '#'); i >= 0 {
		line = line[:i]
	}
	line = strings.TrimSpace(line)
	inner, ok := strings.CutPrefix(line, "[[")
	if st.double = ok; ok {
		inner, ok = strings.CutSuffix(inner, "]]")
	} else {
		inner, ok = strings.CutSuffix(strings.TrimPrefix(line, "["), "]")
	}
	st.header = strings.TrimSpace(inner)
	if !ok || st.header == "" || strings.ContainsAny(st.header, "[]") {
		st.header = strings.Trim(st.header, "[] ")
		st.broken = "is no table's header"
	}
}
