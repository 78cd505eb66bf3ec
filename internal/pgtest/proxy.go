//go:build unix

// proxy.go: a network between a node and the server that a test breaks.

package pgtest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A Proxy passes bytes between clients and a server, until the test has it do otherwise.
type Proxy struct {
	dir, server string
	listener    net.Listener

	mu    sync.Mutex
	conns map[*passage]bool
	// delay is how long bytes take, each way.
	delay time.Duration
	// swallow keeps bytes of new connections and of those that are there, and opens none.
	swallow bool
	// cut ends a connection whose client sends this, once: before the server has it, or
	// once it has answered.
	cut    []byte
	passed bool
	trips  int
}

type passage struct {
	mu             sync.Mutex
	client, server net.Conn
	// deaf: what the server sends is lost, and so is what it would be sent; nobody hears of it.
	deaf bool
	cut  bool
	// asked: the last bytes were the client's.
	asked bool
}

// NewProxy passes to a server of this test until its end.
func NewProxy(t testing.TB, server *Server) *Proxy {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgproxy")
	require.NoError(t, err)
	p := &Proxy{dir: dir, server: filepath.Join(server.dir, ".s.PGSQL.5432"), conns: map[*passage]bool{}}
	p.listener, err = net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
	require.NoError(t, err)
	go p.serve()
	t.Cleanup(func() {
		_ = p.listener.Close()
		p.Reset()
		_ = os.RemoveAll(dir)
	})
	return p
}

// URL is that of the server's database by the proxy.
func (p *Proxy) URL() string { return fmt.Sprintf("postgres://test@/postgres?host=%s", p.dir) }

// Delay has bytes take so long, each way.
func (p *Proxy) Delay(d time.Duration) { p.set(func() { p.delay = d }) }

// Swallow has the network lose everything: connections stay open and nothing comes; new ones
// are taken, and nothing comes there either. The end of it ends them.
func (p *Proxy) Swallow(on bool) {
	p.set(func() { p.swallow = on })
	if !on {
		p.Reset()
	}
}

// HalfOpen has the connections that are there lose everything, as those whose other end has
// gone without a word. New ones pass.
func (p *Proxy) HalfOpen() {
	p.set(func() {
		for c := range p.conns {
			c.mu.Lock()
			c.deaf = true
			c.mu.Unlock()
		}
	})
}

// Cut ends the next connection whose client sends these bytes: before the server has got
// them, or once it has answered, which the client doesn't hear.
func (p *Proxy) Cut(text string, passed bool) {
	p.set(func() { p.cut, p.passed = []byte(text), passed })
}

// IsCut reports whether that has happened.
func (p *Proxy) IsCut() (done bool) {
	p.set(func() { done = p.cut == nil })
	return done
}

// Trips is how many round trips there were: how often a client spoke after it had heard.
func (p *Proxy) Trips() (n int) {
	p.set(func() { n = p.trips })
	return n
}

// Reset ends all connections.
func (p *Proxy) Reset() {
	p.set(func() {
		for c := range p.conns {
			c.end()
		}
	})
}

func (p *Proxy) set(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn()
}

func (c *passage) end() {
	_ = c.client.Close()
	if c.server != nil {
		_ = c.server.Close()
	}
}

func (p *Proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		c := &passage{client: client}
		p.mu.Lock()
		if c.deaf = p.swallow; !c.deaf {
			if c.server, err = net.Dial("unix", p.server); err != nil {
				p.mu.Unlock()
				_ = client.Close()
				continue
			}
		}
		p.conns[c] = true
		p.mu.Unlock()
		if c.server != nil {
			go p.pass(c, c.client, c.server, true)
			go p.pass(c, c.server, c.client, false)
		}
	}
}

// pass carries bytes one way, each piece as late as the network is slow.
func (p *Proxy) pass(c *passage, from, to net.Conn, asks bool) {
	type piece struct {
		bytes []byte
		at    time.Time
	}
	pieces := make(chan piece, 1024)
	defer close(pieces)
	go func() {
		for one := range pieces {
			time.Sleep(time.Until(one.at))
			_, _ = to.Write(one.bytes)
		}
		p.set(func() { delete(p.conns, c) })
		_ = to.Close()
	}()
	for {
		buf := make([]byte, 32<<10)
		n, err := from.Read(buf)
		if n > 0 {
			lost, end := p.came(c, buf[:n], asks)
			if end {
				c.end()
				return
			}
			if !lost {
				p.mu.Lock()
				at := time.Now().Add(p.delay)
				p.mu.Unlock()
				pieces <- piece{buf[:n], at}
			}
		}
		if err != nil {
			return
		}
	}
}

// came says what becomes of bytes: lost, or the end of their connection.
func (p *Proxy) came(c *passage, raw []byte, asks bool) (lost, end bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if asks && !c.asked {
		p.trips++
	}
	c.asked = asks
	if p.swallow || c.deaf {
		c.deaf = true
		return true, false
	}
	if c.cut && !asks {
		return false, true
	}
	if asks && p.cut != nil && bytes.Contains(raw, p.cut) {
		p.cut = nil
		if !p.passed {
			return false, true
		}
		c.cut = true
	}
	return false, false
}
