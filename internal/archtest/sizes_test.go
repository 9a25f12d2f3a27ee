package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The budgets: aim for 400 and 40.
const (
	maxFileLines = 600
	maxFuncLines = 100
)

// root is the module's root, seen from this package.
const root = "../.."

// sources calls f with every Go file of the tree.
func sources(t *testing.T, f func(path string, data []byte)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && d.Name() != ".." && path != root || d.Name() == "bin" || d.Name() == "demo") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f(path, data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSizes(t *testing.T) {
	sources(t, func(path string, data []byte) {
		if n := strings.Count(string(data), "\n"); n > maxFileLines {
			t.Errorf("%s has %d lines, at most %d", path, n, maxFileLines)
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, data, 0)
		if err != nil {
			t.Error(err)
			return
		}
		for _, d := range file.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			if n := codeLines(fset, fn); n > maxFuncLines {
				t.Errorf("%s: %s has %d lines, at most %d", fset.Position(fn.Pos()), fn.Name.Name, n, maxFuncLines)
			}
		}
	})
}

// codeLines counts a function's lines without the tables in it (composite
// literals of more than ten lines).
func codeLines(fset *token.FileSet, fn *ast.FuncDecl) int {
	lines := func(n ast.Node) int { return fset.Position(n.End()).Line - fset.Position(n.Pos()).Line + 1 }
	total := lines(fn)
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		if lit, ok := n.(*ast.CompositeLit); ok && lines(lit) > 10 {
			total -= lines(lit)
			return false
		}
		return true
	})
	return total
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) > 0 && len(p.Doc) < 15 {
			t.Errorf("%s has no package comment worth the name", p.ImportPath)
		}
	}
}

func TestCommandsAreSmall(t *testing.T) {
	mains, err := filepath.Glob(root + "/cmd/*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mains {
		data, err := os.ReadFile(m)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(data), "\n"); n > 30 {
			t.Errorf("%s has %d lines, at most 30", m, n)
		}
	}
}

// selectors gives each name that a package's files use of an import, with one place.
func selectors(t *testing.T, p pkg, importPath string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, f := range p.GoFiles {
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, filepath.Join(p.Dir, f), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		name := importName(file, importPath)
		if name == "" {
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == name && id.Obj == nil {
				found[sel.Sel.Name] = fmt.Sprintf("%s/%s:%d", p.ImportPath, f, fset.Position(sel.Pos()).Line)
			}
			return true
		})
	}
	return found
}

func importName(file *ast.File, importPath string) string {
	for _, imp := range file.Imports {
		if strings.Trim(imp.Path.Value, `"`) != importPath {
			continue
		}
		if imp.Name != nil {
			return imp.Name.Name
		}
		return importPath[strings.LastIndex(importPath, "/")+1:]
	}
	return ""
}

// The project's text speaks of the project alone. The words are put together
// here so that this file does not hold them.
var foreign = regexp.MustCompile(`(?i)/work/(main|shared)|\b(` + strings.Join([]string{"chat" + "gpt", "open" + "ai", "anth" + "ropic", "cla" + "ude", "l" + "lms?", "ai-" + "generated", "sub" + "agent"}, "|") + `)\b`)

func TestTextSpeaksOfTheProjectAlone(t *testing.T) {
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if strings.HasPrefix(d.Name(), ".git") || d.Name() == ".cache" || d.Name() == "bin" || d.Name() == "demo" {
				return filepath.SkipDir
			}
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if m := foreign.Find(data); m != nil {
			t.Errorf("%s: %q", path, m)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
