package foreign

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/mbox/mboxfmt"
	"rookery/internal/vfs"
)

// form is a way of keeping a whole mailbox in one file.
type form struct {
	name string
	text string
	// is tells by the file's first bytes, up to prefixLen of them.
	is func(prefix []byte) bool
	// read calls yield for each message, as Reader.Read has it.
	read func(f *mailFile, yield func(*Message) error) error
}

const prefixLen = 4096

func forms() []form {
	return []form{
		{"mbx", "an mbx file, UW's own format, or a folder of such", isMBX, readMBX},
		{"mmdf", "an MMDF file, or a folder of such", isMMDF, readMMDF},
		{"mtx", "an mtx file (MM's, with CRLF), or a folder of such", isMTX, readMTX},
		{"tenex", "a tenex file (MM's, with LF), or a folder of such", isTenex, readTenex},
		{"mbox", "an mbox file (RFC 4155), or a folder of such", isMbox, readMbox},
	}
}

// fileFormats gives the forms as formats, and the one for a tree where each file
// has a form of its own, as UW's server leaves a home directory.
func fileFormats() (out []format) {
	for _, f := range forms() {
		only := []form{f}
		out = append(out, format{f.name, f.text, func(fs vfs.FS, path string, dir bool) bool { return !dir && formOf(fs, path, only) != nil },
			func(fs vfs.FS, path string) (Reader, error) { return openFiles(fs, path, only) }})
	}
	return append(out, format{"uw", "a folder of mailbox files, each in any of these forms, as UW's IMAP server keeps them", isFileTree,
		func(fs vfs.FS, path string) (Reader, error) { return openFiles(fs, path, forms()) }})
}

// formOf tells the form of a file; nil if it is none of them.
func formOf(fs vfs.FS, path string, among []form) *form {
	file, err := fs.OpenFile(path, vfs.Read, 0)
	if err != nil {
		return nil
	}
	defer file.Close()
	buf := make([]byte, prefixLen)
	n, err := file.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	for i := range among {
		if among[i].is(buf[:n]) {
			return &among[i]
		}
	}
	return nil
}

func isFileTree(fs vfs.FS, path string, dir bool) bool {
	if !dir {
		return false
	}
	t := &fileTree{fs: fs, root: path, forms: forms(), first: true}
	found, err := t.Folders()
	return err == nil && len(found) > 0
}

// fileTree is a folder with mailbox files and folders with more, or one file.
// Names that begin with "." are the owner's other things.
type fileTree struct {
	fs    vfs.FS
	root  string
	file  bool // root is one file
	forms []form
	first bool // stop at the first mailbox
}

func openFiles(fs vfs.FS, path string, forms []form) (Reader, error) {
	info, err := fs.Stat(path)
	if err != nil {
		return nil, err
	}
	return &fileTree{fs: fs, root: path, file: !info.IsDir(), forms: forms}, nil
}

func (t *fileTree) Folders() ([]Folder, error) {
	if t.file {
		return []Folder{{place: t.root}}, nil
	}
	subs := t.subscriptions()
	var out []Folder
	seen := 0
	var walk func(place, name string, depth int) error
	walk = func(place, name string, depth int) error {
		all, err := entries(t.fs, place)
		if err != nil {
			return err
		}
		for _, e := range all {
			if seen++; depth > maxDepth || seen > maxFolders {
				return errkind.Newf("read "+place, errkind.Limit, "too many files, or folders too deep")
			}
			if t.first && len(out) > 0 {
				return nil
			}
			if strings.HasPrefix(e.Name, ".") {
				continue
			}
			at, full := join(place, e.Name), join(name, strings.ToValidUTF8(e.Name, "_"))
			if isDir(t.fs, place, e) {
				if err := walk(at, full, depth+1); err != nil {
					return err
				}
			} else if formOf(t.fs, at, t.forms) != nil {
				out = append(out, Folder{Name: full, Subscribed: subs[full], place: at})
			}
		}
		return nil
	}
	return out, walk(t.root, "", 0)
}

// subscriptions reads UW's list: a name in each line.
func (t *fileTree) subscriptions() map[string]bool {
	subs := map[string]bool{}
	data, err := vfs.ReadFile(t.fs, join(t.root, ".mailboxlist"), maxSmall)
	if err != nil {
		return subs // there is none, or none that can be read: nothing is subscribed
	}
	for line := range strings.Lines(string(data)) {
		subs[strings.TrimRight(line, "\r\n")] = true
	}
	return subs
}

