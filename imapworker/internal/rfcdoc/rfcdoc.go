// Package rfcdoc is the list of the RFCs' sections against what shows that they are
// kept: docs/IMAP-sections.md.
//
// sections.txt has every section of the RFCs of IMAP that are built, with the number
// of its requirements ("MUST", "SHALL", "REQUIRED"); gen makes it of the RFCs' texts,
// which are not in the tree. Transcripts say in their comments which sections they
// show ("# RFC 5258 §3.1"). shown.txt says the rest: tests in Go, and why no
// transcript can show a section.
//
// Its generator calls it, and tests. It must never be part of a program.
package rfcdoc

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

//go:generate go run ./gen page ../../.. ../../../docs/IMAP-sections.md

//go:embed sections.txt
var sectionsText string

//go:embed shown.txt
var shownText string

// Section is one section of an RFC.
type Section struct {
	RFC   int
	Name  string // "6.3.1", "A.1"
	Musts int    // occurrences of MUST, SHALL and REQUIRED, their negations too
	Title string
}

// Ref names a section.
type Ref struct {
	RFC  int
	Name string
}

// Sections gives the sections in the order of the page: RFCs as in sections.txt.
func Sections() ([]Section, error) {
	var all []Section
	for line := range strings.Lines(sectionsText) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.SplitN(line, " ", 4)
		if len(f) < 4 {
			return nil, fmt.Errorf("sections.txt: %q", line)
		}
		rfc, err := strconv.Atoi(f[0])
		musts, err2 := strconv.Atoi(f[2])
		if err != nil || err2 != nil {
			return nil, fmt.Errorf("sections.txt: %q", line)
		}
		all = append(all, Section{rfc, f[1], musts, f[3]})
	}
	return all, nil
}

// Shown is what shown.txt holds.
type Shown struct {
	Notes   map[Ref]string    // tests and reasons
	Beyond  map[string]string // transcripts that show nothing of the RFCs listed: why they are there
	Missing map[int]string    // RFCs that are built and are not in sections.txt: what they are
	Titles  map[int]string    // of the RFCs
	Details []string          // what servers get wrong, each with what shows it
}

// ReadShown reads shown.txt, whose lines are
//
//	rfc 5258: LIST-EXTENDED         title of an RFC of sections.txt
//	uncounted 9586: UIDONLY         one that sections.txt lacks
//	5258 3.2: tests and reasons     of a section
//	beyond session/x.txt: reason    of a transcript
//	detail 3: text and names        of a list of its own, in its order
func ReadShown() (Shown, error) {
	s := Shown{Notes: map[Ref]string{}, Beyond: map[string]string{}, Missing: map[int]string{}, Titles: map[int]string{}}
	for line := range strings.Lines(shownText) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		what, text, ok := strings.Cut(line, ": ")
		first, name, ok2 := strings.Cut(what, " ")
		if !ok || !ok2 {
			return s, fmt.Errorf("shown.txt: %q", line)
		}
		n, err := strconv.Atoi(name)
		switch {
		case first == "beyond":
			s.Beyond[name] = text
		case first == "detail" && n == len(s.Details)+1:
			s.Details = append(s.Details, text)
		case first == "rfc" && err == nil:
			s.Titles[n] = text
		case first == "uncounted" && err == nil:
			s.Missing[n] = text
		default:
			rfc, err := strconv.Atoi(first)
			ref := Ref{rfc, name}
			if _, twice := s.Notes[ref]; twice || err != nil {
				return s, fmt.Errorf("shown.txt: %q", line)
			}
			s.Notes[ref] = text
		}
	}
	return s, nil
}

const intro = `# Sections of the RFCs, and what shows that they are kept

Generated from the transcripts' comments and imapworker/internal/rfcdoc/shown.txt (make generate); do not edit.

Listed are the sections that demand something (MUST, SHALL, REQUIRED; the second column counts the words), and those that a
transcript names besides. Transcripts are dialogues to the letter: each is replayed whole and byte by byte, those of
the worker in every mail format but for a few that the tests name with the reason. ` + "`session`, `fetch`, `search`, `sorting`" + ` are folders of imapworker/internal,
` + "`preimap`" + ` is in login/internal; their transcripts are in ` + "`testdata`" + `. A test fails where a section that demands
something has neither a transcript nor a line of its own, and where a transcript shows nothing.
`

// Page makes docs/IMAP-sections.md.
func Page(sections []Section, shown Shown, cited map[Ref][]string) string {
	var b strings.Builder
	b.WriteString(intro)
	last, total, byTranscript := 0, 0, 0
	for _, s := range sections {
		if s.Musts > 0 {
			total++
			if len(cited[Ref{s.RFC, s.Name}]) > 0 {
				byTranscript++
			}
		}
	}
	fmt.Fprintf(&b, "\n%d sections demand something; transcripts show %d of them.\n", total, byTranscript)
	for _, s := range sections {
		ref := Ref{s.RFC, s.Name}
		if s.Musts == 0 && len(cited[ref]) == 0 {
			continue
		}
		if s.RFC != last {
			fmt.Fprintf(&b, "\n## RFC %d: %s\n\n| section | demands | transcripts | tests and reasons |\n|---|---|---|---|\n", s.RFC, shown.Titles[s.RFC])
			last = s.RFC
		}
		fmt.Fprintf(&b, "| %s %s | %d | %s | %s |\n", s.Name, s.Title, s.Musts, strings.Join(cited[ref], " "), shown.Notes[ref])
	}
	writeUncounted(&b, shown, cited)
	b.WriteString("\n## Details that servers get wrong\n\n| | detail | shown by |\n|---|---|---|\n")
	for i, d := range shown.Details {
		text, names := d, ""
		if at := strings.LastIndex(d, ": "); at >= 0 {
			text, names = d[:at], d[at+2:]
		}
		fmt.Fprintf(&b, "| %d | %s | %s |\n", i+1, strings.ReplaceAll(text, "*", "\\*"), names)
	}
	b.WriteString("\n## Transcripts beyond these texts\n\n| transcript | what it shows |\n|---|---|\n")
	for _, name := range sorted(shown.Beyond) {
		fmt.Fprintf(&b, "| %s | %s |\n", name, shown.Beyond[name])
	}
	return b.String()
}

// writeUncounted tells of the RFCs whose sections are not in sections.txt.
func writeUncounted(b *strings.Builder, shown Shown, cited map[Ref][]string) {
	var rfcs []int
	for n := range shown.Missing {
		rfcs = append(rfcs, n)
	}
	slices.Sort(rfcs)
	b.WriteString("\n## RFCs whose demands are not counted here\n\nTheir sections are listed as the transcripts name them.\n\n| RFC | section | transcripts |\n|---|---|---|\n")
	for _, n := range rfcs {
		var names []string
		for ref := range cited {
			if ref.RFC == n {
				names = append(names, ref.Name)
			}
		}
		slices.SortFunc(names, compareNames)
		for _, name := range names {
			fmt.Fprintf(b, "| %d %s | %s | %s |\n", n, shown.Missing[n], name, strings.Join(cited[Ref{n, name}], " "))
		}
	}
}

// compareNames puts "3.2" before "3.10".
func compareNames(a, b string) int {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(x), len(y)) {
		n, err := strconv.Atoi(x[i])
		m, err2 := strconv.Atoi(y[i])
		if err == nil && err2 == nil && n != m {
			return n - m
		}
		if c := strings.Compare(x[i], y[i]); c != 0 && (err != nil || err2 != nil) {
			return c
		}
	}
	return len(x) - len(y)
}

func sorted(m map[string]string) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
