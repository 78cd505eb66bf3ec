// hardening_addresses_test.go: no webhook reaches what only this machine or its network
// can, whatever it is called and however the name changes.

package webhook_test

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/seed-928992b0/caddy-registration/internal/webhook"
)

func TestPrivateAddresses(t *testing.T) {
	for address, public := range map[string]bool{
		"1.1.1.1": true, "198.17.255.255": true, "2606:4700:4700::1111": true, "2a00::1": true,
		"::ffff:1.1.1.1": true, "64:ff9b::1.1.1.1": true, "2002:101:101::1": true,
		"127.0.0.1": false, "127.255.1.2": false, "0.0.0.0": false, "0.1.2.3": false, "10.1.2.3": false, "172.16.0.1": false, "172.31.255.255": false,
		"192.168.1.1": false, "169.254.169.254": false, "100.64.0.1": false, "100.127.255.255": false, "192.0.0.8": false, "192.0.2.1": false,
		"198.18.0.1": false, "198.51.100.1": false, "203.0.113.1": false, "224.0.0.1": false, "240.0.0.1": false, "255.255.255.255": false, "192.88.99.1": false,
		"::": false, "::1": false, "::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::127.0.0.1": false, "fe80::1": false, "fe80::1%eth0": false, "fec0::1": false,
		"fc00::1": false, "fd12:3456::1": false, "ff02::1": false, "64:ff9b::127.0.0.1": false, "64:ff9b::10.0.0.1": false, "64:ff9b:1::1.1.1.1": false,
		"2002:7f00:1::1": false, "2002:a00:1::1": false, "2001::1": false, "2001:db8::1": false, "3fff::1": false, "100::1": false, "5f00::1": false,
	} {
		require.Equal(t, public, webhook.IsPublic(webhook.Parse(address)), address)
	}
}

// An endpoint that is not allowed a private address doesn't get there, by whatever name.
func TestNoPrivateAddressIsReached(t *testing.T) {
	b, r := newBench(t), newReceiver(t)
	_, port, err := net.SplitHostPort(r.Listener.Addr().String())
	require.NoError(t, err)
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1", "2130706433", "0x7f000001"} {
		e := b.endpoint("http://" + host + ":" + port)
		e.AllowPrivate = false
		s := b.sender(e)
		b.act("one")
		_, err = webhook.Steps(s)(t.Context())
		require.NoError(t, err)
		all, err := webhook.StatusOf(t.Context(), b.db, s.Endpoints)
		require.NoError(t, err)
		require.False(t, all[0].Since.IsZero(), host)
	}
	require.Empty(t, r.got())
}

// A redirect is a failure, and what it leads to is asked for nothing, wherever that is.
func TestNoRedirectIsFollowed(t *testing.T) {
	inside := newReceiver(t)
	for _, code := range []int{301, 302, 303, 307, 308} {
		b, r := newBench(t), newReceiver(t)
		r.answers(status(code, "Location", inside.URL+"/inside"))
		s := b.sender(b.endpoint(r.URL))
		b.act("one")
		_, err := webhook.Steps(s)(t.Context())
		require.NoError(t, err)
		require.Len(t, r.got(), 1)
		all, err := webhook.StatusOf(t.Context(), b.db, s.Endpoints)
		require.NoError(t, err)
		require.False(t, all[0].Since.IsZero(), code)
	}
	require.Empty(t, inside.got())
}

// A name that is public when it is looked up first, and this machine the next time, gets
// nothing out of that: the address that is connected to is looked at.
func TestRebinding(t *testing.T) {
	r := newReceiver(t)
	var asked atomic.Int64
	dns := nameserver(t, func() netip.Addr {
		if asked.Add(1) == 1 {
			return netip.MustParseAddr("192.0.2.1")
		}
		return netip.MustParseAddr("127.0.0.1")
	})
	_, port, err := net.SplitHostPort(r.Listener.Addr().String())
	require.NoError(t, err)
	for _, allowed := range []bool{false, true} {
		d := webhook.Dialer(allowed)
		d.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "udp", dns)
		}}
		if allowed {
			asked.Store(1)
		}
		var reached bool
		for range 3 {
			conn, err := d.DialContext(t.Context(), "tcp4", net.JoinHostPort("rebind.example.", port))
			if err == nil {
				reached = true
				require.NoError(t, conn.Close())
			}
		}
		require.Equal(t, allowed, reached)
	}
	require.Greater(t, asked.Load(), int64(2))
}

// nameserver answers every question for an address of IPv4 with one.
func nameserver(t *testing.T, address func() netip.Addr) string {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) == 0 {
				continue
			}
			m.Response, m.Authoritative, m.Additionals = true, true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}, Body: &dnsmessage.AResource{A: address().As4()}}}
			}
			if raw, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(raw, from)
			}
		}
	}()
	return conn.LocalAddr().String()
}
