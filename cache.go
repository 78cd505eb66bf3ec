// cache.go: a bounded map for concurrent readers that never remembers what was
// dropped while it was being read.

package registration

import (
	"sync"
	"sync/atomic"
)

const cacheShards = 16

// cache is a bounded map in shards. When a shard is full, any entry makes
// room: what is in use comes back with the next read.
type cache[K, V comparable] struct {
	// epoch counts the drops. A reader notes it before it reads the store and
	// puts only if it is still the same.
	epoch  atomic.Uint64
	shard  func(K) byte
	limit  int // entries a shard
	shards [cacheShards]struct {
		sync.RWMutex
		m map[K]V
	}
}

func newCache[K, V comparable](limit int, shard func(K) byte) *cache[K, V] {
	c := &cache[K, V]{shard: shard, limit: max(1, limit/cacheShards)}
	for i := range c.shards {
		c.shards[i].m = map[K]V{}
	}
	return c
}

func (c *cache[K, V]) get(key K) (V, bool) {
	s := &c.shards[c.shard(key)%cacheShards]
	s.RLock()
	v, ok := s.m[key]
	s.RUnlock()
	return v, ok
}

// put remembers a value if current, called under the shard's lock, still says
// so, and returns the entry to use: an earlier one for the same key wins, so
// that all readers share it.
func (c *cache[K, V]) put(key K, v V, current func() bool) V {
	s := &c.shards[c.shard(key)%cacheShards]
	s.Lock()
	defer s.Unlock()
	if have, ok := s.m[key]; ok {
		return have
	}
	if !current() {
		return v
	}
	if len(s.m) >= c.limit {
		for victim := range s.m {
			delete(s.m, victim)
			break
		}
	}
	s.m[key] = v
	return v
}

// replace puts fresh in the place of old, and reports whether old was still
// there.
func (c *cache[K, V]) replace(key K, old, fresh V) bool {
	s := &c.shards[c.shard(key)%cacheShards]
	s.Lock()
	defer s.Unlock()
	if have, ok := s.m[key]; !ok || have != old {
		return false
	}
	// Whoever has read old in the store must not put it back.
	c.epoch.Add(1)
	s.m[key] = fresh
	return true
}

func (c *cache[K, V]) drop(key K) {
	s := &c.shards[c.shard(key)%cacheShards]
	s.Lock()
	c.epoch.Add(1)
	delete(s.m, key)
	s.Unlock()
}
