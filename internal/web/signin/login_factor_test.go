// login_factor_test.go: what a sign-in asks for besides the password: agreement to
// terms that are others than those to which the account has agreed.

package signin_test

import (
	"context"
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/text"
	"github.com/seed-928992b0/caddy-registration/store"
)

const challengeCookie = sitetest.SessionCookie + "_challenge"

// terms are the terms of a version.
func terms(version string) func(*registration.Settings) {
	return func(s *registration.Settings) {
		s.Register.Terms = registration.TermsSettings{Page: "/terms.html", Version: version}
	}
}

var right = sitetest.Data{"login": "ada", "password": sitetest.Password}

// before runs a site without terms, and the same store again with them.
func before(t *testing.T, prepare func(*sitetest.Site), configure ...func(*registration.Settings)) *sitetest.Site {
	t.Helper()
	path := t.TempDir() + "/r.db"
	s := sitetest.NewAt(t, path, configure...)
	prepare(s)
	s.Close()
	return sitetest.NewAt(t, path, append(configure, terms("1"))...)
}

func withAda(s *sitetest.Site) { s.Member("ada") }

// challenged signs in with the right password and returns the answer to the challenge.
func challenged(t *testing.T, b *sitetest.Browser) sitetest.Data {
	t.Helper()
	res := b.Post("/accounts/login", right)
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	require.Contains(t, res.JSON(t), "challenge", res.Text)
	return sitetest.Data{"challenge": res.JSON(t)["challenge"], "terms": "1"}
}

func eventsSince(t *testing.T, s *sitetest.Site, n int) (events []string) {
	t.Helper()
	page, err := s.Accounts.Audits(t.Context(), store.AuditQuery{Limit: 1000})
	require.NoError(t, err)
	for _, row := range page.Rows[n:] {
		events = append(events, row.Event)
	}
	return events
}

func TestTermsAreAskedForAtTheNextSignIn(t *testing.T) {
	for name, configure := range map[string]func(*registration.Settings){
		"a session": func(*registration.Settings) {},
		"a token":   func(s *registration.Settings) { s.Login.Token, s.Login.Session = sitetest.On(), sitetest.Off() },
		"both":      sitetest.WithTokens,
		"jwt":       sitetest.WithJWT,
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir() + "/r.db"
			s := sitetest.NewAt(t, path, configure)
			id := s.Member("ada")
			was := s.SignedIn("ada")
			token, _ := was.Post("/accounts/login", right).JSON(t)["token"].(string)
			s.Close()
			s = sitetest.NewAt(t, path, configure, terms("1"))
			was.Site = s
			session, isToken := s.Realm.Settings.Login.Session, token != ""
			if *session {
				require.Equal(t, http.StatusOK, was.Get("/accounts/profile").StatusCode, "a session that there is goes on")
			}
			if isToken {
				require.Equal(t, http.StatusOK, s.Browser().Bearer(token).Get("/accounts/profile").StatusCode, "and so does a token")
			}
			n := len(eventsSince(t, s, 0))
			b := s.Browser().Problems()
			res := b.Post("/accounts/login", right)
			require.Equal(t, http.StatusOK, res.StatusCode)
			require.Equal(t, "1", res.JSON(t)["terms"])
			require.Len(t, res.JSON(t), 2)
			require.NotContains(t, b.Cookie, sitetest.SessionCookie)
			require.NotContains(t, b.Cookie, sitetest.SessionCookie+"_device")
			require.Equal(t, *session, b.Cookie[challengeCookie] != "", "bound to the browser where a session would be made")
			require.Empty(t, eventsSince(t, s, n), "nobody has signed in")
			require.Empty(t, s.Stored(id).Terms)

			answer := sitetest.Data{"challenge": res.JSON(t)["challenge"]}
			for _, wrong := range []any{nil, "2", true, "", "1x"} {
				sitetest.RequireError(t, b.Post("/accounts/login-factor", sitetest.With(answer, sitetest.Data{"terms": wrong})), 400, "terms:terms_required")
			}
			answer["terms"] = "1"
			res = b.Post("/accounts/login-factor", answer)
			require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
			require.Equal(t, sitetest.Words(text.Say("detail.logged_in")), res.JSON(t)["detail"])
			require.NotContains(t, b.Cookie, challengeCookie)
			u := s.Stored(id)
			require.Equal(t, "1", u.Terms)
			require.WithinDuration(t, time.Unix(0, s.Now.Load()), u.TermsAt, time.Second)
			require.Equal(t, u.TermsAt, u.LastLogin)
			events := eventsSince(t, s, n)
			require.Equal(t, []string{"terms_accepted", "signed_in"}, events[:2])
			if *session {
				require.Equal(t, http.StatusOK, b.Get("/accounts/profile").StatusCode)
			}
			if isToken {
				require.Equal(t, http.StatusOK, s.Browser().Bearer(res.JSON(t)["token"].(string)).Get("/accounts/profile").StatusCode)
			}
			sitetest.RequireError(t, b.Post("/accounts/login-factor", answer), 400, "challenge_expired")
			require.NotContains(t, s.SignedIn("ada").Post("/accounts/login", right).Text, "challenge", "once")

			s.Close()
			s = sitetest.NewAt(t, path, configure, terms("2"))
			require.Equal(t, "2", s.Browser().Post("/accounts/login", right).JSON(t)["terms"], "and again for others")
		})
	}
}

