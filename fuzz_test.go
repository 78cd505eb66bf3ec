// fuzz_test.go: properties of what reads a stranger's bytes: bodies, tokens and
// cookies; and of the Caddyfile. The others stand beside what they try.

package registration_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// A body is refused with a status below 500, or every name and text of the
// input is UTF-8. JSON says what encoding/json says of it.
func FuzzDecodeBody(f *testing.F) {
	for _, seed := range [][2]string{
		{"application/json", `{"login":"ada","password":"x","n":1e999,"b":true,"z":null,"o":{"a":[]}}`},
		{"application/json; charset=utf-8", `{"a":"1","a":"2"}`},
		{"application/json", `[1]`},
		{"application/json", "{\"a\":\"\\ud800\"}"},
		{"application/x-www-form-urlencoded", "login=ada&password=%00&password=a+b"},
		{"application/x-www-form-urlencoded", "a=%ff;b"},
		{"multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n--x--\r\n"},
		{"multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"a\"; filename=\"f\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=ff\r\n--x--"},
		{"", ""},
		{"text/plain", "{}"},
		{"application/json", strings.Repeat("[", 100)},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, contentType, body string) {
		req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		req.Header.Set("Content-Type", contentType)
		in, err := web.DecodeBody(httptest.NewRecorder(), req)
		if err != nil {
			require.Less(t, web.StatusOf(web.AsRefusal(err).Code), 500)
			require.Nil(t, in)
			return
		}
		for name, v := range in {
			require.True(t, utf8.ValidString(name) && utf8.ValidString(v.Text))
		}
		if strings.HasPrefix(contentType, "application/json") && strings.TrimSpace(body) != "" {
			var want map[string]any
			dec := json.NewDecoder(strings.NewReader(body))
			dec.UseNumber()
			require.NoError(t, dec.Decode(&want))
			require.Len(t, in, len(want))
			require.LessOrEqual(t, len(want), web.MaxMembers)
			for name, v := range want {
				if text, ok := v.(string); ok {
					require.Equal(t, field.Value{Kind: field.ValueText, Text: text}, in[name])
				}
			}
		}
	})
}

// cookieIn is the value of a cookie in the lines of a header.
func cookieIn(lines []string, name string) string {
	v, _ := web.SentCookie(&http.Request{Header: http.Header{"Cookie": lines}}, name)
	return v
}

// What can be a token is one text; a cookie's value is never more than what a
// header had, and no device cookie but ours is one.
func FuzzTokens(f *testing.F) {
	token, _ := session.NewToken()
	for _, seed := range []string{token, "", "registration=" + token, `registration="x"; registration=y`, "a=b; registration=x; registration=x", strings.Repeat(";", 50), "01a210d5-11e0-7c58-adab-cbdc9698133c.AAAAAAAAAAAAAAAAAAAAAA.1795521600.x"} {
		f.Add(seed)
	}
	signer, err := sign.NewSigner("default", []byte("0123456789abcdef"))
	if err != nil {
		f.Fatal(err)
	}
	r := &web.Realm{CookiePlain: "registration", CookieTLS: "__Host-registration", Now: func() time.Time { return time.Unix(1795521600, 0) }}
	f.Fuzz(func(t *testing.T, text string) {
		hash, ok := session.HashToken(text)
		require.Equal(t, len(text) == session.TokenLength, ok)
		again, _ := session.HashToken(text)
		require.Equal(t, hash, again)
		v := cookieIn([]string{text}, "registration")
		require.Contains(t, text, v)
		require.NotContains(t, v, ";")
		if v != "" {
			require.Equal(t, v, cookieIn([]string{text, text}, "registration"), "the same twice is one")
			require.Empty(t, cookieIn([]string{text, "registration=" + v + "x"}, "registration"), "two different ones are none")
		}
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.Header["Cookie"] = []string{"registration_device=" + text}
		_, ok = r.Device(req, signer, &store.User{})
		require.False(t, ok)
		id, ok := store.ParseID(text)
		require.True(t, !ok || id != uuid.Nil || strings.Trim(text, "0-") == "")
	})
}

// A Caddyfile is refused, with the line, or becomes settings that JSON keeps.
func FuzzCaddyfile(f *testing.F) {
	for _, seed := range []string{
		"registration", "registration /a {\n realm x\n}", "registration {\n throttle login 10 1m\n throttle off\n}", "registration {\n register {\n  enabled off\n }\n}",
		"registration {\n password {\n  argon2id 19MiB 2 1\n }\n secret {env.X} 0123456789abcdef\n}", "registration {\n mailer smtp a:25 {\n  tls none\n }\n from a@example.com\n base_url https://example.com\n}",
		"registration /a /b", "registration {\n session {\n  lifetime 7d\n", "registration {\n user {\n  login_fields email\n }\n}", "registration {\n pages off\n}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 || strings.Contains(text, "import") { // reads files
			t.Skip()
		}
		tokens, err := caddyfile.Tokenize([]byte(text), "Caddyfile")
		if err != nil || len(tokens) == 0 {
			return
		}
		h := new(registration.Handler)
		if err := h.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)); err != nil {
			require.Contains(t, err.Error(), "Caddyfile:")
			return
		}
		raw, err := json.Marshal(h.Settings)
		require.NoError(t, err)
		var back registration.Settings
		require.NoError(t, json.Unmarshal(raw, &back))
		again, err := json.Marshal(back)
		require.NoError(t, err)
		require.JSONEq(t, string(raw), string(again))
		checked := back
		checked.SetDefaults()
		require.NoError(t, checked.Check(), "what the Caddyfile's check lets through, JSON's does")
	})
}
