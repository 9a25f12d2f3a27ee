package export

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rookery/internal/imapname"
)

// single is what the formats have in common that keep a file for each message.
type single struct {
	root *os.Root
	dir  string // of the folder
	out  *file
	w    io.Writer
	lf   *lfWriter
	date time.Time
	path string
}

func (s *single) begin(path string, m Message, lf bool) (err error) {
	if s.out, err = create(s.root, path); err != nil {
		return err
	}
	s.w, s.lf, s.path, s.date = s.out, nil, path, m.InternalDate
	if lf {
		s.lf = &lfWriter{w: s.out}
		s.w = s.lf
	}
	return nil
}

func (s *single) Write(p []byte) (int, error) { return s.w.Write(p) }

func (s *single) End() error {
	var err error
	if s.lf != nil {
		err = s.lf.end()
	}
	if err = errors.Join(err, s.out.close(true)); err != nil || s.date.IsZero() {
		return err
	}
	return s.root.Chtimes(s.path, s.date, s.date)
}

// emlWriter keeps octets as they are.
type emlWriter struct {
	single
	next int
}

func newEML(root *os.Root) Writer { return &emlWriter{single: single{root: root}} }

func (w *emlWriter) Folder(name string, _ bool) error {
	w.dir, w.next = dirOf(name), 0
	return w.root.MkdirAll(w.dir, 0o700)
}

func (w *emlWriter) Begin(m Message) error {
	w.next++
	return w.begin(filepath.Join(w.dir, fmt.Sprintf("%08d.eml", w.next)), m, false)
}

func (w *emlWriter) Close() error { return errors.Join(syncDirs(w.root), w.root.Close()) }

// mhWriter is MH: numbers, and a file of sequences.
type mhWriter struct {
	single
	next int
	seqs map[string][]int
}

func newMH(root *os.Root) Writer { return &mhWriter{single: single{root: root}} }

func (w *mhWriter) Folder(name string, _ bool) error {
	if err := w.sequences(); err != nil {
		return err
	}
	w.dir, w.next, w.seqs = dirOf(name), 0, map[string][]int{}
	return w.root.MkdirAll(w.dir, 0o700)
}

// Begin puts the message into the sequences that MH's programs know.
func (w *mhWriter) Begin(m Message) error {
	w.next++
	for name, in := range map[string]bool{"unseen": !m.Seen, "replied": m.Answered, "flagged": m.Flagged} {
		if in {
			w.seqs[name] = append(w.seqs[name], w.next)
		}
	}
	return w.begin(filepath.Join(w.dir, fmt.Sprint(w.next)), m, true)
}

func (w *mhWriter) sequences() error {
	var text strings.Builder
	for _, name := range []string{"flagged", "replied", "unseen"} {
		if ns := w.seqs[name]; len(ns) > 0 {
			fmt.Fprintf(&text, "%s:%s\n", name, ranges(ns))
		}
	}
	w.seqs = nil
	if text.Len() == 0 {
		return nil
	}
	f, err := create(w.root, filepath.Join(w.dir, ".mh_sequences"))
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, text.String())
	return errors.Join(err, f.close(true))
}

// ranges writes ascending numbers as MH does: " 1-3 7".
func ranges(ns []int) string {
	var b strings.Builder
	for i := 0; i < len(ns); {
		j := i
		for j+1 < len(ns) && ns[j+1] == ns[j]+1 {
			j++
		}
		if fmt.Fprintf(&b, " %d", ns[i]); j > i {
			fmt.Fprintf(&b, "-%d", ns[j])
		}
		i = j + 1
	}
	return b.String()
}

func (w *mhWriter) Close() error {
	return errors.Join(w.sequences(), syncDirs(w.root), w.root.Close())
}

// maildirWriter is Maildir++ with Dovecot's files of keywords and subscriptions.
type maildirWriter struct {
	single
	next     int
	began    int64
	keywords []string // of the folder; at most 26
	subs     []string
}

func newMaildir(root *os.Root) Writer {
	return &maildirWriter{single: single{root: root}, began: time.Now().Unix()}
}

func (w *maildirWriter) Folder(name string, subscribed bool) error {
	if err := w.keywordFile(); err != nil {
		return err
	}
	w.dir = "."
	if name != imapname.Inbox {
		dir, err := imapname.Name(name).Folder()
		if err != nil || strings.ContainsRune(dir, '/') || len(dir) > 255 {
			dir = "." + part(strings.ReplaceAll(name, "/", "."))
		}
		w.dir = dir
	}
	if subscribed {
		w.subs = append(w.subs, strings.ReplaceAll(name, "/", "\t"))
	}
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := w.root.MkdirAll(filepath.Join(w.dir, sub), 0o700); err != nil {
			return err
		}
	}
	if w.dir == "." {
		return nil
	}
	f, err := create(w.root, filepath.Join(w.dir, "maildirfolder"))
	if err != nil {
		return err
	}
	return f.close(false)
}

func (w *maildirWriter) Begin(m Message) error {
	w.next++
	info := ""
	for _, f := range []struct {
		on     bool
		letter string
	}{{m.Draft, "D"}, {m.Flagged, "F"}, {m.Answered, "R"}, {m.Seen, "S"}, {m.Deleted, "T"}} {
		if f.on {
			info += f.letter
		}
	}
	var letters []string
	for _, k := range m.Keywords {
		i := slices.Index(w.keywords, k)
		if i < 0 && len(w.keywords) < 26 && !strings.ContainsAny(k, " \r\n") {
			i = len(w.keywords)
			w.keywords = append(w.keywords, k)
		}
		if i >= 0 {
			letters = append(letters, string(rune('a'+i)))
		}
	}
	slices.Sort(letters)
	name := fmt.Sprintf("%d.M%dP%d.export:2,%s", max(m.InternalDate.Unix(), 0), w.next, os.Getpid(), info+strings.Join(letters, ""))
	return w.begin(filepath.Join(w.dir, "cur", name), m, true)
}

func (w *maildirWriter) keywordFile() error {
	names := w.keywords
	w.keywords = nil
	if len(names) == 0 {
		return nil
	}
	f, err := create(w.root, filepath.Join(w.dir, "dovecot-keywords"))
	if err != nil {
		return err
	}
	for i, n := range names {
		fmt.Fprintf(f, "%d %s\n", i, n)
	}
	return f.close(true)
}

func (w *maildirWriter) Close() error {
	err := w.keywordFile()
	if len(w.subs) > 0 && err == nil {
		var f *file
		if f, err = create(w.root, "subscriptions"); err == nil {
			fmt.Fprintf(f, "V\t2\n\n%s\n", strings.Join(w.subs, "\n"))
			err = f.close(true)
		}
	}
	return errors.Join(err, syncDirs(w.root), w.root.Close())
}
