package preimap

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"rookery/internal/imaplang"
)

// sentence is a text for people; what has a verb of fmt stands in the table with "%".
var (
	sentence = regexp.MustCompile(`^[A-Z][^\n]* [^\n]*(\.|=%d\))$`)
	verb     = regexp.MustCompile(`%[sd]`)
)

// ofBad are texts of BAD, and of a reason that login gives before it greets: those
// stay English.
var ofBad = map[string]bool{
	"A command is a tag, a space and a name.": true, "Command name missing.": true, "TLS is already active.": true, "TLS is not offered here.": true,
	"Unknown command, or one that is for after the login.": true, "Wrong arguments.": true, "Invalid base64 data in continued response.": true,
	"Too many connections from your address that have not logged in (login_unauthenticated_userip_limit=%d).": true,
}

// Every sentence that a client may read before it is in has its translations: those
// of this package, of what IMAP and POP3 share, of login, and of the master, whose
// refusals login passes on.
func TestTextsAreTranslated(t *testing.T) {
	found := 0
	for _, dir := range []string{".", "../prelogin", "../..", "../../../master/internal/handover"} {
		paths, err := filepath.Glob(dir + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if ok, _ := filepath.Match("*_test.go", filepath.Base(path)); ok {
				continue
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				lit, ok := n.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					return true
				}
				text, err := strconv.Unquote(lit.Value)
				if err != nil || !sentence.MatchString(text) || ofBad[text] {
					return true
				}
				found++
				if !imaplang.Has(verb.ReplaceAllString(text, "x")) {
					t.Errorf("%s: %q has no row in internal/imaplang/texts.go", set.Position(lit.Pos()), text)
				}
				return true
			})
		}
	}
	if found < 30 {
		t.Errorf("only %d texts were found", found)
	}
}
