package index

import "sync"

// memCache keeps derived facts of one mailbox in memory, as many as fit; when it
// is full it begins anew.
type memCache struct {
	mu   sync.Mutex
	m    map[factKey][]byte
	size int
}

type factKey struct {
	uid   uint32
	field string
}

// Bounds: one fact, its field's name, and all of a mailbox in memory.
const (
	maxFact  = 64 << 10
	maxField = 255
	maxFacts = 512 << 10
)

func (c *memCache) get(uid uint32, field string) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.m[factKey{uid, field}]
	return v, ok
}

func (c *memCache) put(uid uint32, field string, value []byte) {
	cost := len(value) + len(field) + 96
	if len(value) > maxFact || len(field) > maxField {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil || c.size+cost > maxFacts {
		c.m, c.size = map[factKey][]byte{}, 0
	}
	key := factKey{uid, field}
	if old, ok := c.m[key]; ok {
		c.size -= len(old) + len(field) + 96
	}
	c.m[key] = append([]byte(nil), value...)
	c.size += cost
}

// The names of the cache's files.
const (
	cacheFile = "rookery.index.cache"
	cacheNew  = "rookery.index.cache.new"
)

func (c *memCache) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m, c.size = nil, 0
}
