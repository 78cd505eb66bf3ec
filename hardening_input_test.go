// hardening_input_test.go: bodies made to confuse, to exhaust or to wait:
// JSON's dark corners, look-alike names, huge and slow bodies, costly hashes.

package registration

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

func TestHostileBodies(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	for name, c := range map[string]struct {
		body   string
		status int
		want   string
	}{
		"the last of two keys counts": {`{"login":"ada","password":"` + testPassword + `","password":"x"}`, 400, "login_invalid"},
		"deep objects":                {strings.Repeat(`{"login":`, 7000), 400, "malformed"},
		"deep value":                  {`{"login":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `,"password":"x"}`, 400, "login:invalid"},
		"huge number":                 {`{"login":1e999999999,"password":` + strings.Repeat("9", 4000) + `}`, 400, "login_invalid"},
		"invalid UTF-8":               {"{\"login\":\"ada\xff\",\"password\":\"x\"}", 400, "malformed"},
		"overlong slash":              {"{\"login\":\"ada\xc0\xaf\",\"password\":\"x\"}", 400, "malformed"},
		"raw NUL":                     {"{\"login\":\"ada\x00\",\"password\":\"x\"}", 400, "malformed"},
		"escaped NUL":                 {`{"login":"ada\u0000","password":"` + testPassword + `"}`, 400, "login_invalid"},
		"lone surrogate":              {`{"login":"ada\ud800","password":"` + testPassword + `"}`, 400, "login_invalid"},
		"over 64 KiB":                 {`{"login":"ada","password":"x","more":"` + strings.Repeat("x", 64<<10) + `"}`, 413, "too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			b := s.browser().problems()
			b.header.Set("Content-Type", "application/json")
			requireError(t, b.post("/accounts/login", c.body), c.status, c.want)
		})
	}
}

func TestLookAlikeUsernames(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	for name, want := range map[string]string{
		"ADA": "unique", "ａｄａ": "unique", "ᵃda": "unique", "𝐚𝐝𝐚": "unique",
		"\u0430da": "invalid", "ad\u0430": "invalid", "\u03bfda": "invalid", "ada\u05d0": "invalid", "\u4e2d\u0430": "invalid", "\u3042\ud55c": "invalid",
		"ada\u200b": "invalid", "a\u00adda": "invalid", "ada\u202e": "invalid", "ada\u3164": "invalid", "ada\ufe0f": "invalid", "ada\x00": "invalid", "ad\u2066a": "invalid",
	} {
		requireError(t, s.browser().problems().post("/accounts/register", with(newcomer("eve"), data{"username": name})), 400, "username:"+want)
	}
	for _, name := range []string{"zo\u00eb", "\u0430\u0434\u0430", "\u4e2d\u6587ada", "\u3042\u30a2\u4e9c-x", "\ud64d\uae38\ub3d9.kim", "\u0939\u093f\u0928\u094d\u0926\u0940", "ada_1", "\u0627\u062d\u0645\u062f", "\u0e2a\u0e21\u0e0a\u0e32\u0e22", "\u3042\u30fc"} {
		_, ok := field.ParseUsername(name)
		require.True(t, ok, "one script, or those that are written together: %q", name)
	}
}

// What is too long or too costly never gets to the hash, and says no more than
// a wrong password does.
func TestHashCostAttacks(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	long := strings.Repeat("long ", 1000)
	require.NotEqual(t, 200, s.browser().post("/accounts/login", data{"login": "ada", "password": long}).StatusCode)
	require.Equal(t, 400, s.browser().post("/accounts/register", with(newcomer("eve"), data{"password": long, "password_confirm": long})).StatusCode)
	for _, hash := range []string{
		"$argon2id$v=19$m=4294967295,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=64,t=4294967295,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"$2a$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
		"pbkdf2_sha256$2147483647$salt$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"rubbish", "",
	} {
		require.NoError(t, s.accounts.Update(t.Context(), func(tx *account.Txn) error {
			u, err := tx.User(uuidOf(t, s, "ada"))
			if err != nil {
				return err
			}
			u.PasswordHash = hash
			return s.accounts.PutUser(tx, u)
		}))
		requireError(t, s.browser().problems().post("/accounts/login", data{"login": "ada", "password": testPassword}), 400, "login_invalid")
	}
}

// A hundred bodies that never come hold no slot of the hash and nobody up.
func TestSlowBodies(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		ctx := context.WithValue(req.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer())
		s.ServeHTTP(w, req.WithContext(context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{})))
	}))
	defer server.Close()
	var conns []net.Conn
	for range 100 {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		_, err = conn.Write([]byte("POST /accounts/login HTTP/1.1\r\nHost: example.com\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{"))
		require.NoError(t, err)
		conns = append(conns, conn)
	}
	s.signedIn("ada")
	for _, conn := range conns { // the client gives up in the middle
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusBadRequest, res.StatusCode)
		require.NoError(t, res.Body.Close())
	}
}

// A part of a multipart form can be encoded once more, and hide there what the
// body as a whole may not have.
func TestEncodedPartIsUTF8(t *testing.T) {
	s := newSite(t)
	for name, part := range map[string]string{
		"value": "Content-Disposition: form-data; name=\"first_name\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=FF\r\n",
		"name":  "Content-Disposition: form-data; name*=utf-8''%ff\r\n\r\nx\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			b := s.browser()
			b.header.Set("Content-Type", "multipart/form-data; boundary=x")
			body := ""
			for name, value := range newcomer("ada") {
				body += "--x\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value.(string) + "\r\n"
			}
			res := b.post("/accounts/register", body+"--x\r\n"+part+"--x--\r\n")
			require.Equal(t, http.StatusBadRequest, res.StatusCode, res.body)
			require.Contains(t, res.json(t)["detail"], "UTF-8")
		})
	}
}

// A body that never ends holds its connection for a bounded time, and what came
// over it before and after goes on.
func TestDrippingBody(t *testing.T) {
	read := make(chan error, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := web.ReadBody(w, req, 300*time.Millisecond)
		if len(body) == 4 {
			time.Sleep(400 * time.Millisecond) // an act that takes longer than the body may
		}
		if err == nil {
			err = req.Context().Err()
		}
		read <- err
	}))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	answers := bufio.NewReader(conn)
	for range 2 { // one connection, kept alive
		_, err = conn.Write([]byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nwhat"))
		require.NoError(t, err)
		res, err := http.ReadResponse(answers, nil)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.NoError(t, <-read, "the deadline is gone with the body")
	}
	_, err = conn.Write([]byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 40000\r\n\r\ndrip"))
	require.NoError(t, err)
	require.ErrorIs(t, <-read, os.ErrDeadlineExceeded)
}
