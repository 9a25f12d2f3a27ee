package child

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Info is what the settings descriptor holds: a few facts of this start, then
// the role's settings as settings.Set.ForRole wrote them.
type Info struct {
	// Listeners tells of each socket from FDListen on which [[listener]] table
	// it is of. One table may have several sockets.
	Listeners []ListenerInfo
	// Strict: a protection that cannot be had ends the process (master runs as
	// root and no setting allows less).
	Strict bool
	// Spare: a worker that waits for its user; it enters the sandbox in two stages.
	Spare    bool
	Settings []byte
}

// ListenerInfo is what a login process needs to know of a [[listener]] table.
type ListenerInfo struct {
	Name     string
	Protocol string // "imap", "imaps", "pop3", "pop3s"
	Haproxy  bool   // a PROXY header comes first
}

const (
	infoMagic = "rookery-child 1\n"
	maxInfo   = 16 << 20
	maxName   = 255
)

const (
	flagStrict = 1 << iota
	flagSpare
)

// Encode writes i as the settings descriptor has it.
func (i Info) Encode() []byte {
	var flags byte
	if i.Strict {
		flags |= flagStrict
	}
	if i.Spare {
		flags |= flagSpare
	}
	b := append([]byte(infoMagic), flags)
	b = binary.AppendUvarint(b, uint64(len(i.Listeners)))
	for _, l := range i.Listeners {
		b = appendString(appendString(b, l.Name), l.Protocol)
		if l.Haproxy {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	return append(b, i.Settings...)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// cutString reads what appendString wrote.
func cutString(b []byte) (s string, rest []byte, ok bool) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > maxName || size > uint64(len(b)-n) {
		return "", nil, false
	}
	return string(b[n : n+int(size)]), b[n+int(size):], true
}

// DecodeInfo reads what Encode wrote. It comes from master, the most trusted
// process: an error means that the programs are not of one build.
func DecodeInfo(b []byte) (Info, error) {
	rest, ok := strings.CutPrefix(string(b), infoMagic)
	if !ok || rest == "" {
		return Info{}, errors.New("not a settings descriptor of this build")
	}
	i := Info{Strict: rest[0]&flagStrict != 0, Spare: rest[0]&flagSpare != 0}
	if rest[0]&^(flagStrict|flagSpare) != 0 {
		return Info{}, errors.New("settings descriptor with unknown flags")
	}
	b = b[len(infoMagic)+1:]
	count, n := binary.Uvarint(b)
	if n <= 0 || count > MaxListeners {
		return Info{}, errors.New("settings descriptor with a bad list of listeners")
	}
	b = b[n:]
	for range count {
		var l ListenerInfo
		var ok1, ok2 bool
		l.Name, b, ok1 = cutString(b)
		l.Protocol, b, ok2 = cutString(b)
		if !ok1 || !ok2 || len(b) == 0 || b[0] > 1 {
			return Info{}, errors.New("settings descriptor with a bad listener")
		}
		l.Haproxy, b = b[0] == 1, b[1:]
		i.Listeners = append(i.Listeners, l)
	}
	if len(b) > 0 {
		i.Settings = b
	}
	return i, nil
}

// seals are what makes a memfd's content certain.
const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// Seal makes a close-on-exec memfd of content that nobody can change any more.
func Seal(name string, content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memfd %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(content); err != nil {
		f.Close()
		return nil, fmt.Errorf("memfd %s: %w", name, err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		f.Close()
		return nil, fmt.Errorf("memfd %s: sealing: %w", name, err)
	}
	return f, nil
}

// ReadSealed reads a memfd whose content nobody can change any more, and
// refuses any other. The descriptor's offset, which the processes that share
// it share too, is not used.
func ReadSealed(fd int) ([]byte, error) {
	got, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil {
		return nil, fmt.Errorf("it is no memfd: %w", err)
	}
	if got&seals != seals {
		return nil, fmt.Errorf("its seals are %#x, %#x are needed", got, seals)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Size > maxInfo {
		return nil, fmt.Errorf("it has %d bytes", st.Size)
	}
	b := make([]byte, st.Size)
	for n := 0; n < len(b); {
		k, err := unix.Pread(fd, b[n:], int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil || k == 0 {
			return nil, fmt.Errorf("%d of %d bytes read: %w", n, len(b), err)
		}
		n += k
	}
	return b, nil
}
