// values_test.go: what people type, where it arrives: a path, a header, a mail, a
// frontend's router, another keyboard; and what frontends made for
// django-rest-registration rely on.

package accounts_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// A name is a folder's, a header's and a mail's, and means itself in each of them.
func TestNamesWhereTheyArrive(t *testing.T) {
	t.Parallel()
	site := strings.Replace(served.PlainSite, `respond "for members: {http.auth.user.username}"`, `
	require_login /headers/* {
		copy_headers percent
	}
	respond /headers/* "{http.request.header.Remote-User} {http.request.header.Remote-Groups}"
	require_login /files/*
	handle_path /files/* {
		root * [[dir]]/users/{http.auth.user.username}
		file_server
	}`, 1)
	site = strings.Replace(site, "throttle off", "throttle off\nregister {\nverification off\n}", 1)
	s := served.NewServer(t)
	write := func(path string) {
		file := filepath.Join(s.Dir, "users", filepath.FromSlash(path))
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
		require.NoError(t, os.WriteFile(file, []byte("of "+path), 0o600))
	}
	names := []string{"ada", "a..b", "b.", "c+d@x", "zoë", "übung_1", "日本", "%2e%2e"}
	write("secret.txt")
	for _, name := range names {
		write(name + "/mine.txt")
	}
	s.Configure(site)
	s.Start()
	for _, name := range names {
		body := served.Newcomer("x")
		body["username"], body["email"] = name, fmt.Sprintf("p%x@example.org", name)
		c := s.Client()
		res := c.Do("POST", "/accounts/register", body)
		if strings.ContainsAny(name, "%") {
			require.Equal(t, http.StatusBadRequest, res.StatusCode, name)
			continue
		}
		require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
		c.SignIn(name)
		require.Equal(t, "of "+name+"/mine.txt", c.Get("/files/mine.txt").Text)
		for _, path := range []string{"/files/../secret.txt", "/files/%2e%2e/secret.txt", "/files/..%2fsecret.txt", `/files/..\secret.txt`} {
			require.NotContains(t, c.Get(path).Text, "secret", path)
		}
		require.Equal(t, url.PathEscape(name)+" ", c.Get("/headers/").Text, "a header of ASCII")
	}
	for _, name := range []string{".", "..", "...", "․․", "．．", ".htaccess", "-rf", "a/b", `a\b`, "a\x00b", "a\nb", "a b", "x{y}", "{env.HOME}", "$HOME", "<b>", "\u202eada", "a\u2028b", "\ufeffada", "a\u200bb", "con:", "*"} {
		body := served.Newcomer("y")
		body["username"] = name
		require.Regexp(t, `^invalid username:(invalid|unique)$`, s.Client().Code("POST", "/accounts/register", body), "%q", name)
	}
	// What an owner gives is checked as well, and a placeholder in a value stays one's text.
	for _, groups := range []string{`["a,admin"]`, `["x\r\ny"]`, `[""]`, `[" "]`, `["a b"]`, `["a\u0000"]`, `["` + strings.Repeat("g", 65) + `"]`} {
		res := s.AdminRequest("PATCH", "/registration/default/users/ada", "application/json", `{"groups": `+groups+`}`)
		require.Equal(t, http.StatusBadRequest, res.StatusCode, groups)
	}
	require.Equal(t, http.StatusOK, s.AdminRequest("PATCH", "/registration/default/users/ada", "application/json", `{"groups": ["staff", "org:a/b"]}`).StatusCode)
	c := s.Client()
	c.SignIn("ada")
	require.Equal(t, "ada staff,org:a/b", c.Get("/headers/").Text)
	require.Equal(t, "{env.HOME}", c.Do("PATCH", "/accounts/profile", data{"first_name": "{env.HOME}"}).JSON(t)["first_name"])
}

