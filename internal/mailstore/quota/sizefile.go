package quota

import (
	"fmt"

	"rookery/internal/vfs"
)

// maildirsize is Maildir++'s own count, kept for other programs and never read:
// a line with the limits ("10000000S,1000C"), a line with the use, then a line
// with each difference: octets and messages, signed. All of it is written with
// the state file locked, so that it follows the count.

// maxSizeFile is when Maildir++ has the file written anew.
const maxSizeFile = 5120

// addSize adds one difference.
func (s *Store) addSize(h *header, add, sub Use) {
	if s.opt.SizeFile == "" || add == sub {
		return
	}
	line := fmt.Sprintf("%d %d\n", int64(add.Octets)-int64(sub.Octets), int64(add.Messages)-int64(sub.Messages))
	f, err := s.opt.FS.OpenFile(s.opt.SizeFile, vfs.Write|vfs.Append, 0)
	if err != nil {
		s.writeSize(h)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size+int64(len(line)) > maxSizeFile {
		s.writeSize(h)
		return
	}
	// What cannot be written now is written anew at the next look.
	_, _ = f.Write([]byte(line))
}

// writeSize replaces the file. It serves others only: its errors are no one's here.
func (s *Store) writeSize(h *header) {
	if s.opt.SizeFile == "" {
		return
	}
	limit := ""
	if n := s.opt.Limits.Octets; n > 0 {
		limit = fmt.Sprintf("%dS", n)
	}
	if n := s.opt.Limits.Messages; n > 0 {
		if limit != "" {
			limit += ","
		}
		limit += fmt.Sprintf("%dC", n)
	}
	text := fmt.Sprintf("%s\n%d %d\n", limit, h.counted.Octets, h.counted.Messages)
	tmp := s.opt.SizeFile + ".rookery"
	f, err := s.opt.FS.OpenFile(tmp, vfs.Write|vfs.Create|vfs.Trunc, 0o600)
	if err != nil {
		return
	}
	_, err = f.Write([]byte(text))
	f.Close()
	if err == nil {
		err = s.opt.FS.Rename(tmp, s.opt.SizeFile)
	}
	if err != nil {
		_ = s.opt.FS.Remove(tmp)
	}
}
