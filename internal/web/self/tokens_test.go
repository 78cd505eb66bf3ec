// tokens_test.go: tokens for programs: how one is made, seen and ended, and where it is
// good.

package self_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

// makeToken makes a token for programs of who is signed in at b.
func makeToken(b *sitetest.Browser, t testing.TB, more sitetest.Data) (token, id string) {
	t.Helper()
	res := b.Post("/accounts/create-token", sitetest.With(sitetest.Data{"name": "Calendar"}, more))
	require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
	body := res.JSON(t)
	return body["token"].(string), body["id"].(string)
}

// program is a client that brings a token.
func program(s *sitetest.Site, authorization string) *sitetest.Browser {
	b := s.Browser()
	b.Header.Set("Authorization", authorization)
	return b
}

func basic(name, token string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+token))
}

func TestProgramToken(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	owner := s.SignedIn("ada")
	require.JSONEq(t, "[]", owner.Get("/accounts/tokens").Text)
	token, id := makeToken(owner, t, nil)
	require.Equal(t, "An access token has been created at example.com", s.Mail().Subject)
	require.Regexp(t, `^crt_[0-9A-Za-z]{49}$`, token)
	require.NotContains(t, string(s.StoreFile(t)), token)
	require.JSONEq(t, `[{"id":"`+id+`","name":"Calendar","created":"`+s.Accounts.Time().Format(time.RFC3339)+`","last_used":null,"expires":null,"path":null,"groups":null}]`, owner.Get("/accounts/tokens").Text)

	for _, scheme := range []string{"Bearer ", "bearer ", "Token "} {
		res := program(s, scheme+token).Get("/members/")
		require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	}
	s.Travel(30 * time.Minute)
	program(s, "Bearer "+token).Get("/members/")
	list := owner.Get("/accounts/tokens").Text
	require.Contains(t, list, `"last_used":"`+s.Accounts.Time().Format(time.RFC3339)+`"`, "seen at once")
	s.Realm.Resources.Flush(t.Context(), s.Realm.Courier)
	require.Equal(t, s.Accounts.Time(), s.Stored(s.ProfileID("ada")).ProgramTokens[0].LastUsed, "and kept")
	s.Travel(time.Minute)
	require.Equal(t, http.StatusOK, program(s, "Bearer "+token).Get("/members/").StatusCode)
	before := s.Stored(s.ProfileID("ada")).ProgramTokens[0].LastUsed
	s.Realm.Resources.Flush(t.Context(), s.Realm.Courier)
	require.Equal(t, before, s.Stored(s.ProfileID("ada")).ProgramTokens[0].LastUsed, "once an hour")

	sitetest.RequireError(t, owner.Problems().Post("/accounts/revoke-token", sitetest.Data{"id": "unknown"}), http.StatusNotFound, "token_not_found")
	s.Member("eve")
	sitetest.RequireError(t, s.SignedIn("eve").Problems().Post("/accounts/revoke-token", sitetest.Data{"id": id}), http.StatusNotFound, "token_not_found")
	require.Equal(t, http.StatusOK, owner.Post("/accounts/revoke-token", sitetest.Data{"id": id}).StatusCode)
	require.Equal(t, http.StatusUnauthorized, program(s, "Bearer "+token).Get("/members/").StatusCode, "at the very next request")
	require.Equal(t, http.StatusUnauthorized, program(s, "Bearer "+strings.ToUpper(token)).Get("/members/").StatusCode)
}

