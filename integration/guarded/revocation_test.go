// revocation_test.go: whatever ends a sign-in is in force at the very next
// request, for sessions and tokens alike.

package guarded_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// access is every way in that one account has: two browsers and a token.
type access struct {
	laptop, phone, script *served.Client
}

func accessOf(s *served.Server, name string) access {
	s.T.Helper()
	a := access{laptop: s.Member(name), phone: s.Client(), script: s.Client()}
	token := a.phone.SignIn(name).JSON(s.T)["token"].(string)
	require.NotEmpty(s.T, token)
	a.script.Header.Set("Authorization", "Token "+token)
	for _, c := range a.all() {
		c.RequireMember()
	}
	return a
}

func (a access) all() []*served.Client { return []*served.Client{a.laptop, a.phone, a.script} }

func TestRevocationIsImmediate(t *testing.T) {
	t.Parallel()
	s := served.Run(t, served.TokenSite)
	const newPassword = "quite another passphrase"
	for _, tt := range []struct {
		name, user string
		// act ends sign-ins; survivors keep theirs.
		act       func(s *served.Server, a access) (survivors []*served.Client)
		signsInBy string // the password that is good afterwards; "": none
	}{
		{"sign-out", "anna", func(_ *served.Server, a access) []*served.Client {
			a.laptop.Post(http.StatusOK, "logout", nil)
			return []*served.Client{a.phone, a.script}
		}, served.TestPassword},
		{"sign-out that revokes the tokens", "bob", func(_ *served.Server, a access) []*served.Client {
			a.laptop.Post(http.StatusOK, "logout", data{"revoke_token": true})
			return []*served.Client{a.phone}
		}, served.TestPassword},
		{"new password", "carol", func(_ *served.Server, a access) []*served.Client {
			a.laptop.Post(http.StatusOK, "change-password", data{"old_password": served.TestPassword, "password": newPassword, "password_confirm": newPassword})
			return []*served.Client{a.laptop}
		}, newPassword},
		{"reset", "dave", func(s *served.Server, a access) []*served.Client {
			stranger := s.Client()
			stranger.Post(http.StatusOK, "send-reset-password-link", data{"login": "dave"})
			link := s.MailWithLink("dave@example.org", "/reset-password/").Link(s.T)
			link["password"] = newPassword
			stranger.Post(http.StatusOK, "reset-password", link)
			stranger.Post(http.StatusBadRequest, "reset-password", link)
			return nil
		}, newPassword},
		{"disabled by an administrator", "erin", func(s *served.Server, a access) []*served.Client {
			res := s.Administer(http.MethodPatch, "erin", `{"is_active": false}`)
			require.Equal(s.T, http.StatusOK, res.StatusCode, res.Text)
			require.Equal(s.T, false, res.JSON(s.T)["is_active"])
			return nil
		}, ""},
		{"deleted by an administrator", "frank", func(s *served.Server, a access) []*served.Client {
			require.Equal(s.T, http.StatusNoContent, s.Administer(http.MethodDelete, "frank", "").StatusCode)
			require.Equal(s.T, http.StatusNotFound, s.Administer(http.MethodGet, "frank", "").StatusCode)
			return nil
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := s.In(t)
			a := accessOf(s, tt.user)
			keeps := map[*served.Client]bool{}
			for _, c := range tt.act(s, a) {
				keeps[c] = true
			}
			for _, c := range a.all() {
				if keeps[c] {
					c.RequireMember()
				} else {
					c.RequireStopped()
				}
			}
			for _, pass := range []string{served.TestPassword, newPassword} {
				want := http.StatusBadRequest
				if pass == tt.signsInBy {
					want = http.StatusOK
				}
				s.Client().Post(want, "login", data{"login": tt.user, "password": pass})
			}
		})
	}
}

