// contract_signup_test.go: the rows of the contract about sign-up, its
// confirmation, sign-in and sign-out: success, refusals, settings.

package registration

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/store"
)

// requireError checks status and codes of a refusal, through the problem shape.
func requireError(t testing.TB, a *answer, status int, want string) {
	t.Helper()
	require.Equal(t, status, a.StatusCode, a.body)
	var got []string
	body := a.json(t)
	if fields, ok := body["errors"].(map[string]any); ok {
		for _, field := range []string{"username", "email", "first_name", "login", "old_password", "password", "password_confirm", "user_id", "timestamp", "signature", "non_field_errors"} {
			list, _ := fields[field].([]any)
			for _, e := range list {
				got = append(got, field+":"+e.(map[string]any)["code"].(string))
			}
		}
	} else {
		got = append(got, body["code"].(string))
	}
	require.Equal(t, want, strings.Join(got, " "), a.body)
}

// problems makes a browser ask for RFC 9457, so that tests see codes.
func (b *browser) problems() *browser {
	b.header.Set("Accept", "application/problem+json")
	return b
}

func TestContractRegisterRefusals(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	long := strings.Repeat("x", 151)
	for name, c := range map[string]struct {
		body any
		want string
	}{
		"empty":                    {data{}, "username:required password:required password_confirm:required"},
		"null":                     {with(newcomer("bob"), data{"username": any(nil), "email": nullJSON}), "username:required email:null"},
		"blank":                    {with(newcomer("bob"), data{"username": "  "}), "username:blank"},
		"characters":               {with(newcomer("bob"), data{"username": "b ob", "email": "b@"}), "username:invalid email:invalid"},
		"long":                     {with(newcomer("bob"), data{"username": long, "first_name": long}), "username:max_length first_name:max_length"},
		"control character":        {with(newcomer("bob"), data{"first_name": "a\x00b"}), "first_name:invalid"},
		"kinds":                    {with(newcomer("bob"), data{"username": true, "email": []string{}, "password": data{}}), "username:invalid email:invalid password:invalid"},
		"taken, other case":        {with(newcomer("ADA"), data{"email": "ADA@Example.ORG"}), "username:unique"},
		"taken, other encoding":    {with(newcomer("\uff41da"), data{"email": "x@example.org"}), "username:unique"},
		"all fields together":      {data{"username": "ada", "email": "no", "password": "1", "password_confirm": "2"}, "username:unique email:invalid"},
		"validators together":      {with(newcomer("bob"), data{"password": "123", "password_confirm": "1234"}), "password:password_too_short password:password_entirely_numeric password:password_too_common password_confirm:passwords_do_not_match"},
		"similar to the name":      {with(newcomer("bobbington"), data{"password": "bobbington1", "password_confirm": "bobbington1"}), "password:password_too_similar"},
		"common":                   {with(newcomer("bob"), data{"password": "password1", "password_confirm": "password1"}), "password:password_too_common"},
		"password over 4096 bytes": {with(newcomer("bob"), data{"password": strings.Repeat("é", 2049), "password_confirm": "x"}), "password:max_length"},
		"no address":               {with(newcomer("bob"), data{"email": nil}), "email_required"},
		"blank address":            {with(newcomer("bob"), data{"email": ""}), "email_required"},
	} {
		t.Run(name, func(t *testing.T) {
			requireError(t, s.browser().problems().post("/accounts/register", c.body), http.StatusBadRequest, c.want)
		})
	}
	s.noMail()
}

// nullJSON is a null that with does not take for "remove".
var nullJSON any = (*int)(nil)