func TestProgramTokenIsNoKeyToTheAccount(t *testing.T) {
	for name, configure := range map[string]func(*registration.Settings){"sessions": func(*registration.Settings) {}, "tokens": sitetest.WithTokens, "JWT": sitetest.WithJWT} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, configure, func(s *registration.Settings) { s.Login.Session = sitetest.On() })
			s.Member("ada")
			s.Set(s.ProfileID("ada"), func(u *store.User) { u.Groups = []string{"admins"} })
			token, id := makeToken(s.SignedIn("ada"), t, nil)
			p := program(s, "Bearer "+token)
			require.Equal(t, http.StatusOK, p.Get("/accounts/profile").StatusCode)
			require.NotEqual(t, http.StatusOK, program(s, "Bearer "+token).LikeBrowser().Get("/accounts/profile/").StatusCode, "no page")
			for _, path := range []string{"sessions", "tokens", "factors"} {
				require.Equal(t, http.StatusUnauthorized, p.Get("/accounts/"+path).StatusCode, path)
			}
			for path, body := range map[string]sitetest.Data{
				"profile": {"first_name": "Eve"}, "change-password": {"old_password": sitetest.Password, "password": sitetest.NewPassword}, "register-email": {"email": "eve@example.org"},
				"create-token": {"name": "x"}, "revoke-token": {"id": id}, "logout": {}, "revoke-session": {"others": true}, "enrol-totp": {}, "step-up": {"password": sitetest.Password},
			} {
				require.Equal(t, http.StatusUnauthorized, p.Post("/accounts/"+path, body).StatusCode, path)
			}
			require.Equal(t, http.StatusUnauthorized, p.Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"first_name": "Eve"}).StatusCode)
			require.Equal(t, http.StatusUnauthorized, program(s, basic("ada", token)).Get("/accounts/profile").StatusCode)
			limited, _ := makeToken(s.SignedIn("ada"), t, sitetest.Data{"path": "/members"})
			require.Equal(t, http.StatusUnauthorized, program(s, "Bearer "+limited).Get("/accounts/profile").StatusCode)
			require.Equal(t, http.StatusOK, program(s, "Bearer "+limited).Get("/members/").StatusCode)
		})
	}
}

func TestProgramTokenIsLimited(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	s.Set(s.ProfileID("ada"), func(u *store.User) { u.Groups, u.IsStaff = []string{"family", "staff"}, true })
	owner := s.SignedIn("ada")
	get := func(token, path string) int { return program(s, "Bearer "+token).Get(path).StatusCode }

	path, _ := makeToken(owner, t, sitetest.Data{"path": "/members/a/"})
	require.Equal(t, http.StatusOK, get(path, "/members/a/b"))
	for _, other := range []string{"/members/", "/members/ab", "/members/a/../b", "/members/a/%2e%2e/b", "/members/A/b", "/members/a%2fb"} {
		require.Equal(t, http.StatusForbidden, get(path, other), other)
	}
	s.Guard.Groups = []string{"staff"}
	all, _ := makeToken(owner, t, nil)
	staff, _ := makeToken(owner, t, sitetest.Data{"groups": []string{"staff"}})
	family, _ := makeToken(owner, t, sitetest.Data{"groups": "family, family"})
	none, _ := makeToken(owner, t, sitetest.Data{"groups": []string{}})
	for token, want := range map[string]int{all: http.StatusOK, staff: http.StatusOK, family: http.StatusForbidden, none: http.StatusForbidden} {
		require.Equal(t, want, get(token, "/members/"))
	}
	s.Set(s.ProfileID("ada"), func(u *store.User) { u.Groups = nil })
	require.Equal(t, http.StatusForbidden, get(staff, "/members/"), "who is in the group no more")
	s.Guard.Groups = nil

	soon, _ := makeToken(owner, t, sitetest.Data{"expires": s.Accounts.Time().Add(time.Hour).Format(time.RFC3339)})
	today, _ := makeToken(owner, t, sitetest.Data{"expires": s.Accounts.Time().Format(time.DateOnly)})
	require.Equal(t, http.StatusOK, get(soon, "/members/"))
	require.Equal(t, http.StatusOK, get(today, "/members/"))
	s.Travel(time.Hour)
	require.Equal(t, http.StatusUnauthorized, get(soon, "/members/"))
	s.Travel(24 * time.Hour)
	require.Equal(t, http.StatusUnauthorized, get(today, "/members/"))
	require.Equal(t, http.StatusOK, get(all, "/members/"))

	s.Guard.MaxAge = caddy.Duration(time.Hour)
	require.Equal(t, http.StatusUnauthorized, get(all, "/members/"), "it has shown nothing")
	fresh, _ := makeToken(s.SignedIn("ada"), t, nil)
	require.Equal(t, http.StatusUnauthorized, get(fresh, "/members/"))
	s.Guard.MaxAge, s.Guard.Factors = 0, 2
	require.Equal(t, http.StatusUnauthorized, get(all, "/members/"))
}

