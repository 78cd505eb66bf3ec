// hardening_input_test.go: bodies made to confuse, to exhaust or to wait:
// JSON's dark corners, look-alike names, huge and slow bodies, costly hashes.

package web_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/web"
)

func TestHostileBodies(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	for name, c := range map[string]struct {
		body   string
		status int
		want   string
	}{
		"the last of two keys counts": {`{"login":"ada","password":"` + sitetest.Password + `","password":"x"}`, 400, "login_invalid"},
		"deep objects":                {strings.Repeat(`{"login":`, 7000), 400, "malformed"},
		"deep value":                  {`{"login":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `,"password":"x"}`, 400, "login:invalid"},
		"huge number":                 {`{"login":1e999999999,"password":` + strings.Repeat("9", 4000) + `}`, 400, "login_invalid"},
		"invalid UTF-8":               {"{\"login\":\"ada\xff\",\"password\":\"x\"}", 400, "malformed"},
		"overlong slash":              {"{\"login\":\"ada\xc0\xaf\",\"password\":\"x\"}", 400, "malformed"},
		"raw NUL":                     {"{\"login\":\"ada\x00\",\"password\":\"x\"}", 400, "malformed"},
		"escaped NUL":                 {`{"login":"ada\u0000","password":"` + sitetest.Password + `"}`, 400, "login_invalid"},
		"lone surrogate":              {`{"login":"ada\ud800","password":"` + sitetest.Password + `"}`, 400, "malformed"},
		"over 64 KiB":                 {`{"login":"ada","password":"x","more":"` + strings.Repeat("x", 64<<10) + `"}`, 413, "too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			b := s.Browser().Problems()
			b.Header.Set("Content-Type", "application/json")
			sitetest.RequireError(t, b.Post("/accounts/login", c.body), c.status, c.want)
		})
	}
}

func TestLookAlikeUsernames(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	for name, want := range map[string]string{
		"ADA": "unique", "ａｄａ": "unique", "ᵃda": "unique", "𝐚𝐝𝐚": "unique",
		"\u0430da": "invalid", "ad\u0430": "invalid", "\u03bfda": "invalid", "ada\u05d0": "invalid", "\u4e2d\u0430": "invalid", "\u3042\ud55c": "invalid",
		"ada\u200b": "invalid", "a\u00adda": "invalid", "ada\u202e": "invalid", "ada\u3164": "invalid", "ada\ufe0f": "invalid", "ada\x00": "invalid", "ad\u2066a": "invalid",
	} {
		sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/register", sitetest.With(sitetest.Newcomer("eve"), sitetest.Data{"username": name})), 400, "username:"+want)
	}
	for _, name := range []string{"zo\u00eb", "\u0430\u0434\u0430", "\u4e2d\u6587ada", "\u3042\u30a2\u4e9c-x", "\ud64d\uae38\ub3d9.kim", "\u0939\u093f\u0928\u094d\u0926\u0940", "ada_1", "\u0627\u062d\u0645\u062f", "\u0e2a\u0e21\u0e0a\u0e32\u0e22", "\u3042\u30fc"} {
		_, ok := field.ParseUsername(name)
		require.True(t, ok, "one script, or those that are written together: %q", name)
	}
}

// What is too long or too costly never gets to the hash, and says no more than
// a wrong password does.
func TestHashCostAttacks(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	long := strings.Repeat("long ", 1000)
	require.NotEqual(t, 200, s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": long}).StatusCode)
	require.Equal(t, 400, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("eve"), sitetest.Data{"password": long, "password_confirm": long})).StatusCode)
	for _, hash := range []string{
		"$argon2id$v=19$m=4294967295,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=64,t=4294967295,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"$2a$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
		"pbkdf2_sha256$2147483647$salt$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"rubbish", "",
	} {
		require.NoError(t, s.Accounts.Update(t.Context(), func(tx *account.Txn) error {
			u, err := tx.User(sitetest.UUIDOf(t, s, "ada"))
			if err != nil {
				return err
			}
			u.PasswordHash = hash
			return s.Accounts.PutUser(tx, u)
		}))
		sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}), 400, "login_invalid")
	}
}

// A hundred bodies that never come hold no slot of the hash and nobody up.
func TestSlowBodies(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
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
	s.SignedIn("ada")
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
	s := sitetest.New(t)
	for name, part := range map[string]string{
		"value": "Content-Disposition: form-data; name=\"first_name\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=FF\r\n",
		"name":  "Content-Disposition: form-data; name*=utf-8''%ff\r\n\r\nx\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			b := s.Browser()
			b.Header.Set("Content-Type", "multipart/form-data; boundary=x")
			body := ""
			for name, value := range sitetest.Newcomer("ada") {
				body += "--x\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value.(string) + "\r\n"
			}
			res := b.Post("/accounts/register", body+"--x\r\n"+part+"--x--\r\n")
			require.Equal(t, http.StatusBadRequest, res.StatusCode, res.Text)
			require.Contains(t, res.JSON(t)["detail"], "UTF-8")
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

// One passphrase, as a Mac and as anything else writes it.
const (
	inNFD = "schlu\u0308ssel fu\u0308r Zu\u0308rich"
	inNFC = "schl\u00fcssel\u00a0f\u00fcr Z\u00fcrich"
)

func TestPasswordsInEitherForm(t *testing.T) {
	for _, c := range []struct{ name, set, typed string }{{"set in NFD", inNFD, inNFC}, {"set in NFC", inNFC, inNFD}} {
		t.Run(c.name, func(t *testing.T) {
			s := sitetest.New(t, sitetest.NoVerification)
			b := s.Browser().Problems()
			res := b.Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"password": c.set, "password_confirm": c.typed}))
			require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
			for _, typed := range []string{c.typed, c.set} {
				require.Equal(t, http.StatusOK, b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": typed}).StatusCode, typed)
			}
			// Every door that asks for it, and every one that sets it.
			res = b.Post("/accounts/change-password", sitetest.Data{"old_password": c.typed, "password": c.typed + "!", "password_confirm": c.set + "!"})
			require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
			s.Travel(s.Realm.Options.RegisterEmail.MaxAge)
			require.Equal(t, http.StatusOK, b.Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"username": "ada2", "password": c.set + "!"}).StatusCode)
			require.Equal(t, http.StatusOK, b.Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada2"}).StatusCode)
			res = b.Post("/accounts/reset-password", sitetest.With(sitetest.LinkOf(s.Mail(), t), sitetest.Data{"password": c.set}))
			require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
			require.Equal(t, http.StatusOK, b.Post("/accounts/login", sitetest.Data{"login": "ada2", "password": c.typed}).StatusCode)
		})
	}
}

// A hash that was made of the bytes as they came (by an older version, by Django)
// stays good for who types those bytes, and is renewed by that.
func TestOldHashesOfOtherBytes(t *testing.T) {
	byBcrypt, err := bcrypt.GenerateFromPassword([]byte(inNFD), bcrypt.MinCost)
	require.NoError(t, err)
	for name, hash := range map[string]string{
		// Of NFD: by Python's hashlib, laid out as Django does.
		"Django": "pbkdf2_sha256$1000$seasalt$WL2dLuXJWCeZUVLbqg3+LHjDJoOpuJOxCFa8+Zq6mxE=",
		"bcrypt": string(byBcrypt),
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, sitetest.NoVerification)
			s.Member("ada")
			setHash(s, "ada", hash)
			b := s.Browser().Problems()
			login := func(pass string) *sitetest.Answer {
				return b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": pass})
			}
			sitetest.RequireError(t, login("schl\u00fcssel f\u00fcr Z\u00fcrich"), http.StatusBadRequest, "login_invalid")
			require.Equal(t, http.StatusOK, login(inNFD).StatusCode)
			require.Equal(t, http.StatusOK, login(inNFC).StatusCode, "the hash has been renewed")
		})
	}
}

// setHash is what an import or an older version has left.
func setHash(s *sitetest.Site, name, hash string) {
	s.T.Helper()
	require.NoError(s.T, s.Accounts.Update(s.T.Context(), func(tx *account.Txn) error {
		u, err := tx.User(sitetest.UUIDOf(s.T, s, name))
		if err != nil {
			return err
		}
		u.PasswordHash = hash
		return s.Accounts.PutUser(tx, u)
	}))
}

func TestHalfACharacterIsRefused(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification, func(s *registration.Settings) { s.Login.Token = sitetest.On() })
	s.Member("ada")
	b := s.Browser().Problems()
	b.Header.Set("Content-Type", "application/json")
	for _, half := range map[string]string{
		"high": `\ud800`, "low": `\uDC00`, "high, high, low": `\uD83D\ud83d\ude00`, "low, high": `\ude00\ud83d`,
		"high, letter": `\ud83dx`, "high, other escape": `\ud83d\n`, "high, escaped backslash": `\ud83d\\ude00`, "high at the end of three": `\\\ud800`,
	} {
		for _, body := range map[string]string{
			"sign-up":   `{"username":"eve","email":"eve@example.org","password":"long enough ` + half + `","password_confirm":"long enough ` + half + `"}`,
			"name":      `{"username":"eve","email":"eve@example.org","first_name":"` + half + `","password":"long enough !","password_confirm":"long enough !"}`,
			"member":    `{"` + half + `":1,"username":"eve","email":"eve@example.org","password":"long enough !","password_confirm":"long enough !"}`,
			"in a list": `{"x":["` + half + `"],"username":"eve","email":"eve@example.org","password":"long enough !","password_confirm":"long enough !"}`,
		} {
			sitetest.RequireError(t, b.Post("/accounts/register", body), http.StatusBadRequest, "malformed")
		}
		sitetest.RequireError(t, b.Post("/accounts/login", `{"login":"ada","password":"`+half+`"}`), http.StatusBadRequest, "malformed")
	}
	for _, whole := range map[string]string{
		"a pair": `\ud83d\ude00`, "two pairs": `\uD83D\uDE00\uD83D\uDE00`, "an escaped backslash": `\\ud800`, "the replacement character itself": `\ufffd`,
	} {
		res := b.Post("/accounts/login", `{"login":"ada","password":"`+whole+`"}`)
		sitetest.RequireError(t, res, http.StatusBadRequest, "login_invalid")
	}
	b.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	sitetest.RequireError(t, b.Post("/accounts/login", "login=ada&password=%ED%A0%80"), http.StatusBadRequest, "malformed")
	sitetest.RequireError(t, b.Post("/accounts/login", "login=ada&password=%FF"), http.StatusBadRequest, "malformed")
}

// Where tokens are off, revoke_token is a member that means nothing.
func TestRevokeTokenWithoutTokens(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification)
	s.Member("ada")
	for _, word := range []any{true, "maybe", []string{}, nil} {
		b := s.SignedIn("ada")
		res := b.Post("/accounts/logout", sitetest.Data{"revoke_token": word})
		require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
		require.Equal(t, http.StatusUnauthorized, b.Get("/accounts/profile").StatusCode)
	}
	require.NotContains(t, s.Browser().Get("/accounts/openapi.json").Text, "revoke_token")
}

func TestSwitchesThatNobodyUnderstands(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification, func(s *registration.Settings) { s.Login.Token = sitetest.On() })
	s.Member("ada")
	words := map[string]bool{
		`true`: true, `"true"`: true, `"TRUE"`: true, `1`: true, `"1"`: true, `"t"`: true, `"Y"`: true, `"yes"`: true, `" On "`: true,
		`false`: false, `"False"`: false, `0`: false, `"0"`: false, `"f"`: false, `"N"`: false, `"no"`: false, `"off"`: false,
	}
	wrong := map[string]string{
		`"maybe"`: "invalid", `2`: "invalid", `"truely"`: "invalid", `"ja"`: "invalid", `[]`: "invalid", `{"a":true}`: "invalid", `null`: "null", `""`: "blank", `" "`: "blank",
	}
	for word, code := range wrong {
		b := s.SignedIn("ada").Problems()
		b.Header.Set("Content-Type", "application/json")
		require.Equal(t, code, sitetest.FieldCodes(t, b.Post("/accounts/logout", `{"revoke_token":`+word+`}`), "revoke_token"), word)
		require.Equal(t, code, sitetest.FieldCodes(t, b.Post("/accounts/revoke-session", `{"others":`+word+`}`), "others"), word)
		require.Equal(t, http.StatusOK, b.Get("/accounts/profile").StatusCode, "nothing has happened")
	}
	for word, on := range words {
		s.SignedIn("ada") // has made a token
		b := s.SignedIn("ada").Problems()
		b.Header.Set("Content-Type", "application/json")
		require.Equal(t, http.StatusOK, b.Post("/accounts/logout", `{"revoke_token":`+word+`}`).StatusCode, word)
		require.Equal(t, http.StatusUnauthorized, b.Get("/accounts/profile").StatusCode)
		// The sign-in that asks has one of its own.
		tokens := strings.Count(s.SignedIn("ada").Get("/accounts/sessions").Text, `"token"`)
		require.Equal(t, on, tokens == 1, "%s: %d tokens", word, tokens)
	}
	b := s.SignedIn("ada").Problems()
	require.Equal(t, "invalid", sitetest.FieldCodes(t, b.Post("/accounts/logout", url.Values{"revoke_token": {"vielleicht"}}), "revoke_token"), "a form")
	require.Equal(t, http.StatusOK, b.Get("/accounts/profile").StatusCode)
}

// Names that turn or break the text around them, wherever they are shown.
func TestNamesThatTurnWhatStandsBehindThem(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification, sitetest.WithFields(field.Spec{Name: "nick", Type: "text"}))
	s.Member("ada")
	b := s.SignedIn("ada").Problems()
	for _, bad := range []string{"a\r\nX-Admin: 1", "\u202eadA", "a\u2066b", "a\u2069", "a\u2028b", "a\u2029b", "a\u0085b", "\x1b[2J", "a\x00b", "a\x7f"} {
		for _, name := range []string{"first_name", "last_name", "nick"} {
			require.Equal(t, "invalid", sitetest.FieldCodes(t, b.Do(http.MethodPatch, "/accounts/profile", sitetest.Data{name: bad}), name), "%s %q", name, bad)
		}
	}
	for _, good := range []string{"\u0645\u06cc\u200c\u0631", "\u05d3\u05d5\u05d3\u200f", "Zo\u00eb", "O\u2019Neill"} {
		require.Equal(t, http.StatusOK, b.Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"first_name": good, "nick": good}).StatusCode, "%q", good)
	}
}

// A subject is one line in one direction, whatever an older version has stored.
func TestSubjectsOfAnyStore(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) {
		s.Templates = sitetest.TemplatesFolder(t, map[string]string{"reset_password/subject.txt": "Reset for {{.User.FirstName}} at {{.Site}}"})
	})
	s.Member("ada")
	require.NoError(t, s.Accounts.Update(t.Context(), func(tx *account.Txn) error {
		u, err := tx.User(sitetest.UUIDOf(t, s, "ada"))
		if err != nil {
			return err
		}
		u.FirstName = "Ada\r\nBcc: eve\x1b \u202eecalevoL\x00"
		return s.Accounts.PutUser(tx, u)
	}))
	require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"}).StatusCode)
	require.Equal(t, "Reset for Ada Bcc: eve ecalevoL at example.com", s.Mail().Subject)
}