// Who was made by the owner, and who agreed at the sign-up.
func TestTermsAndWhoCameHow(t *testing.T) {
	s := sitetest.New(t, terms("1"))
	_, err := s.Accounts.Create(t.Context(), account.NewAccount{Username: "ada", Password: sitetest.Password})
	require.NoError(t, err)
	b := s.Browser()
	require.Equal(t, http.StatusOK, b.Post("/accounts/login-factor", challenged(t, b)).StatusCode)
	require.Equal(t, http.StatusOK, b.Get("/accounts/profile").StatusCode)

	require.Equal(t, http.StatusCreated, b.Post("/accounts/register", sitetest.With(sitetest.Newcomer("bob"), sitetest.Data{"terms": "1"})).StatusCode)
	require.Equal(t, http.StatusOK, b.Post("/accounts/verify-registration", sitetest.LinkOf(s.Mail(), t)).StatusCode)
	s.SignedIn("bob")
	require.NotContains(t, s.Browser().Post("/accounts/login", sitetest.Data{"login": "bob", "password": sitetest.Password}).Text, "challenge")
}

// What a challenge asks for is told to nobody who doesn't know the password.
func TestAChallengeIsForWhoKnowsThePassword(t *testing.T) {
	s := before(t, func(s *sitetest.Site) {
		s.Member("ada")
		s.Browser().Post("/accounts/register", sitetest.Newcomer("unconfirmed"))
		s.Mail()
		id := s.Member("disabled")
		s.Set(id, func(u *store.User) { u.IsActive = false })
	})
	b := s.Browser().Problems()
	for _, login := range []string{"ada", "ada@example.org", "nobody", "unconfirmed", "disabled"} {
		sitetest.RequireError(t, b.Post("/accounts/login", sitetest.WrongSignIn(login)), 400, "login_invalid")
	}
	for login, code := range map[string]string{"unconfirmed": "not_verified", "disabled": "disabled", "disabled@example.org": "login_invalid", "unconfirmed@example.org": "login_invalid"} {
		sitetest.RequireError(t, b.Post("/accounts/login", sitetest.Data{"login": login, "password": sitetest.Password}), 400, code)
	}
	require.Empty(t, b.Cookie)
}