// Where somebody wanted to go is where he comes, whatever the address is made of.
func TestNextSurvivesTheSignIn(t *testing.T) {
	t.Parallel()
	s := served.Run(t, strings.Replace(served.PlainSite, "throttle off", "throttle off\ntrusted_origins https://*.example.com", 1))
	s.Member("ada")
	for name, wanted := range map[string]string{
		"backslash":   `/members/?path=C:\Users\ada`,
		"escaped":     `/members/?path=C:%5CUsers&a=%2F%2Fevil.example`,
		"300 letters": "/members/?q=" + url.QueryEscape(strings.Repeat("日", 300)),
		"raw letters": "/members/?q=" + strings.Repeat("é", 300),
		"8 KB":        "/members/?q=" + strings.Repeat("x", 8000),
		"odd marks":   `/members/?a[]=1&b={x}|^` + "`" + `&c='"<>`,
		"fragment":    "/members/?q=%23top",
	} {
		t.Run(name, func(t *testing.T) {
			c := asBrowser(s.In(t))
			req := c.Request("GET", "/", nil)
			path, query, _ := strings.Cut(wanted, "?")
			req.URL.Path, req.URL.RawQuery = path, query
			res, err := c.HTTP.Do(req)
			require.NoError(t, err)
			login := served.ReadAnswer(t, res).Header.Get("Location")
			u, err := url.Parse(login)
			require.NoError(t, err)
			require.Equal(t, "/accounts/login/", u.Path)
			next := u.Query().Get("next")
			require.NotEmpty(t, next, "it is dropped")
			done := c.Do("POST", "/accounts/login/", url.Values{"login": {"ada"}, "password": {served.TestPassword}, "next": {next}})
			got, err := url.Parse(done.Header.Get("Location"))
			require.NoError(t, err)
			require.Equal(t, path, got.Path)
			want, err := url.QueryUnescape(query)
			require.NoError(t, err)
			have, err := url.QueryUnescape(got.RawQuery)
			require.NoError(t, err)
			require.Equal(t, want, have)
		})
	}
	for next, followed := range map[string]bool{
		"https://app.example.com/x?y=1": true, "https://a.b.example.com/": false, "https://example.com/": false, "http://app.example.com/": false,
		"https://app.example.com.evil.example/": false, "https://evil.example/app.example.com": false, `https://app.example.com\@evil.example/`: false, "https://app.example.com:444/": false,
		`/\evil.example`: false, "//evil.example": false, "/members/?" + strings.Repeat("x", 9000): false,
	} {
		res := asBrowser(s).Do("POST", "/accounts/login/", url.Values{"login": {"ada"}, "password": {served.TestPassword}, "next": {next}})
		require.Equal(t, followed, res.Header.Get("Location") == next, "%q went to %q", next, res.Header.Get("Location"))
		if !followed {
			require.Equal(t, "/", res.Header.Get("Location"), "%q", next) // home, since the site has something there
		}
	}
	origin := s.Client()
	for from, status := range map[string]int{"https://app.example.com": 200, "https://a.b.example.com": 403, "https://example.com": 403, "null": 403, "https://*.example.com": 403} {
		origin.Header.Set("Origin", from)
		require.Equal(t, status, origin.Do("POST", served.LoginPath, data{"login": "ada", "password": served.TestPassword}).StatusCode, from)
	}
}

// A password is the letters that somebody typed, on whatever keyboard.
func TestPasswordsOnOtherKeyboards(t *testing.T) {
	t.Parallel()
	s := served.Run(t, served.PlainSite)
	const nfc, nfd = "caf\u00e9 cr\u00e8me br\u00fbl\u00e9e", "cafe\u0301\u00a0cre\u0300me\u2003bru\u0302le\u0301e"
	body := served.Newcomer("ada")
	body["password"], body["password_confirm"] = nfd, nfc
	s.Client().Post(http.StatusCreated, "register", body)
	require.Equal(t, "200", s.Client().Code("POST", "/accounts/verify-registration", s.Mail("ada@example.org", 1).Link(t)))
	for _, typed := range []string{nfc, nfd} {
		require.Equal(t, "200", s.Client().Code("POST", served.LoginPath, data{"login": "ada", "password": typed}))
	}
	for _, typed := range []string{strings.ToUpper(nfc), nfc + " ", "cafe creme brulee"} {
		require.Equal(t, "login_invalid", s.Client().Code("POST", served.LoginPath, data{"login": "ada", "password": typed}))
	}
	// Half a character is no text, in a password either, and nothing happens.
	for _, raw := range []string{`{"login":"ada","password":"\ud800"}`, `{"login":"\udc00","password":"x"}`, `{"login":"ada","pass\ud800word":"x"}`, "{\"login\":\"ada\",\"password\":\"\xff\"}"} {
		res := rawPost(t, s, served.LoginPath, raw)
		require.Equal(t, http.StatusBadRequest, res.StatusCode, raw)
		require.Contains(t, res.Text, `"code":"malformed"`, raw)
	}
	require.Equal(t, http.StatusBadRequest, rawPost(t, s, "/accounts/register", `{"username":"eve","email":"eve@example.org","password":"a long enough \ud83d","password_confirm":"a long enough \ud83d"}`).StatusCode)
}

