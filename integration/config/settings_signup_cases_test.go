// settings_signup_cases_test.go: what the settings of the sign-up do, and those of the links that it shares.

package config_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// hooked is an endpoint of webhooks that remembers what it was told.
var hooked = func() (h struct {
	url  string
	told func() string
},
) {
	var mu sync.Mutex
	var all strings.Builder
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		mu.Lock()
		defer mu.Unlock()
		all.Write(append(body, '\n'))
	}))
	h.url, h.told = server.URL, func() string {
		mu.Lock()
		defer mu.Unlock()
		return all.String()
	}
	return h
}()

var signUpCases = []settingCase{
	{"webhooks", "webhook " + hooked.url + " {\n secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n events account_*\n allow_private on\n }", func(t *testing.T, with, plain *place) {
		plain.member("hook")
		with.member("hook")
		require.True(t, served.Eventually(func() bool { return strings.Contains(hooked.told(), "account_verified") }, 20*time.Millisecond))
		require.Equal(t, 1, strings.Count(hooked.told(), `"type":"account_registered"`))
		require.Contains(t, hooked.told(), `"realm":"`+with.name+`"`)
		require.NotContains(t, hooked.told(), "signed_in")
	}},
	{"register.enabled", "register {\n enabled off\n }", func(t *testing.T, with, plain *place) {
		require.Equal(t, "not_found", with.client().Code("POST", registerPath, served.Newcomer("ena")))
		require.Equal(t, "201", plain.client().Code("POST", registerPath, served.Newcomer("ena")))
	}},
	{"register.password_confirm", "register {\n password_confirm off\n }", func(t *testing.T, with, plain *place) {
		body := without(served.Newcomer("conf"), "password_confirm")
		require.Equal(t, "201", with.client().Code("POST", registerPath, body))
		require.Equal(t, "invalid password_confirm:required", plain.client().Code("POST", registerPath, body))
	}},
	{"register.verification", "register {\n verification off\n }", func(t *testing.T, with, plain *place) {
		for p, want := range map[*place]string{with: "200", plain: "not_verified"} {
			c := p.client()
			c.Post(201, "register", served.Newcomer("veri"))
			require.Equal(t, want, c.Code("POST", served.LoginPath, data{"login": "veri", "password": served.TestPassword}))
		}
	}},
	{"register.verification_url reset_password.verification_url register_email.verification_url register_email.undo_url", `register {
			verification_url https://front.example.net/verify
		}
		reset_password {
			verification_url https://front.example.net/#/reset
		}
		register_email {
			verification_url https://front.example.net/email
			undo_url https://front.example.net/undo
		}`, func(t *testing.T, with, plain *place) {
		for p, host := range map[*place]string{with: "front.example.net", plain: plain.name + ".example"} {
			c := p.member("urls")
			require.Equal(t, host, p.mailWith("urls@example.org", "/verify").URL(t).Hostname())
			c.Post(200, "send-reset-password-link", data{"login": "urls"})
			m := p.mailWith("urls@example.org", "/reset")
			require.Equal(t, host, m.URL(t).Hostname())
			require.Equal(t, p == with, strings.HasPrefix(m.URL(t).Fragment, "/reset?"), "a server must not see the signature")
			c.Post(200, "register-email", data{"email": "new-urls@example.org"})
			m = p.mail("new-urls@example.org", 1)
			require.Equal(t, host, m.URL(t).Hostname())
			c.Post(200, "verify-email", m.Link(t))
			require.Equal(t, host, p.mailWith("urls@example.org", "/undo").URL(t).Hostname())
		}
	}},
	{"register.verification_period", "register {\n verification_period 1s\n unconfirmed_lifetime 1h\n }", func(t *testing.T, with, plain *place) {
		links := map[*place]data{}
		for _, p := range []*place{with, plain} {
			p.client().Post(201, "register", served.Newcomer("late"))
			links[p] = p.mail("late@example.org", 1).Link(t)
			after(t, links[p], 1)
		}
		require.Equal(t, "signature_expired", with.client().Code("POST", "/accounts/verify-registration", links[with]))
		require.Equal(t, "200", plain.client().Code("POST", "/accounts/verify-registration", links[plain]))
	}},
	{"register.unconfirmed_lifetime", "register {\n unconfirmed_lifetime 2s\n }", func(t *testing.T, with, plain *place) {
		for _, p := range []*place{with, plain} {
			p.client().Post(201, "register", served.Newcomer("waits"))
		}
		login := data{"login": "waits", "password": served.TestPassword}
		require.Eventually(t, func() bool { return with.client().Code("POST", served.LoginPath, login) == "login_invalid" }, served.Patience, 100*time.Millisecond)
		require.Equal(t, "not_verified", plain.client().Code("POST", served.LoginPath, login))
		with.client().Post(201, "register", served.Newcomer("waits")) // the name is free
	}},
	{"reset_password.verification_period", "reset_password {\n verification_period 1s\n }", func(t *testing.T, with, plain *place) {
		for p, want := range map[*place]string{with: "signature_expired", plain: "200"} {
			c := p.member("later")
			c.Post(200, "send-reset-password-link", data{"login": "later"})
			link := p.mailWith("later@example.org", "/reset").Link(t)
			after(t, link, 1)
			link["password"] = "another good passphrase"
			require.Equal(t, want, c.Code("POST", "/accounts/reset-password", link))
		}
	}},
	{"register_email.verification_period", "register_email {\n verification_period 1s\n }", func(t *testing.T, with, plain *place) {
		for p, want := range map[*place]string{with: "signature_expired", plain: "200"} {
			c := p.member("latest")
			c.Post(200, "register-email", data{"email": "new-latest@example.org"})
			link := p.mail("new-latest@example.org", 1).Link(t)
			after(t, link, 1)
			require.Equal(t, want, c.Code("POST", "/accounts/verify-email", link))
		}
	}},
	{"register.one_time_use", "register {\n one_time_use off\n }", func(t *testing.T, with, plain *place) {
		for p, want := range map[*place]string{with: "200", plain: "signature_invalid"} {
			p.member("once")
			require.Equal(t, want, p.client().Code("POST", "/accounts/verify-registration", p.mail("once@example.org", 1).Link(t)))
		}
	}},
	{"register.mode register.contact", "register {\n mode approve\n contact help@example.com\n }", func(t *testing.T, with, plain *place) {
		for p, want := range map[*place]string{with: "approval_pending", plain: "200"} {
			p.client().Post(201, "register", served.Newcomer("asking"))
			require.Equal(t, "200", p.client().Code("POST", "/accounts/verify-registration", p.mail("asking@example.org", 1).Link(t)))
			require.Equal(t, want, p.client().Code("POST", "/accounts/login", data{"login": "asking", "password": served.TestPassword}))
			require.Equal(t, p == with, strings.Contains(p.browser().Get("/accounts/verify-registration/").Text, `href="mailto:help@example.com"`))
		}
	}},
	{"register.notify", "register {\n notify owner@example.com\n }", func(t *testing.T, with, plain *place) {
		for _, p := range []*place{with, plain} {
			p.member("noticed")
		}
		require.Contains(t, with.mail("owner@example.com", 1).Text, "noticed")
		require.Empty(t, plain.Mails("owner@example.com"))
	}},
	{"register.allow_domains register.deny_domains", "register {\n allow_domains example.org *.example.org\n deny_domains bad.example.org\n }", func(t *testing.T, with, plain *place) {
		for domain, want := range map[string]string{"example.org": "201", "good.example.org": "201", "bad.example.org": "invalid email:domain_not_allowed", "example.net": "invalid email:domain_not_allowed"} {
			body := served.Newcomer("at-" + domain)
			body["email"] = "at@" + domain
			require.Equal(t, want, with.client().Code("POST", "/accounts/register", body))
			require.Equal(t, "201", plain.client().Code("POST", "/accounts/register", body))
		}
	}},
	{"register.code register.reason", "register {\n code sesame\n reason required\n }", func(t *testing.T, with, plain *place) {
		for p, want := range map[*place]string{with: "invalid code:required reason:required", plain: "201"} {
			require.Equal(t, want, p.client().Code("POST", "/accounts/register", served.Newcomer("coded")))
		}
		body := served.Newcomer("told")
		body["code"], body["reason"] = "sesame", "I know the word."
		require.Equal(t, "201", with.client().Code("POST", "/accounts/register", body))
	}},
	{"register.terms.page register.terms.version", "register {\n terms /terms.html 2026-11-01\n }", func(t *testing.T, with, plain *place) {
		for p, want := range map[*place]string{with: "invalid terms:terms_required", plain: "201"} {
			require.Equal(t, want, p.client().Code("POST", "/accounts/register", served.Newcomer("agrees")))
			require.Equal(t, p == with, strings.Contains(p.browser().Get("/accounts/register/").Text, `href="/terms.html"`))
		}
		body := served.Newcomer("agreed")
		body["terms"] = "2026-11-01"
		require.Equal(t, "201", with.client().Code("POST", "/accounts/register", body))
	}},
	{"register.reserved_names", "register {\n reserved_names billing\n }", func(t *testing.T, with, plain *place) {
		for p, want := range map[*place]string{with: "invalid username:invalid", plain: "201"} {
			require.Equal(t, want, p.client().Code("POST", "/accounts/register", served.Newcomer("Billing")))
		}
	}},
	{"register.auto_login", "register {\n auto_login on\n }", func(t *testing.T, with, plain *place) {
		for p, want := range map[*place]bool{with: true, plain: false} {
			c := p.client()
			c.Post(201, "register", served.Newcomer("auto"))
			res := c.Post(200, "verify-registration", p.mail("auto@example.org", 1).Link(t))
			require.Equal(t, want, strings.Contains(strings.Join(res.Header.Values("Set-Cookie"), " "), "registration="))
		}
	}},
	{"register.success_redirect register.failure_redirect", `register {
			success_redirect /welcome
			failure_redirect /sorry
		}`, func(t *testing.T, with, plain *place) {
		for p, want := range map[*place]string{with: "/welcome", plain: ""} {
			p.client().Post(201, "register", served.Newcomer("redi"))
			link := p.mail("redi@example.org", 1).URL(t).RequestURI()
			require.Equal(t, want, p.browser().Get(link).Header.Get("Location"))
		}
		for p, want := range map[*place]string{with: "/sorry", plain: ""} {
			require.Equal(t, want, p.browser().Get("/accounts/verify-registration/?user_id=x&timestamp=1&signature=x").Header.Get("Location"))
		}
	}},
}
