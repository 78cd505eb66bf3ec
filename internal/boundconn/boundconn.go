// Package boundconn bounds what the other side of a connection can make us
// read: clients of line protocols collect a reply in memory until it ends, and
// who answers decides when that is.
package boundconn

import (
	"fmt"
	"net"
	"sync/atomic"
)

// TooLongError says that the other side sent more than it was allowed. Every
// later Read fails with it as well, until Allow is called.
type TooLongError struct {
	// Bytes is what was allowed.
	Bytes int64
}

// Error implements error.
func (e *TooLongError) Error() string {
	return fmt.Sprintf("what it says is endless, over %d KiB", e.Bytes>>10)
}

// Conn is a connection of which no more is read than was allowed. Whoever holds
// the conversation calls Allow before each reply: a write does not count as the
// beginning of a new one, since under TLS the other side can cause writes. Safe
// for use as a net.Conn is.
type Conn struct {
	net.Conn
	allowed, left atomic.Int64
}

// New returns conn, of which up to allowed bytes are read.
func New(conn net.Conn, allowed int64) *Conn {
	c := &Conn{Conn: conn}
	c.Allow(allowed)
	return c
}

// Allow lets up to so many bytes be read from now on; what was allowed before
// and not read is forgotten.
func (c *Conn) Allow(bytes int64) {
	c.allowed.Store(bytes)
	c.left.Store(bytes)
}

// Read implements net.Conn. It fails with a *TooLongError after the allowed bytes.
func (c *Conn) Read(p []byte) (int, error) {
	left := c.left.Load()
	if left <= 0 && len(p) > 0 {
		return 0, &TooLongError{Bytes: c.allowed.Load()}
	}
	if int64(len(p)) > left {
		p = p[:max(left, 0)]
	}
	n, err := c.Conn.Read(p)
	c.left.Add(-int64(n))
	return n, err
}
