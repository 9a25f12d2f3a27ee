// Package foreign reads mail that other programs keep in files and folders, for
// an import: Maildir trees, trees of single files (.eml), MH, mbox, and what UW's
// server kept mail in (mbx, mtx, tenex, MMDF), a file as one message.
//
// rookeryctl's import calls it with a tree that the operator named. It only
// reads. It must never know where the mail goes.
//
// A format is a row of formats: a name, how to tell it, and how to open it.
package foreign

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/compress"
	"rookery/internal/mailstore/crlf"
	"rookery/internal/vfs"
)

// Bounds on what a strange tree can make a reader hold.
const (
	maxFolders  = 100_000
	maxDepth    = 64
	maxMessages = 10_000_000 // of one folder
	maxSmall    = 4 << 20    // octets of a file of names or flags
)

// Reader is one store of another program's. It serves one goroutine.
type Reader interface {
	// Folders lists the folders with mail, parents first. The one called "" is
	// the store's own top: its messages belong where the import begins.
	Folders() ([]Folder, error)
	// Read calls yield for each message of a folder, in the folder's order,
	// until it returns an error, which Read returns. A message that cannot be
	// read comes with its Err, and the reading goes on.
	Read(f Folder, yield func(*Message) error) error
	// Close gives up what is open.
	Close() error
}

// Folder is one of a Reader's.
type Folder struct {
	Name       string // UTF-8, "/" between the levels
	Subscribed bool
	// UIDValidity and UIDNext are as the other server gave them; 0 if the format has
	// none. Messages without a UID come after those with one.
	UIDValidity, UIDNext uint32
	place                string // the reader's own
}

// Message is one message, valid until yield returns.
type Message struct {
	Where        string // for the operator: the file, or the place in it
	Flags        mailstore.Flags
	Keywords     []string
	InternalDate time.Time
	UID          mailstore.UID // as the other server gave it; 0 if the format has none
	Size         int64         // octets in CRLF form
	Body         io.Reader     // in CRLF form
	Err          error         // it cannot be read; Body is nil
}

// format is one kind of store.
type format struct {
	name string
	text string
	is   func(fs vfs.FS, path string, dir bool) bool
	open func(fs vfs.FS, path string) (Reader, error)
}

func formats() []format {
	first := []format{
		{"maildir", "a Maildir with its folders (Maildir++, or one inside the other)", isMaildir, openMaildir},
		{"eml", "a folder with .eml files, and those below it; or one .eml file", isEML, openEML},
		{"mh", "a folder of MH, and those below it", isMH, openMH},
	}
	// Last what is told by the least.
	return append(append(first, fileFormats()...), format{"message", "one file that is one message", isSingle, openSingle})
}

// Formats names the formats that can be read, and what each is.
func Formats() (names, texts []string) {
	for _, f := range formats() {
		names, texts = append(names, f.name), append(texts, f.text)
	}
	return names, texts
}

// Open opens the store at path in fs. name is a format's, or "" to look which it
// is: errkind.Invalid if none fits.
func Open(fs vfs.FS, path, name string) (Reader, error) {
	const op = "open mail"
	info, err := fs.Stat(path)
	if err != nil {
		return nil, errkind.New(op, errkind.NotFound, err)
	}
	var known []string
	for _, f := range formats() {
		known = append(known, f.name)
		if name == f.name || name == "" && f.is(fs, path, info.IsDir()) {
			return f.open(fs, path)
		}
	}
	if name != "" {
		return nil, errkind.New(op, errkind.Invalid, fmt.Errorf("there is no format %s; there are %s", name, strings.Join(known, ", ")))
	}
	return nil, errkind.New(op, errkind.Invalid, fmt.Errorf("it looks like none of %s; name one with --format", strings.Join(known, ", ")))
}

// join puts two parts of a path together.
func join(dir, name string) string { return vfs.Join(dir, name) }

// entries lists a directory, sorted by name.
func entries(fs vfs.FS, dir string) ([]vfs.DirEntry, error) {
	var all []vfs.DirEntry
	tooMany := false
	err := fs.ReadDir(dir, func(e vfs.DirEntry) bool {
		all = append(all, e)
		tooMany = len(all) > maxMessages
		return !tooMany
	})
	if err == nil && tooMany {
		err = errkind.Newf("read "+dir, errkind.Limit, fmt.Sprintf("more than %d files", maxMessages))
	}
	slices.SortFunc(all, func(a, b vfs.DirEntry) int { return strings.Compare(a.Name, b.Name) })
	return all, err
}

// isDir reports whether an entry is a directory, asking the disk where the
// listing does not say. A link is none.
func isDir(fs vfs.FS, dir string, e vfs.DirEntry) bool {
	if e.Type.IsDir() || e.Type.IsRegular() {
		return e.Type.IsDir()
	}
	info, err := fs.Stat(join(dir, e.Name))
	return err == nil && info.IsDir()
}

func exists(fs vfs.FS, path string, dir bool) bool {
	info, err := fs.Stat(path)
	return err == nil && info.IsDir() == dir
}

// readFile calls yield with one file as one message.
func readFile(fs vfs.FS, path string, m *Message, yield func(*Message) error) error {
	m.Where = path
	f, err := fs.OpenFile(path, vfs.Read, 0)
	if err != nil {
		m.Err = err
		return yield(m)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode.IsRegular() {
		err = errkind.Newf("read "+path, errkind.Invalid, "it is no file")
	}
	if err != nil {
		m.Err = err
		return yield(m)
	}
	if m.InternalDate.IsZero() {
		m.InternalDate = info.ModTime
	}
	// Dovecot and others keep single messages compressed.
	src, size, err := compress.View(f, info.Size)
	if err == nil {
		err = m.show(src, size)
	}
	if m.Err = err; err != nil {
		m.Body = nil
	}
	return yield(m)
}

// show makes stored octets the message's.
func (m *Message) show(src io.ReaderAt, size int64) error {
	view, err := crlf.Scan(src, size)
	if err != nil {
		return err
	}
	m.Size, m.Body = view.Size(), io.NewSectionReader(view, 0, view.Size())
	return nil
}