func TestContractRegisterIgnoresWhatIsNotTheirs(t *testing.T) {
	s := newSite(t)
	body := with(newcomer(" grace "), data{"id": "1", "is_active": true, "is_staff": true, "groups": []string{"admin"}, "date_joined": "x", "nonsense": 1, "email": "Grace@EXAMPLE.org"})
	res := s.browser().post("/accounts/register/", body)
	require.Equal(t, http.StatusCreated, res.StatusCode, res.body)
	got := res.json(t)
	require.Equal(t, "grace", got["username"], "text is trimmed")
	require.Equal(t, "Grace@example.org", got["email"], "the domain is lower-cased")
	require.NotContains(t, got, "is_staff")
	require.True(t, strings.HasPrefix(res.body, `{"id":"`), "the fields keep their order")
	u, err := s.accounts.Lookup(t.Context(), "GRACE")
	require.NoError(t, err)
	require.False(t, u.IsActive || u.IsStaff || len(u.Groups) > 0)
	require.True(t, u.AwaitsVerification)
}

func TestContractEncodings(t *testing.T) {
	s := newSite(t)
	form := url.Values{}
	for k, v := range newcomer("form") {
		form[k] = []string{"first", v.(string)} // the last wins
	}
	require.Equal(t, http.StatusCreated, s.browser().post("/accounts/register", form).StatusCode)
	b := s.browser()
	b.header.Set("Content-Type", "multipart/form-data; boundary=x")
	var body strings.Builder
	for k, v := range newcomer("multi") {
		body.WriteString("--x\r\nContent-Disposition: form-data; name=\"" + k + "\"\r\n\r\n" + v.(string) + "\r\n")
	}
	require.Equal(t, http.StatusCreated, b.post("/accounts/register", body.String()+"--x--\r\n").StatusCode)
	requireError(t, b.problems().post("/accounts/register", "--x\r\nContent-Disposition: form-data; name=\"username\"; filename=\"f\"\r\n\r\nx\r\n--x--\r\n"),
		http.StatusBadRequest, "username:invalid password:required password_confirm:required")
	for name, c := range map[string]struct {
		contentType, body string
		status            int
		want              string
	}{
		"other type":       {"text/plain", "x", 415, "unsupported_media_type"},
		"no type":          {"", "x", 415, "unsupported_media_type"},
		"broken type":      {"/", "x", 415, "unsupported_media_type"},
		"malformed":        {"application/json", "{", 400, "malformed"},
		"two values":       {"application/json", "{} {}", 400, "malformed"},
		"not UTF-8":        {"application/json", "{\"a\":\"\xff\"}", 400, "malformed"},
		"form not UTF-8":   {"application/x-www-form-urlencoded", "a=%ff", 400, "malformed"},
		"bad form":         {"application/x-www-form-urlencoded", "a=%zz", 400, "malformed"},
		"no boundary":      {"multipart/form-data", "x", 400, "malformed"},
		"cut multipart":    {"multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx", 400, "malformed"},
		"bad multipart":    {"multipart/form-data; boundary=x", "hello", 400, "malformed"},
		"array":            {"application/json", "[]", 400, "non_field_errors:not_an_object"},
		"deep":             {"application/json", strings.Repeat("[", 20000), 400, "malformed"},
		"too large":        {"application/json", `{"a":"` + strings.Repeat("x", 70000) + `"}`, 413, "too_large"},
		"empty JSON":       {"application/json", " ", 400, "login:required password:required"},
		"key twice":        {"application/json", `{"login":"x","login":null,"password":"x"}`, 400, "login:null"},
		"number as string": {"application/json; charset=utf-8", `{"login":123,"password":456}`, 400, "login_invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			b := s.browser().problems()
			if c.contentType != "" {
				b.header.Set("Content-Type", c.contentType)
			}
			requireError(t, b.post("/accounts/login", c.body), c.status, c.want)
		})
	}
}