func TestChallengesThatAreNoGood(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(t *testing.T, s *sitetest.Site, b *sitetest.Browser, answer sitetest.Data)
		good bool
	}{
		"as it came": {func(*testing.T, *sitetest.Site, *sitetest.Browser, sitetest.Data) {}, true},
		"at its end": {func(_ *testing.T, s *sitetest.Site, _ *sitetest.Browser, _ sitetest.Data) {
			s.Travel(account.ChallengeLifetime)
		}, true},
		"after its end": {func(_ *testing.T, s *sitetest.Site, _ *sitetest.Browser, _ sitetest.Data) {
			s.Travel(account.ChallengeLifetime + 2*time.Second)
		}, false},
		"garbage": {func(_ *testing.T, _ *sitetest.Site, _ *sitetest.Browser, a sitetest.Data) { a["challenge"] = "garbage" }, false},
		"a part": {func(_ *testing.T, _ *sitetest.Site, _ *sitetest.Browser, a sitetest.Data) {
			a["challenge"] = a["challenge"].(string)[:60]
		}, false},
		"no cookie": {func(_ *testing.T, _ *sitetest.Site, b *sitetest.Browser, _ sitetest.Data) {
			delete(b.Cookie, challengeCookie)
		}, false},
		"another browser": {func(t *testing.T, s *sitetest.Site, b *sitetest.Browser, _ sitetest.Data) {
			other := s.Browser()
			challenged(t, other)
			b.Cookie = other.Cookie
		}, false},
		"another account's": {func(t *testing.T, s *sitetest.Site, b *sitetest.Browser, a sitetest.Data) {
			res := s.Browser().Post("/accounts/login", sitetest.Data{"login": "bob", "password": sitetest.Password})
			a["challenge"] = res.JSON(t)["challenge"]
		}, false},
		"a new password since": {func(t *testing.T, s *sitetest.Site, _ *sitetest.Browser, _ sitetest.Data) {
			_, err := s.Accounts.SetPassword(t.Context(), sitetest.UUIDOf(t, s, "ada"), sitetest.NewPassword, account.Client{})
			require.NoError(t, err)
		}, false},
		"signed out everywhere since": {func(t *testing.T, s *sitetest.Site, _ *sitetest.Browser, _ sitetest.Data) {
			_, err := s.Accounts.EndSignIns(t.Context(), sitetest.UUIDOf(t, s, "ada"))
			require.NoError(t, err)
		}, false},
		"disabled since": {func(t *testing.T, s *sitetest.Site, _ *sitetest.Browser, _ sitetest.Data) {
			_, err := s.Accounts.Administer(t.Context(), sitetest.UUIDOf(t, s, "ada"), account.AdminChange{IsActive: sitetest.Off()})
			require.NoError(t, err)
		}, false},
		"removed since": {func(t *testing.T, s *sitetest.Site, _ *sitetest.Browser, _ sitetest.Data) {
			require.NoError(t, s.Accounts.Delete(t.Context(), sitetest.UUIDOf(t, s, "ada")))
		}, false},
		"agreed elsewhere since": {func(t *testing.T, s *sitetest.Site, _ *sitetest.Browser, _ sitetest.Data) {
			other := s.Browser()
			require.Equal(t, http.StatusOK, other.Post("/accounts/login-factor", challenged(t, other)).StatusCode)
		}, false},
		"a sign-in elsewhere since": {func(t *testing.T, s *sitetest.Site, _ *sitetest.Browser, _ sitetest.Data) { challenged(t, s.Browser()) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := before(t, func(s *sitetest.Site) { s.Member("ada"); s.Member("bob") })
			b := s.Browser().Problems()
			answer := challenged(t, b)
			c.do(t, s, b, answer)
			res := b.Post("/accounts/login-factor", answer)
			if c.good {
				require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
				return
			}
			sitetest.RequireError(t, res, 400, "challenge_expired")
			require.NotContains(t, b.Cookie, sitetest.SessionCookie)
		})
	}
	s := before(t, withAda)
	b := s.Browser().Problems()
	sitetest.RequireError(t, b.Post("/accounts/login-factor", sitetest.Data{"terms": "1"}), 400, "challenge:required")
	b.Header.Set("Origin", "https://evil.example")
	b.Header.Set("Sec-Fetch-Site", "cross-site")
	sitetest.RequireError(t, b.Post("/accounts/login-factor", sitetest.Data{"terms": "1"}), 403, "cross_origin")
}

// Wrong challenges count as wrong passwords do, a box that is not ticked doesn't, and a
// device that the account knows has its own budget here too.
func TestWrongChallengesAreThrottled(t *testing.T) {
	s := before(t, func(s *sitetest.Site) { s.Member("ada") }, func(s *registration.Settings) {
		s.Throttle = registration.ThrottleSettings{Login: &registration.ThrottleLimit{Events: 5, Window: 3600e9}}
	})
	known := s.Browser().Problems()
	require.Equal(t, http.StatusOK, known.Post("/accounts/login-factor", challenged(t, known)).StatusCode)
	s.Set(sitetest.UUIDOf(t, s, "ada").String(), func(u *store.User) { u.Terms = "0" })
	delete(known.Cookie, sitetest.SessionCookie)
	answer := challenged(t, known)

	b := s.Browser().Problems()
	b.IP = known.IP
	unticked := sitetest.Data{"challenge": challenged(t, b)["challenge"]}
	for range 10 {
		sitetest.RequireError(t, b.Post("/accounts/login-factor", unticked), 400, "terms:terms_required")
	}
	tries := 0
	for ; tries < 20; tries++ {
		if b.Post("/accounts/login-factor", sitetest.Data{"challenge": "guess", "terms": "1"}).StatusCode == http.StatusTooManyRequests {
			break
		}
	}
	require.LessOrEqual(t, tries, 5)
	sitetest.RequireError(t, b.Post("/accounts/login", sitetest.WrongSignIn("bob")), 429, "throttled")
	require.Equal(t, http.StatusOK, known.Post("/accounts/login-factor", answer).StatusCode)
}

