// hardening_next_test.go: where a next may lead.

package web_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/web"
)

func testPolicy(t testing.TB) *web.OriginPolicy {
	p, err := web.NewOriginPolicy(&web.Options{BaseURL: "https://example.com", TrustedOrigins: []string{"https://app.example.net:8443"}})
	require.NoError(t, err)
	return p
}

func TestOpenRedirect(t *testing.T) {
	p := testPolicy(t)
	require.Equal(t, "/a?b=%5Cc#%5C", p.SafeNext(`/a?b=\c#\`))
	for _, good := range []string{"/", "/members/", "/a?b=c&d=/e#f", "/a//b", "/%2F%2Fe", "https://example.com/x", "HTTPS://EXAMPLE.com/x", "https://example.com:443/", "https://app.example.net:8443/x", "/a:b", "/a@b"} {
		require.Equal(t, good, p.SafeNext(good))
	}
	for _, bad := range []string{
		"", "e", "e.example", "//e", "///e", "////e", "/\\e", "\\e", "\\\\e", "\\/e", "/\t/e", "/\n/e", "/\r\n/e", "\t//e", " //e", "/ /e", "//e/..", "//e@example.com",
		"https:e", "https:/e", "https:///e", "https://e", "http://e", "https:\\\\e", "https://e\\@example.com", "https://example.com@e", "https://example.com:443@e", "https://u:p@example.com/",
		"https://example.com.e/", "https://example.com:8443/", "https://example.com:80/", "http://example.com/", "https://app.example.net/", "https://app.example.net:8444/", "https://evil.example/example.com", "https://e?https://example.com",
		"javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "ftp://example.com/", "blob:https://example.com/x", "mailto:a@example.com", "about:blank",
		"java\nscript:x", "/\x00/e", "/\x7f", "\u00a0//e", "/\ufffd", "%2F%2Fe", "?next=//e", "#//e", "./e", "../e", "https://[::1]/", "https://127.0.0.1/", "https://%65", "https://e%00.example.com",
		"/" + strings.Repeat("a", web.MaxNext),
	} {
		require.Empty(t, p.SafeNext(bad), "%q", bad)
	}
}

// A guard's own next to a host that sees the cookie is followed, and no other host's.
func TestNextToAGuardedSibling(t *testing.T) {
	p := testPolicy(t)
	p.Guards([]web.Sibling{{Host: "wiki.example.com", Ports: []string{"443"}}, {Host: "*.apps.example.com", Ports: []string{"8443"}}}, true)
	for _, good := range []string{"https://wiki.example.com/x", "https://WIKI.example.com:443/", "https://a.apps.example.com/", "https://a.apps.example.com:8443/x"} {
		require.Equal(t, good, p.SafeNext(good))
	}
	for _, bad := range []string{"http://wiki.example.com/", "https://wiki.example.com:8443/", "https://wiki.example.com.evil.example/", "https://a.b.apps.example.com/", "https://apps.example.com/", "https://.apps.example.com/", "javascript://wiki.example.com/", "https://u@wiki.example.com/"} {
		require.Empty(t, p.SafeNext(bad), bad)
	}
}

func FuzzSafeNext(f *testing.F) {
	for _, seed := range []string{"/a", "//e", "/\\e", "https://example.com/", "https:e", "/\t/e"} {
		f.Add(seed)
	}
	p, err := web.NewOriginPolicy(&web.Options{BaseURL: "https://example.com"})
	if err != nil {
		f.Fatal(err)
	}
	base, _ := url.Parse("https://example.com/accounts/login/")
	f.Fuzz(func(t *testing.T, next string) {
		got := p.SafeNext(next)
		if got == "" {
			return
		}
		ref, err := url.Parse(got)
		require.NoError(t, err)
		to := base.ResolveReference(ref)
		require.Equal(t, "https://example.com", strings.ToLower(to.Scheme+"://"+to.Host))
		require.NotContains(t, got, "\\")
	})
}
