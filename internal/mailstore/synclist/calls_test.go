package synclist

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// root is the mail store's folder.
const root = ".."

// place gives the path of a file or folder that is named relative to root; those
// of vfs, whose helpers the store shares, are named with "vfs/" before them.
func place(name string) string {
	if name == "vfs" || strings.HasPrefix(name, "vfs/") {
		return filepath.Join(root, "..", name)
	}
	return filepath.Join(root, name)
}

// call is one place in the code that makes something certain.
type call struct {
	file string // see place
	fn   string // the function's name, with its receiver's type
	n    int    // which of the function's calls, from 1
	text string // as it stands there

	from, to int // where the call stands in the file
	open     int // where its argument list begins
}

// id names a call as long as its function stays what it is.
func (c call) id() string { return fmt.Sprintf("%s %s %d", c.file, c.fn, c.n) }

// pkg is the folder of the call's package: see place.
func (c call) pkg() string { return path.Dir(c.file) }

// sources lists the store's Go files that are no tests, and vfs's helpers. What
// only tests use is left out.
func sources() (list []string, err error) {
	list = []string{"vfs/helpers.go"}
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, p)
		if d != nil && d.IsDir() && (rel == "storetest" || rel == "synclist" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if err == nil && strings.HasSuffix(p, ".go") && !strings.HasSuffix(p, "_test.go") {
			list = append(list, filepath.ToSlash(rel))
		}
		return err
	})
	return list, err
}

// allCalls finds every call, in the order of files and places.
func allCalls() (list []call, err error) {
	files, err := sources()
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		src, err := os.ReadFile(place(name))
		if err != nil {
			return nil, err
		}
		found, err := callsIn(name, src)
		if err != nil {
			return nil, err
		}
		list = append(list, found...)
	}
	return list, nil
}

// callsIn finds the calls of one file. They are told by their form: DataSync()
// and SyncDir(x) are vfs's alone; Sync() and Wait() count where one value is made
// of them, for a mailbox's Sync gives two and a WaitGroup's Wait none.
func callsIn(name string, src []byte) (list []call, err error) {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, name, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	offset := func(p token.Pos) int { return set.Position(p).Offset }
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		other := map[ast.Expr]bool{} // calls whose result is not one value
		n := 0
		ast.Inspect(fn.Body, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.AssignStmt:
				if len(node.Lhs) != len(node.Rhs) {
					other[node.Rhs[0]] = true
				}
			case *ast.ExprStmt:
				other[node.X] = true
			case *ast.GoStmt:
				other[node.Call] = true
			case *ast.DeferStmt:
				other[node.Call] = true
			case *ast.CallExpr:
				sel, ok := node.Fun.(*ast.SelectorExpr)
				if !ok || !isSync(sel.Sel.Name, len(node.Args), other[node]) {
					break
				}
				n++
				c := call{file: name, fn: funcName(fn), n: n, from: offset(node.Pos()), to: offset(node.End()), open: offset(node.Lparen)}
				c.text = string(src[c.from:c.to])
				list = append(list, c)
			}
			return true
		})
	}
	return list, nil
}

func isSync(name string, args int, other bool) bool {
	switch name {
	case "DataSync":
		return args == 0
	case "SyncDir":
		return args == 1
	case "Sync", "Wait":
		return args == 0 && !other
	}
	return false
}

func funcName(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return fn.Name.Name
	}
	t := fn.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name + "." + fn.Name.Name
	}
	return fn.Name.Name
}

// switched gives a file's source with each of its calls behind a switch: the
// function syncOut, which knows the call by its id.
func switched(src []byte, calls []call) []byte {
	calls = slices.Clone(calls)
	slices.SortFunc(calls, func(a, b call) int { return cmp.Compare(a.from, b.from) })
	var out bytes.Buffer
	at := 0
	for _, c := range calls {
		out.Write(src[at:c.from])
		fmt.Fprintf(&out, "syncOut(%q, func() error { return %s })", c.id(), src[c.from:c.to])
		at = c.to
	}
	out.Write(src[at:])
	return out.Bytes()
}

// switchFile is what each package with calls gets beside its own files. A call
// whose id is in ROOKERY_SYNC_OUT does nothing and succeeds; a call that is made
// adds its id to the file in ROOKERY_SYNC_SEEN, once.
const switchFile = `package %s

import (
	"os"
	"sync"
)

var syncOutID, syncOutLog, syncOutSeen = os.Getenv("ROOKERY_SYNC_OUT"), os.Getenv("ROOKERY_SYNC_SEEN"), sync.Map{}

func syncOut(id string, do func() error) error {
	if syncOutLog != "" {
		if _, old := syncOutSeen.LoadOrStore(id, true); !old {
			if f, err := os.OpenFile(syncOutLog, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600); err == nil {
				f.WriteString(id + "\n")
				f.Close()
			}
		}
	}
	if id == syncOutID {
		return nil
	}
	return do()
}
`
