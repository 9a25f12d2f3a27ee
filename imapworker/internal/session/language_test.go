package session

import (
	"go/ast"
	goparser "go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"rookery/imapworker/internal/sessiontest/peers"
	"rookery/internal/imaplang"
	"rookery/internal/mailstore"
)

func TestLanguage(t *testing.T) { everywhere(t, "testdata/language/*.txt") }

// Every text that a client may show its user has its translations: those that stand
// in the worker's code, and those that transcripts show.
func TestTextsAreTranslated(t *testing.T) {
	texts := map[string]string{} // with the place where one was found
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || d.IsDir():
			return err
		case strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go"):
			return textsOfCode(path, texts)
		case strings.HasSuffix(path, ".txt") && !strings.Contains(path, "language"): // those that speak others are called so
			return textsOfTranscript(path, texts)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(texts) < 80 {
		t.Errorf("only %d texts were found", len(texts))
	}
	for text, where := range texts {
		if !imaplang.Has(text) {
			t.Errorf("%s: %q has no row in internal/imaplang/texts.go", where, text)
		}
	}
}

var inTranscript = regexp.MustCompile(`^S\d*: (?:\*|[A-Za-z0-9.]+) (?:OK|NO|BYE) (?:\[[^]]*\] )?([^\[].*)$`)

func textsOfTranscript(path string, texts map[string]string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	given := map[string]bool{} // BYE's text as the transcript itself has it
	for _, line := range strings.Split(string(data), "\n") {
		if text, ok := strings.CutPrefix(line, "E: bye "); ok {
			given[text] = true
		}
		if m := inTranscript.FindStringSubmatch(line); m != nil && !given[m[1]] {
			texts[m[1]] = path
		}
	}
	return nil
}

// textsOfCode finds the texts of replies that are not BAD, and of BYE.
func textsOfCode(path string, texts map[string]string) error {
	set := token.NewFileSet()
	file, err := goparser.ParseFile(set, path, nil, 0)
	if err != nil {
		return err
	}
	add := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if text, err := strconv.Unquote(lit.Value); err == nil {
				texts[text] = set.Position(lit.Pos()).String()
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			at, args := map[string]int{"Done": 0, "No": 1, "sayBye": 2, "Status": 3}, len(n.Args)
			name := nameOf(n.Fun)
			if i, ok := at[name]; ok && i < args && (name != "Status" || nameOf(n.Args[1]) != "BAD") {
				add(n.Args[i])
			}
		case *ast.CompositeLit:
			if nameOf(n.Type) == "Reply" {
				addReply(n, add)
			}
		}
		return true
	})
	return nil
}

func addReply(lit *ast.CompositeLit, add func(ast.Expr)) {
	fields := map[string]ast.Expr{}
	for _, e := range lit.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			fields[nameOf(kv.Key)] = kv.Value
		}
	}
	if text := fields["Text"]; text != nil && nameOf(fields["Cond"]) != "BAD" {
		add(text)
	}
}

func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// spacedStore is a store with namespaces of all kinds.
type spacedStore struct {
	mailstore.Store
	more []mailstore.Namespace
}

func (s spacedStore) Namespaces() []mailstore.Namespace {
	return append(s.Store.Namespaces(), s.more...)
}

// RFC 5255 §3.4: the NAMESPACE response has what a client can show for the prefixes,
// after LANGUAGE and in NAMESPACE itself; not where two of a kind would look the same.
func TestNamespaceTranslation(t *testing.T) {
	others := mailstore.Namespace{Kind: mailstore.OtherUsers, Prefix: "Other Users/", Separator: '/', List: true}
	public := mailstore.Namespace{Kind: mailstore.Shared, Prefix: "Public Folders/", Separator: '/', List: true}
	second := mailstore.Namespace{Kind: mailstore.Shared, Prefix: "More/", Separator: '/', List: true}
	const german = `* NAMESPACE (("" "/")) (("Other Users/" "/" "TRANSLATION" ("Andere Benutzer/"))) (("Public Folders/" "/" "TRANSLATION" ("Gemeinsame Ordner/")))` + "\r\n"
	for _, test := range []struct {
		more []mailstore.Namespace
		send string
		want string
	}{
		{[]mailstore.Namespace{others, public}, "a LANGUAGE de\r\n", "* LANGUAGE (de)\r\n" + german + "a OK Die Sprache ist jetzt Deutsch.\r\n"},
		{[]mailstore.Namespace{others, public}, "a LANGUAGE de\r\nb NAMESPACE\r\n", "* LANGUAGE (de)\r\n" + german + "a OK Die Sprache ist jetzt Deutsch.\r\n" + german + "b OK Namensräume genannt.\r\n"},
		{[]mailstore.Namespace{others, public}, "a LANGUAGE en\r\n", "* LANGUAGE (en)\r\na OK Language changed.\r\n"},
		{[]mailstore.Namespace{public, second}, "a LANGUAGE fr\r\n", "* LANGUAGE (fr)\r\na OK La langue est maintenant le français.\r\n"},
		{[]mailstore.Namespace{public}, "a LANGUAGE fr\r\n", "* LANGUAGE (fr)\r\n* NAMESPACE ((\"\" \"/\")) NIL ((\"Public Folders/\" \"/\" \"TRANSLATION\" (\"Dossiers partag&AOk-s/\")))\r\na OK La langue est maintenant le français.\r\n"},
	} {
		p := openPeer(t, nil).(*peer)
		p.store = spacedStore{p.store, test.more}
		p.Send(1, []byte(test.send))
		if got := string(p.Take(1)); got != test.want {
			t.Errorf("%s: got\n%swant\n%s", test.send, got, test.want)
		}
		p.Close()
	}
}

// What was chosen before the login holds from the first answer on.
func TestLanguageBeforeLogin(t *testing.T) {
	p := openPeer(t, nil).(*peer)
	defer p.Close()
	out := &peers.Output{}
	s := New(Config{Settings: p.settings, Store: p.store, Out: out, Log: peers.Lines{T: t}, Changes: make(chan struct{}, 1), Language: "es"}, start)
	s.Start("a")
	if got := string(out.Take()); !strings.HasSuffix(got, "] Sesión iniciada\r\n") {
		t.Error(got)
	}
	s.Close("")
}
