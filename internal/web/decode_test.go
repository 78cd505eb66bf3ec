// decode_test.go: properties of what reads the bodies of strangers.

package web_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/web"
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

func TestTooManyMembers(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	fields, form, parts := `"x":0`, "x=", ""
	for i := range web.MaxMembers - 3 {
		fields += fmt.Sprintf(`,"x%d":0`, i)
		form += fmt.Sprintf("&x%d=", i)
		parts += fmt.Sprintf("--x\r\nContent-Disposition: form-data; name=x%d\r\n\r\n\r\n", i)
	}
	part := func(name, v string) string {
		return "--x\r\nContent-Disposition: form-data; name=" + name + "\r\n\r\n" + v + "\r\n"
	}
	parts += part("x", "") + part("login", "ada") + part("password", sitetest.Password)
	for name, c := range map[string]struct{ contentType, body, more, end string }{
		"JSON":                           {"application/json", `{"login":"ada","password":"` + sitetest.Password + `",` + fields, `,"more":[]`, "}"},
		"JSON, one name again and again": {"application/json", `{` + strings.Repeat(`"x":0,`, web.MaxMembers-2) + `"login":"ada","password":"` + sitetest.Password + `"`, `,"x":0`, "}"},
		"form":                           {"application/x-www-form-urlencoded", "login=ada&password=a+long+enough+passphrase&" + form, "&more", ""},
		"multipart":                      {"multipart/form-data; boundary=x", parts, part("more", ""), "--x--"},
	} {
		t.Run(name, func(t *testing.T) {
			b := s.Browser().Problems()
			b.Header.Set("Content-Type", c.contentType)
			require.Equal(t, http.StatusOK, b.Post("/accounts/login", c.body+c.end).StatusCode)
			res := s.Browser().Problems()
			res.Header.Set("Content-Type", c.contentType)
			refused := res.Post("/accounts/login", c.body+c.more+c.end)
			sitetest.RequireError(t, refused, http.StatusBadRequest, "malformed")
			require.Contains(t, refused.Text, "more than 500 members")
		})
	}
}
