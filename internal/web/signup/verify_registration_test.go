// verify_registration_test.go: the rows of the contract about sign-up, its
// confirmation, sign-in and sign-out: success, refusals, settings.

package signup_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
)

func TestContractRegisterRefusals(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	long := strings.Repeat("x", 151)
	for name, c := range map[string]struct {
		body any
		want string
	}{
		"empty":                    {sitetest.Data{}, "username:required password:required password_confirm:required"},
		"null":                     {sitetest.With(sitetest.Newcomer("bob"), sitetest.Data{"username": any(nil), "email": sitetest.NullJSON}), "username:required email:null"},
		"blank":                    {sitetest.With(sitetest.Newcomer("bob"), sitetest.Data{"username": "  "}), "username:blank"},
		"characters":               {sitetest.With(sitetest.Newcomer("bob"), sitetest.Data{"username": "b ob", "email": "b@"}), "username:invalid email:invalid"},
		"long":                     {sitetest.With(sitetest.Newcomer("bob"), sitetest.Data{"username": long, "first_name": long}), "username:max_length first_name:max_length"},
		"control character":        {sitetest.With(sitetest.Newcomer("bob"), sitetest.Data{"first_name": "a\x00b"}), "first_name:invalid"},
		"kinds":                    {sitetest.With(sitetest.Newcomer("bob"), sitetest.Data{"username": true, "email": []string{}, "password": sitetest.Data{}}), "username:invalid email:invalid password:invalid"},
		"taken, other case":        {sitetest.With(sitetest.Newcomer("ADA"), sitetest.Data{"email": "ADA@Example.ORG"}), "username:unique"},
		"taken, other encoding":    {sitetest.With(sitetest.Newcomer("\uff41da"), sitetest.Data{"email": "x@example.org"}), "username:unique"},
		"all fields together":      {sitetest.Data{"username": "ada", "email": "no", "password": "1", "password_confirm": "2"}, "username:unique email:invalid password:password_too_short password:password_entirely_numeric password:password_too_common password_confirm:passwords_do_not_match"},
		"validators together":      {sitetest.With(sitetest.Newcomer("bob"), sitetest.Data{"password": "123", "password_confirm": "1234"}), "password:password_too_short password:password_entirely_numeric password:password_too_common password_confirm:passwords_do_not_match"},
		"similar to the name":      {sitetest.With(sitetest.Newcomer("bobbington"), sitetest.Data{"password": "bobbington1", "password_confirm": "bobbington1"}), "password:password_too_similar"},
		"common":                   {sitetest.With(sitetest.Newcomer("bob"), sitetest.Data{"password": "password1", "password_confirm": "password1"}), "password:password_too_common"},
		"password over 4096 bytes": {sitetest.With(sitetest.Newcomer("bob"), sitetest.Data{"password": strings.Repeat("é", 2049), "password_confirm": "x"}), "password:max_length"},
		"no address":               {sitetest.With(sitetest.Newcomer("bob"), sitetest.Data{"email": nil}), "email_required"},
		"blank address":            {sitetest.With(sitetest.Newcomer("bob"), sitetest.Data{"email": ""}), "email_required"},
	} {
		t.Run(name, func(t *testing.T) {
			sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/register", c.body), http.StatusBadRequest, c.want)
		})
	}
	s.NoMail()
}

func TestContractRegisterIgnoresWhatIsNotTheirs(t *testing.T) {
	s := sitetest.New(t)
	body := sitetest.With(sitetest.Newcomer(" grace "), sitetest.Data{"id": "1", "is_active": true, "is_staff": true, "groups": []string{"admin"}, "date_joined": "x", "nonsense": 1, "email": "Grace@EXAMPLE.org"})
	res := s.Browser().Post("/accounts/register/", body)
	require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
	got := res.JSON(t)
	require.Equal(t, "grace", got["username"], "text is trimmed")
	require.Equal(t, "Grace@example.org", got["email"], "the domain is lower-cased")
	require.NotContains(t, got, "is_staff")
	require.True(t, strings.HasPrefix(res.Text, `{"id":"`), "the fields keep their order")
	u, err := s.Accounts.Lookup(t.Context(), "GRACE")
	require.NoError(t, err)
	require.False(t, u.IsActive || u.IsStaff || len(u.Groups) > 0)
	require.True(t, u.AwaitsVerification)
}

