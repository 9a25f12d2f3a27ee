package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/settings"
	"rookery/internal/vfs"
)

// A user's mail lies where the settings say, in the format that they say,
// unless a conversion has moved it: then the control file rookery-place says so.
//
//	rookery-place 1
//	driver NAME
//	below rookery-store-N
//
// Lines end in LF; each stands there once, in this order. "below" is a directory
// in the mail path, and in the control, index and alternative paths where they are set: the
// store lies there. The file lies in the control path, else in the mail path. It
// is replaced by rename, so that a conversion switches at one moment. A file that
// cannot be read is an error: the settings' place would show mail of old.

// PlaceFile is the file's name.
const PlaceFile = "rookery-place"

// StorePrefix begins the names of directories of moved stores, which no driver
// takes for a mailbox.
const StorePrefix = "rookery-store-"

const (
	placeMagic = "rookery-place 1"
	maxPlace   = 4 << 10
)

// Place is where a store lies.
type Place struct {
	Driver string
	Below  string // "" is the settings' own
}

// Encode writes the control file.
func (p Place) Encode() []byte {
	return fmt.Appendf(nil, "%s\ndriver %s\nbelow %s\n", placeMagic, p.Driver, p.Below)
}

// DecodePlace reads the control file: errkind.Corrupt if it is none.
func DecodePlace(data []byte) (Place, error) {
	bad := func(what string) (Place, error) {
		return Place{}, errkind.Newf("read "+PlaceFile, errkind.Corrupt, what+"; it says where the mail is: put it back from a backup, or see docs/mailbox-tools.md")
	}
	lines := strings.Split(string(data), "\n")
	if len(lines) != 4 || lines[0] != placeMagic || lines[3] != "" {
		return bad("it is not in the form of this version")
	}
	driver, ok1 := strings.CutPrefix(lines[1], "driver ")
	below, ok2 := strings.CutPrefix(lines[2], "below ")
	if !ok1 || !ok2 || driver == "" || strings.ContainsAny(driver, " /\x00") {
		return bad("it names no driver and place")
	}
	if !ValidBelow(below) {
		return bad("the directory that it names is none of a conversion's")
	}
	return Place{driver, below}, nil
}

// ValidBelow reports whether a directory's name is one of a moved store: the
// only kind that a conversion makes or removes.
func ValidBelow(name string) bool {
	number, ok := strings.CutPrefix(name, StorePrefix)
	n, err := strconv.ParseUint(number, 10, 32)
	return ok && err == nil && n > 0 && strconv.FormatUint(n, 10) == number
}

// paths are the user's, as the settings have them.
func (h *Host) paths(protocol string) (settings.MailPaths, error) {
	paths, err := h.Settings.MailPaths(h.User.User, h.User.Home, protocol)
	if err != nil {
		return paths, errkind.New("open store", errkind.Invalid, err)
	}
	return paths, nil
}

// place says where the user's mail is.
func (h *Host) place(paths settings.MailPaths) (Place, error) {
	at := paths.Control
	if at == "" {
		at = paths.Mail
	}
	data, err := vfs.ReadFile(h.FS(), strings.TrimPrefix(path.Join(at, PlaceFile), "/"), maxPlace)
	if errors.Is(err, fs.ErrNotExist) {
		return Place{Driver: h.Settings.SpaceDriver(h.Settings.InboxSpace())}, nil
	}
	if err != nil {
		return Place{}, errkind.Wrap("read "+PlaceFile, err)
	}
	return DecodePlace(data)
}

// Place says where the user's mail is now.
func (h *Host) Place() (Place, error) {
	paths, err := h.paths("imap")
	if err != nil {
		return Place{}, err
	}
	return h.place(paths)
}

// at gives the paths of a place. A moved store's INBOX lies with its folders.
func (p Place) at(paths settings.MailPaths) settings.MailPaths {
	if p.Below == "" {
		return paths
	}
	out := settings.MailPaths{Mail: path.Join(paths.Mail, p.Below)}
	if paths.Control != "" {
		out.Control = path.Join(paths.Control, p.Below)
	}
	if paths.Index != "" {
		out.Index = path.Join(paths.Index, p.Below)
	}
	if paths.Alt != "" {
		out.Alt = path.Join(paths.Alt, p.Below)
	}
	return out
}

// OpenPlace opens the store at a place, without what is put around the user's
// own (quota, undelete): a conversion moves everything, and only moves it.
func (h *Host) OpenPlace(p Place) (mailstore.Store, error) {
	paths, err := h.paths("imap")
	if err != nil {
		return nil, err
	}
	return h.OpenAs(p.Driver, p.at(paths))
}

// OpenMoved opens the bare store as it is once what lies in the directory from
// lies in to: to look at a copy before the user's processes are sent there.
func (h *Host) OpenMoved(from, to string) (mailstore.Store, error) {
	paths, err := h.paths("imap")
	if err != nil {
		return nil, err
	}
	for _, p := range []*string{&paths.Mail, &paths.Inbox, &paths.Control, &paths.Index, &paths.Alt} {
		if rest, ok := strings.CutPrefix(*p+"/", from+"/"); ok {
			*p = path.Join(to, rest)
		}
	}
	place, err := h.place(paths)
	if err != nil {
		return nil, err
	}
	return h.OpenAs(place.Driver, place.at(paths))
}

// Tops are the directories, as paths in FS, that moved stores lie in: the first
// one holds the control files.
func (h *Host) Tops() ([]string, error) {
	paths, err := h.paths("imap")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range []string{paths.Control, paths.Mail, paths.Index, paths.Alt} {
		p = strings.TrimPrefix(p, "/")
		if p != "" && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out, nil
}