func TestGroupsTakeEffectAtOnce(t *testing.T) {
	t.Parallel()
	s := served.Run(t, served.TokenSite)
	a := accessOf(s, "ada")
	for _, step := range []struct {
		name, Text string
		want       int
	}{
		{"none", `{}`, http.StatusForbidden},
		{"another", `{"groups": ["readers"]}`, http.StatusForbidden},
		{"one of those asked for", `{"groups": ["readers", "editors"]}`, http.StatusOK},
		{"taken away", `{"groups": []}`, http.StatusForbidden},
	} {
		res := s.Administer(http.MethodPatch, "ada", step.Text)
		require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
		for _, c := range a.all() {
			got := c.Get("/staff/")
			require.Equal(t, step.want, got.StatusCode, step.name)
			if step.want == http.StatusOK {
				require.Equal(t, "for members: ada readers,editors", got.Text)
			}
		}
	}
	// No session at all is "sign in", not "you may not".
	require.Equal(t, http.StatusUnauthorized, s.Client().Get("/staff/").StatusCode)
	// A group is never the account's own to set.
	a.laptop.Do(http.MethodPatch, "/accounts/profile", data{"groups": []string{"staff"}})
	require.Equal(t, http.StatusForbidden, a.laptop.Get("/staff/").StatusCode)
}

// streamingBackend sends one event and then nothing; below /ws it takes the connection over.
func streamingBackend(t *testing.T) *httptest.Server {
	t.Helper()
	gone := make(chan struct{})
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasPrefix(req.URL.Path, "/members/ws") {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "websocket")
			w.WriteHeader(http.StatusSwitchingProtocols)
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				defer conn.Close()
				_, _ = io.WriteString(conn, "hello\n")
				_, _ = io.Copy(io.Discard, conn)
			}
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: hello\n\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-req.Context().Done():
		case <-gone:
		}
	}))
	t.Cleanup(backend.Close)
	t.Cleanup(func() { close(gone) })
	return backend
}

// streams are the directives of a site before a backend that streams.
const streams = `require_login /members/*
	@now path /members/now
	reverse_proxy @now [[backend]] {
		flush_interval -1
	}
	reverse_proxy [[backend]]`

func TestOpenStreamsEndWithTheSession(t *testing.T) {
	backend := streamingBackend(t)
	s := served.Run(t, served.Site("", streams), "backend", backend.URL)
	s.Member("ada")
	for name, end := range map[string]func(c *served.Client){
		"sign-out": func(c *served.Client) { c.Post(200, "logout", data{}) },
		"disabled": func(*served.Client) { s.Administer(http.MethodPatch, "ada", `{"is_active":false}`) },
	} {
		for _, path := range []string{"/members/events", "/members/now", "/members/ws"} {
			t.Run(name+path, func(t *testing.T) {
				s.Administer(http.MethodPatch, "ada", `{"is_active":true}`)
				c := s.Client()
				c.SignIn("ada")
				conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port))
				require.NoError(t, err)
				defer conn.Close()
				upgrade := ""
				if strings.HasSuffix(path, "ws") {
					upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
				}
				_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nCookie: registration=%s\r\n%s\r\n", path, s.Port, c.Cookie(), upgrade)
				require.NoError(t, err)
				require.NoError(t, conn.SetReadDeadline(time.Now().Add(served.Patience)))
				r := bufio.NewReader(conn)
				for line := ""; !strings.Contains(line, "hello"); {
					line, err = r.ReadString('\n')
					require.NoError(t, err)
				}
				require.NoError(t, conn.SetReadDeadline(time.Now().Add(2*time.Second)))
				_, err = r.ReadString('\x00')
				timeout := net.Error(nil)
				require.ErrorAs(t, err, &timeout, "it ended before its session")
				end(c)
				ended := time.Now()
				require.NoError(t, conn.SetReadDeadline(time.Now().Add(served.Patience)))
				_, err = io.Copy(io.Discard, r)
				if timeout = nil; err != nil {
					require.NotContains(t, err.Error(), "i/o timeout", "it lives on")
				}
				t.Logf("ended %v after its session", time.Since(ended))
			})
		}
	}
}