func TestContractEncodings(t *testing.T) {
	s := sitetest.New(t)
	form := url.Values{}
	for k, v := range sitetest.Newcomer("form") {
		form[k] = []string{"first", v.(string)} // the last wins
	}
	require.Equal(t, http.StatusCreated, s.Browser().Post("/accounts/register", form).StatusCode)
	b := s.Browser()
	b.Header.Set("Content-Type", "multipart/form-data; boundary=x")
	var body strings.Builder
	for k, v := range sitetest.Newcomer("multi") {
		body.WriteString("--x\r\nContent-Disposition: form-data; name=\"" + k + "\"\r\n\r\n" + v.(string) + "\r\n")
	}
	require.Equal(t, http.StatusCreated, b.Post("/accounts/register", body.String()+"--x--\r\n").StatusCode)
	sitetest.RequireError(t, b.Problems().Post("/accounts/register", "--x\r\nContent-Disposition: form-data; name=\"username\"; filename=\"f\"\r\n\r\nx\r\n--x--\r\n"),
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
			b := s.Browser().Problems()
			if c.contentType != "" {
				b.Header.Set("Content-Type", c.contentType)
			}
			sitetest.RequireError(t, b.Post("/accounts/login", c.body), c.status, c.want)
		})
	}
}

func TestContractOrderOfRefusals(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) {
		s.ResetPassword.Enabled = sitetest.Off()
		s.Register.Enabled = sitetest.Off()
		s.Register.Verification = sitetest.Off()
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
			b := s.Browser().Problems()
			b.Header.Set("Content-Type", "text/nonsense")
			res := b.Do(c.method, c.path, "x")
			sitetest.RequireError(t, res, c.status, c.want)
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
	s := sitetest.New(t)
	b := s.Browser().Problems()
	require.Equal(t, http.StatusCreated, b.Post("/accounts/register", sitetest.Newcomer("ada")).StatusCode)
	link := sitetest.LinkOf(s.Mail(), t)
	sitetest.RequireError(t, b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}), 400, "not_verified")
	for name, c := range map[string]struct {
		change sitetest.Data
		want   string
	}{
		"nothing":         {sitetest.Data{"user_id": nil, "timestamp": nil, "signature": nil}, "user_id:required timestamp:required signature:required"},
		"other signature": {sitetest.Data{"signature": strings.Repeat("A", 43)}, "signature_invalid"},
		"not base64":      {sitetest.Data{"signature": "!"}, "signature_invalid"},
		"other time":      {sitetest.Data{"timestamp": "1"}, "signature_invalid"},
		"no time":         {sitetest.Data{"timestamp": "x"}, "signature_invalid"},
		"negative time":   {sitetest.Data{"timestamp": "-5"}, "signature_invalid"},
		"no id":           {sitetest.Data{"user_id": "x"}, "signature_invalid"},
		"unknown account": {sitetest.Data{"user_id": "01a20b8b-22d4-7b20-8a19-940b3cb16b0b"}, "signature_invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			sitetest.RequireError(t, b.Post("/accounts/verify-registration", sitetest.With(link, c.change)), 400, c.want)
		})
	}
	s.Travel(7*24*time.Hour + time.Second)
	sitetest.RequireError(t, b.Post("/accounts/verify-registration", link), 400, "signature_expired")
	s.Travel(-8 * 24 * time.Hour) // now the link is from the future
	sitetest.RequireError(t, b.Post("/accounts/verify-registration", link), 400, "signature_invalid")
	s.Travel(2 * 24 * time.Hour)
	var wg sync.WaitGroup
	var mu sync.Mutex
	count := map[int]int{}
	for range 100 {
		wg.Go(func() {
			status := s.Browser().Post("/accounts/verify-registration", link).StatusCode
			mu.Lock()
			defer mu.Unlock()
			count[status]++
		})
	}
	wg.Wait()
	require.Equal(t, map[int]int{200: 1, 400: 99}, count)
	require.NotEmpty(t, s.SignedIn("ada").Cookie)
}