func TestContractOrderOfRefusals(t *testing.T) {
	s := newSite(t, func(s *Settings) {
		s.ResetPassword.Enabled = off()
		s.Register.Enabled = off()
		s.Register.Verification = off()
	})
	for name, c := range map[string]struct {
		method, path, want string
		status             int
	}{
		"unknown":               {"POST", "/accounts/nothing", "not_found", 404},
		"nested":                {"POST", "/accounts/login/more", "not_found", 404},
		"off before method":     {"DELETE", "/accounts/reset-password", "not_found", 404},
		"sign-up off":           {"POST", "/accounts/register", "not_found", 404},
		"verification off":      {"POST", "/accounts/verify-registration/", "not_found", 404},
		"resend off":            {"POST", "/accounts/resend-verification", "not_found", 404},
		"method before sign-in": {"DELETE", "/accounts/profile", "method_not_allowed", 405},
		"sign-in before type":   {"POST", "/accounts/change-password", "not_authenticated", 401},
	} {
		t.Run(name, func(t *testing.T) {
			b := s.browser().problems()
			b.header.Set("Content-Type", "text/nonsense")
			res := b.do(c.method, c.path, "x")
			requireError(t, res, c.status, c.want)
			require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
			if c.status == http.StatusUnauthorized {
				require.Contains(t, res.Header.Get("WWW-Authenticate"), "Bearer")
			}
			if c.status == http.StatusMethodNotAllowed {
				require.Equal(t, "GET, HEAD, POST, PUT, PATCH", res.Header.Get("Allow"))
			}
		})
	}
}

func TestContractVerification(t *testing.T) {
	s := newSite(t)
	b := s.browser().problems()
	require.Equal(t, http.StatusCreated, b.post("/accounts/register", newcomer("ada")).StatusCode)
	link := linkOf(s.mail(), t)
	requireError(t, b.post("/accounts/login", data{"login": "ada", "password": testPassword}), 400, "not_verified")
	for name, c := range map[string]struct {
		change data
		want   string
	}{
		"nothing":         {data{"user_id": nil, "timestamp": nil, "signature": nil}, "user_id:required timestamp:required signature:required"},
		"other signature": {data{"signature": strings.Repeat("A", 43)}, "signature_invalid"},
		"not base64":      {data{"signature": "!"}, "signature_invalid"},
		"other time":      {data{"timestamp": "1"}, "signature_invalid"},
		"no time":         {data{"timestamp": "x"}, "signature_invalid"},
		"negative time":   {data{"timestamp": "-5"}, "signature_invalid"},
		"no id":           {data{"user_id": "x"}, "signature_invalid"},
		"unknown account": {data{"user_id": "01a20b8b-22d4-7b20-8a19-940b3cb16b0b"}, "signature_invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			requireError(t, b.post("/accounts/verify-registration", with(link, c.change)), 400, c.want)
		})
	}
	s.travel(7*24*time.Hour + time.Second)
	requireError(t, b.post("/accounts/verify-registration", link), 400, "signature_expired")
	s.travel(-8 * 24 * time.Hour) // now the link is from the future
	requireError(t, b.post("/accounts/verify-registration", link), 400, "signature_invalid")
	s.travel(2 * 24 * time.Hour)
	var wg sync.WaitGroup
	var mu sync.Mutex
	count := map[int]int{}
	for range 100 {
		wg.Go(func() {
			status := s.browser().post("/accounts/verify-registration", link).StatusCode
			mu.Lock()
			defer mu.Unlock()
			count[status]++
		})
	}
	wg.Wait()
	require.Equal(t, map[int]int{200: 1, 400: 99}, count)
	require.NotEmpty(t, s.signedIn("ada").cookie)
}

