// cache.go: a bounded map for concurrent readers that never remembers what was
// dropped while it was being read.

package session

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
	Shards [cacheShards]struct {
		sync.RWMutex
		M map[K]V
	}
}

// newCache holds at most limit entries, in shards that each take their part of it.
func newCache[K, V comparable](limit int, shard func(K) byte) *cache[K, V] {
	c := &cache[K, V]{shard: shard, limit: max(1, limit/cacheShards)}
	for i := range c.Shards {
		c.Shards[i].M = map[K]V{}
	}
	return c
}

func (c *cache[K, V]) Get(key K) (V, bool) {
	s := &c.Shards[c.shard(key)%cacheShards]
	s.RLock()
	v, ok := s.M[key]
	s.RUnlock()
	return v, ok
}

// Put remembers a value if current, called under the shard's lock, still says
// so, and returns the entry to use: an earlier one for the same key wins, so
// that all readers share it.
func (c *cache[K, V]) Put(key K, v V, current func() bool) V {
	s := &c.Shards[c.shard(key)%cacheShards]
	s.Lock()
	defer s.Unlock()
	if have, ok := s.M[key]; ok {
		return have
	}
	if !current() {
		return v
	}
	if len(s.M) >= c.limit {
		for victim := range s.M {
			delete(s.M, victim)
			break
		}
	}
	s.M[key] = v
	return v
}

// replace puts fresh in the place of old, and reports whether old was still
// there.
func (c *cache[K, V]) replace(key K, old, fresh V) bool {
	s := &c.Shards[c.shard(key)%cacheShards]
	s.Lock()
	defer s.Unlock()
	if have, ok := s.M[key]; !ok || have != old {
		return false
	}
	// Whoever has read old in the store must not put it back.
	c.epoch.Add(1)
	s.M[key] = fresh
	return true
}

func (c *cache[K, V]) Drop(key K) {
	s := &c.Shards[c.shard(key)%cacheShards]
	s.Lock()
	c.epoch.Add(1)
	delete(s.M, key)
	s.Unlock()
}

// Clear drops everything.
func (c *cache[K, V]) Clear() {
	for i := range c.Shards {
		s := &c.Shards[i]
		s.Lock()
		c.epoch.Add(1)
		clear(s.M)
		s.Unlock()
	}
}

// count is how many entries there are.
func (c *cache[K, V]) count() (n int) {
	for i := range c.Shards {
		s := &c.Shards[i]
		s.RLock()
		n += len(s.M)
		s.RUnlock()
	}
	return n
}