func pageOf(s *sitetest.Site) *sitetest.Browser { return s.Browser().LikeBrowser() }

func TestTermsPageAtTheSignIn(t *testing.T) {
	s := before(t, withAda)
	b := pageOf(s)
	const deep = "/members/a%20page?x=1&y=2"
	b.Get("/accounts/login/?next=" + url.QueryEscape(deep))
	form := sitetest.FormOf(right)
	form.Set("next", deep)
	form.Set("kept", "?")
	sent := b.Post("/accounts/login/", form)
	sent.RequireRedirect(t, "/accounts/login-factor/?next="+url.QueryEscape(deep))
	page := b.Follow(sent)
	require.Equal(t, http.StatusOK, page.StatusCode)
	require.Contains(t, page.Text, "<h1>"+sitetest.Words(text.Say("page.login_factor.title"))+"</h1>")
	require.Contains(t, page.Text, `<input id="terms" name="terms" type="checkbox" value="1" required>`)
	require.Contains(t, page.Text, `href="/terms.html" target="_blank"`)
	require.Contains(t, page.Text, `<a href="/accounts/login/?next=`)
	require.Equal(t, page.Text, b.Get(sent.Header.Get("Location")).Text, "loaded anew")

	answer := url.Values{"next": {deep}, "challenge": {inputOf(t, page.Text, "challenge")}}
	unticked := b.Post("/accounts/login-factor/", answer)
	require.Equal(t, http.StatusBadRequest, unticked.StatusCode)
	require.Contains(t, unticked.Text, sitetest.Message(refusal.CodeTermsRequired, nil))
	require.Equal(t, answer.Get("challenge"), inputOf(t, unticked.Text, "challenge"))
	require.Contains(t, unticked.Text, `name="next" value="`)
	answer.Set("terms", "1")
	b.Post("/accounts/login-factor/", answer).RequireRedirect(t, deep)
	require.Contains(t, b.Cookie, sitetest.SessionCookie)
	require.NotContains(t, b.Cookie, challengeCookie)

	// Pressed twice, or by the way back: to the sign-in, which says why.
	again := b.Post("/accounts/login-factor/", answer)
	again.RequireRedirect(t, "/accounts/login/?next="+url.QueryEscape(deep))
	require.Equal(t, http.StatusFound, b.Get("/accounts/login-factor/").StatusCode)
}

