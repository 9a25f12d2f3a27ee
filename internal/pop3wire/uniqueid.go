package pop3wire

import (
	"crypto/md5" //nolint:gosec // names messages, protects nothing
	"encoding/hex"
)

// MaxUniqueID is how long an id of UIDL may be, in octets (RFC 1939 §7).
const MaxUniqueID = 70

// UniqueID keeps an id within 1 to MaxUniqueID octets of 0x21 to 0x7E (RFC 1939
// §7). Another one is replaced by a hash, not cut: cut ones would collide.
func UniqueID(id string) string {
	ok := len(id) > 0 && len(id) <= MaxUniqueID
	for i := 0; ok && i < len(id); i++ {
		ok = id[i] > ' ' && id[i] < 0x7f
	}
	if ok {
		return id
	}
	sum := md5.Sum([]byte(id))
	return hex.EncodeToString(sum[:])
}
