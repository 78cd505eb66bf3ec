// cache_test.go: the bound of what is kept in memory.

package session_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/store"
)

func TestCacheIsBounded(t *testing.T) {
	c := session.NewCache(32)
	always := func() bool { return true }
	for i := range 1000 {
		c.Put(store.TokenHash{byte(i), byte(i >> 8)}, i, always)
	}
	total := 0
	for i := range c.Shards {
		total += len(c.Shards[i].M)
	}
	require.LessOrEqual(t, total, 32)
	key := store.TokenHash{1, 2, 3}
	require.Equal(t, 1, c.Put(key, 1, func() bool { return false }))
	_, ok := c.Get(key)
	require.False(t, ok, "what was read before a drop is not remembered")
	c.Put(key, 1, always)
	require.Equal(t, 1, c.Put(key, 2, always), "all readers share the first")
}
