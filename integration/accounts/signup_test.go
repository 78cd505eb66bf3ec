// signup_test.go: how people get in, as they do it: forms that are sent twice, links
// that mail programs broke or that are pressed again, refusals in one round.

package accounts_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// with is the plain site with more settings.
func with(settings string) string {
	return strings.Replace(served.PlainSite, "throttle off", "throttle off\n"+settings, 1)
}

// asBrowser is a client that is shown pages.
func asBrowser(s *served.Server) *served.Client {
	c := s.Client()
	c.Header.Set("Accept", served.BrowserAccept)
	c.Header.Set("User-Agent", "Mozilla/5.0")
	return c
}

func formOf(body data, more ...string) url.Values {
	form := url.Values{}
	for k, v := range body {
		form.Set(k, v.(string))
	}
	for i := 0; i+1 < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return form
}

// A form that is sent twice is one sign-up, while the first is under way, after it, and
// over a reload; what isn't the same is refused, and so is a program.
func TestDoubleClickOnSignUp(t *testing.T) {
	t.Parallel()
	slow := strings.Replace(served.PlainSite, "argon2id 8KiB 1 1", "argon2id 64MiB 4 1", 1) // the first takes its time
	s := served.Run(t, slow)
	form := formOf(served.Newcomer("ada"))
	answers := make(chan *served.Answer, 4)
	for range cap(answers) {
		go func() { answers <- asBrowser(s).Do("POST", "/accounts/register/", form) }()
	}
	for range cap(answers) {
		res := <-answers
		require.Equal(t, http.StatusSeeOther, res.StatusCode, res.Text)
		require.Equal(t, "/accounts/resend-verification/?sent=1", res.Header.Get("Location"))
	}
	res := s.Load(strings.Replace(slow, "throttle off", "throttle off\nlanguage de", 1))
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	c := asBrowser(s)
	again := c.Do("POST", "/accounts/register/", form)
	require.Equal(t, http.StatusSeeOther, again.StatusCode, again.Text)
	require.Contains(t, c.Get(again.Header.Get("Location")).Text, "ada@example.org", "it says what the first says")
	for name, other := range map[string]url.Values{"password": formOf(served.Newcomer("ada"), "password", "another long passphrase", "password_confirm", "another long passphrase"), "address": formOf(served.Newcomer("ada"), "email", "eve@example.org")} {
		require.Equal(t, http.StatusBadRequest, asBrowser(s).Do("POST", "/accounts/register/", other).StatusCode, name)
	}
	require.Equal(t, "invalid username:unique", s.Client().Code("POST", "/accounts/register", served.Newcomer("ada")))
	s.Client().Post(http.StatusCreated, "register", served.Newcomer("bob"))
	s.Mail("bob@example.org", 1) // ada's would have come before it
	s.Mail("ada@example.org", 1)
	require.Empty(t, s.Mails("eve@example.org"))

	// A restart forgets what was sent before it: somebody has the name then.
	s.Stop()
	s.Start()
	require.Equal(t, http.StatusBadRequest, asBrowser(s).Do("POST", "/accounts/register/", form).StatusCode)
}

