// hardening_bounds_test.go: how long what a client sends may be, what it is told
// where it is longer, and that everybody reads the same cookies.

package registration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is too long is told by field, before anything else is done with it.
func TestTooLongIsToldByField(t *testing.T) {
	s := newSite(t, func(s *Settings) {
		s.User.Fields = []FieldSettings{
			{Name: "nickname", Type: "text", Unique: true, MaxLength: 500}, {Name: "work", Type: "email"},
			{Name: "home", Type: "url"}, {Name: "number", Type: "integer"}, {Name: "news", Type: "boolean"},
		}
		s.User.PublicFields = []string{"id", "username", "email", "first_name", "last_name", "nickname", "work", "home", "number", "news"}
	})
	s.member("ada")
	long := func(unit string, n int) string { return strings.Repeat(unit, n) }
	for name, c := range map[string]struct {
		path, field, value, want string
	}{
		"a username":                   {"register", "username", long("a", 151), "max_length"},
		"a username that grows":        {"register", "username", long("\u3300", 60), "max_length"},
		"a first name":                 {"register", "first_name", long("a", 151), "max_length"},
		"an address":                   {"register", "email", long("a", 60) + "@" + long("b.", 100) + "org", "max_length"},
		"an address in bytes":          {"register", "email", "a@" + long("\u4e2d", 90) + ".org", "max_length"},
		"an address beyond all bounds": {"register", "email", "a@" + long("\u4e2d", 20_000) + ".org", "max_length"},
		"a key that grows":             {"register", "nickname", long("\ufdfa", 100), "max_length"},
		"a nickname":                   {"register", "nickname", long("a", 501), "max_length"},
		"a second address":             {"register", "work", "a@" + long("\u4e2d", 90) + ".org", "max_length"},
		"a link":                       {"register", "home", "https://e.example/" + long("a", 2000), "max_length"},
		"a number":                     {"register", "number", long("9", 401), "invalid"},
		"a switch":                     {"register", "news", long("t", 40_000), "invalid"},
		"a login":                      {"login", "login", long("a", 501), "max_length"},
		"a login in bytes":             {"login", "login", long("\u4e2d", 501), "max_length"},
		"a login by its own name":      {"login", "username", long("a", 501), "max_length"},
		"a login to reset":             {"send-reset-password-link", "login", long("a", 501), "max_length"},
		"a login to resend":            {"resend-verification", "email", long("a", 501), "max_length"},
		"a password":                   {"login", "password", long("a", 4097), "max_length"},
	} {
		t.Run(name, func(t *testing.T) {
			body := map[string]data{
				"register": newcomer("eve"), "login": {"login": "ada", "password": testPassword}, "send-reset-password-link": {}, "resend-verification": {},
			}[c.path]
			if c.field == "username" && c.path == "login" {
				delete(body, "login")
			}
			res := s.browser().problems().post("/accounts/"+c.path, with(body, data{c.field: c.value}))
			require.Equal(t, http.StatusBadRequest, res.StatusCode, res.body)
			require.Contains(t, res.body, `"errors":{"`+c.field+`":[{"code":"`+c.want+`"`)
		})
	}
	requireError(t, s.browser().problems().post("/accounts/login", data{"login": long("a", 500), "password": testPassword}), 400, "login_invalid")
}

func TestTooManyMembers(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	fields, form, parts := `"x":0`, "x=", ""
	for i := range maxMembers - 3 {
		fields += fmt.Sprintf(`,"x%d":0`, i)
		form += fmt.Sprintf("&x%d=", i)
		parts += fmt.Sprintf("--x\r\nContent-Disposition: form-data; name=x%d\r\n\r\n\r\n", i)
	}
	part := func(name, v string) string {
		return "--x\r\nContent-Disposition: form-data; name=" + name + "\r\n\r\n" + v + "\r\n"
	}
	parts += part("x", "") + part("login", "ada") + part("password", testPassword)
	for name, c := range map[string]struct{ contentType, body, more, end string }{
		"JSON":      {"application/json", `{"login":"ada","password":"` + testPassword + `",` + fields, `,"more":[]`, "}"},
		"form":      {"application/x-www-form-urlencoded", "login=ada&password=a+long+enough+passphrase&" + form, "&more", ""},
		"multipart": {"multipart/form-data; boundary=x", parts, part("more", ""), "--x--"},
	} {
		t.Run(name, func(t *testing.T) {
			b := s.browser().problems()
			b.header.Set("Content-Type", c.contentType)
			require.Equal(t, http.StatusOK, b.post("/accounts/login", c.body+c.end).StatusCode)
			res := s.browser().problems()
			res.header.Set("Content-Type", c.contentType)
			refused := res.post("/accounts/login", c.body+c.more+c.end)
			requireError(t, refused, http.StatusBadRequest, "malformed")
			require.Contains(t, refused.body, "more than 500 members")
		})
	}
}

// The check of the origin and the sign-in look at the same cookies: behind
// thousands of others, and with the blanks that RFC 6265bis takes away.
func TestCookiesHaveOneReader(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	token := s.signedIn("ada").cookie[sessionCookie]
	for name, cookie := range map[string]string{
		"alone":               sessionCookie + "=" + token,
		"behind 4,000 others": strings.Repeat("a=b; ", 4000) + sessionCookie + "=" + token,
		"tab before the name": "a=b;\t" + sessionCookie + "=" + token,
		"tab before =":        sessionCookie + "\t=" + token,
		"tab behind =":        sessionCookie + "=\t" + token,
		"quoted":              sessionCookie + `="` + token + `"`,
		"beside an empty one": sessionCookie + "=; " + sessionCookie + "=" + token,
	} {
		t.Run(name, func(t *testing.T) {
			b := s.browser().problems()
			b.header.Set("Cookie", cookie)
			require.Equal(t, http.StatusOK, b.get("/accounts/profile").StatusCode)
			b.header.Set("Sec-Fetch-Site", "cross-site")
			requireError(t, b.do(http.MethodPatch, "/accounts/profile", data{"first_name": "Eve"}), http.StatusForbidden, "cross_origin")
		})
	}
	for name, cookie := range map[string]string{"planted": sessionCookie + "=x; " + sessionCookie + "=" + token, "empty": sessionCookie + "="} {
		t.Run(name, func(t *testing.T) {
			b := s.browser().problems()
			b.header.Set("Cookie", cookie)
			require.Equal(t, http.StatusUnauthorized, b.get("/accounts/profile").StatusCode)
			b.header.Set("Sec-Fetch-Site", "cross-site")
			requireError(t, b.post("/accounts/logout", nil), http.StatusForbidden, "cross_origin")
		})
	}
}

// The address that the guard sends back to is as long as one that is followed.
func TestGuardLeavesOutWhatIsNotFollowed(t *testing.T) {
	s := newSite(t)
	b := s.browser().likeBrowser()
	require.Contains(t, b.get("/members/"+strings.Repeat("x", maxNext-len("/members/"))).Header.Get("Location"), "next=")
	require.Equal(t, "/accounts/login/", b.get("/members/"+strings.Repeat("x", maxNext)).Header.Get("Location"))
}