func TestContractHundredForOneName(t *testing.T) {
	s := sitetest.New(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	count := map[int]int{}
	for range 100 {
		wg.Go(func() {
			status := s.Browser().Post("/accounts/register", sitetest.Newcomer("ada")).StatusCode
			mu.Lock()
			defer mu.Unlock()
			count[status]++
		})
	}
	wg.Wait()
	require.Equal(t, map[int]int{201: 1, 400: 99}, count)
	s.Mail()
	s.NoMail()
}

func TestContractRegisterSettings(t *testing.T) {
	t.Run("verification off", func(t *testing.T) {
		s := sitetest.New(t, func(s *registration.Settings) { s.Register.Verification = sitetest.Off() })
		body := sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"email": nil})
		require.Equal(t, http.StatusCreated, s.Browser().Post("/accounts/register", body).StatusCode)
		s.SignedIn("ada")
		s.NoMail()
	})
	t.Run("confirmation off", func(t *testing.T) {
		s := sitetest.New(t, func(s *registration.Settings) { s.Register.PasswordConfirm = sitetest.Off() })
		require.Equal(t, http.StatusCreated, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"password_confirm": nil})).StatusCode)
	})
	t.Run("used again", func(t *testing.T) {
		s := sitetest.New(t, func(s *registration.Settings) { s.Register.OneTimeUse = sitetest.Off() })
		s.Browser().Post("/accounts/register", sitetest.Newcomer("ada"))
		link := sitetest.LinkOf(s.Mail(), t)
		require.Equal(t, 200, s.Browser().Post("/accounts/verify-registration", link).StatusCode)
		require.Equal(t, 200, s.Browser().Post("/accounts/verify-registration", link).StatusCode)
		_, err := s.Accounts.Administer(t.Context(), sitetest.UUIDOf(t, s, "ada"), account.AdminChange{IsActive: sitetest.Off()})
		require.NoError(t, err)
		sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/verify-registration", link), 400, "signature_invalid")
	})
	t.Run("auto-login", func(t *testing.T) {
		s := sitetest.New(t, func(s *registration.Settings) { s.Register.AutoLogin = sitetest.On(); s.Login.Token = sitetest.On() })
		b := s.Browser()
		b.Post("/accounts/register", sitetest.Newcomer("ada"))
		res := b.Post("/accounts/verify-registration", sitetest.LinkOf(s.Mail(), t))
		require.Contains(t, res.JSON(t), "token")
		require.Equal(t, sitetest.ProtectedPage, b.Get("/members/").Text)
	})
	t.Run("period and page", func(t *testing.T) {
		s := sitetest.New(t, func(s *registration.Settings) {
			s.Register.VerificationPeriod, s.Register.VerificationURL = caddy.Duration(time.Hour), "https://app.example.net/verify?lang=en"
		})
		s.Browser().Post("/accounts/register", sitetest.Newcomer("ada"))
		m := s.Mail()
		require.Contains(t, m.Text, "https://app.example.net/verify?lang=en&signature=")
		require.Contains(t, m.Text, "works for 1 hour.")
		s.Travel(time.Hour + time.Second)
		sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/verify-registration", sitetest.LinkOf(m, t)), 400, "signature_expired")
	})
	t.Run("sign in by e-mail", func(t *testing.T) {
		s := sitetest.New(t, func(s *registration.Settings) { s.User.LoginFields = []string{"email"} })
		require.Equal(t, 201, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("x"), sitetest.Data{"username": nil, "email": "ada@example.org"})).StatusCode)
		require.Equal(t, 200, s.Browser().Post("/accounts/verify-registration", sitetest.LinkOf(s.Mail(), t)).StatusCode)
		require.Equal(t, 200, s.Browser().Post("/accounts/login", sitetest.Data{"email": "ADA@Example.org", "password": sitetest.Password}).StatusCode)
		sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/login", sitetest.Data{"username": "ada", "password": sitetest.Password}), 400, "login:required")
	})
	t.Run("nobody takes another's address as his name", func(t *testing.T) {
		s := sitetest.New(t, func(s *registration.Settings) { s.User.LoginFields = []string{"username", "email"} })
		s.Member("ada")
		sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/register", sitetest.With(sitetest.Newcomer("eve"), sitetest.Data{"username": "ADA@example.org"})), 400, "username:invalid")
	})
}

