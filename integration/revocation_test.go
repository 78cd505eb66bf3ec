// revocation_test.go: whatever ends a sign-in is in force at the very next
// request, for sessions and tokens alike.

package integration

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
)

// tokenSite hands out API tokens too, and guards one folder by group.
const tokenSite = `{
	admin 127.0.0.1:[[admin]]
	default_bind 127.0.0.1
}
http://127.0.0.1:[[port]] {
	registration {
		throttle off
		base_url http://127.0.0.1:[[port]]
		from no-reply@example.com
		mailer file [[dir]]/mail
		password {
			argon2id 8KiB 1 1
		}
		login {
			token on
		}
	}
	require_login /members/*
	require_login /staff/* {
		group staff editors
	}
	respond "for members: {http.auth.user.username} {http.auth.user.groups}"
}
`

// access is every way in that one account has: two browsers and a token.
type access struct {
	laptop, phone, script *client
}

func (s *server) access(name string) access {
	s.t.Helper()
	a := access{laptop: s.member(name), phone: s.client(), script: s.client()}
	token := a.phone.signIn(name).json(s.t)["token"].(string)
	require.NotEmpty(s.t, token)
	a.script.header.Set("Authorization", "Token "+token)
	for _, c := range a.all() {
		c.requireMember()
	}
	return a
}

func (a access) all() []*client { return []*client{a.laptop, a.phone, a.script} }

func (s *server) administer(method, name, body string) *answer {
	s.t.Helper()
	return s.adminRequest(method, "/registration/default/users/"+name, "application/json", body)
}

func TestRevocationIsImmediate(t *testing.T) {
	t.Parallel()
	s := run(t, tokenSite)
	const newPassword = "quite another passphrase"
	for _, tt := range []struct {
		name, user string
		// act ends sign-ins; survivors keep theirs.
		act       func(s *server, a access) (survivors []*client)
		signsInBy string // the password that is good afterwards; "": none
	}{
		{"sign-out", "anna", func(_ *server, a access) []*client {
			a.laptop.post(http.StatusOK, "logout", nil)
			return []*client{a.phone, a.script}
		}, testPassword},
		{"sign-out that revokes the tokens", "bob", func(_ *server, a access) []*client {
			a.laptop.post(http.StatusOK, "logout", data{"revoke_token": true})
			return []*client{a.phone}
		}, testPassword},
		{"new password", "carol", func(_ *server, a access) []*client {
			a.laptop.post(http.StatusOK, "change-password", data{"old_password": testPassword, "password": newPassword, "password_confirm": newPassword})
			return []*client{a.laptop}
		}, newPassword},
		{"reset", "dave", func(s *server, a access) []*client {
			stranger := s.client()
			stranger.post(http.StatusOK, "send-reset-password-link", data{"login": "dave"})
			var link data
			for _, m := range waitMails(s, "dave@example.org", 2) {
				if m.url(s.t).Path == "/accounts/reset-password/" {
					link = m.link(s.t)
				}
			}
			link["password"] = newPassword
			stranger.post(http.StatusOK, "reset-password", link)
			stranger.post(http.StatusBadRequest, "reset-password", link)
			return nil
		}, newPassword},
		{"disabled by an administrator", "erin", func(s *server, a access) []*client {
			res := s.administer(http.MethodPatch, "erin", `{"is_active": false}`)
			require.Equal(s.t, http.StatusOK, res.StatusCode, res.body)
			require.Equal(s.t, false, res.json(s.t)["is_active"])
			return nil
		}, ""},
		{"deleted by an administrator", "frank", func(s *server, a access) []*client {
			require.Equal(s.t, http.StatusNoContent, s.administer(http.MethodDelete, "frank", "").StatusCode)
			require.Equal(s.t, http.StatusNotFound, s.administer(http.MethodGet, "frank", "").StatusCode)
			return nil
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := s.in(t)
			a := s.access(tt.user)
			keeps := map[*client]bool{}
			for _, c := range tt.act(s, a) {
				keeps[c] = true
			}
			for _, c := range a.all() {
				if keeps[c] {
					c.requireMember()
				} else {
					c.requireStopped()
				}
			}
			for _, pass := range []string{testPassword, newPassword} {
				want := http.StatusBadRequest
				if pass == tt.signsInBy {
					want = http.StatusOK
				}
				s.client().post(want, "login", data{"login": tt.user, "password": pass})
			}
		})
	}
}

func waitMails(s *server, to string, n int) []*message {
	s.t.Helper()
	s.mail(to, n)
	return s.mails(to)
}

func TestGroupsTakeEffectAtOnce(t *testing.T) {
	t.Parallel()
	s := run(t, tokenSite)
	a := s.access("ada")
	for _, step := range []struct {
		name, body string
		want       int
	}{
		{"none", `{}`, http.StatusForbidden},
		{"another", `{"groups": ["readers"]}`, http.StatusForbidden},
		{"one of those asked for", `{"groups": ["readers", "editors"]}`, http.StatusOK},
		{"taken away", `{"groups": []}`, http.StatusForbidden},
	} {
		res := s.administer(http.MethodPatch, "ada", step.body)
		require.Equal(t, http.StatusOK, res.StatusCode, res.body)
		for _, c := range a.all() {
			got := c.get("/staff/")
			require.Equal(t, step.want, got.StatusCode, step.name)
			if step.want == http.StatusOK {
				require.Equal(t, "for members: ada readers,editors", got.body)
			}
		}
	}
	// No session at all is "sign in", not "you may not".
	require.Equal(t, http.StatusUnauthorized, s.client().get("/staff/").StatusCode)
	// A group is never the account's own to set.
	a.laptop.do(http.MethodPatch, "/accounts/profile", data{"groups": []string{"staff"}})
	require.Equal(t, http.StatusForbidden, a.laptop.get("/staff/").StatusCode)
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

func TestOpenStreamsEndWithTheSession(t *testing.T) {
	backend := streamingBackend(t)
	s := run(t, `{
	admin 127.0.0.1:[[admin]]
	default_bind 127.0.0.1
}
http://127.0.0.1:[[port]] {
	registration {
		throttle off
		base_url http://127.0.0.1:[[port]]
		from no-reply@example.com
		mailer file [[dir]]/mail
		password {
			argon2id 8KiB 1 1
		}
	}
	require_login /members/*
	@now path /members/now
	reverse_proxy @now [[backend]] {
		flush_interval -1
	}
	reverse_proxy [[backend]]
}
`, "backend", backend.URL)
	s.member("ada")
	for name, end := range map[string]func(c *client){
		"sign-out": func(c *client) { c.post(200, "logout", data{}) },
		"disabled": func(*client) { s.administer(http.MethodPatch, "ada", `{"is_active":false}`) },
	} {
		for _, path := range []string{"/members/events", "/members/now", "/members/ws"} {
			t.Run(name+path, func(t *testing.T) {
				s.administer(http.MethodPatch, "ada", `{"is_active":true}`)
				c := s.client()
				c.signIn("ada")
				conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
				require.NoError(t, err)
				defer conn.Close()
				upgrade := ""
				if strings.HasSuffix(path, "ws") {
					upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
				}
				_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nCookie: registration=%s\r\n%s\r\n", path, s.port, c.cookie(), upgrade)
				require.NoError(t, err)
				require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
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
				require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
				_, err = io.Copy(io.Discard, r)
				if timeout = nil; err != nil {
					require.NotContains(t, err.Error(), "i/o timeout", "it lives on")
				}
				t.Logf("ended %v after its session", time.Since(ended))
			})
		}
	}
}
