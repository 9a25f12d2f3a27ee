package main

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"

	"rookery/internal/settings/render"
)

// programs are the process folders and the names of their programs.
func programs() [][2]string {
	return [][2]string{
		{"master", "rookery"}, {"login", "rookery-login"}, {"authd", "rookery-authd"}, {"logd", "rookery-logd"},
		{"imapworker", "rookery-imapworker"}, {"pop3worker", "rookery-pop3worker"}, {"mailtool", "rookery-mailtool"}, {"rookeryctl", "rookeryctl"},
	}
}

// programPages makes a manual page out of each program's package comment. A
// folder that is not there has none.
func programPages(root string) (map[string]string, error) {
	pages := map[string]string{}
	for _, p := range programs() {
		comment, err := packageComment(filepath.Join(root, p[0]))
		if err != nil {
			return nil, err
		}
		if comment != "" {
			pages[p[1]+".8"] = page(p[1], p[0], comment)
		}
	}
	return pages, nil
}

func packageComment(dir string) (string, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return "", err
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		src, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			return "", &fs.PathError{Op: "parse", Path: name, Err: err}
		}
		if text := file.Doc.Text(); text != "" {
			return text, nil
		}
	}
	return "", nil
}

// page turns a comment into troff. The first sentence is the NAME line; a
// paragraph or line that begins with "WORDS IN CAPITALS:" begins a section;
// indented lines stay as they are.
func page(program, folder, comment string) string {
	var b strings.Builder
	first, rest := firstSentence(comment)
	fmt.Fprintf(&b, ".TH %s 8 \"\" \"Rookery\" \"System administration\"\n.nh\n.ad l\n", strings.ToUpper(program))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", render.Roff(program), render.Roff(nameLine(first, folder)))
	if strings.TrimSpace(rest) != "" {
		b.WriteString(".SH DESCRIPTION\n")
		b.WriteString(body(rest))
	}
	b.WriteString(".SH SEE ALSO\n")
	var others []string
	for _, p := range programs() {
		if p[1] != program {
			others = append(others, render.Roff(p[1])+"(8)")
		}
	}
	b.WriteString(strings.Join(append(others, "rookery.toml(5)"), ", ") + "\n")
	return b.String()
}

// firstSentence cuts comment after the first full stop, question or
// exclamation mark that a blank follows, or at the first empty line.
func firstSentence(comment string) (first, rest string) {
	end := len(comment)
	for i := 0; i+1 < len(comment); i++ {
		blank := comment[i+1] == ' ' || comment[i+1] == '\n'
		if strings.IndexByte(".?!", comment[i]) >= 0 && blank {
			end = i + 1
			break
		}
		if comment[i] == '\n' && comment[i+1] == '\n' {
			end = i
			break
		}
	}
	return strings.Join(strings.Fields(comment[:end]), " "), comment[end:]
}

// nameLine drops "Package authd" or "Authd" and the full stop.
func nameLine(synopsis, folder string) string {
	s := strings.TrimSuffix(synopsis, ".")
	for _, head := range []string{"Package " + folder + " ", strings.ToUpper(folder[:1]) + folder[1:] + " "} {
		s = strings.TrimPrefix(s, head)
	}
	return s
}

// inside finds a heading that does not begin its line: "…. NEVER: …".
var inside = regexp.MustCompile(`\. ([A-Z][A-Z ]*[A-Z]): `)

func body(text string) string {
	var b strings.Builder
	text = inside.ReplaceAllString(text, ".\n$1: ")
	pre := false
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		indented := strings.HasPrefix(line, "\t") || strings.HasPrefix(line, "  ")
		if indented != pre {
			b.WriteString(map[bool]string{true: ".nf\n", false: ".fi\n"}[indented])
			pre = indented
		}
		head, rest, found := strings.Cut(line, ":")
		switch {
		case strings.TrimSpace(line) == "":
			b.WriteString(".PP\n")
		case strings.HasPrefix(line, "# "):
			fmt.Fprintf(&b, ".SH %s\n", render.Roff(strings.ToUpper(line[2:])))
		case found && capitals(head):
			fmt.Fprintf(&b, ".SH %s\n", render.Roff(head))
			if rest = strings.TrimSpace(rest); rest != "" {
				b.WriteString(render.Roff(rest) + "\n")
			}
		default:
			b.WriteString(render.Roff(line) + "\n")
		}
	}
	if pre {
		b.WriteString(".fi\n")
	}
	return b.String()
}

// capitals reports whether s is a heading such as TALKS TO.
func capitals(s string) bool {
	if len(s) < 3 {
		return false
	}
	for _, r := range s {
		if !unicode.IsUpper(r) && r != ' ' {
			return false
		}
	}
	return true
}
