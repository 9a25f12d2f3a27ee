package control

import (
	"fmt"
	"strconv"
	"strings"

	"rookery/internal/vfs"
)

const validityFile = "dovecot-uidvalidity"

// parseHex8 reads eight hex digits; 0 if the text is anything else.
func parseHex8(s string) uint32 {
	if len(s) != 8 {
		return 0
	}
	n, err := strconv.ParseUint(s, 16, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// NextValidity gives a UIDVALIDITY that no mailbox had, above above, and makes it
// certain. The caller keeps others from doing the same.
func (d Dir) NextValidity(above uint32) (uint32, error) {
	last, marks, err := d.lastValidity()
	if err != nil {
		return 0, err
	}
	next := max(last+1, above+1, uint32(min(d.FS.Now().Unix(), 1<<32-2)), 1)
	if last == 1<<32-1 || above == 1<<32-1 {
		next = 1 << 31 // used up after 2^32: begin below, better than none
	}
	return next, d.putValidity(next, marks)
}

// RaiseValidity makes sure that values up to v are never given again. The caller
// keeps others from doing the same.
func (d Dir) RaiseValidity(v uint32) error {
	last, marks, err := d.lastValidity()
	if err != nil || last >= v {
		return err
	}
	return d.putValidity(v, marks)
}

// lastValidity reads the highest value known and the marks that stand for some.
func (d Dir) lastValidity() (last uint32, marks []string, err error) {
	data, err := vfs.ReadFile(d.FS, vfs.Join(d.Path, validityFile), 64)
	if err != nil && !vfs.NotExist(err) {
		return 0, nil, err
	}
	last = parseHex8(strings.TrimSpace(string(data)))
	err = d.FS.ReadDir(d.Path, func(e vfs.DirEntry) bool {
		if text, ok := strings.CutPrefix(e.Name, validityFile+"."); ok {
			if v := parseHex8(text); v > 0 {
				last = max(last, v)
				marks = append(marks, e.Name)
			}
		}
		return true
	})
	return last, marks, err
}

func (d Dir) putValidity(v uint32, marks []string) error {
	text := fmt.Sprintf("%08x", v)
	mark := vfs.Join(d.Path, validityFile+"."+text)
	if len(marks) > 0 {
		if err := d.FS.Rename(vfs.Join(d.Path, marks[0]), mark); err != nil && !vfs.NotExist(err) {
			return err
		}
		for _, m := range marks[1:] {
			d.FS.Remove(vfs.Join(d.Path, m))
		}
	}
	if len(marks) == 0 {
		f, err := d.FS.OpenFile(mark, vfs.Write|vfs.Create, 0o444)
		if err != nil {
			return err
		}
		f.Close()
	}
	_, err := vfs.Replace(d.FS, vfs.Join(d.Path, validityFile), []byte(text), d.Mode)
	return err
}