// inputOf is the value of a hidden input.
func inputOf(t *testing.T, page, name string) string {
	t.Helper()
	_, rest, ok := strings.Cut(page, `<input type="hidden" name="`+name+`" value="`)
	require.True(t, ok, page)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

func TestTermsPageWithoutAChallenge(t *testing.T) {
	s := before(t, withAda)
	b := pageOf(s)
	res := b.Get("/accounts/login-factor/?next=%2Fmembers%2F")
	require.Equal(t, http.StatusFound, res.StatusCode)
	require.Equal(t, "/accounts/login/?next=%2Fmembers%2F", res.Header.Get("Location"))
	require.NotContains(t, b.Get(res.Header.Get("Location")).Text, sitetest.Words(text.Say("detail.sign_in_again")), "there was none")

	for name, spoil := range map[string]func(){
		"too late": func() { s.Travel(account.ChallengeLifetime + 2*time.Second) },
		"since ended": func() {
			_, err := s.Accounts.EndSignIns(t.Context(), sitetest.UUIDOf(t, s, "ada"))
			require.NoError(t, err)
		},
	} {
		b := pageOf(s)
		page := b.Follow(b.Post("/accounts/login/", sitetest.FormOf(right)))
		answer := url.Values{"challenge": {inputOf(t, page.Text, "challenge")}, "terms": {"1"}}
		spoil()
		res := b.Post("/accounts/login-factor/", answer)
		res.RequireRedirect(t, "/accounts/login/")
		require.Contains(t, b.Follow(res).Text, sitetest.Words(text.Say("detail.sign_in_again")), name)
		res = b.Get("/accounts/login-factor/")
		require.Equal(t, http.StatusFound, res.StatusCode)
		require.Contains(t, b.Get(res.Header.Get("Location")).Text, sitetest.Words(text.Say("detail.sign_in_again")), name)
	}

	// A browser that keeps no cookie is told so, in place of a circle.
	b = pageOf(s)
	form := sitetest.FormOf(right)
	form.Set("kept", "?")
	res = b.Post("/accounts/login/", form)
	res.RequireRedirect(t, "/accounts/login-factor/?kept=1")
	clear(b.Cookie)
	res = b.Get(res.Header.Get("Location"))
	require.Equal(t, "/accounts/login/?kept=1", res.Header.Get("Location"))
	require.Contains(t, b.Get(res.Header.Get("Location")).Text, html.EscapeString(sitetest.Words(text.Say("page.login.not_kept"))))
}

// Where a sign-in makes no session, the page finds its challenge too.
func TestTermsPageWithoutSessions(t *testing.T) {
	s := before(t, withAda, func(s *registration.Settings) { s.Login.Token, s.Login.Session = sitetest.On(), sitetest.Off() })
	b := pageOf(s)
	page := b.Follow(b.Post("/accounts/login/", sitetest.FormOf(right)))
	require.Equal(t, http.StatusOK, page.StatusCode)
	answer := sitetest.Data{"challenge": inputOf(t, page.Text, "challenge"), "terms": "1"}
	require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/login-factor", answer).StatusCode)
}

// Signing in as somebody else ends the session that the browser carries, once it is done.
func TestTheOldSessionEndsWithTheSecondStep(t *testing.T) {
	s := before(t, func(s *sitetest.Site) { s.Member("ada") })
	b := s.Browser()
	require.Equal(t, http.StatusOK, b.Post("/accounts/login-factor", challenged(t, b)).StatusCode)
	_, err := s.Accounts.Create(t.Context(), account.NewAccount{Username: "bob", Password: sitetest.Password})
	require.NoError(t, err)
	old := s.Browser()
	old.Cookie[sitetest.SessionCookie] = b.Cookie[sitetest.SessionCookie]
	answer := b.Post("/accounts/login", sitetest.Data{"login": "bob", "password": sitetest.Password}).JSON(t)
	require.Equal(t, "ada", old.Get("/accounts/profile").JSON(t)["username"], "until then it goes on")
	answer["terms"] = "1"
	require.Equal(t, http.StatusOK, b.Post("/accounts/login-factor", answer).StatusCode)
	require.Equal(t, "bob", b.Get("/accounts/profile").JSON(t)["username"])
	require.Equal(t, http.StatusUnauthorized, old.Get("/accounts/profile").StatusCode)
}

// A confirmation that would sign in leaves that to the password, where there is more to
// ask for.
func TestAutoLoginAsksForTheTerms(t *testing.T) {
	for _, tokens := range []func(*registration.Settings){func(*registration.Settings) {}, sitetest.WithTokens} {
		var link sitetest.Data
		s := before(t, func(s *sitetest.Site) {
			s.Browser().Post("/accounts/register", sitetest.Newcomer("ada"))
			link = sitetest.LinkOf(s.Mail(), t)
		}, tokens, func(s *registration.Settings) { s.Register.AutoLogin = sitetest.On() })
		b := s.Browser()
		res := b.Post("/accounts/verify-registration", link)
		require.Equal(t, http.StatusOK, res.StatusCode)
		require.Len(t, res.JSON(t), 1)
		require.NotContains(t, b.Cookie, sitetest.SessionCookie)
		require.Equal(t, http.StatusOK, b.Post("/accounts/login-factor", challenged(t, b)).StatusCode)
	}
}

// A foreign hash is replaced by the sign-in that asks for more, and its challenge is good.
func TestAForeignHashAndAChallenge(t *testing.T) {
	s := before(t, func(s *sitetest.Site) {
		s.Set(s.Member("ada"), func(u *store.User) {
			u.PasswordHash = "pbkdf2_sha256$1000$seasalt$WL2dLuXJWCeZUVLbqg3+LHjDJoOpuJOxCFa8+Zq6mxE="
		})
	})
	b := s.Browser()
	res := b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": "schlu\u0308ssel fu\u0308r Zu\u0308rich"})
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	answer := res.JSON(t)
	answer["terms"] = "1"
	require.Contains(t, s.Stored(sitetest.UUIDOf(t, s, "ada").String()).PasswordHash, "argon2id")
	require.Equal(t, http.StatusOK, b.Post("/accounts/login-factor", answer).StatusCode)
}

// A store that fails is told as such, at each step, and nobody is signed in.
func TestASecondStepThatFails(t *testing.T) {
	s := before(t, withAda)
	b := pageOf(s)
	page := b.Follow(b.Post("/accounts/login/", sitetest.FormOf(right)))
	answer := url.Values{"challenge": {inputOf(t, page.Text, "challenge")}, "terms": {"1"}}
	broken := &sitetest.BrokenStore{Store: s.Accounts.Store}
	s.Accounts.Store = broken
	broken.Broken.Store(true)
	res := b.Post("/accounts/login-factor/", answer)
	require.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
	require.NotContains(t, b.Cookie, sitetest.SessionCookie)
	broken.Broken.Store(false)
	require.Equal(t, http.StatusSeeOther, b.Post("/accounts/login-factor/", answer).StatusCode)
}

// Back to the terms that the account has agreed to: a challenge under way asks for nothing.
func TestTermsThatTheOwnerTakesBack(t *testing.T) {
	path := t.TempDir() + "/r.db"
	s := sitetest.NewAt(t, path, terms("1"))
	_, err := s.Accounts.Create(t.Context(), account.NewAccount{Username: "ada", Password: sitetest.Password})
	require.NoError(t, err)
	b := s.Browser()
	require.Equal(t, http.StatusOK, b.Post("/accounts/login-factor", challenged(t, b)).StatusCode)
	s.Close()
	s = sitetest.NewAt(t, path, terms("2"))
	b = s.Browser()
	answer := challenged(t, b)
	s.Close()
	s = sitetest.NewAt(t, path, terms("1"))
	b.Site = s
	delete(answer, "terms")
	require.Equal(t, http.StatusOK, b.Post("/accounts/login-factor", answer).StatusCode)
	require.Equal(t, "1", s.Stored(sitetest.UUIDOf(t, s, "ada").String()).Terms)
}

// blindStore fails whatever is to be read.
type blindStore struct{ store.Store }

func (blindStore) View(context.Context, func(store.Tx) error) error { return sitetest.ErrDisk }

func TestTheTermsPageOfAStoreThatCannotBeRead(t *testing.T) {
	s := before(t, withAda)
	b := pageOf(s)
	b.Post("/accounts/login/", sitetest.FormOf(right))
	s.Accounts.Store = blindStore{s.Accounts.Store}
	require.Equal(t, http.StatusServiceUnavailable, b.Get("/accounts/login-factor/").StatusCode)
}

// Who has agreed before is told that the terms are others now, and which.
func TestPageSaysThatTermsHaveChanged(t *testing.T) {
	for had, want := range map[string]bool{"": false, "0": true} {
		s := before(t, func(s *sitetest.Site) { s.Set(s.Member("ada"), func(u *store.User) { u.Terms = had }) })
		b := s.Browser().LikeBrowser()
		b.Post("/accounts/login/", sitetest.FormOf(right))
		changed := html.EscapeString(sitetest.Words(text.Say("page.login_factor.changed", text.Params{"version": "1"})))
		page := b.Get("/accounts/login-factor/")
		require.Equal(t, http.StatusOK, page.StatusCode)
		require.Equal(t, want, strings.Contains(page.Text, changed))
		_, hidden, _ := strings.Cut(page.Text, `name="challenge" value="`)
		token, _, _ := strings.Cut(hidden, `"`)
		page = b.Post("/accounts/login-factor/", sitetest.FormOf(sitetest.Data{"challenge": token}))
		require.Equal(t, http.StatusBadRequest, page.StatusCode)
		require.Equal(t, want, strings.Contains(page.Text, changed), "still so with an error")
	}
}
