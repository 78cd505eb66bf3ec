// cookies_test.go: properties of what reads the cookies and tokens of strangers.

package web_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sign"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

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
		if len(text) != 48 { // one that begins with a time, if that is one
			require.Equal(t, len(text) == session.TokenLength, ok)
		}
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

func TestPlantedCookie(t *testing.T) {
	for name, c := range map[string]struct {
		headers []string
		want    string
	}{
		"one":           {[]string{"a=b; registration=good; c=d"}, "good"},
		"same twice":    {[]string{"registration=good", "registration=good"}, "good"},
		"two values":    {[]string{"registration=evil; registration=good"}, ""},
		"two headers":   {[]string{"registration=evil", "registration=good"}, ""},
		"quoted":        {[]string{`registration="good"`}, "good"},
		"other name":    {[]string{"xregistration=evil; registrationx=evil; Registration=evil"}, ""},
		"nothing there": {nil, ""},
		"empty ones":    {[]string{"registration=; registration=good; registration="}, "good"},
		"no value":      {[]string{"registration; ; =; registration=good"}, "good"},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, cookieIn(c.headers, "registration")) })
	}
}
