package confload

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"

	"rookery/internal/settings"
)

// maxFile and maxFiles bound what is read.
const (
	maxFile  = 1 << 20
	maxFiles = 1000
)

// Load reads the configuration whose main file is name, an absolute path
// within fsys. The Result is never nil; see its Err.
func Load(fsys fs.FS, name string) *Result {
	r := &Result{Set: settings.New(), Sources: map[string]Source{}}
	l := &loader{Result: r, fsys: fsys}
	l.file(name)
	for _, f := range l.confd(path.Join(path.Dir(name), "conf.d")) {
		l.file(f)
	}
	l.checkAll(name)
	sort.SliceStable(r.Diags, func(i, j int) bool {
		a, b := r.Diags[i], r.Diags[j]
		if a.File != b.File {
			return slices.Index(r.Files, a.File) < slices.Index(r.Files, b.File)
		}
		return a.Line < b.Line
	})
	return r
}

// Check is Load for who wants only the problems.
func Check(fsys fs.FS, name string) []Diag { return Load(fsys, name).Diags }

type loader struct {
	*Result
	fsys fs.FS
}

// inFS is the path as io/fs wants it.
func inFS(name string) string { return strings.TrimPrefix(path.Clean(name), "/") }

// confd lists the files of conf.d in byte order. A missing folder is none.
func (l *loader) confd(dir string) []string {
	entries, err := fs.ReadDir(l.fsys, inFS(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		l.errorf(Source{File: dir}, "cannot be read (%s); every *.toml file in it counts, so the server must be able to list it", reason(err))
		return nil
	}
	l.checkWritable(dir)
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".toml") && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, path.Join(dir, e.Name()))
		}
	}
	if len(names) > maxFiles {
		l.errorf(Source{File: dir}, "has more than %d files", maxFiles)
		return nil
	}
	slices.Sort(names)
	return names
}

// reason is the cause without Go's "open x:".
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

func (l *loader) read(name string) ([]byte, error) {
	f, err := l.fsys.Open(inFS(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = errors.New("larger than 1 MiB")
	}
	return b, err
}

// file reads one file, statement by statement.
func (l *loader) file(name string) {
	at := Source{File: name}
	l.Files = append(l.Files, name)
	b, err := l.read(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.errorf(at, "does not exist; name the configuration with -c FILE, or copy the shipped one there")
		return
	case errors.Is(err, fs.ErrPermission):
		l.errorf(at, "may not be read by this user; run as root, or let it be read (chmod, chown)")
		return
	case err != nil:
		l.errorf(at, "cannot be read (%s)", reason(err))
		return
	}
	l.checkWritable(name)
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		l.errorf(at, "is not UTF-8 text; save it as UTF-8")
		return
	}
	before := len(l.Diags)
	p := &fileParser{loader: l, name: name, seen: map[string]int{}, rowsSeen: map[string]int{}}
	for _, st := range scan(string(b)) {
		p.statement(st)
	}
	p.endRow()
	if len(l.Diags) == before {
		// The TOML library has the last word on the file as a whole.
		var whole map[string]any
		if err := toml.Unmarshal(b, &whole); err != nil {
			line, text := tomlError(err)
			at.Line = line
			l.errorf(at, "%s", text)
		}
	}
}

// tomlError gives the line within the text and the message.
func tomlError(err error) (int, string) {
	var pe toml.ParseError
	if errors.As(err, &pe) {
		text := pe.Message
		if text == "" {
			text = strings.TrimPrefix(pe.Error(), "toml: ")
		}
		return pe.Position.Line, text
	}
	return 1, err.Error()
}