// Whoever has not confirmed is led on from wherever he is, and from a link that has
// done its work already.
func TestUnconfirmedFindTheirWay(t *testing.T) {
	t.Parallel()
	s := served.Run(t, served.PlainSite)
	const offer, resend = `href="/accounts/resend-verification/`, "/accounts/resend-verification/"
	c := asBrowser(s)
	signedUp := c.Do("POST", "/accounts/register/", formOf(served.Newcomer("ada"), "next", "/members/"))
	require.Equal(t, http.StatusSeeOther, signedUp.StatusCode)
	first := s.Mail("ada@example.org", 1)
	checkMail := c.Get(signedUp.Header.Get("Location"))
	require.Contains(t, checkMail.Text, "ada@example.org")
	require.Contains(t, checkMail.Text, `action="/accounts/resend-verification/"`, "the page of the mail sends it again")

	for _, login := range []url.Values{
		{"login": {"ada"}, "password": {served.TestPassword}}, {"login": {"ada@example.org"}, "password": {served.TestPassword}},
		{"login": {"ada"}, "password": {"wrong"}}, {"login": {"nobody"}, "password": {"wrong"}}, {"login": {""}, "password": {""}},
	} {
		res := asBrowser(s).Do("POST", "/accounts/login/", login)
		require.Equal(t, http.StatusBadRequest, res.StatusCode)
		require.Contains(t, res.Text, offer, "%v", login)
	}
	require.NotContains(t, asBrowser(s).Get("/accounts/login/").Text, offer, "before anything was refused it would be in the way")
	require.Contains(t, asBrowser(s).Get("/accounts/send-reset-password-link/").Text, offer)
	forgotten := asBrowser(s)
	sent := forgotten.Do("POST", "/accounts/send-reset-password-link/", url.Values{"login": {"nobody"}})
	require.Contains(t, forgotten.Get(sent.Header.Get("Location")).Text, offer)

	// The link pressed twice says what it has done, wherever it is opened.
	page := first.URL(t)
	require.Equal(t, http.StatusSeeOther, c.Do("POST", page.Path, url.Values(page.Query())).StatusCode)
	require.Equal(t, http.StatusSeeOther, c.Do("POST", page.Path, url.Values(page.Query())).StatusCode, "a double click")
	for _, b := range []*served.Client{c, asBrowser(s)} {
		used := b.Get(page.RequestURI())
		require.Equal(t, http.StatusOK, used.StatusCode)
		require.Contains(t, used.Text, "already been confirmed")
		require.Contains(t, used.Text, `href="/accounts/login/`)
		require.NotContains(t, used.Text, resend, "there is nothing to send")
	}
	require.Equal(t, "signature_invalid", s.Client().Code("POST", "/accounts/verify-registration", first.Link(t)), "an API answers as ever")
	s.Client().SignIn("ada")

	// A reset by mail confirms, and the link of the sign-up has no more to say than that.
	s.Client().Post(http.StatusCreated, "register", served.Newcomer("bob"))
	confirm := s.Mail("bob@example.org", 1)
	s.Client().Post(http.StatusOK, "send-reset-password-link", data{"login": "bob@example.org"})
	reset := linkTo(s, "bob@example.org", "/reset-password/")
	b := asBrowser(s)
	require.Equal(t, http.StatusSeeOther, b.Do("POST", reset.Path, formOf(linkData(reset), "password", "another long passphrase")).StatusCode)
	require.Equal(t, "200", s.Client().Code("POST", served.LoginPath, data{"login": "bob", "password": "another long passphrase"}))
	require.Equal(t, "login_invalid", s.Client().Code("POST", served.LoginPath, data{"login": "bob", "password": served.TestPassword}))
	late := asBrowser(s).Get(confirm.URL(t).RequestURI())
	require.NotContains(t, late.Text, `action="/accounts/resend-verification/"`)
	require.Contains(t, late.Text, `href="/accounts/login/`)
}

// linkTo waits for a mail with a link to a path and returns the link.
func linkTo(s *served.Server, to, path string) *url.URL {
	s.T.Helper()
	u, err := url.Parse(served.LinkInText.FindString(s.MailWithLink(to, path).Text))
	require.NoError(s.T, err)
	return u
}

func linkData(u *url.URL) data {
	out := data{}
	for name, values := range u.Query() {
		out[name] = values[0]
	}
	return out
}

// A link that a mail program or a person has spoilt on the way still opens its page.
func TestSpoiltLinks(t *testing.T) {
	t.Parallel()
	s := served.Run(t, served.PlainSite)
	s.Client().Post(http.StatusCreated, "register", served.Newcomer("ada"))
	link := s.Mail("ada@example.org", 1).URL(t)
	page, query := link.Path, link.RawQuery
	for name, spoilt := range map[string]string{
		"as it is": query, "HTML": strings.ReplaceAll(query, "&", "&amp;"), "HTML twice": strings.ReplaceAll(query, "&", "&amp;amp;"),
		"full stop": query + ".", "bracket": query + "%3E", "parenthesis": query + ")", "quoted": query + "%22", "comma": query + ",",
		"blank": query + "%20", "no-break space": query + "%C2%A0", "tracked": query + "&utm_source=mail&fbclid=x",
		"before": "utm_source=mail&" + query, "escaped": strings.ReplaceAll(query, "=", "%3D"),
	} {
		t.Run(name, func(t *testing.T) {
			res := asBrowser(s).Get(page + "?" + spoilt)
			require.Equal(t, http.StatusOK, res.StatusCode)
			require.Contains(t, res.Text, `action="/accounts/verify-registration/"`)
		})
	}
	body := data{}
	for k, v := range linkData(link) {
		body[k] = v.(string) + "."
	}
	require.Equal(t, "200", s.Client().Code("POST", "/accounts/verify-registration", body), "a frontend hands on what it got")
}

