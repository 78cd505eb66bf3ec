// address.go: which addresses are connected to.

package webhook

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// errPrivate says that an endpoint's address is one of a network that is not the Internet.
var errPrivate = errors.New("the address is of a private network, or of this machine; write allow_private on, if that is meant")

// special are the networks of IPv4 that are nobody's on the Internet (IANA's registry).
var special = prefixes("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4")

var (
	// public is all of IPv6 that is given out; of it, special6 is nobody's.
	public   = netip.MustParsePrefix("2000::/3")
	special6 = prefixes("2001::/23", "2001:db8::/32", "3fff::/20")
	// Those that have an address of IPv4 in them: NAT64 in its last four bytes, 6to4
	// in the third to sixth.
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
	six4  = netip.MustParsePrefix("2002::/16")
)

func prefixes(texts ...string) (out []netip.Prefix) {
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

func within(a netip.Addr, of []netip.Prefix) bool {
	for _, p := range of {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// isPublic reports whether an address is one of the Internet.
func isPublic(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	raw := a.AsSlice()
	switch {
	case a.Is4():
		return !within(a, special)
	case nat64.Contains(a):
		return isPublic(netip.AddrFrom4([4]byte(raw[12:])))
	case six4.Contains(a):
		return isPublic(netip.AddrFrom4([4]byte(raw[2:])))
	}
	return public.Contains(a) && !within(a, special6)
}

// dialer connects to addresses of the Internet alone, unless all are allowed. It looks at
// the one that is connected to, so no name leads elsewhere, however often it changes.
func dialer(allowPrivate bool) *net.Dialer {
	d := &net.Dialer{Timeout: 10 * time.Second}
	if allowPrivate {
		return d
	}
	d.Control = func(network, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%s %s: %w", network, address, errPrivate)
		}
		if !isPublic(at.Addr()) {
			return errPrivate
		}
		return nil
	}
	return d
}
