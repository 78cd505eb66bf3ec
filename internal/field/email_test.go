package field

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The two forms of a domain are one address, and hyphens are no mark but in xn--.
func TestEmailDomains(t *testing.T) {
	for in, want := range map[string]string{"a@Bücher.example": "a@xn--bcher-kva.example", "a@xn--bcher-kva.example": "a@xn--bcher-kva.example", "a@ab--cd.example": "a@ab--cd.example"} {
		got, ok := parseEmail(in)
		require.True(t, ok, in)
		require.Equal(t, want, got)
	}
	require.Equal(t, EmailKey("a@BÜCHER.example"), EmailKey("a@xn--bcher-kva.example"))
	for _, bad := range []string{"a@-b.example", "a@b-.example", "a@b_c.example"} {
		_, ok := parseEmail(bad)
		require.False(t, ok, bad)
	}
}

// So is it with the host of a URL; what comes after it stays as it is typed, escaped.
func TestURLHosts(t *testing.T) {
	home := &Field{Name: "home", Kind: KindURL, Extra: true, Unique: true}
	for in, want := range map[string]string{
		"https://BÜCHER.example/über?q=Ü#Ä": "https://xn--bcher-kva.example/%C3%BCber?q=Ü#%C3%84", "HTTPS://Example.COM/A": "https://example.com/A",
		"https://xn--bcher-kva.example:8443": "https://xn--bcher-kva.example:8443", "http://[::1]:80/": "http://[::1]:80/", "http://b%C3%BCcher.example/": "http://xn--bcher-kva.example/",
	} {
		got, ok := parseURL(in)
		require.True(t, ok, in)
		require.Equal(t, want, got)
		require.Equal(t, want, home.KeyOf(" "+in+" "))
	}
	for _, bad := range []string{"https://a\u200eb.example/", "https://\u0300.example/", "https://a@bücher.example/", "ftp://bücher.example/", "bücher.example"} {
		_, ok := parseURL(bad)
		require.False(t, ok, bad)
	}
	require.Equal(t, "home.url.ascii", home.Keyspace())
	require.Equal(t, "home", OfKey(home.Keyspace()))
}