func (t *fileTree) Read(f Folder, yield func(*Message) error) error {
	file, err := t.fs.OpenFile(f.place, vfs.Read, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	form := formOf(t.fs, f.place, t.forms)
	if form == nil {
		if info.Size == 0 {
			return nil // an empty mailbox of any form
		}
		return yield(&Message{Where: f.place, Err: errkind.Newf("read "+f.place, errkind.Invalid, "it is in none of the forms that were asked for")})
	}
	return form.read(&mailFile{src: file, size: info.Size, path: f.place, time: info.ModTime, keywords: t.keywords()}, yield)
}

// keywords gives the names that the owner's settings give keywords, for forms
// that keep their numbers alone.
func (t *fileTree) keywords() []string {
	home := t.root
	if t.file {
		home = vfs.Parent(t.root)
	}
	for _, name := range []string{".mminit", ".imaprc"} {
		if data, err := vfs.ReadFile(t.fs, join(home, name), maxSmall); err == nil {
			if names := parseMMNames(string(data)); len(names) > 0 {
				return names
			}
		}
	}
	return nil // then what they are called cannot be known
}

func (*fileTree) Close() error { return nil }

// mailFile is a file with a mailbox.
type mailFile struct {
	src  io.ReaderAt
	size int64
	path string
	time time.Time
	n    int // messages passed on

	keywords []string // see fileTree.keywords
}

// give passes on a message whose octets are the given ranges of the file.
func (f *mailFile) give(m *Message, at int64, parts []mboxfmt.Range, yield func(*Message) error) error {
	f.n++
	m.Where = fmt.Sprintf("%s, message %d at octet %d", f.path, f.n, at)
	if m.InternalDate.IsZero() {
		m.InternalDate = f.time
	}
	if m.Err == nil {
		m.Err = m.show(mboxfmt.Parts{File: f.src, Ranges: parts}, mboxfmt.Stored(parts))
	}
	if m.Err != nil {
		m.Body = nil
	}
	return yield(m)
}

// bad passes on that nothing can be read at an offset.
func (f *mailFile) bad(at int64, why string, yield func(*Message) error) error {
	f.n++
	where := fmt.Sprintf("%s, message %d at octet %d", f.path, f.n, at)
	return yield(&Message{Where: where, Err: errkind.Newf("read "+f.path, errkind.Corrupt, why)})
}

// line reads the line at an offset without its end, at most max octets; ok is
// false if there is no line end within them. next is where the next line begins.
func (f *mailFile) line(at int64, max int) (line []byte, next int64, ok bool, err error) {
	buf := make([]byte, min(int64(max), f.size-at))
	if n, err := f.src.ReadAt(buf, at); n < len(buf) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // it shrank
		}
		return nil, 0, false, err
	}
	for i, c := range buf {
		if c == '\n' {
			return buf[:i], at + int64(i) + 1, true, nil
		}
	}
	return nil, 0, false, nil
}

// validKeyword reports whether a name can be an IMAP keyword.
func validKeyword(n string) bool { return mboxfmt.ValidKeyword(n) }

// folderTree lists the directories from root down as folders: those that is says are
// folders, and below all that enter allows by their names. A name that is not
// UTF-8 loses what is not.
func folderTree(fs vfs.FS, root string, is func(name string, all []vfs.DirEntry) bool, enter func(base string) bool) ([]Folder, error) {
	var out []Folder
	var walk func(place, name string, depth int) error
	walk = func(place, name string, depth int) error {
		all, err := entries(fs, place)
		if err != nil {
			return err
		}
		if depth > maxDepth || len(out) >= maxFolders {
			return errkind.Newf("read "+place, errkind.Limit, "too many folders, or too deep")
		}
		if is(name, all) {
			out = append(out, Folder{Name: name, place: place})
		}
		for _, e := range all {
			if !enter(e.Name) || !isDir(fs, place, e) {
				continue
			}
			if err := walk(join(place, e.Name), join(name, strings.ToValidUTF8(e.Name, "_")), depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return out, walk(root, "", 0)
}

// ucFlags maps the flag bits that c-client's formats share; bit 16 is "old".
func ucFlags(bits uint64) (f mailstore.Flags) {
	for bit, flag := range map[uint64]mailstore.Flags{1: mailstore.Seen, 2: mailstore.Deleted, 4: mailstore.Flagged, 8: mailstore.Answered, 32: mailstore.Draft} {
		if bits&bit != 0 {
			f |= flag
		}
	}
	return f
}
