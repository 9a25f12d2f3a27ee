package session

import (
	"crypto/md5" //nolint:gosec // names messages, protects nothing
	"encoding/hex"
	"io"
	"strconv"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/pop3wire"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// learnUIDLs makes all unique ids once: a duplicate is found only among all.
func (s *Session) learnUIDLs() bool {
	if s.uidled {
		return true
	}
	validity := s.box.Info().UIDValidity
	used := map[string]int{}
	for i := range s.msgs {
		m := &s.msgs[i]
		u, err := s.makeUIDL(m, validity)
		if errkind.Is(err, errkind.Expunged) {
			u = defaultUIDL(m.uid, validity)
		} else if err != nil {
			s.storeError(err)
			return false
		}
		m.uidl = u
		if s.cfg.RenameUIDL {
			m.uidl = unique(u, used)
		}
	}
	s.uidled = true
	return true
}

// unique adds "-2", "-3" to an id that was used before.
func unique(u string, used map[string]int) string {
	used[u]++
	for n := used[u]; n > 1; n++ {
		suffix := "-" + strconv.Itoa(n)
		candidate := u[:min(len(u), pop3wire.MaxUniqueID-len(suffix))] + suffix
		if used[candidate] == 0 {
			used[candidate], used[u] = 1, n
			return candidate
		}
	}
	return u
}

// defaultUIDL is Dovecot's "%08x%08x" of UID and UIDVALIDITY.
func defaultUIDL(uid, validity uint32) string {
	var b [16]byte
	n := uint64(uid)<<32 | uint64(validity)
	for i := range b {
		b[i] = "0123456789abcdef"[n>>(60-4*i)&15]
	}
	return string(b[:])
}

func (s *Session) makeUIDL(m *message, validity uint32) (string, error) {
	if m.known && (m.kept != "" || s.cfg.UIDL == nil) {
		if m.kept != "" {
			return pop3wire.UniqueID(m.kept), nil
		}
		return defaultUIDL(m.uid, validity), nil
	}
	f, err := s.box.Facts(m.uid, mailstore.FactsWant{UIDL: true, GUID: s.cfg.UIDL != nil})
	if err != nil {
		return "", err
	}
	if f.UIDL != "" { // kept from another server: clients know it
		return pop3wire.UniqueID(f.UIDL), nil
	}
	if s.cfg.UIDL == nil {
		return defaultUIDL(m.uid, validity), nil
	}
	v := &UIDLVars{UID: m.uid, UIDValidity: validity, Filename: f.BaseName, GUID: hex.EncodeToString(f.GUID[:])}
	if s.cfg.NeedMD5 {
		if v.MD5, err = s.headerMD5(m.uid); err != nil {
			return "", err
		}
	}
	u, err := s.cfg.UIDL(v)
	return pop3wire.UniqueID(u), err
}

// maxMD5 bounds how much of a header names a message.
const maxMD5 = 1 << 20

// headerMD5 is %{md5}: the hash of the header.
func (s *Session) headerMD5(uid mailstore.UID) (string, error) {
	msg, err := s.box.Message(uid)
	if err != nil {
		return "", err
	}
	defer msg.Close()
	h := md5.New()
	b := Body{matched: 2, lines: 0, msg: msg}
	r := io.NewSectionReader(msg, 0, min(msg.Size(), maxMD5))
	buf := make([]byte, 4096)
	for !b.inBody {
		n, err := r.Read(buf)
		if n == 0 && err != nil {
			break
		}
		h.Write(b.cut(buf[:n]))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
