// origin_test.go: which origins a list has.

package origin

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSet(t *testing.T) {
	cases := []struct {
		name, configured string
		has, hasNot      []string
	}{
		{
			"one", "https://app.example.com",
			[]string{"https://app.example.com"},
			[]string{"http://app.example.com", "https://app.example.com:8443", "https://example.com", "https://x.app.example.com", "https://app.example.com.evil.example", "null", ""},
		},
		{"any case, a slash", "HTTPS://App.Example.com/", []string{"https://app.example.com"}, nil},
		{"the port that browsers leave out", "https://app.example.com:443", []string{"https://app.example.com"}, []string{"https://app.example.com:443"}},
		{"the port of HTTP", "http://app.example.com:80", []string{"http://app.example.com"}, nil},
		{"another port", "https://app.example.com:80", []string{"https://app.example.com:80"}, []string{"https://app.example.com"}},
		{"an address", "http://[::1]:8080", []string{"http://[::1]:8080"}, []string{"http://[::1]"}},
		{
			"any one label", "https://*.example.com",
			[]string{"https://a.example.com", "https://app-2.example.com", "https://xn--bcher-kva.example.com", "https://a_b.example.com"},
			[]string{
				"https://example.com", "https://.example.com", "https://a.b.example.com", "http://a.example.com", "https://a.example.com:8443", "https://aexample.com",
				"https://evil.example/.example.com", "https://evil.example#.example.com", "https://a@.example.com", "https://a:b@c.example.com", "https://a.example.com.evil.example",
				"https://a\uff0f.example.com", "https://*.example.com", "https://A.example.com", "https://a%2f.example.com", "https://" + strings.Repeat("a", 64) + ".example.com", "null", "",
			},
		},
		{"any one label, with a port", "http://*.example.com:8080", []string{"http://a.example.com:8080"}, []string{"http://a.example.com", "http://a.example.com:80808"}},
		{"any one label, with the usual port", "https://*.example.com:443", []string{"https://a.example.com"}, nil},
		{"below localhost", "http://*.localhost:8080", []string{"http://a.localhost:8080"}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s, err := NewSet([]string{"https://other.example", c.configured})
			require.NoError(t, err)
			for _, origin := range c.has {
				require.True(t, s.Has(origin), origin)
			}
			for _, origin := range c.hasNot {
				require.False(t, s.Has(origin), origin)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for raw, want := range map[string]string{
		"app.example.com": "absolute", "ftp://app.example.com": "absolute", "https://": "absolute", "https://*.": "absolute", "": "absolute", "*": "absolute", "null": "absolute",
		"https://u@app.example.com": "absolute", "https://app.example.com?x": "absolute", "https://app.example.com#x": "absolute",
		"https://app.example.com/x": "without a path", "https://*.example.com/x": "without a path",
		"https://*": "asterisk", "https://a*.example.com": "asterisk", "https://a.*.example.com": "asterisk", "https://*.*.example.com": "asterisk", "https://**.example.com": "asterisk",
		"https://*.com": "strangers", "https://*.co.uk": "strangers", "https://*.github.io": "strangers",
	} {
		require.ErrorContains(t, Check(raw), want, raw)
	}
	for _, raw := range []string{"https://a.github.io", "https://*.a.github.io", "http://localhost:3000", "http://*.localhost", "https://*.internal"} {
		require.NoError(t, Check(raw), raw)
	}
	require.Empty(t, Set{}.Sources())
	require.False(t, Set{}.Has("https://example.com"))
}

func TestSources(t *testing.T) {
	s, err := NewSet([]string{"https://App.example.com/", "https://*.example.net:8443", "https://*.example.org:443"})
	require.NoError(t, err)
	require.Equal(t, []string{"https://app.example.com", "https://*.example.net:8443", "https://*.example.org"}, s.Sources())
}
