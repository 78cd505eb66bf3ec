// hardening_requests_test.go: requests that are not what they seem: from other
// sites, with other methods or types, with line breaks in every field.

package web_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
)

// TestContractForeignOrigins has the single headers; here: each act and body.
func TestCrossSiteRequests(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	acts := map[string]sitetest.Data{
		"login":           {"login": "ada", "password": sitetest.Password},
		"logout":          {},
		"profile":         {"first_name": "Eve"},
		"change-password": {"old_password": sitetest.Password, "password": "of the attacker", "password_confirm": "of the attacker"},
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
					b := s.SignedIn("ada").Problems()
					for h, v := range headers {
						b.Header[h] = v
					}
					sitetest.RequireError(t, b.Post("/accounts/"+act, sent), 403, "cross_origin")
				})
			}
		}
	}
	for name, value := range map[string]string{"neither header": "", "typed or same": "same-origin"} {
		t.Run(name, func(t *testing.T) {
			b := s.Browser()
			if value != "" {
				b.Header.Set("Sec-Fetch-Site", value)
			}
			require.Equal(t, 200, b.Post("/accounts/login", acts["login"]).StatusCode, "it comes from no foreign page")
		})
	}
	require.Equal(t, "", s.SignedIn("ada").Get("/accounts/profile").JSON(t)["first_name"], "nothing has changed")
	s.NoMail()
}

func TestForgedHostsAndReferer(t *testing.T) {
	s := sitetest.New(t)
	b := s.Browser()
	for _, h := range []string{"X-Forwarded-Host", "X-Original-Host", "X-Host", "X-Forwarded-Server", "Forwarded", "Referer", "X-Original-Url", "X-Rewrite-Url", "X-Forwarded-Prefix"} {
		b.Header.Set(h, "https://evil.example/")
	}
	res := b.Post("/accounts/register", sitetest.Newcomer("ada"))
	require.Equal(t, 201, res.StatusCode, res.Text)
	m := s.Mail()
	require.Contains(t, m.Text, "http://example.com/accounts/verify-registration/")
	require.NotContains(t, m.Text+m.HTML+m.Subject, "evil")
	res = b.LikeBrowser().Get("/members/")
	require.Equal(t, "/accounts/login/?next=%2Fmembers%2F", res.Header.Get("Location"))
}

func TestMethodOverride(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	b := s.SignedIn("ada")
	for _, h := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"} {
		b.Header.Set(h, "PATCH")
	}
	require.Equal(t, 200, b.Do("GET", "/accounts/profile?_method=PATCH&first_name=Eve", sitetest.Data{"first_name": "Eve"}).StatusCode)
	require.Equal(t, "", b.Get("/accounts/profile").JSON(t)["first_name"], "a GET changes nothing")
	require.Equal(t, 405, b.Do("GET", "/accounts/logout?_method=POST", nil).StatusCode)
	require.Equal(t, 405, b.Do("DELETE", "/accounts/profile", nil).StatusCode)
	require.Equal(t, 200, b.Get("/accounts/profile").StatusCode, "still signed in")
}

func TestContentTypeConfusion(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	const asJSON, asForm = `{"login":"ada","password":"` + sitetest.Password + `"}`, "login=ada&password=a+long+enough+passphrase"
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
			b := s.Browser()
			if c.contentType != "" {
				b.Header.Set("Content-Type", c.contentType)
			}
			res := b.Post("/accounts/login", c.body)
			require.Equal(t, c.status, res.StatusCode, res.Text)
			require.Equal(t, c.status == 200, b.Cookie[sitetest.SessionCookie] != "")
		})
	}
}

func TestHeaderAndMailInjection(t *testing.T) {
	for _, evil := range []string{"\r\nBcc: eve@evil.example", "\nX-Evil: 1", "\r\n\r\nbody", "\rX-Evil: 1", "\x00X-Evil"} {
		for _, field := range []string{"username", "email", "first_name", "last_name"} {
			s := sitetest.New(t)
			body := sitetest.Newcomer("ada")
			before, _ := body[field].(string)
			body[field] = before + "a" + evil + "x" // within: blanks around a value are trimmed
			require.Equal(t, 400, s.Browser().Post("/accounts/register", body).StatusCode, "%s %q", field, evil)
			users, _ := s.Census()
			require.Zero(t, users)
			s.NoMail()
		}
		s := sitetest.New(t)
		b := s.Browser().LikeBrowser()
		require.Less(t, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"next": "/members/" + evil})).StatusCode, 300)
		m := s.Mail()
		require.NotContains(t, m.Text+m.HTML+m.Subject+m.To, "vil")
		require.NotContains(t, sitetest.LinkOf(m, t), "next", "a target with a line break is none")
		require.Equal(t, 200, s.Browser().Post("/accounts/verify-registration", sitetest.LinkOf(m, t)).StatusCode)
		res := b.Post("/accounts/login", url.Values{"login": {"ada"}, "password": {sitetest.Password}, "next": {"/members/" + evil}})
		require.Equal(t, 303, res.StatusCode, res.Text)
		require.NotContains(t, res.Header.Get("Location"), "vil")
		require.Empty(t, res.Header.Get("X-Evil"))
	}
}