func TestProgramTokenThatCanNotBe(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	owner := s.SignedIn("ada").Problems()
	for want, body := range map[string]sitetest.Data{
		"name:required": {}, "name:blank": {"name": " "}, "name:max_length": {"name": strings.Repeat("x", 65)}, "path:invalid": {"name": "x", "path": "/a/../b"},
		"expires:invalid": {"name": "x", "expires": "2001-01-01"}, "groups:invalid": {"name": "x", "groups": []string{"admins"}},
	} {
		sitetest.RequireError(t, owner.Post("/accounts/create-token", body), http.StatusBadRequest, want)
	}
	for _, body := range []sitetest.Data{{"expires": "soon"}, {"expires": []string{"x"}}, {"path": []string{"/x"}}, {"groups": []int{1}}, {"groups": "admins"}} {
		require.Equal(t, http.StatusBadRequest, owner.Post("/accounts/create-token", sitetest.With(body, sitetest.Data{"name": "x"})).StatusCode, body)
	}
	s.Travel(time.Hour)
	sitetest.RequireError(t, owner.Post("/accounts/create-token", sitetest.Data{"name": "x"}), http.StatusBadRequest, "password:reauthentication_required")
	s.Set(s.ProfileID("ada"), func(u *store.User) {
		for i := range 50 {
			u.ProgramTokens = append(u.ProgramTokens, store.ProgramToken{Hash: store.TokenHash{byte(i)}, Name: "x", Created: s.Accounts.Time()})
		}
	})
	sitetest.RequireError(t, owner.Post("/accounts/create-token", sitetest.Data{"name": "x", "password": sitetest.Password}), http.StatusConflict, "token_limit")
	require.NotContains(t, s.SignedIn("ada").LikeBrowser().Get("/accounts/tokens/").Text, "/accounts/create-token/")
}

// What is wrong with a token is told with the way on, and who has no group is asked for none.
func TestProgramTokenFormSaysWhatIsWrong(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	b := s.SignedIn("ada").LikeBrowser()
	post := func(with sitetest.Data) string {
		return b.Post("/accounts/create-token/", sitetest.FormOf(sitetest.With(sitetest.Data{"name": "x"}, with))).Text
	}
	require.NotContains(t, b.Get("/accounts/create-token/").Text, `name="groups"`)
	require.Contains(t, post(sitetest.Data{"groups": "family"}), "Your account isn’t in any group.")
	s.Set(s.ProfileID("ada"), func(u *store.User) { u.Groups = []string{"family", "staff"} })
	b = s.SignedIn("ada").LikeBrowser()
	require.Contains(t, post(sitetest.Data{"groups": "familly"}), "Choose from your groups: family, staff.")
	for _, path := range []string{"dav", "/dav/../x", "/a%2f"} {
		require.Contains(t, post(sitetest.Data{"path": path}), "Enter a path like /files", path)
	}
	require.Contains(t, post(sitetest.Data{"expires": "2001-01-01"}), "Choose a day in the future.")
}

// What becomes of tokens for programs is said where somebody may take it for granted.
func TestWhatBecomesOfProgramTokensIsSaid(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	b := s.SignedIn("ada")
	change := func(from, to string) *sitetest.Answer {
		return b.Post("/accounts/change-password", sitetest.Data{"old_password": from, "password": to, "password_confirm": to})
	}
	require.NotContains(t, change(sitetest.Password, sitetest.NewPassword).Text, "tokens")
	require.NotContains(t, s.Notice().Text, "tokens")
	makeToken(b, t, nil)
	s.Mail()
	require.Contains(t, change(sitetest.NewPassword, sitetest.Password).Text, "Your access tokens for programs still work.")
	require.Contains(t, s.Notice().Text, "Your access tokens for programs still work.")
	s.SignedIn("ada")
	require.Contains(t, b.LikeBrowser().Get("/accounts/sessions/").Text, "also ends your access tokens for programs")
	require.Contains(t, b.Follow(b.Post("/accounts/revoke-session/", sitetest.FormOf(sitetest.Data{"others": "on"}))).Text, "all access tokens for programs have ended")
	require.Empty(t, s.Stored(s.ProfileID("ada")).ProgramTokens)
}