func TestContractHundredForOneName(t *testing.T) {
	s := newSite(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	count := map[int]int{}
	for range 100 {
		wg.Go(func() {
			status := s.browser().post("/accounts/register", newcomer("ada")).StatusCode
			mu.Lock()
			defer mu.Unlock()
			count[status]++
		})
	}
	wg.Wait()
	require.Equal(t, map[int]int{201: 1, 400: 99}, count)
	s.mail()
	s.noMail()
}

func TestContractRegisterSettings(t *testing.T) {
	t.Run("verification off", func(t *testing.T) {
		s := newSite(t, func(s *Settings) { s.Register.Verification = off() })
		body := with(newcomer("ada"), data{"email": nil})
		require.Equal(t, http.StatusCreated, s.browser().post("/accounts/register", body).StatusCode)
		s.signedIn("ada")
		s.noMail()
	})
	t.Run("confirmation off", func(t *testing.T) {
		s := newSite(t, func(s *Settings) { s.Register.PasswordConfirm = off() })
		require.Equal(t, http.StatusCreated, s.browser().post("/accounts/register", with(newcomer("ada"), data{"password_confirm": nil})).StatusCode)
	})
	t.Run("used again", func(t *testing.T) {
		s := newSite(t, func(s *Settings) { s.Register.OneTimeUse = off() })
		s.browser().post("/accounts/register", newcomer("ada"))
		link := linkOf(s.mail(), t)
		require.Equal(t, 200, s.browser().post("/accounts/verify-registration", link).StatusCode)
		require.Equal(t, 200, s.browser().post("/accounts/verify-registration", link).StatusCode)
		_, err := s.accounts.Administer(t.Context(), uuidOf(t, s, "ada"), account.AdminChange{IsActive: off()})
		require.NoError(t, err)
		requireError(t, s.browser().problems().post("/accounts/verify-registration", link), 400, "signature_invalid")
	})
	t.Run("auto-login", func(t *testing.T) {
		s := newSite(t, func(s *Settings) { s.Register.AutoLogin = on(); s.Login.Token = on() })
		b := s.browser()
		b.post("/accounts/register", newcomer("ada"))
		res := b.post("/accounts/verify-registration", linkOf(s.mail(), t))
		require.Contains(t, res.json(t), "token")
		require.Equal(t, protectedPage, b.get("/members/").body)
	})
	t.Run("period and page", func(t *testing.T) {
		s := newSite(t, func(s *Settings) {
			s.Register.VerificationPeriod, s.Register.VerificationURL = caddy.Duration(time.Hour), "https://app.example.net/verify?lang=en"
		})
		s.browser().post("/accounts/register", newcomer("ada"))
		m := s.mail()
		require.Contains(t, m.Text, "https://app.example.net/verify?lang=en&signature=")
		require.Contains(t, m.Text, "good for 1 hour.")
		s.travel(time.Hour + time.Second)
		requireError(t, s.browser().problems().post("/accounts/verify-registration", linkOf(m, t)), 400, "signature_expired")
	})
	t.Run("sign in by e-mail", func(t *testing.T) {
		s := newSite(t, func(s *Settings) { s.User.LoginFields = []string{"email"} })
		require.Equal(t, 201, s.browser().post("/accounts/register", with(newcomer("x"), data{"username": nil, "email": "ada@example.org"})).StatusCode)
		require.Equal(t, 200, s.browser().post("/accounts/verify-registration", linkOf(s.mail(), t)).StatusCode)
		require.Equal(t, 200, s.browser().post("/accounts/login", data{"email": "ADA@Example.org", "password": testPassword}).StatusCode)
		requireError(t, s.browser().problems().post("/accounts/login", data{"username": "ada", "password": testPassword}), 400, "login:required")
	})
	t.Run("nobody takes another's address as his name", func(t *testing.T) {
		s := newSite(t, func(s *Settings) { s.User.LoginFields = []string{"username", "email"} })
		s.member("ada")
		requireError(t, s.browser().problems().post("/accounts/register", with(newcomer("eve"), data{"username": "ADA@example.org"})), 400, "username:invalid")
	})
}

func TestContractResend(t *testing.T) {
	s := newSite(t)
	s.member("verified")
	s.browser().post("/accounts/register", newcomer("ada"))
	first := s.mail()
	for _, body := range []data{{"login": "ada"}, {"username": "ADA"}, {"email": "ada@example.org"}} {
		require.Equal(t, 200, s.browser().post("/accounts/resend-verification", body).StatusCode)
		again := s.mail()
		require.NotEqual(t, first.ID, again.ID)
		require.Equal(t, "ada@example.org", again.To)
	}
	for _, body := range []data{{"login": "verified"}, {"login": "nobody"}} {
		require.Equal(t, 200, s.browser().post("/accounts/resend-verification", body).StatusCode)
	}
	requireError(t, s.browser().problems().post("/accounts/resend-verification", data{}), 400, "login:required")
	s.noMail()
}

func TestContractSignIn(t *testing.T) {
	s := newSite(t, func(s *Settings) { s.Login.Token = on() })
	s.member("ada")
	s.member("disabled")
	s.browser().post("/accounts/register", newcomer("waiting"))
	s.mail()
	_, err := s.accounts.Administer(t.Context(), uuidOf(t, s, "disabled"), account.AdminChange{IsActive: off()})
	require.NoError(t, err)
	var bodies []string
	for _, body := range []data{{"login": "nobody", "password": testPassword}, {"login": "ada", "password": "wrong"}, {"login": "waiting", "password": "wrong"}, {"login": "disabled", "password": "wrong"}, {"login": "waiting@example.org", "password": testPassword}, {"login": "disabled@example.org", "password": testPassword}, {"email": "disabled@example.org", "password": testPassword}} {
		res := s.browser().post("/accounts/login", body)
		require.Equal(t, 400, res.StatusCode)
		require.Empty(t, res.Cookies())
		bodies = append(bodies, res.body)
	}
	for _, body := range bodies {
		require.Equal(t, bodies[0], body, "nothing tells them apart")
	}
	for name, code := range map[string]string{"waiting": "not_verified", "disabled": "disabled"} { // to who knows name and password
		res := s.browser().problems().post("/accounts/login", data{"login": name, "password": testPassword})
		requireError(t, res, 400, code)
		require.Empty(t, res.Cookies())
	}
	b := s.browser()
	res := b.post("/accounts/login", data{"username": "ADA", "password": testPassword})
	require.Equal(t, 200, res.StatusCode)
	first := b.cookie["registration"]
	c := res.Cookies()[0]
	require.True(t, c.HttpOnly && !c.Secure && c.Path == "/" && c.SameSite == http.SameSiteLaxMode && c.Domain == "" && c.MaxAge == 14*24*3600, c)
	b.post("/accounts/login", data{"login": "ada", "password": testPassword})
	require.NotEqual(t, first, b.cookie["registration"])
	b.cookie["registration"] = first
	require.Equal(t, 401, b.get("/accounts/profile").StatusCode, "the old session of this browser has ended")

	token := res.json(t)["token"].(string)
	api := s.browser()
	for _, scheme := range []string{"Token ", "Bearer ", "bearer "} {
		api.header.Set("Authorization", scheme+token)
		require.Equal(t, 200, api.get("/accounts/profile").StatusCode)
		require.Equal(t, protectedPage, api.get("/members/").body)
	}
	api.header.Set("Authorization", "Token "+strings.Repeat("x", 43))
	requireError(t, api.problems().post("/accounts/login", data{}), 401, "token_invalid")
}

func TestContractHTTPSCookie(t *testing.T) {
	s := newSite(t, func(s *Settings) { s.BaseURL = "https://example.com" })
	s.member("ada")
	b := s.signedIn("ada")
	require.Contains(t, b.cookie, "__Host-registration")
	require.Equal(t, protectedPage, b.get("/members/").body)
}

func TestContractSignOut(t *testing.T) {
	s := newSite(t, func(s *Settings) { s.Login.Token = on() })
	s.member("ada")
	require.Equal(t, 401, s.browser().post("/accounts/logout", nil).StatusCode)
	b, other := s.signedIn("ada"), s.signedIn("ada")
	session := b.cookie["registration"]
	require.Equal(t, 200, b.post("/accounts/logout", data{"revoke_token": true}).StatusCode)
	require.NotContains(t, b.cookie, "registration")
	b.cookie["registration"] = session
	require.Equal(t, 401, b.get("/accounts/profile").StatusCode)
	requireError(t, other.problems().post("/accounts/logout", data{"revoke_token": true}), 400, "no_token")
	require.NotContains(t, other.cookie, "registration", "the session has ended all the same")

	api := s.browser()
	token := s.browser().post("/accounts/login", data{"login": "ada", "password": testPassword}).json(t)["token"].(string)
	api.header.Set("Authorization", "Bearer "+token)
	require.Equal(t, 200, api.post("/accounts/logout", nil).StatusCode)
	require.Equal(t, 200, api.get("/accounts/profile").StatusCode, "without revoke_token the token stays")
	require.Equal(t, 200, api.post("/accounts/logout", data{"revoke_token": true}).StatusCode)
	require.Equal(t, 401, api.get("/accounts/profile").StatusCode)
}

func TestContractSessionsEnd(t *testing.T) {
	s := newSite(t, func(s *Settings) {
		s.Session.Lifetime, s.Session.Idle = caddy.Duration(10*time.Hour), caddy.Duration(4*time.Hour)
	})
	s.member("ada")
	idle, busy := s.signedIn("ada"), s.signedIn("ada")
	for range 3 {
		s.travel(3 * time.Hour)
		require.Equal(t, 200, busy.get("/accounts/profile").StatusCode)
	}
	require.Equal(t, 401, idle.get("/accounts/profile").StatusCode)
	require.NoError(t, s.realm.engine.sessions.Flush(t.Context()))
	s.realm.engine.sessions.Live = session.NewCache[store.TokenHash, *session.LiveSession](16, func(h store.TokenHash) byte { return h[0] })
	require.Equal(t, 200, busy.get("/accounts/profile").StatusCode, "the last use was written back")
	s.travel(2 * time.Hour)
	require.Equal(t, 401, busy.get("/accounts/profile").StatusCode, "the lifetime is absolute")
	removed, err := s.realm.engine.sessions.Sweep(t.Context(), s.realm.Now())
	require.NoError(t, err)
	require.Equal(t, 2, removed)
}

func TestContractForeignOrigins(t *testing.T) {
	s := newSite(t, func(s *Settings) { s.TrustedOrigins = []string{"https://app.example.net", "https://*.example.org"} })
	s.member("ada")
	b := s.signedIn("ada").problems()
	for name, c := range map[string]struct {
		header, value string
		status        int
	}{
		"own origin":         {"Origin", "http://example.com", 200},
		"foreign":            {"Origin", "https://evil.example", 403},
		"null":               {"Origin", "null", 403},
		"other port":         {"Origin", "http://example.com:81", 403},
		"cross-site by name": {"Sec-Fetch-Site", "cross-site", 403},
		"same-origin":        {"Sec-Fetch-Site", "same-origin", 200},
		"trusted":            {"Origin", "https://app.example.net", 200},
		"trusted, any label": {"Origin", "https://anything.example.org", 200},
		"two labels":         {"Origin", "https://any.thing.example.org", 403},
		"no label":           {"Origin", "https://example.org", 403},
		"plain HTTP":         {"Origin", "http://anything.example.org", 403},
	} {
		t.Run(name, func(t *testing.T) {
			b.header.Set(c.header, c.value)
			defer b.header.Del(c.header)
			res := b.do("PATCH", "/accounts/profile", data{"first_name": "x"})
			require.Equal(t, c.status, res.StatusCode, res.body)
			if strings.HasPrefix(name, "trusted") {
				require.Equal(t, c.value, res.Header.Get("Access-Control-Allow-Origin"))
			} else {
				require.Empty(t, res.Header.Get("Access-Control-Allow-Origin"))
			}
		})
	}
	stranger := s.browser().problems()
	stranger.header.Set("Origin", "https://evil.example")
	requireError(t, stranger.post("/accounts/login", data{"login": "ada", "password": testPassword}), 403, "cross_origin")
	stranger.header.Set("Access-Control-Request-Method", "POST")
	for _, origin := range []string{"https://app.example.net", "https://anything.example.org"} {
		stranger.header.Set("Origin", origin)
		res := stranger.do("OPTIONS", "/accounts/login", nil)
		require.Equal(t, 204, res.StatusCode)
		require.Equal(t, origin, res.Header.Get("Access-Control-Allow-Origin"))
		require.Equal(t, "true", res.Header.Get("Access-Control-Allow-Credentials"))
	}
	for next, want := range map[string]string{"https://anything.example.org/x": "https://anything.example.org/x", "https://any.thing.example.org/x": "/accounts/profile/"} {
		b := s.browser().likeBrowser()
		res := b.post("/accounts/login/", url.Values{"login": {"ada"}, "password": {testPassword}, "next": {next}})
		require.Equal(t, want, res.Header.Get("Location"))
	}
}