// All that is wrong is told at once, by its field.
func TestOneRoundOfRefusals(t *testing.T) {
	t.Parallel()
	s := served.Run(t, with("register_email {\nmax_age 1s\n}"))
	ada := s.Member("ada")
	s.Client().Post(http.StatusCreated, "register", served.Newcomer("bob"))
	c := s.Client()
	require.Equal(t, "invalid email:invalid first_name:max_length password:password_too_short password_confirm:passwords_do_not_match username:unique",
		c.Code("POST", "/accounts/register", data{"username": "ADA", "email": "no", "first_name": strings.Repeat("x", 200), "password": "Xy-9z", "password_confirm": "other"}))
	require.Equal(t, "email_required", c.Code("POST", "/accounts/register", data{"username": "eve", "password": served.TestPassword, "password_confirm": served.TestPassword}))
	page := asBrowser(s).Do("POST", "/accounts/register/", url.Values{"username": {"ADA"}, "email": {""}, "password": {"Xy-9z"}, "password_confirm": {"other"}})
	require.Equal(t, http.StatusBadRequest, page.StatusCode)
	for _, field := range []string{"username", "email", "password"} {
		require.Contains(t, page.Text, `href="#`+field+`"`)
	}
	require.Contains(t, page.Text, `id="password_confirm-error"`, "beside its field alone: where script shows a password, it is typed once")
	time.Sleep(1100 * time.Millisecond) // the sign-in has to be a second old
	require.Equal(t, "invalid first_name:max_length password:password_incorrect username:unique",
		ada.Code("PATCH", "/accounts/profile", data{"username": "Bob", "first_name": strings.Repeat("x", 200), "password": "wrong"}))
	require.Equal(t, "invalid password:reauthentication_required username:unique", ada.Code("PATCH", "/accounts/profile", data{"username": "Bob"}))
	require.Equal(t, "invalid email:invalid password:password_incorrect", ada.Code("POST", "/accounts/register-email", data{"email": "no", "password": "wrong"}))
	require.Equal(t, "invalid old_password:password_incorrect password:password_too_short password_confirm:passwords_do_not_match",
		ada.Code("POST", "/accounts/change-password", data{"old_password": "wrong", "password": "Xy-9z", "password_confirm": "other"}))
	require.Equal(t, "invalid login:required password:required", c.Code("POST", served.LoginPath, data{}))

	// What is wrong with the form itself costs nothing of what a client may sign up.
	limited := served.Run(t, strings.Replace(served.PlainSite, "throttle off", "throttle register 2 1h", 1))
	for range 5 {
		require.Equal(t, http.StatusBadRequest, asBrowser(limited).Do("POST", "/accounts/register/", formOf(served.Newcomer("ada"), "password_confirm", "")).StatusCode)
		require.Equal(t, "invalid username:required", limited.Client().Code("POST", "/accounts/register", data{"email": "x@example.org", "password": served.TestPassword, "password_confirm": served.TestPassword}))
	}
	for _, name := range []string{"ada", "bob"} {
		limited.Client().Post(http.StatusCreated, "register", served.Newcomer(name))
	}
	require.Equal(t, "throttled", limited.Client().Code("POST", "/accounts/register", served.Newcomer("eve")))
}