func TestProgramTokenByBasic(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	s.Member("eve")
	token, _ := makeToken(s.SignedIn("ada"), t, nil)
	get := func(name, token string) *sitetest.Answer { return program(s, basic(name, token)).Get("/members/") }
	require.Equal(t, http.StatusUnauthorized, get("ada", token).StatusCode, "the guard has to say so")
	s.Guard.Basic = true
	for _, name := range []string{"ada", "ADA", "Ada@example.org"} {
		require.Equal(t, http.StatusOK, get(name, token).StatusCode, name)
	}
	for _, wrong := range [][2]string{{"eve", token}, {"", token}, {"ada", sitetest.Password}, {"ada", ""}, {"ada", token[:52]}} {
		res := get(wrong[0], wrong[1])
		require.Equal(t, http.StatusUnauthorized, res.StatusCode, wrong)
		require.Contains(t, res.Header.Values("WWW-Authenticate"), `Basic realm="default", charset="UTF-8"`)
	}
	require.Len(t, s.Browser().Get("/members/").Header.Values("WWW-Authenticate"), 2)
	page := s.Browser()
	page.Header.Set("Sec-Fetch-Mode", "cors")
	require.Len(t, page.Get("/members/").Header.Values("WWW-Authenticate"), 1, "a browser would ask for a password of its own")
	require.Equal(t, http.StatusFound, s.Browser().LikeBrowser().Get("/members/").StatusCode)
	require.Equal(t, http.StatusOK, s.SignedIn("eve").Get("/members/").StatusCode)
	require.Equal(t, http.StatusUnauthorized, get("ada@work.example", token).StatusCode)
	s.Set(s.ProfileID("ada"), func(u *store.User) { u.FurtherEmails = []string{"ada@work.example"} })
	require.Equal(t, http.StatusOK, get("Ada@Work.example", token).StatusCode, "any address of the account's own")
	require.Equal(t, http.StatusUnauthorized, get(strings.Repeat("a", 4096), token).StatusCode)
	limited, _ := makeToken(s.SignedIn("ada"), t, sitetest.Data{"path": "/elsewhere"})
	require.Equal(t, http.StatusForbidden, get("ada", limited).StatusCode)
}

func TestProgramTokenPages(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	s.Set(s.ProfileID("ada"), func(u *store.User) { u.Groups = []string{"family"} })
	b := s.SignedIn("ada").LikeBrowser()
	require.Contains(t, b.Get("/accounts/profile/").Text, `href="/accounts/tokens/"`)
	require.Contains(t, b.Get("/accounts/tokens/").Text, "You have no tokens yet.")
	form := b.Get("/accounts/create-token/").Text
	for _, name := range []string{"name", "path", "groups", "expires"} {
		require.Contains(t, form, `name="`+name+`"`)
	}
	made := b.Post("/accounts/create-token/", sitetest.FormOf(sitetest.Data{"name": "Calendar", "path": "/dav", "groups": "family", "expires": "2999-12-31"}))
	require.Equal(t, http.StatusOK, made.StatusCode, made.Text)
	require.Regexp(t, `crt_[0-9A-Za-z]{49}`, made.Text)
	require.Contains(t, made.Text, `<p class="codes" dir="ltr"><code>crt_`)
	require.Contains(t, made.Text, "takes your username, ada")
	list := b.Get("/accounts/tokens/").Text
	require.Contains(t, list, "/dav · only family")
	require.Contains(t, list, ">31 December 2999</time>", "the day that was typed")
	require.NotContains(t, list, "crt_")
	id := s.Stored(s.ProfileID("ada")).ProgramTokens[0].Hash.PublicID()
	res := b.Post("/accounts/revoke-token/", sitetest.FormOf(sitetest.Data{"id": id}))
	require.Equal(t, http.StatusSeeOther, res.StatusCode)
	require.Contains(t, b.Follow(res).Text, "The token has been revoked.")
}
