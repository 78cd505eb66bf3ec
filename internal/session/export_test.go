// export_test.go: what tests of this package look at from outside.

package session

import "github.com/seed-928992b0/caddy-registration/store"

const (
	MaxAccessToken  = maxAccessToken
	WideAccessToken = wideAccessToken
)

// NewCache returns a cache of numbers.
func NewCache(size int) *cache[store.TokenHash, int] {
	return newCache[store.TokenHash, int](size, shardOf)
}