func TestContractResend(t *testing.T) {
	s := sitetest.New(t)
	s.Member("verified")
	s.Browser().Post("/accounts/register", sitetest.Newcomer("ada"))
	first := s.Mail()
	for _, body := range []sitetest.Data{{"login": "ada"}, {"username": "ADA"}, {"email": "ada@example.org"}} {
		require.Equal(t, 200, s.Browser().Post("/accounts/resend-verification", body).StatusCode)
		again := s.Mail()
		require.NotEqual(t, first.ID, again.ID)
		require.Equal(t, "ada@example.org", again.To)
	}
	for _, body := range []sitetest.Data{{"login": "verified"}, {"login": "nobody"}} {
		require.Equal(t, 200, s.Browser().Post("/accounts/resend-verification", body).StatusCode)
	}
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/resend-verification", sitetest.Data{}), 400, "login:required")
	s.NoMail()
}

func TestContractSignIn(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.Login.Token = sitetest.On() })
	s.Member("ada")
	s.Member("disabled")
	s.Browser().Post("/accounts/register", sitetest.Newcomer("waiting"))
	s.Mail()
	_, err := s.Accounts.Administer(t.Context(), sitetest.UUIDOf(t, s, "disabled"), account.AdminChange{IsActive: sitetest.Off()})
	require.NoError(t, err)
	var bodies []string
	for _, body := range []sitetest.Data{{"login": "nobody", "password": sitetest.Password}, {"login": "ada", "password": "wrong"}, {"login": "waiting", "password": "wrong"}, {"login": "disabled", "password": "wrong"}, {"login": "waiting@example.org", "password": sitetest.Password}, {"login": "disabled@example.org", "password": sitetest.Password}, {"email": "disabled@example.org", "password": sitetest.Password}} {
		res := s.Browser().Post("/accounts/login", body)
		require.Equal(t, 400, res.StatusCode)
		require.Empty(t, res.Cookies())
		bodies = append(bodies, res.Text)
	}
	for _, body := range bodies {
		require.Equal(t, bodies[0], body, "nothing tells them apart")
	}
	for name, code := range map[string]string{"waiting": "not_verified", "disabled": "disabled"} { // to who knows name and password
		res := s.Browser().Problems().Post("/accounts/login", sitetest.Data{"login": name, "password": sitetest.Password})
		sitetest.RequireError(t, res, 400, code)
		require.Empty(t, res.Cookies())
	}
	b := s.Browser()
	res := b.Post("/accounts/login", sitetest.Data{"username": "ADA", "password": sitetest.Password})
	require.Equal(t, 200, res.StatusCode)
	first := b.Cookie["registration"]
	c := res.Cookies()[0]
	require.True(t, c.HttpOnly && !c.Secure && c.Path == "/" && c.SameSite == http.SameSiteLaxMode && c.Domain == "" && c.MaxAge == 14*24*3600, c)
	b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password})
	require.NotEqual(t, first, b.Cookie["registration"])
	b.Cookie["registration"] = first
	require.Equal(t, 401, b.Get("/accounts/profile").StatusCode, "the old session of this browser has ended")

	token := res.JSON(t)["token"].(string)
	api := s.Browser()
	for _, scheme := range []string{"Token ", "Bearer ", "bearer "} {
		api.Header.Set("Authorization", scheme+token)
		require.Equal(t, 200, api.Get("/accounts/profile").StatusCode)
		require.Equal(t, sitetest.ProtectedPage, api.Get("/members/").Text)
	}
	api.Header.Set("Authorization", "Token "+strings.Repeat("x", 43))
	sitetest.RequireError(t, api.Problems().Post("/accounts/login", sitetest.Data{}), 401, "token_invalid")
}

func TestContractHTTPSCookie(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.BaseURL = "https://example.com" })
	s.Member("ada")
	b := s.SignedIn("ada")
	require.Contains(t, b.Cookie, "__Host-registration")
	require.Equal(t, sitetest.ProtectedPage, b.Get("/members/").Text)
}

