package mailstore

import (
	"encoding/binary"
	"math/rand/v2"
)

// NewGUID draws a GUID. It need not be secret, only another one each time.
func NewGUID() (g GUID) {
	binary.LittleEndian.PutUint64(g[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(g[8:], rand.Uint64())
	return g
}
