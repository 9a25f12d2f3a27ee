package maildir

import (
	"sync"

	"rookery/internal/mailstore"
)

// cache keeps derived facts in memory, as many as fit; when it is full it
// begins anew.
type cache struct {
	mu   sync.Mutex
	m    map[cacheKey][]byte
	size int
}

type cacheKey struct {
	mb    *mailbox
	uid   uint32
	field string
}

// Bounds of the cache: one fact, and all of a user's.
const (
	maxFact  = 32 << 10
	maxFacts = 512 << 10
)

// Cached gives a fact that PutCached kept.
func (mb *mailbox) Cached(uid mailstore.UID, field string) ([]byte, bool) {
	c := &mb.s.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.m[cacheKey{mb, uid, field}]
	return v, ok
}

// PutCached keeps a derived fact.
func (mb *mailbox) PutCached(uid mailstore.UID, field string, value []byte) {
	cost := len(value) + len(field) + 96
	if len(value) > maxFact {
		return
	}
	c := &mb.s.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil || c.size+cost > maxFacts {
		c.m, c.size = map[cacheKey][]byte{}, 0
	}
	key := cacheKey{mb, uid, field}
	if old, ok := c.m[key]; ok {
		c.size -= len(old) + len(field) + 96
	}
	c.m[key] = append([]byte(nil), value...)
	c.size += cost
}

func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m, c.size = nil, 0
}