func TestContractSignOut(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.Login.Token = sitetest.On() })
	s.Member("ada")
	require.Equal(t, 401, s.Browser().Post("/accounts/logout", nil).StatusCode)
	b, other := s.SignedIn("ada"), s.SignedIn("ada")
	session := b.Cookie["registration"]
	require.Equal(t, 200, b.Post("/accounts/logout", sitetest.Data{"revoke_token": true}).StatusCode)
	require.NotContains(t, b.Cookie, "registration")
	b.Cookie["registration"] = session
	require.Equal(t, 401, b.Get("/accounts/profile").StatusCode)
	sitetest.RequireError(t, other.Problems().Post("/accounts/logout", sitetest.Data{"revoke_token": true}), 400, "no_token")
	require.NotContains(t, other.Cookie, "registration", "the session has ended all the same")

	api := s.Browser()
	token := s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).JSON(t)["token"].(string)
	api.Header.Set("Authorization", "Bearer "+token)
	require.Equal(t, 200, api.Post("/accounts/logout", nil).StatusCode)
	require.Equal(t, 200, api.Get("/accounts/profile").StatusCode, "without revoke_token the token stays")
	require.Equal(t, 200, api.Post("/accounts/logout", sitetest.Data{"revoke_token": true}).StatusCode)
	require.Equal(t, 401, api.Get("/accounts/profile").StatusCode)
}

func TestContractSessionsEnd(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) {
		s.Session.Lifetime, s.Session.Idle = caddy.Duration(10*time.Hour), caddy.Duration(4*time.Hour)
	})
	s.Member("ada")
	idle, busy := s.SignedIn("ada"), s.SignedIn("ada")
	for range 3 {
		s.Travel(3 * time.Hour)
		require.Equal(t, 200, busy.Get("/accounts/profile").StatusCode)
	}
	require.Equal(t, 401, idle.Get("/accounts/profile").StatusCode)
	require.NoError(t, s.Realm.Resources.Sessions.Flush(t.Context()))
	s.Realm.Resources.Sessions.Live.Clear()
	require.Equal(t, 200, busy.Get("/accounts/profile").StatusCode, "the last use was written back")
	s.Travel(2 * time.Hour)
	require.Equal(t, 401, busy.Get("/accounts/profile").StatusCode, "the lifetime is absolute")
	removed, err := s.Realm.Resources.Sessions.Sweep(t.Context(), s.Realm.Now())
	require.NoError(t, err)
	require.Equal(t, 2, removed)
}

func TestContractForeignOrigins(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) {
		s.TrustedOrigins = []string{"https://app.example.net", "https://*.example.org"}
	})
	s.Member("ada")
	b := s.SignedIn("ada").Problems()
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
			b.Header.Set(c.header, c.value)
			defer b.Header.Del(c.header)
			res := b.Do("PATCH", "/accounts/profile", sitetest.Data{"first_name": "x"})
			require.Equal(t, c.status, res.StatusCode, res.Text)
			if strings.HasPrefix(name, "trusted") {
				require.Equal(t, c.value, res.Header.Get("Access-Control-Allow-Origin"))
			} else {
				require.Empty(t, res.Header.Get("Access-Control-Allow-Origin"))
			}
		})
	}
	stranger := s.Browser().Problems()
	stranger.Header.Set("Origin", "https://evil.example")
	sitetest.RequireError(t, stranger.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}), 403, "cross_origin")
	stranger.Header.Set("Access-Control-Request-Method", "POST")
	for _, origin := range []string{"https://app.example.net", "https://anything.example.org"} {
		stranger.Header.Set("Origin", origin)
		res := stranger.Do("OPTIONS", "/accounts/login", nil)
		require.Equal(t, 204, res.StatusCode)
		require.Equal(t, origin, res.Header.Get("Access-Control-Allow-Origin"))
		require.Equal(t, "true", res.Header.Get("Access-Control-Allow-Credentials"))
	}
	for next, want := range map[string]string{"https://anything.example.org/x": "https://anything.example.org/x", "https://any.thing.example.org/x": "/accounts/profile/"} {
		b := s.Browser().LikeBrowser()
		res := b.Post("/accounts/login/", url.Values{"login": {"ada"}, "password": {sitetest.Password}, "next": {next}})
		require.Equal(t, want, res.Header.Get("Location"))
	}
}

// Where nobody delivers mail, nothing offers to send one.
func TestNoConfirmationWithoutAMailer(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) {
		s.MailerRaw, s.Register.Enabled, s.ResetPassword.Enabled, s.RegisterEmail.Verification = nil, sitetest.Off(), sitetest.Off(), sitetest.Off()
	})
	require.Equal(t, 404, s.Browser().Post("/accounts/resend-verification", sitetest.Data{"login": "ada"}).StatusCode)
	b := s.Browser().LikeBrowser()
	require.NotContains(t, b.Post("/accounts/login/", url.Values{"login": {"ada"}, "password": {"x"}}).Text, "resend-verification")
}
