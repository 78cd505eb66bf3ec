// settings_cases_test.go: what each setting does, with it and without.

package config_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// allSettingCases has a case for every setting.
var allSettingCases = slices.Concat(settingCases, signUpCases)

var settingCases = []settingCase{
	{"path", "/konto", func(t *testing.T, with, plain *place) { // the directive's argument
		require.Equal(t, "login_invalid", with.client().Code("POST", "/konto/login", data{"login": "x", "password": "x"}))
		require.Equal(t, http.StatusNotFound, with.client().Get(profilePath).StatusCode)
		require.Equal(t, "login_invalid", plain.client().Code("POST", served.LoginPath, data{"login": "x", "password": "x"}))
	}},
	{"realm", "", func(t *testing.T, with, plain *place) { // each site has its own
		c := with.member("realma")
		c.RequireMember()
		require.Contains(t, with.client().Get("/members/").Header.Get("WWW-Authenticate"), `realm="`+with.name+`"`)
		require.Equal(t, "login_invalid", plain.client().Code("POST", served.LoginPath, data{"login": "realma", "password": served.TestPassword}))
	}},
	// Without base_url, from or mailer nothing loads (TestWrongConfigurations), so
	// these sites have one each.
	{"base_url", "", func(t *testing.T, with, plain *place) {
		for _, p := range []*place{with, plain} { // whatever Host a client sends
			c := p.client()
			c.Header.Set("X-Forwarded-Host", "evil.example.net")
			c.Post(201, "register", served.Newcomer("base"))
			require.Equal(t, p.name+".example", p.mail("base@example.org", 1).URL(t).Hostname())
		}
	}},
	{"register.fields", "register {\n fields email username\n }", func(t *testing.T, with, plain *place) {
		for p, want := range map[*place]string{with: "email username password password_confirm", plain: "username email password password_confirm"} {
			page := p.browser().Get("/accounts/register/").Text
			var inputs []string
			for _, found := range regexp.MustCompile(`<input id="([a-z_]+)"`).FindAllStringSubmatch(page, -1) {
				inputs = append(inputs, found[1])
			}
			require.Equal(t, want, strings.Join(inputs, " "))
		}
	}},
	{"from reply_to", "from \"The Garden <garden@example.net>\"\n reply_to help@example.net", func(t *testing.T, with, plain *place) {
		for p, want := range map[*place][2]string{with: {"\"The Garden\" <garden@example.net>", "help@example.net"}, plain: {"no-reply@example.com", ""}} {
			p.client().Post(201, "register", served.Newcomer("sender"))
			m := p.mail("sender@example.org", 1)
			require.Equal(t, want, [2]string{m.Header.Get("From"), m.Header.Get("Reply-To")})
		}
	}},
	{"secrets", "secret 0123456789abcdef0123", func(t *testing.T, with, plain *place) {
		// The links of one key are none of another's.
		with.client().Post(201, "register", served.Newcomer("keyed"))
		link := with.mail("keyed@example.org", 1).Link(t)
		require.Equal(t, "signature_invalid", plain.client().Code("POST", "/accounts/verify-registration", link))
		require.Equal(t, "200", with.client().Code("POST", "/accounts/verify-registration", link))
	}},
	{"store", "store bbolt [[dir]]/other.db", func(t *testing.T, with, plain *place) {
		for p, file := range map[*place]string{with: filepath.Join(with.Dir, "other.db"), plain: filepath.Join(plain.DataDir(), "registration.db")} {
			name := "stored-" + p.name
			p.client().Post(201, "register", served.Newcomer(name))
			for _, other := range []string{filepath.Join(with.Dir, "other.db"), filepath.Join(plain.DataDir(), "registration.db")} {
				require.Equal(t, other == file, strings.Contains(string(served.ReadFile(t, other)), name+"@example.org"), "%s in %s", name, other)
			}
		}
	}},
	{"store", "store bbolt [[dir]]/backed.db {\n backup [[dir]]/backups every 1h keep 3\n }", func(t *testing.T, with, plain *place) {
		with.Logged(0, "the store has been backed up", "backed-")
		made, err := filepath.Glob(filepath.Join(with.Dir, "backups", "backed-*.db"))
		require.NoError(t, err)
		require.Len(t, made, 1)
	}},
	{"mailer", "mailer log", func(t *testing.T, with, plain *place) {
		with.client().Post(201, "register", served.Newcomer("mailed"))
		with.Logged(0, "mailed@example.org", "verify-registration")
		require.NoDirExists(t, filepath.Join(with.Dir, with.name, "mail"))
		plain.client().Post(201, "register", served.Newcomer("mailed"))
		plain.mail("mailed@example.org", 1)
	}},
	{"templates register.mail reset_password.mail register_email.mail", `templates [[dir]]/templates
		register {
			mail {
				subject own.txt
				text_body own-body.txt
				html_body own.html
			}
		}
		reset_password {
			mail {
				body own.html
			}
		}
		register_email {
			mail {
				subject own.txt
			}
		}`, func(t *testing.T, with, plain *place) {
		c := plain.member("tess")
		require.Contains(t, plain.mail("tess@example.org", 1).Html, "</html>")
		c.Post(200, "send-reset-password-link", data{"login": "tess"})
		require.NotContains(t, plain.mailWith("tess@example.org", "/reset").Html, "<b>Own</b>")
		c.Post(200, "register-email", data{"email": "new-tess@example.org"})
		require.NotEqual(t, "Own subject", plain.mail("new-tess@example.org", 1).Subject)
		c = with.member("tess")
		m := with.mail("tess@example.org", 1)
		require.Equal(t, "Own subject", m.Subject)
		require.Contains(t, m.Text, "Own text for tess")
		require.Contains(t, m.Html, "<b>Own</b>")
		c.Post(200, "send-reset-password-link", data{"login": "tess"})
		m = with.mailWith("tess@example.org", "/reset")
		require.NotEqual(t, "Own subject", m.Subject)
		require.Contains(t, m.Html, "<b>Own</b>")
		c.Post(200, "register-email", data{"email": "new-tess@example.org"})
		require.Equal(t, "Own subject", with.mail("new-tess@example.org", 1).Subject)
	}},
	{"language", "language de", func(t *testing.T, with, plain *place) {
		require.Contains(t, with.browser().Get("/accounts/login/").Text, `lang="de"`)
		require.Contains(t, plain.browser().Get("/accounts/login/").Text, `lang="en"`)
	}},
	{"trusted_origins", "trusted_origins https://app.example.net https://*.example.org", func(t *testing.T, with, plain *place) {
		for _, origin := range []string{"https://app.example.net", "https://anything.example.org"} {
			for p, want := range map[*place]string{with: origin, plain: ""} {
				c := p.client()
				c.Header.Set("Origin", origin)
				require.Equal(t, want, c.Get(profilePath).Header.Get("Access-Control-Allow-Origin"))
			}
		}
	}},
	{"user.login_fields", "user {\n login_fields email\n }", func(t *testing.T, with, plain *place) {
		with.client().Post(201, "register", without(served.Newcomer("mel"), "username"))
		with.client().Post(200, "verify-registration", with.mail("mel@example.org", 1).Link(t))
		plain.member("mel")
		for p, want := range map[*place]string{with: "login_invalid", plain: "200"} { // the name; by default either
			require.Equal(t, "200", p.client().Code("POST", served.LoginPath, data{"login": "mel@example.org", "password": served.TestPassword}))
			require.Equal(t, want, p.client().Code("POST", served.LoginPath, data{"login": "mel", "password": served.TestPassword}))
		}
	}},
	{"user.max_emails", "user {\n max_emails 2\n }", func(t *testing.T, with, plain *place) {
		for p, want := range map[*place]string{with: "200", plain: "login_invalid"} { // the first one, beside the other or no more
			c := p.member("max")
			c.Post(200, "register-email", data{"email": "max@example.net"})
			c.Post(200, "verify-email", p.mail("max@example.net", 1).Link(t))
			require.Equal(t, want, p.client().Code("POST", served.LoginPath, data{"login": "max@example.org", "password": served.TestPassword}))
			require.Equal(t, "200", p.client().Code("POST", served.LoginPath, data{"login": "max@example.net", "password": served.TestPassword}))
		}
	}},
	{"user.public_fields", "user {\npublic_fields username first_name\n}", func(t *testing.T, with, plain *place) {
		// The address is its owner's to see, whatever is listed; it is nobody's to edit there.
		c := with.client()
		require.JSONEq(t, `{"username":"public","first_name":"","email":"public@example.org"}`, c.Post(201, "register", served.Newcomer("public")).Text)
		c.Post(200, "verify-registration", with.mail("public@example.org", 1).Link(t))
		c.SignIn("public")
		require.JSONEq(t, `{"username":"public","first_name":"P","email":"public@example.org"}`, c.Do("PATCH", profilePath, data{"first_name": "P", "last_name": "Q", "email": "x@example.org"}).Text)
		c.Header.Set("Accept", served.BrowserAccept)
		require.Contains(t, c.Get(profilePath).Text, "public@example.org")
		require.Contains(t, plain.member("public").Get(profilePath).JSON(t), "last_name")
	}},
	{"user.hidden_fields", "user {\npublic_fields username email\nhidden_fields email\n}", func(t *testing.T, with, plain *place) {
		for p, want := range map[*place]bool{with: false, plain: true} {
			c := p.member("hidden")
			_, shown := c.Get(profilePath).JSON(t)["email"]
			require.Equal(t, want, shown)
			c.Header.Set("Accept", served.BrowserAccept)
			require.Equal(t, want, strings.Contains(c.Get(profilePath).Text, "hidden@example.org"))
		}
	}},
	{"user.public_fields user.hidden_fields user.editable_fields", `user {
			public_fields id username email first_name last_name is_staff
			hidden_fields last_name
			editable_fields first_name
		}`, func(t *testing.T, with, plain *place) {
		profile := with.member("lists").Get(profilePath).JSON(t)
		require.Contains(t, profile, "is_staff")
		require.NotContains(t, profile, "last_name")
		c := with.client()
		c.SignIn("lists")
		require.Equal(t, "lists", c.Do("PATCH", profilePath, data{"username": "other", "first_name": "L"}).JSON(t)["username"])
		c = plain.member("lists")
		profile = c.Get(profilePath).JSON(t)
		require.NotContains(t, profile, "is_staff")
		require.Contains(t, profile, "last_name")
		require.Equal(t, "other", c.Do("PATCH", profilePath, data{"username": "other"}).JSON(t)["username"])
	}},
	{"user.fields", `user {
			field nick text {
				label "Nick name"
				required
				unique
				min_length 2
				max_length 5
				pattern "[a-z]+"
			}
			field age integer {
				min 18
				max 99
				default 20
			}
			field size choice {
				choices s m
			}
			field plan text {
				read_only
			}
			field born date {
				once
			}
			field score integer {
				hidden
			}
		}`, func(t *testing.T, with, plain *place) {
		body := served.Newcomer("fay")
		for name, c := range map[string]struct {
			value any
			code  string
		}{
			"too short": {"a", "min_length"}, "too long": {"abcdef", "max_length"}, "pattern": {"AB", "invalid"},
		} {
			body["nick"] = c.value
			require.Equal(t, "invalid nick:"+c.code, with.client().Code("POST", registerPath, body), name)
		}
		delete(body, "nick")
		require.Equal(t, "invalid nick:required", with.client().Code("POST", registerPath, body))
		fay := with.member("fay", data{"nick": "fay", "plan": "gold", "score": 7})
		profile := fay.Get(profilePath).JSON(t)
		require.InEpsilon(t, 20, profile["age"], 0)
		require.Empty(t, profile["plan"])
		require.NotContains(t, profile, "score")
		require.Equal(t, "invalid age:min_value size:invalid_choice", fay.Code("PATCH", profilePath, data{"age": 17, "size": "x"}))
		require.Equal(t, "invalid age:max_value", fay.Code("PATCH", profilePath, data{"age": 100}))
		require.Equal(t, "1990-01-01", fay.Do("PATCH", profilePath, data{"born": "1990-01-01"}).JSON(t)["born"])
		require.Equal(t, "1990-01-01", fay.Do("PATCH", profilePath, data{"born": "1991-01-01"}).JSON(t)["born"])
		other := served.Newcomer("guy")
		other["nick"] = "fay"
		require.Equal(t, "invalid nick:unique", with.client().Code("POST", registerPath, other))
		require.Contains(t, with.browser().Get("/accounts/register/").Text, "Nick name")
		require.NotContains(t, plain.member("fay", data{"nick": "fay"}).Get(profilePath).JSON(t), "nick")
	}},
	{"login.session login.token", "login {\n session off\n token on\n }", func(t *testing.T, with, plain *place) {
		for p, want := range map[*place]bool{with: true, plain: false} {
			c := p.member("toki")
			res := c.SignIn("toki")
			require.Equal(t, want, res.JSON(t)["token"] != nil)
			require.Equal(t, !want, res.Header.Get("Set-Cookie") != "")
		}
	}},
	{"login.mail_code", "login {\n mail_code on\n }", func(t *testing.T, with, plain *place) {
		for p, want := range map[*place]string{with: "200", plain: "not_found"} {
			p.member("coda")
			require.Equal(t, want, p.client().Code("POST", "/accounts/send-login-code", data{"login": "coda"}))
		}
		require.Regexp(t, `(?m)^    \d{6}\r?$`, with.mailWith("coda@example.org", "login-code").Text)
	}},
	{"login.oidc", "login {\n oidc ours {\n issuer https://id.example.org\n client_id site\n client_secret secret\n title \"Our sign-in\"\n trust_amr\n }\n }", func(t *testing.T, with, plain *place) {
		require.Contains(t, with.browser().Get("/accounts/login/").Text, "Sign in with Our sign-in")
		require.NotContains(t, plain.browser().Get("/accounts/login/").Text, "oidc-login")
		require.Equal(t, "not_found", plain.client().Code("POST", "/accounts/oidc-login", data{"provider": "ours"}))
	}},
	{"login.password", "login {\n oidc ours {\n issuer https://id.example.org\n client_id site\n }\n password off\n }", func(t *testing.T, with, plain *place) {
		for p, want := range map[*place]string{with: "not_found", plain: "login_invalid"} {
			require.Equal(t, want, p.client().Code("POST", "/accounts/login", data{"login": "nobody", "password": served.TestPassword}))
		}
	}},
	{"factors.totp", "factors {\n totp off\n }", func(t *testing.T, with, plain *place) {
		for p, want := range map[*place]string{with: "not_found", plain: "200"} {
			require.Equal(t, want, p.member("toto").Code("POST", "/accounts/enrol-totp", data{}))
		}
	}},
	{"factors.required_for", "factors {\n required_for admins\n }", func(t *testing.T, with, plain *place) {
		for p, want := range map[*place]any{with: true, plain: nil} {
			c := p.member("reba")
			p.AdminRequest(http.MethodPatch, "/registration/"+p.name+"/users/reba", "application/json", `{"groups": ["admins"]}`)
			require.Equal(t, want, c.SignIn("reba").JSON(t)["enrol"])
		}
	}},
	{"factors.trusted_device", "factors {\n trusted_device 30d\n }", func(t *testing.T, with, plain *place) {
		for p, want := range map[*place]string{with: "200", plain: "not_found"} {
			require.Equal(t, want, p.member("trude").Code("GET", "/accounts/trusted-devices", nil))
		}
	}},
	{"notices.new_device", "notices {\n new_device on\n }", func(t *testing.T, with, plain *place) {
		for _, p := range []*place{with, plain} {
			p.member("neda")
			p.client().SignIn("neda")
			p.client().SignIn("neda")
		}
		require.Contains(t, with.mailWith("neda@example.org", "end-sign-in").Subject, "New sign-in")
		plain.client().Post(http.StatusOK, "send-reset-password-link", data{"login": "neda"})
		require.Contains(t, plain.mail("neda@example.org", 2).Text, "reset-password") // and none before it
	}},
	{"notices.end_sign_in_url factors.undo_url", "notices {\n new_device on\n end_sign_in_url https://front.example.net/#/end\n }\n factors {\n undo_url https://front.example.net/undo\n }", func(t *testing.T, with, plain *place) {
		for p, host := range map[*place]string{with: "front.example.net", plain: plain.name + ".example"} {
			c := p.member("ends")
			secret := c.Post(http.StatusOK, "enrol-totp", data{}).JSON(t)["secret"].(string)
			c.Post(http.StatusCreated, "confirm-totp", data{"code": codeAt(t, secret, 0)})
			require.Equal(t, host, p.mailWith("ends@example.org", "factor=").URL(t).Hostname())
		}
		with.member("ends2")
		with.client().SignIn("ends2")
		require.Equal(t, "/end", with.mailWith("ends2@example.org", "sign_in=").URL(t).Fragment[:4], "a server must not see what the link carries")
	}},
	{"login.jwt", `login {
			token jwt {
				lifetime 2m
				issuer https://issuer.example.net
				audience an-audience
			}
		}`, func(t *testing.T, with, plain *place) {
		res := with.member("jay").SignIn("jay").JSON(t)
		parts := strings.Split(fmt.Sprint(res["token"]), ".")
		require.Len(t, parts, 3)
		claims := decodeSegment(t, parts[1])
		require.Equal(t, "https://issuer.example.net", claims["iss"])
		require.Contains(t, fmt.Sprint(claims["aud"]), "an-audience")
		require.InDelta(t, 120, claims["exp"].(float64)-claims["iat"].(float64), 1)
		require.Nil(t, plain.member("jay").SignIn("jay").JSON(t)["token"])
		keys, _ := with.client().Get(keysPath).JSON(t)["keys"].([]any)
		require.Len(t, keys, 1)
		require.Equal(t, 404, plain.client().Get(keysPath).StatusCode)
	}},
	{"login.jwt.key_lifetime", "login {\n token jwt {\n lifetime 1s\n key_lifetime 3s\n }\n }", func(t *testing.T, with, _ *place) {
		// Another key signs soon; in the case above, the next one is not even served.
		c := with.member("kay")
		signer := func() any {
			return decodeSegment(t, strings.Split(fmt.Sprint(c.SignIn("kay").JSON(t)["token"]), ".")[0])["kid"]
		}
		first := signer()
		require.True(t, served.Eventually(func() bool { return signer() != first }, 200*time.Millisecond))
	}},
	{"reset_password.enabled", "reset_password {\n enabled off\n }", func(t *testing.T, with, plain *place) {
		require.Equal(t, "not_found", with.client().Code("POST", resetPath, data{"login": "x"}))
		require.Equal(t, "200", plain.client().Code("POST", resetPath, data{"login": "x"}))
	}},
	{"reset_password.one_time_use reset_password.password_confirm", "reset_password {\n one_time_use off\n password_confirm on\n }", func(t *testing.T, with, plain *place) {
		for p, again := range map[*place]string{with: "200", plain: "signature_invalid"} {
			c := p.member("reto")
			c.Post(200, "send-reset-password-link", data{"login": "reto"})
			link := p.mailWith("reto@example.org", "/reset").Link(t)
			link["password"] = "another good passphrase"
			if p == with {
				require.Equal(t, "invalid password_confirm:required", c.Code("POST", "/accounts/reset-password", link))
				link["password_confirm"] = link["password"]
			}
			require.Equal(t, "200", c.Code("POST", "/accounts/reset-password", link))
			require.Equal(t, again, c.Code("POST", "/accounts/reset-password", link))
		}
	}},
	{"reset_password.use_email reset_password.fail_when_user_not_found", "reset_password {\n use_email on\n fail_when_user_not_found on\n }", func(t *testing.T, with, plain *place) {
		require.Equal(t, "invalid email:required", with.client().Code("POST", resetPath, data{"login": "x"}))
		require.Equal(t, "user_not_found", with.client().Code("POST", resetPath, data{"email": "nobody@example.org"}))
		require.Equal(t, "200", plain.client().Code("POST", resetPath, data{"login": "nobody"}))
	}},
	{"reset_password.success_redirect reset_password.failure_redirect", `reset_password {
			success_redirect /fine
			failure_redirect /bad
		}`, func(t *testing.T, with, plain *place) {
		for p, want := range map[*place]bool{with: true, plain: false} {
			c := p.member("rere")
			c.Post(200, "send-reset-password-link", data{"login": "rere"})
			form := url.Values{"password": {"another good passphrase"}}
			for k, v := range p.mailWith("rere@example.org", "/reset").Link(t) {
				form.Set(k, v.(string))
			}
			b := p.browser()
			require.Equal(t, want, b.Do("POST", "/accounts/reset-password/", form).Header.Get("Location") == "/fine")
			form.Set("signature", "x")
			require.Equal(t, want, b.Do("POST", "/accounts/reset-password/", form).Header.Get("Location") == "/bad")
		}
	}},
	{"register_email.verification", "register_email {\n verification off\n }", func(t *testing.T, with, plain *place) {
		for p, want := range map[*place]string{with: "new-rev@example.org", plain: "rev@example.org"} {
			c := p.member("rev")
			c.Post(200, "register-email", data{"email": "new-rev@example.org"})
			require.Equal(t, want, c.Get(profilePath).JSON(t)["email"])
		}
	}},
	{"register_email.max_age", "register_email {\n max_age 1s\n }", func(t *testing.T, with, plain *place) {
		c := with.member("maxi")
		require.True(t, served.Eventually(func() bool {
			return c.Code("POST", "/accounts/register-email", data{"email": "new-maxi@example.org"}) == "invalid password:reauthentication_required"
		}, 300*time.Millisecond))
		require.Equal(t, "200", plain.member("maxi").Code("POST", "/accounts/register-email", data{"email": "new-maxi@example.org"}))
	}},
	{"register_email.signed_in", "register_email {\n signed_in on\n }", func(t *testing.T, with, plain *place) {
		for p, want := range map[*place]string{with: "not_authenticated", plain: "200"} {
			p.member("owns").Post(200, "register-email", data{"email": "new-owns@example.org"})
			require.Equal(t, want, p.client().Code("POST", "/accounts/verify-email", p.mail("new-owns@example.org", 1).Link(t)))
		}
	}},
	{"register_email.success_redirect register_email.failure_redirect", `register_email {
			success_redirect /yes
			failure_redirect /no
		}`, func(t *testing.T, with, plain *place) {
		// redirect mode acts whoever opens the link, the page asks its owner to sign in
		for p, want := range map[*place]string{with: "/yes", plain: "/accounts/login/?next=%2Faccounts%2Fverify-email%2F"} {
			p.member("rede").Post(200, "register-email", data{"email": "new-rede@example.org"})
			require.Equal(t, want, p.browser().Get(p.mail("new-rede@example.org", 1).URL(t).RequestURI()).Header.Get("Location"))
		}
		for p, want := range map[*place]string{with: "/no", plain: ""} {
			require.Equal(t, want, p.browser().Get("/accounts/verify-email/?user_id=x&timestamp=1&signature=x&email=a@b.c").Header.Get("Location"))
		}
	}},
	{"change_password.password_confirm", "change_password {\n password_confirm off\n }", func(t *testing.T, with, plain *place) {
		body := data{"old_password": served.TestPassword, "password": "another good passphrase"}
		require.Equal(t, "200", with.member("chan").Code("POST", "/accounts/change-password", body))
		require.Equal(t, "invalid password_confirm:required", plain.member("chan").Code("POST", "/accounts/change-password", body))
	}},
	{"session.lifetime", "session {\n lifetime 2s\n }", func(t *testing.T, with, plain *place) {
		c, other := with.member("life"), plain.member("life")
		require.True(t, served.Eventually(func() bool { return c.Get("/members/").StatusCode == http.StatusUnauthorized }, 200*time.Millisecond))
		other.RequireMember()
	}},
	{"session.idle", "session {\n idle 2s\n }", func(t *testing.T, with, plain *place) {
		c, other := with.member("idle"), plain.member("idle")
		time.Sleep(2500 * time.Millisecond) // asking in between would be a use
		require.Equal(t, http.StatusUnauthorized, c.Get("/members/").StatusCode)
		other.RequireMember()
	}},
	{"session.max", "session {\n max 1\n }", func(t *testing.T, with, plain *place) {
		first, other := with.member("crowd"), plain.member("crowd")
		with.client().SignIn("crowd")
		plain.client().SignIn("crowd")
		require.Equal(t, http.StatusUnauthorized, first.Get("/members/").StatusCode)
		other.RequireMember()
	}},
	{"session.cookie_name session.cookie_domain session.same_site", `session {
			cookie_name biscuit
			cookie_domain [[name]].example
			same_site strict
		}`, func(t *testing.T, with, plain *place) {
		for p, want := range map[*place][]string{with: {"biscuit=", "Domain=" + with.name + ".example", "SameSite=Strict"}, plain: {"registration=", "SameSite=Lax"}} {
			p.member("cook")
			got := p.client().SignIn("cook").Header.Values("Set-Cookie")
			for _, part := range want {
				require.Contains(t, got[0], part)
			}
		}
	}},
	{"password", `password {
			argon2id 16KiB 2 1
			min_length 4
			numeric off
			common off
			similar off
		}`, func(t *testing.T, with, plain *place) {
		body := served.Newcomer("pass")
		for _, c := range []struct{ password, code string }{
			{"x7q", "password_too_short"}, {"1234", "password_entirely_numeric"}, {"password", "password_too_common"}, {"passpass@example.org", "password_too_similar"},
		} {
			body["password"], body["password_confirm"] = c.password, c.password
			require.Contains(t, plain.client().Code("POST", registerPath, body), c.code)
			if c.password != "x7q" {
				body["username"], body["email"] = "u"+fmt.Sprint(len(c.password)), fmt.Sprintf("pass%d@example.org", len(c.password))
				require.Equal(t, "201", with.client().Code("POST", registerPath, body))
				body["username"], body["email"] = "pass", "pass@example.org"
			}
		}
		require.True(t, strings.Contains(string(served.ReadFile(t, filepath.Join(with.DataDir(), "registration.db"))), "16,t=2,p=1$"), "the cost stands in the hash")
	}},
	{"password.breached", `password {
			argon2id 8KiB 1 1
			breached [[dir]]/pwned.txt
		}`, func(t *testing.T, with, plain *place) {
		const known = "bookshelf under the stairs" // by its SHA-1, see the files of TestSettings
		body := served.Newcomer("leaked")
		body["password"], body["password_confirm"] = known, known
		require.Contains(t, with.client().Code("POST", registerPath, body), "password_breached")
		require.Equal(t, "201", plain.client().Code("POST", registerPath, body))
		require.Equal(t, "201", with.client().Code("POST", registerPath, served.Newcomer("leaked")))
	}},
	{"password.validators", `password {
			argon2id 8KiB 1 1
			validator words acme Anvil
		}`, func(t *testing.T, with, plain *place) {
		body := served.Newcomer("smith")
		body["password"], body["password_confirm"] = "my ANVIL is heavy", "my ANVIL is heavy"
		require.Contains(t, with.client().Code("POST", registerPath, body), "password_refused")
		require.Equal(t, "201", plain.client().Code("POST", registerPath, body))
		require.Equal(t, "201", with.client().Code("POST", registerPath, served.Newcomer("smith")))
	}},
	{"delete_account.grace", "delete_account {\n grace 1s\n }", func(t *testing.T, with, plain *place) {
		const path = "/accounts/delete-account"
		body := data{"login": "leaver", "password": served.TestPassword}
		require.Equal(t, "200", with.member("leaver").Code("POST", path, data{}))
		require.Equal(t, "200", plain.member("leaver").Code("POST", path, data{}))
		require.Eventually(t, func() bool { return with.client().Code("POST", served.LoginPath, body) == "login_invalid" }, time.Minute, 100*time.Millisecond)
		require.Equal(t, "200", plain.client().Code("POST", served.LoginPath, body), "it asks whether he stays")
	}},
	{"delete_account.off", "delete_account off", func(t *testing.T, with, plain *place) {
		require.Equal(t, "not_found", with.member("stayer").Code("POST", "/accounts/delete-account", data{}))
		require.Equal(t, "200", plain.member("stayer").Code("POST", "/accounts/delete-account", data{}))
	}},
	{"throttle", "throttle login 20 1h", func(t *testing.T, with, plain *place) { // off in all other sites
		for i := range 30 {
			body := data{"login": "thro", "password": "x"}
			require.Equal(t, "login_invalid", plain.client().Code("POST", served.LoginPath, body))
			require.Equal(t, i >= 20, with.client().Code("POST", served.LoginPath, body) == "throttled", "%d", i)
		}
	}},
	{"throttle.login throttle.register throttle.reset throttle.email", `throttle login 2 1h
		throttle register 2 1h
		throttle reset 2 1h
		throttle email 2 1h`, func(t *testing.T, with, plain *place) {
		for path, body := range map[string]data{served.LoginPath: {"login": "t", "password": "x"}, registerPath: nil, resetPath: {"login": "t"}, "/accounts/resend-verification": {"login": "t"}} {
			for i, p := range []*place{with, with, with, plain, plain, plain} {
				if path == registerPath {
					body = served.Newcomer(fmt.Sprint("throttled", i))
				}
				require.Equal(t, i == 2, p.client().Code("POST", path, body) == "throttled", "%s %d", path, i)
			}
		}
	}},
	{"throttle.profile throttle.mail throttle.all_mail", `throttle profile 2 1h
		throttle mail 2 1h
		throttle all_mail 10 1h
		throttle reset 100 1m`, func(t *testing.T, with, plain *place) {
		for _, p := range []*place{with, plain} {
			c := p.member("postbag")
			for i := range 3 {
				got := c.Code("PATCH", "/accounts/profile", data{"first_name": fmt.Sprint("P", i)})
				require.Equal(t, p == with && i == 2, got == "throttled", "profile %d: %s", i, got)
			}
			for range 3 { // one of a kind is half of two
				require.Equal(t, "200", p.client().Code("POST", resetPath, data{"login": "postbag"}))
			}
			p.client().Post(http.StatusCreated, "register", served.Newcomer("postbag2"))
			p.mail("postbag2@example.org", 1)
			if p == plain {
				p.mail("postbag@example.org", 4)
			} else {
				p.mail("postbag@example.org", 2)
			}
			codes := map[string]int{}
			for i := range 5 {
				codes[p.client().Code("POST", resetPath, data{"login": fmt.Sprint("nobody", i)})]++
			}
			require.Equal(t, p == with, codes["throttled"] > 0, "all_mail: %v", codes)
		}
	}},
	{"non_field_errors_key", "non_field_errors_key on", func(t *testing.T, with, plain *place) {
		for p, key := range map[*place]string{with: "non_field_errors", plain: "detail"} {
			require.Contains(t, p.client().Do("POST", served.LoginPath, data{"login": "x", "password": "x"}).JSON(t), key)
		}
	}},
	// How long rows are kept is a matter of hours: internal/audit has it.
	{"audit", "audit off", func(t *testing.T, with, plain *place) {
		for p, want := range map[*place]bool{plain: true, with: false} {
			id, err := uuid.Parse(fmt.Sprint(p.member("chronicler").Get(profilePath).JSON(t)["id"]))
			require.NoError(t, err)
			row := slices.Concat(id[:], []byte{byte(len("signed_in"))}, []byte("signed_in"))
			require.Equal(t, want, bytes.Contains(served.ReadFile(t, filepath.Join(p.DataDir(), "registration.db")), row), "a row in the store")
			require.True(t, p.Log.Wait(0, p.Done, `"msg":"signed_in","realm":"`+p.name+`"`), "the log has it all the same")
		}
	}},
	{"authz.on", "authz on", func(t *testing.T, with, plain *place) {
		for p, want := range map[*place]int{with: http.StatusUnauthorized, plain: http.StatusNotFound} {
			require.Equal(t, want, p.client().Get("/accounts/authz/forward-auth").StatusCode)
			require.NotEqual(t, http.StatusUnauthorized, p.client().Get("/api/authz/forward-auth").StatusCode)
		}
	}},
	{"authz.legacy_paths", "authz {\n legacy_paths on\n }", func(t *testing.T, with, plain *place) {
		for _, path := range []string{"/accounts/authz/auth-request", "/api/authz/auth-request"} {
			require.Equal(t, http.StatusUnauthorized, with.client().Get(path).StatusCode)
			require.NotEqual(t, http.StatusUnauthorized, plain.client().Get(path).StatusCode)
		}
	}},
	{"admin", "admin {\n group admins\n second_factor off\n }", func(t *testing.T, with, plain *place) {
		for p, want := range map[*place]int{with: http.StatusOK, plain: http.StatusNotFound} {
			c := p.member("warden")
			require.Equal(t, http.StatusNotFound, c.Get("/accounts/admin/accounts").StatusCode, "no admin yet")
			p.AdminRequest(http.MethodPatch, "/registration/"+p.name+"/users/warden", "application/json", `{"groups": ["admins"]}`)
			require.Equal(t, want, c.Get("/accounts/admin/accounts").StatusCode)
		}
	}},
	// How old a sign-in may be is a matter of minutes: internal/web/owner has it.
	{"pages.off", "pages off\n register {\n verification_url https://front.example.net/\n }\n reset_password {\n verification_url https://front.example.net/\n }\n register_email {\n verification_url https://front.example.net/\n undo_url https://front.example.net/\n }", func(t *testing.T, with, plain *place) {
		require.Equal(t, http.StatusMethodNotAllowed, with.browser().Get("/accounts/login/").StatusCode)
		require.Equal(t, http.StatusOK, plain.browser().Get("/accounts/login/").StatusCode)
	}},
	{"pages", `pages {
			title "The Garden Club"
			logo [[dir]]/logo.svg
			logo_dark [[dir]]/logo-dark.svg
			favicon [[dir]]/icon.ico
			accent 7a1f5c
			stylesheet [[dir]]/brand.css
			templates [[dir]]/pages
			home /members/
			goodbye /accounts/send-reset-password-link/
			link privacy /privacy-of-members/
		}`, func(t *testing.T, with, plain *place) {
		page := with.browser().Get("/accounts/login/").Text
		for _, want := range []string{"The Garden Club", "logo.svg", "logo-dark.svg", "favicon.ico", "brand.css", "own layout", "/privacy-of-members/"} {
			require.Contains(t, page, want)
			require.NotContains(t, plain.browser().Get("/accounts/login/").Text, want)
		}
		require.Contains(t, with.browser().Get("/accounts/style.css").Text, "--accent: #7a1f5c")
		require.NotContains(t, plain.browser().Get("/accounts/style.css").Text, "#7a1f5c")
		for p, want := range map[*place][2]string{with: {"/members/", "/accounts/send-reset-password-link/"}, plain: {"/accounts/profile/", "/accounts/logout/"}} { // this site has no front page
			p.member("homing")
			b := p.browser()
			require.Equal(t, want[0], b.Do("POST", "/accounts/login/", url.Values{"login": {"homing"}, "password": {served.TestPassword}}).Header.Get("Location"))
			require.Equal(t, want[1], b.Do("POST", "/accounts/logout/", url.Values{}).Header.Get("Location"))
		}
	}},
}
