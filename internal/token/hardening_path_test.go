// hardening_path_test.go: nothing that a client writes widens the path of a token.

package token

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLimits(t *testing.T) {
	for limit, want := range map[string]string{"/dav": "/dav", "/dav/": "/dav", "/": "/", "//a//b": "/a/b", "/Büro": "/Büro", "/a b": "/a b"} {
		clean, ok := Limit(limit)
		require.True(t, ok, limit)
		require.Equal(t, want, clean)
	}
	for _, limit := range []string{"", "dav", "/dav/..", "/./dav", "/..;/dav", "/dav*", "/dav?x", "/dav#x", "/d%61v", `/dav\x`, "/dav\x00", "/dav/...", "/dav/\uff0e\uff0e", "/" + strings.Repeat("a", MaxPath)} {
		_, ok := Limit(limit)
		require.False(t, ok, limit)
	}
}

func requestOf(req *http.Request) Request {
	return Request{Target: req.RequestURI, EscapedPath: req.URL.EscapedPath(), Header: req.Header}
}

func TestHardeningPathOfAToken(t *testing.T) {
	good := []string{"/dav", "/dav/", "/dav/x", "/dav/x/y.txt?next=/admin", "/dav//x", "/dav/x//", "/dav/A%EF%BC%8FB.txt", "/dav/%EF%BC%91%EF%BC%8Etxt", "/dav/%E2%80%A6and%20more", "/dav/.hidden", "/dav/%C3%BC", "/dav/a%20b", "/dav/x;v=1", "/dav/..x", "/d%61v/x"}
	bad := []string{
		"/", "/da", "/davx", "/dav.", "/DAV/x", "/Dav", "/admin", "/admin/dav", "/dav/..", "/dav/../admin", "/dav/./../admin", "/dav/%2e%2e/admin", "/dav/%2E%2e/admin", "/dav/.%2e/admin",
		"/dav%2f..%2fadmin", "/dav%2Fx", "/dav/..%2fadmin", "/dav/..%5cadmin", `/dav/..\admin`, "/dav/x%5c..%5c..%5cadmin", "/dav/..;/admin", "/dav/..;x=1/admin", "/dav/%2e%2e;/admin", "/dav/.;/x",
		"/dav/%252e%252e/admin", "/dav/%25%32%65", "/dav%252fx", "/dav/x%00", "/dav/x%0a", "/dav/%ff", "/dav/..%20/admin", "/x/../dav", "/admin;/../dav/x", "/dav/x%2f..%2f..%2fadmin",
		"//dav/x", "//dav/admin", "///dav/x", // a name of a host to who resolves it as a reference
		"/dav/%EF%BC%8E%EF%BC%8E/admin", "/dav/%E2%80%A5/admin", "/dav/%E2%80%A4%E2%80%A4/admin", "/dav/%EF%B9%92./admin", "/dav/x%EF%BC%8F..%EF%BC%8Fadmin", "/dav/..%EF%BC%8Fadmin",
		"/dav/..%EF%BC%9Bx/admin", "/dav/%EF%BC%852e%EF%BC%852e/admin", "/dav/..%E2%88%95admin", "/dav/..%E2%81%84admin", "/dav/..%EF%BC%BCadmin", "/dav/..%E2%88%96admin", "/dav/.../admin", "/dav/.%20./admin", "/dav/..%C2%A0/admin",
	}
	try := func(target string, headers ...string) bool {
		req := &http.Request{Method: http.MethodGet, RequestURI: target, Header: http.Header{}}
		u, err := url.ParseRequestURI(target)
		require.NoError(t, err, target)
		req.URL = u
		for i := 0; i < len(headers); i += 2 {
			req.Header.Add(headers[i], headers[i+1])
		}
		return Good("/dav", u.Path, requestOf(req))
	}
	for _, target := range good {
		require.True(t, try(target), target)
	}
	for _, target := range bad {
		require.False(t, try(target), target)
	}
	for _, to := range []string{"/dav/y", "https://example.com/dav/y", "/dav/%C3%BC"} {
		require.True(t, try("/dav/x", "Destination", to), to)
	}
	for _, to := range []string{"/admin", "https://example.com/admin", "/dav/../admin", "/dav/%2e%2e/admin", "/dav%2fx", "https://example.com", "::", ""} {
		require.False(t, try("/dav/x", "Destination", to), to)
	}
	require.False(t, try("/dav/x", "Destination", "/dav/y", "Destination", "/admin"))
	require.False(t, try("/dav/x", "X-Original-URL", "/admin"))
	require.False(t, try("/dav/x", "X-Rewrite-URL", "/admin"))
	for _, header := range []string{"X-Override-Url", "X_original_url", "X_original-Url", "X.rewrite.url", "X_Rewrite_URL", "X-Forwarded-Uri", "X-Original-URI", "X_forwarded_uri", "X-Forwarded-Path"} {
		require.False(t, try("/dav/x", header, "/admin"), header)
		require.False(t, try("/dav/x", header, "/dav/../admin"), header)
	}
	require.True(t, try("/dav/x", "X-Forwarded-Uri", "/dav/x?y", "X-Original-Uri", "/dav/x", "X-Forwarded-Proto", "https", "X-Requested-With", "XMLHttpRequest"), "what a proxy may have written")

	for _, method := range []string{"SEARCH", "BIND", "REBIND"} { // their body names paths
		require.False(t, Good("/dav", "/dav/x", Request{Method: method, Target: "/dav/x", EscapedPath: "/dav/x"}), method)
		require.True(t, Good("", "/dav/x", Request{Method: method, Target: "/dav/x", EscapedPath: "/dav/x"}), method)
	}
	req := httptest.NewRequest(http.MethodGet, "/anything/%2e%2e", nil)
	require.True(t, Good("", "", requestOf(req)), "without a limit")
	require.False(t, Good("/dav", "", requestOf(req)), "an unknown path is nowhere")
	require.False(t, Good("/dav", "*", requestOf(req)))
}

// The address of the request line counts as it was written, whatever was made of it.
func TestHardeningRewrittenPathOfAToken(t *testing.T) {
	req := httptest.NewRequest(http.MethodGet, "/dav/x", nil)
	req.URL.Path, req.RequestURI = "/x", "/dav%2f../admin"
	require.False(t, Good("/dav", "/dav/x", requestOf(req)))
	req.RequestURI = "/dav/x"
	require.True(t, Good("/dav", "/dav/x", requestOf(req)), "a prefix that was taken off behind the client")
}
