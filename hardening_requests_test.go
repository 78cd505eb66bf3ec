// hardening_requests_test.go: requests that are not what they seem: from other
// sites, with other methods or types, with line breaks in every field.

package registration

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestContractForeignOrigins has the single headers; here: each act and body.
func TestCrossSiteRequests(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	acts := map[string]data{
		"login":           {"login": "ada", "password": testPassword},
		"logout":          {},
		"profile":         {"first_name": "Eve"},
		"change-password": {"old_password": testPassword, "password": "of the attacker", "password_confirm": "of the attacker"},
		"register-email":  {"email": "eve@example.org"},
	}
	for name, headers := range map[string]http.Header{
		"cross-site":               {"Sec-Fetch-Site": {"cross-site"}},
		"sibling":                  {"Sec-Fetch-Site": {"same-site"}},
		"foreign origin":           {"Origin": {"https://evil.example"}},
		"null origin":              {"Origin": {"null"}},
		"both":                     {"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}},
		"own name in another host": {"Origin": {"http://example.com.evil.example"}},
	} {
		for act, body := range acts {
			form := url.Values{}
			for k, v := range body {
				form.Set(k, v.(string))
			}
			for kind, sent := range map[string]any{"JSON": body, "form": form} {
				t.Run(name+" "+act+" "+kind, func(t *testing.T) {
					b := s.signedIn("ada").problems()
					for h, v := range headers {
						b.header[h] = v
					}
					requireError(t, b.post("/accounts/"+act, sent), 403, "cross_origin")
				})
			}
		}
	}
	for name, value := range map[string]string{"neither header": "", "typed or same": "same-origin"} {
		t.Run(name, func(t *testing.T) {
			b := s.browser()
			if value != "" {
				b.header.Set("Sec-Fetch-Site", value)
			}
			require.Equal(t, 200, b.post("/accounts/login", acts["login"]).StatusCode, "it comes from no foreign page")
		})
	}
	require.Equal(t, "", s.signedIn("ada").get("/accounts/profile").json(t)["first_name"], "nothing has changed")
	s.noMail()
}

func TestForgedHostsAndReferer(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	for _, h := range []string{"X-Forwarded-Host", "X-Original-Host", "X-Host", "X-Forwarded-Server", "Forwarded", "Referer", "X-Original-Url", "X-Rewrite-Url", "X-Forwarded-Prefix"} {
		b.header.Set(h, "https://evil.example/")
	}
	res := b.post("/accounts/register", newcomer("ada"))
	require.Equal(t, 201, res.StatusCode, res.body)
	m := s.mail()
	require.Contains(t, m.Text, "http://example.com/accounts/verify-registration/")
	require.NotContains(t, m.Text+m.HTML+m.Subject, "evil")
	res = b.likeBrowser().get("/members/")
	require.Equal(t, "/accounts/login/?next=%2Fmembers%2F", res.Header.Get("Location"))
}

func TestMethodOverride(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	b := s.signedIn("ada")
	for _, h := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"} {
		b.header.Set(h, "PATCH")
	}
	require.Equal(t, 200, b.do("GET", "/accounts/profile?_method=PATCH&first_name=Eve", data{"first_name": "Eve"}).StatusCode)
	require.Equal(t, "", b.get("/accounts/profile").json(t)["first_name"], "a GET changes nothing")
	require.Equal(t, 405, b.do("GET", "/accounts/logout?_method=POST", nil).StatusCode)
	require.Equal(t, 405, b.do("DELETE", "/accounts/profile", nil).StatusCode)
	require.Equal(t, 200, b.get("/accounts/profile").StatusCode, "still signed in")
}

func TestContentTypeConfusion(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	const asJSON, asForm = `{"login":"ada","password":"` + testPassword + `"}`, "login=ada&password=a+long+enough+passphrase"
	for name, c := range map[string]struct {
		contentType, body string
		status            int
	}{
		"JSON as text":           {"text/plain", asJSON, 415},
		"JSON as nothing":        {"", asJSON, 415},
		"JSON as form":           {"application/x-www-form-urlencoded", asJSON, 400},
		"form as JSON":           {"application/json", asForm, 400},
		"form as text":           {"text/plain", asForm, 415},
		"two types":              {"text/plain, application/json", asJSON, 415},
		"type in a parameter":    {"text/plain; x=application/json", asJSON, 415},
		"another JSON":           {"application/json-patch+json", asJSON, 415},
		"XML":                    {"application/xml", "<login>ada</login>", 415},
		"two JSON values":        {"application/json", asJSON + asJSON, 400},
		"JSON in upper-case":     {"APPLICATION/JSON", asJSON, 200},
		"what it says it is too": {"application/x-www-form-urlencoded", asForm, 200},
	} {
		t.Run(name, func(t *testing.T) {
			b := s.browser()
			if c.contentType != "" {
				b.header.Set("Content-Type", c.contentType)
			}
			res := b.post("/accounts/login", c.body)
			require.Equal(t, c.status, res.StatusCode, res.body)
			require.Equal(t, c.status == 200, b.cookie[sessionCookie] != "")
		})
	}
}

func TestHeaderAndMailInjection(t *testing.T) {
	for _, evil := range []string{"\r\nBcc: eve@evil.example", "\nX-Evil: 1", "\r\n\r\nbody", "\rX-Evil: 1", "\x00X-Evil"} {
		for _, field := range []string{"username", "email", "first_name", "last_name"} {
			s := newSite(t)
			body := newcomer("ada")
			before, _ := body[field].(string)
			body[field] = before + "a" + evil + "x" // within: blanks around a value are trimmed
			require.Equal(t, 400, s.browser().post("/accounts/register", body).StatusCode, "%s %q", field, evil)
			users, _ := s.census()
			require.Zero(t, users)
			s.noMail()
		}
		s := newSite(t)
		b := s.browser().likeBrowser()
		require.Less(t, s.browser().post("/accounts/register", with(newcomer("ada"), data{"next": "/members/" + evil})).StatusCode, 300)
		m := s.mail()
		require.NotContains(t, m.Text+m.HTML+m.Subject+m.To, "vil")
		require.NotContains(t, linkOf(m, t), "next", "a target with a line break is none")
		require.Equal(t, 200, s.browser().post("/accounts/verify-registration", linkOf(m, t)).StatusCode)
		res := b.post("/accounts/login", url.Values{"login": {"ada"}, "password": {testPassword}, "next": {"/members/" + evil}})
		require.Equal(t, 303, res.StatusCode, res.body)
		require.NotContains(t, res.Header.Get("Location"), "vil")
		require.Empty(t, res.Header.Get("X-Evil"))
	}
}
