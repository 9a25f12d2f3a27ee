// Package export writes mail into files of the operator's, in the formats that
// other programs read.
//
// Only rookeryctl uses it, as root: names and octets come from a process that a
// user may have taken over. So everything is written below one directory that
// was made for it, through os.Root, which no name leads out of; no file that is
// there is ever opened for writing.
package export

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Message is what comes with the octets.
type Message struct {
	UID          uint32
	Answered     bool
	Flagged      bool
	Deleted      bool
	Seen         bool
	Draft        bool
	Keywords     []string
	InternalDate time.Time
	Size         int64 // in CRLF form
}

// Writer is an export under way. Folder comes before the messages in it; each
// message's octets come through Write, in CRLF form.
type Writer interface {
	Folder(name string, subscribed bool) error // "/" between the levels
	Begin(Message) error
	io.Writer
	End() error   // of a message
	Close() error // of all: then it is on disk
}

// formats are the names and makers.
func formats() []struct {
	name, text string
	open       func(*os.Root) Writer
} {
	return []struct {
		name, text string
		open       func(*os.Root) Writer
	}{
		{"maildir", "a Maildir with its folders (Maildir++), flags and keywords", newMaildir},
		{"mbox", "a file for each folder, FOLDER.mbox, flags and keywords in headers (mboxrd)", newMbox},
		{"mbx", "a file for each folder, FOLDER.mbx, as UW's server has it", newMbx},
		{"mh", "folders of numbered files, flags in .mh_sequences", newMH},
		{"eml", "folders of .eml files, without flags; the file's time is the message's", newEML},
	}
}

// Formats names the formats, and says what each is.
func Formats() (names, texts []string) {
	for _, f := range formats() {
		names, texts = append(names, f.name), append(texts, f.text)
	}
	return names, texts
}

// ErrThere means that something lies where the export was to go.
var ErrThere = errors.New("it is there already, and not empty; name a new or an empty directory")

// New makes the directory path, which must not be there or be empty, and begins
// an export in it.
func New(path, format string) (Writer, error) {
	names, _ := Formats()
	for _, f := range formats() {
		if f.name != format {
			continue
		}
		if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, err
		}
		root, err := os.OpenRoot(path)
		if err != nil {
			return nil, err
		}
		in, err := os.ReadDir(path)
		if err == nil && len(in) > 0 {
			err = fmt.Errorf("%s: %w", path, ErrThere)
		}
		if err != nil {
			root.Close()
			return nil, err
		}
		return f.open(root), nil
	}
	return nil, fmt.Errorf("there is no format %s; there are %s", format, strings.Join(names, ", "))
}

// part makes one level of a folder's name a file's name that means nothing
// special to anybody; "%XX" stands for an octet.
func part(level string) string {
	var b strings.Builder
	for i, r := range level {
		bad := r == utf8.RuneError || r == '/' || r == '%' || unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '.' && i == 0
		if !bad {
			b.WriteRune(r)
			continue
		}
		for _, c := range []byte(string(r)) {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	out := b.String()
	for len(out) > 200 { // a suffix follows, and 255 octets are a name's limit
		_, n := utf8.DecodeLastRuneInString(out)
		out = out[:len(out)-n]
	}
	if out == "" {
		return "%"
	}
	return out
}

// dirOf makes a folder's name a path.
func dirOf(name string) string {
	levels := strings.Split(name, "/")
	for i, l := range levels {
		levels[i] = part(l)
	}
	return filepath.Join(levels...)
}

// file is one that is being written.
type file struct {
	f *os.File
	w *bufio.Writer
	n int64 // octets written
}

// create makes a file that is not there yet.
func create(root *os.Root, name string) (*file, error) {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &file{f: f, w: bufio.NewWriterSize(f, 64<<10)}, nil
}

func (f *file) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	f.n += int64(n)
	return n, err
}

// close writes what is left; with sync it is on disk then.
func (f *file) close(sync bool) error {
	err := f.w.Flush()
	if err == nil && sync {
		err = f.f.Sync()
	}
	return errors.Join(err, f.f.Close())
}

// lfWriter takes the CR before each LF away, as Unix formats have it. A CR
// elsewhere stays.
type lfWriter struct {
	w  io.Writer
	cr bool // one waits
}

func (l *lfWriter) Write(p []byte) (int, error) {
	out := make([]byte, 0, len(p)+1)
	for _, c := range p {
		if l.cr && c != '\n' {
			out = append(out, '\r')
		}
		if l.cr = c == '\r'; !l.cr {
			out = append(out, c)
		}
	}
	_, err := l.w.Write(out)
	return len(p), err
}

// end writes a CR that waits.
func (l *lfWriter) end() error {
	if !l.cr {
		return nil
	}
	l.cr = false
	_, err := l.w.Write([]byte{'\r'})
	return err
}

// syncDirs makes the names of a tree lasting.
func syncDirs(root *os.Root) error {
	return walkDirs(root, ".", 0)
}

func walkDirs(root *os.Root, dir string, depth int) error {
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return err
	}
	for {
		in, err := d.ReadDir(1000)
		for _, e := range in {
			if e.IsDir() && depth < 100 {
				if err := walkDirs(root, filepath.Join(dir, e.Name()), depth+1); err != nil {
					return err
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