// A rule judges what somebody changes, never what stays.
func TestProfileIsSavedAsItIs(t *testing.T) {
	t.Parallel()
	// The address as a username was chosen where nobody confirms addresses.
	open := with("register {\nverification off\n}")
	s := served.Run(t, open)
	s.Client().Post(http.StatusCreated, "register", formData(served.Newcomer("ada"), "username", "ada@example.org"))
	require.Equal(t, http.StatusOK, s.Load(with("user {\nfield plan text {\nrequired\n}\n}")).StatusCode)
	c := s.Client()
	c.Post(http.StatusOK, "login", data{"login": "ada@example.org", "password": served.TestPassword})
	c.Post(http.StatusOK, "register-email", data{"email": "new@example.net"})
	c.Post(http.StatusOK, "verify-email", s.Mail("new@example.net", 1).Link(t))
	whole := data{"username": "ada@example.org", "first_name": "Ada", "last_name": "", "plan": ""}
	for _, method := range []string{"PUT", "POST", "PATCH"} {
		res := c.Do(method, "/accounts/profile", whole)
		require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
		require.Equal(t, "ada@example.org", res.JSON(t)["username"])
	}
	require.Equal(t, "invalid username:invalid", c.Code("PATCH", "/accounts/profile", data{"username": "other@example.org"}), "a new one is judged")
	require.Equal(t, "invalid plan:blank", s.Client().Code("POST", "/accounts/register", formData(served.Newcomer("bob"), "plan", "")))
}

// formData is a body with other members.
func formData(body data, more ...string) data {
	for i := 0; i+1 < len(more); i += 2 {
		body[more[i]] = more[i+1]
	}
	return body
}

// People sign in by what they remember, and no login field is required that doesn't say so.
func TestSignInByWhatPeopleRemember(t *testing.T) {
	t.Parallel()
	s := served.Run(t, served.PlainSite)
	s.Member("ada")
	for _, body := range []data{{"login": "ADA"}, {"login": "Ada@Example.org"}, {"username": "ada"}, {"email": "ada@EXAMPLE.org"}} {
		body["password"] = served.TestPassword
		require.Equal(t, "200", s.Client().Code("POST", served.LoginPath, body), "%v", body)
	}
	s.Client().Post(http.StatusOK, "send-reset-password-link", data{"login": "ada@example.org"})
	mail := s.MailWithLink("ada@example.org", "/reset-password/")
	require.Contains(t, mail.Text, "ada", "people forget the username too")
	require.Regexp(t, `(?i)username[^\n]*\bada\b`, mail.Text)

	phone := served.Run(t, with("user {\nlogin_fields phone email\nfield phone text {\nunique\n}\n}"))
	body := served.Newcomer("x")
	delete(body, "username")
	phone.Client().Post(http.StatusCreated, "register", body)
	require.NotContains(t, asBrowser(phone).Get("/accounts/register/").Text, `name="phone" required`)
	require.Equal(t, "200", phone.Client().Code("POST", "/accounts/verify-registration", phone.Mail("x@example.org", 1).Link(t)))
	require.Equal(t, "200", phone.Client().Code("POST", served.LoginPath, data{"login": "x@example.org", "password": served.TestPassword}))
	require.NotContains(t, phone.Client().Code("POST", "/accounts/register", data{"password": served.TestPassword, "password_confirm": served.TestPassword}), "201", "one of them is needed")
}

// Where nobody signs up and no mail is sent, nothing offers to send one.
func TestClosedWithoutAMailer(t *testing.T) {
	t.Parallel()
	closed := strings.Replace(served.PlainSite, "mailer file [[dir]]/mail", "register {\nenabled off\n}\nreset_password {\nenabled off\n}\nregister_email {\nverification off\n}", 1)
	s := served.Run(t, strings.Replace(closed, "from no-reply@example.com\n", "", 1))
	for path, body := range map[string]data{"register": served.Newcomer("ada"), "resend-verification": {"login": "ada"}, "send-reset-password-link": {"login": "ada"}} {
		require.Equal(t, "not_found", s.Client().Code("POST", "/accounts/"+path, body), path)
	}
	refused := asBrowser(s).Do("POST", "/accounts/login/", url.Values{"login": {"ada"}, "password": {"x"}})
	require.NotContains(t, refused.Text, "resend-verification")
}