func rawPost(t *testing.T, s *served.Server, path, body string) *served.Answer {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, s.Base()+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/problem+json")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	return served.ReadAnswer(t, res)
}

// A switch that nobody understands does nothing.
func TestSwitches(t *testing.T) {
	t.Parallel()
	s := served.Run(t, served.TokenSite)
	s.Member("ada")
	for _, v := range []any{"maybe", "", " ", 2, 1.5, "2", nil, []string{"true"}, data{}, "tru", "oui"} {
		c := s.Client()
		token := c.SignIn("ada").JSON(t)["token"].(string)
		require.Regexp(t, `^invalid revoke_token:`, c.Code("POST", "/accounts/logout", data{"revoke_token": v}), "%v", v)
		c.RequireMember()
		api := s.Client()
		api.Header.Set("Authorization", "Token "+token)
		api.RequireMember()
	}
	for v, ends := range map[any]bool{true: true, "TRUE": true, 1: true, "t": true, "Y": true, "yes": true, "On": true, " true ": true, false: false, 0: false, "f": false, "N": false, "no": false, "OFF": false} {
		c := s.Client()
		token := c.SignIn("ada").JSON(t)["token"].(string)
		require.Equal(t, "200", c.Code("POST", "/accounts/logout", data{"revoke_token": v}), "%v", v)
		c.RequireStopped()
		api := s.Client()
		api.Header.Set("Authorization", "Token "+token)
		require.Equal(t, ends, api.Get("/members/").StatusCode == http.StatusUnauthorized, "%v", v)
	}
	c := s.Client()
	c.SignIn("ada")
	require.Equal(t, "invalid others:invalid", c.Code("POST", "/accounts/revoke-session", data{"others": "maybe"}))

	// Without tokens it is a member that means nothing.
	plain := served.Run(t, served.PlainSite)
	plain.Member("ada")
	for _, v := range []any{true, "maybe", nil, []string{}} {
		c := plain.Client()
		c.SignIn("ada")
		require.Equal(t, "200", c.Code("POST", "/accounts/logout", data{"revoke_token": v}))
		c.RequireStopped()
	}
}

