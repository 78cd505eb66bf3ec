// newer_http_test.go: what a session opened over HTTP/2 and HTTP/3.

package guarded_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// secureStreams is a site on HTTPS before a backend that streams.
var secureStreams = `{
	admin 127.0.0.1:[[admin]]
	default_bind 127.0.0.1
	skip_install_trust
	auto_https disable_redirects
}
` + served.At("https://localhost:[[port]]", "tls internal", served.Accounts("https://localhost:[[port]]", "register {\n\t\t\tverification off\n\t\t}"), streams)

// TestStreamsOfNewerHTTPEndWithTheSession: an event stream of HTTP/2 and HTTP/3, and a
// WebSocket of HTTP/3 (RFC 9220), by the clients of net/http and quic-go.
func TestStreamsOfNewerHTTPEndWithTheSession(t *testing.T) {
	t.Parallel()
	backend := streamingBackend(t)
	s := served.Run(t, secureStreams, "backend", backend.URL)
	s.SecureClient().Post(http.StatusCreated, "register", served.Newcomer("ada"))
	three := &http3.Transport{TLSClientConfig: s.TrustsCaddy()}
	t.Cleanup(func() { _ = three.Close() })
	for _, tt := range []struct {
		name, path string
		major      int
	}{
		{"an event stream of HTTP/2", "/members/events", 2},
		{"an event stream of HTTP/2, flushed at once", "/members/now", 2},
		{"an event stream of HTTP/3", "/members/events", 3},
		{"an event stream of HTTP/3, flushed at once", "/members/now", 3},
		{"a WebSocket of HTTP/3", "/members/ws", 3},
	} {
		for name, end := range map[string]func(c *served.Client){
			"signed out": func(c *served.Client) { c.Post(http.StatusOK, "logout", data{}) },
			"disabled": func(c *served.Client) {
				require.Equal(c.T, http.StatusOK, s.Administer(http.MethodPatch, "ada", `{"is_active":false}`).StatusCode)
			},
		} {
			t.Run(tt.name+", "+name, func(t *testing.T) {
				s.In(t).Administer(http.MethodPatch, "ada", `{"is_active":true}`)
				c := s.In(t).SecureClient()
				c.SignIn("ada")
				req := c.Request(http.MethodGet, tt.path, nil)
				if strings.HasSuffix(tt.path, "ws") {
					open, stop := io.Pipe()
					t.Cleanup(func() { _ = stop.Close() })
					req.Method, req.Proto, req.Body, req.ContentLength = http.MethodConnect, "websocket", open, -1
					req.Header.Set("Sec-WebSocket-Version", "13")
				}
				req.AddCookie(&http.Cookie{Name: "__Host-registration", Value: c.Cookie()})
				transport := http.RoundTripper(three)
				if tt.major == 2 {
					transport = c.HTTP.Transport
				}
				res, err := transport.RoundTrip(req)
				require.NoError(t, err)
				t.Cleanup(func() { _ = res.Body.Close() })
				require.Equal(t, http.StatusOK, res.StatusCode)
				require.Equal(t, tt.major, res.ProtoMajor)
				r := bufio.NewReader(res.Body)
				for line := ""; !strings.Contains(line, "hello"); {
					line, err = r.ReadString('\n')
					require.NoError(t, err)
				}
				over := make(chan error, 1)
				go func() {
					_, err := io.Copy(io.Discard, r)
					over <- err
				}()
				select { // for longer than it would take if it had no session
				case err := <-over:
					require.FailNow(t, "it ended before its session", "%v", err)
				case <-time.After(2 * time.Second):
				}
				end(c)
				ended := time.Now()
				select {
				case err := <-over:
					t.Logf("ended %v after its session: %v", time.Since(ended), err)
				case <-time.After(served.Patience):
					require.FailNow(t, "it lives on")
				}
			})
		}
	}
}