// Links of a frontend: below base_url, in a fragment, of another shape; and templates
// that are named without a folder.
func TestLinksOfAFrontend(t *testing.T) {
	t.Parallel()
	s := served.NewServer(t)
	require.NoError(t, os.MkdirAll(filepath.Join(s.Dir, "templates", "mine"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(s.Dir, "templates", "mine", "body.txt"), []byte("https://app.example.net/reset/{{.UserID}}/{{.Timestamp}}/{{.Signature}}/"), 0o600))
	s.Configure(with(`templates [[dir]]/templates
		register {
			verification_url https://app.example.net/?lang=en#/verify/
			mail {
				subject register/subject.txt
				text_body register/body.txt
				html_body register/body.html
			}
		}
		reset_password {
			mail {
				text_body mine/body.txt
				html_body reset_password/body.html
			}
		}
		register_email {
			verification_url /app/#verify
		}`))
	s.Start()
	s.Client().Post(http.StatusCreated, "register", served.Newcomer("ada"))
	mail := s.Mail("ada@example.org", 1)
	link := mail.URL(t)
	require.Equal(t, "https://app.example.net/?lang=en", link.Scheme+"://"+link.Host+link.Path+"?"+link.RawQuery, "no server sees the signature")
	path, query, _ := strings.Cut(link.EscapedFragment(), "?")
	require.Equal(t, "/verify/", path)
	values, err := url.ParseQuery(query)
	require.NoError(t, err)
	require.Equal(t, "200", s.Client().Code("POST", "/accounts/verify-registration", linkData(&url.URL{RawQuery: values.Encode()})))
	c := s.Client()
	c.SignIn("ada")
	c.Post(http.StatusOK, "register-email", data{"email": "new@example.net"})
	require.Regexp(t, `^`+s.Base()+`/app/#verify\?[^#]*signature=`, served.LinkInText.FindString(s.Mail("new@example.net", 1).Text))
	c.Post(http.StatusOK, "send-reset-password-link", data{"login": "ada"})
	parts := strings.Split(linkTo(s, "ada@example.org", "/reset/").String(), "/")
	require.Equal(t, "200", s.Client().Code("POST", "/accounts/reset-password", data{"user_id": parts[4], "timestamp": parts[5], "signature": parts[6], "password": "another long passphrase"}))

	bare := served.Run(t, with("register {\nmail {\nsubject register/subject.txt\ntext_body register/body.txt\nhtml_body register/body.html\n}\n}"))
	bare.Client().Post(http.StatusCreated, "register", served.Newcomer("ada"))
	require.Contains(t, bare.Mail("ada@example.org", 1).Text, "signature=")
}

// Redirect mode without pages: a browser's form always leads on, to where the owner says.
func TestRedirectsWithoutPages(t *testing.T) {
	t.Parallel()
	const redirects = "success_redirect /done\nfailure_redirect https://app.example.net/#/failed\nverification_url /app/"
	s := served.Run(t, with("pages off\nregister {\n"+redirects+"\n}\nreset_password {\n"+redirects+"reset/\n}\nregister_email {\n"+redirects+"\nundo_url /app/undo\n}"))
	s.Client().Post(http.StatusCreated, "register", served.Newcomer("ada"))
	verify := s.Mail("ada@example.org", 1).URL(t)
	for _, to := range []string{"/done", "/done"} { // the second time: what it does is done
		require.Equal(t, to, asBrowser(s).Get("/accounts/verify-registration/?"+verify.RawQuery).Header.Get("Location"))
	}
	s.Client().Post(http.StatusOK, "send-reset-password-link", data{"login": "ada"})
	reset := linkTo(s, "ada@example.org", "/app/reset/")
	b := asBrowser(s)
	for _, c := range [][2]string{{"x", "https://app.example.net/#/failed"}, {"", "https://app.example.net/#/failed"}, {"another long passphrase", "/done"}, {"another long passphrase", "https://app.example.net/#/failed"}} {
		res := b.Do("POST", "/accounts/reset-password/", formOf(linkData(reset), "password", c[0]))
		require.Equal(t, http.StatusSeeOther, res.StatusCode, res.Text)
		require.Equal(t, c[1], res.Header.Get("Location"), "%q", c[0])
	}
	require.Equal(t, "200", s.Client().Code("POST", served.LoginPath, data{"login": "ada", "password": "another long passphrase"}))
}

// Who wants no second password asks for none, as in the reference; loading warns.
func TestNoSecondPassword(t *testing.T) {
	t.Parallel()
	for _, age := range []string{"off", "0"} {
		s := served.Run(t, with("register_email {\nmax_age "+age+"\nverification off\n}\nregister {\nverification off\n}"))
		require.NotEmpty(t, s.Logged(0, "max_age"))
		s.Client().Post(http.StatusCreated, "register", served.Newcomer("ada"))
		c := asBrowser(s)
		c.Do("POST", "/accounts/login/", url.Values{"login": {"ada"}, "password": {served.TestPassword}})
		require.NotContains(t, c.Get("/accounts/register-email/").Text, `type="password"`)
		require.Equal(t, http.StatusSeeOther, c.Do("POST", "/accounts/register-email/", url.Values{"email": {"new@example.net"}}).StatusCode)
	}
}
