// logins_test.go: accounts that answer to one sign-in name: everybody keeps his
// account, the log says who clashes, and no new ones come.

package registration

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/text"
)

func loginBy(names ...string) func(*Settings) {
	return func(s *Settings) { s.User.LoginFields = names }
}

// clashingSite has bob, and mallory whose username is bob's address, from the time
// when usernames alone signed in.
func clashingSite(t *testing.T) (s *site, bob, mallory uuid.UUID) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "registration.db")
	s = newSiteAt(t, path, noVerification, loginBy("username"))
	bob = uuid.MustParse(s.member("bob"))
	mallory = uuid.MustParse(s.member("mallory"))
	s.rename(mallory, "bob@example.org")
	s.close()
	return newSiteAt(t, path, noVerification, loginBy("username", "email")), bob, mallory
}

// rename gives an account a username that nobody could choose today.
func (s *site) rename(id uuid.UUID, name string) {
	s.t.Helper()
	require.NoError(s.t, s.accounts.Update(s.t.Context(), func(t *account.Txn) error {
		u, err := t.User(id)
		if err != nil {
			return err
		}
		u.Username = name
		return s.accounts.PutUser(t, u)
	}))
}

func TestALoginFieldThatIsAddedLocksNobodyOut(t *testing.T) {
	s, bob, mallory := clashingSite(t)
	logged := s.logs.FilterMessageSnippet("two accounts answer to one sign-in name").All()
	require.Len(t, logged, 1)
	require.Equal(t, map[string]any{"field": "username", "account": mallory.String(), "holder": bob.String()}, logged[0].ContextMap())

	id := func(login data) string {
		b := s.browser().problems()
		res := b.post("/accounts/login", with(login, data{"password": testPassword}))
		require.Equal(t, http.StatusOK, res.StatusCode, "%v: %s", login, res.body)
		return b.get("/accounts/profile").json(t)["id"].(string)
	}
	for _, login := range []data{{"login": "bob"}, {"login": "BOB@example.org"}, {"username": "bob"}, {"email": "bob@example.org"}} {
		require.Equal(t, bob.String(), id(login), login)
	}
	for _, login := range []data{{"login": "mallory@example.org"}, {"email": "mallory@example.org"}, {"username": "bob@example.org"}} {
		require.Equal(t, mallory.String(), id(login), login)
	}
	for _, acct := range []uuid.UUID{bob, mallory} {
		for _, active := range []*bool{off(), on()} {
			_, err := s.accounts.Administer(t.Context(), acct, account.AdminChange{IsActive: active})
			require.NoError(t, err)
		}
	}
	for _, address := range []string{"mallory@example.org", "bob@example.org"} {
		require.Equal(t, http.StatusOK, s.browser().post("/accounts/send-reset-password-link", data{"email": address}).StatusCode)
		mail := s.mail()
		require.Equal(t, address, mail.To)
		res := s.browser().problems().post("/accounts/reset-password", with(linkOf(mail, t), data{"password": testPassword}))
		require.Equal(t, http.StatusOK, res.StatusCode, res.body)
	}
}

func TestWhoseSignInNameClashesChoosesAnother(t *testing.T) {
	s, _, _ := clashingSite(t)
	b := s.browser().problems()
	res := b.post("/accounts/login", data{"login": "mallory@example.org", "password": testPassword})
	require.Equal(t, words(text.Say("detail.logged_in_clash")), res.json(t)["detail"])
	require.Equal(t, 1, s.logs.FilterMessageSnippet("asked to choose another").Len())
	// What leaves the name alone is done; a form that keeps it is not.
	require.Equal(t, http.StatusOK, b.do(http.MethodPatch, "/accounts/profile", data{"first_name": "M"}).StatusCode)
	whole := data{"username": "bob@example.org", "first_name": "M", "last_name": ""}
	require.Equal(t, "unique", fieldCodes(t, b.do(http.MethodPut, "/accounts/profile", whole), "username"))
	require.Equal(t, http.StatusOK, b.do(http.MethodPut, "/accounts/profile", with(whole, data{"username": "mallory"})).StatusCode)
	for _, login := range []string{"mallory", "mallory@example.org", "bob"} {
		res = s.browser().post("/accounts/login", data{"login": login, "password": testPassword})
		require.Equal(t, words(text.Say("detail.logged_in")), res.json(t)["detail"], login)
	}
	// The owner of the address may save his profile all the while.
	s, _, _ = clashingSite(t)
	whole["username"] = "bob"
	require.Equal(t, http.StatusOK, s.signedIn("bob").do(http.MethodPut, "/accounts/profile", whole).StatusCode)
	// In a browser the profile says so, wherever he wanted to go.
	page := s.browser().likeBrowser()
	res = page.post("/accounts/login/?next=/members/", url.Values{"login": {"mallory@example.org"}, "password": {testPassword}})
	require.Contains(t, res.Header.Get("Location"), "/accounts/profile/")
	require.Contains(t, page.follow(res).body, words(text.Say("detail.logged_in_clash")))
}

// An administrator acts on the one that he means or on none.
func TestLookupIsNeverAGuess(t *testing.T) {
	s, bob, mallory := clashingSite(t)
	eve := uuid.MustParse(s.member("eve"))
	s.rename(eve, bob.String())
	for text, want := range map[string][]uuid.UUID{"bob@example.org": {mallory, bob}, bob.String(): {bob, eve}} {
		_, err := s.accounts.Lookup(t.Context(), text)
		ambiguous := (*account.AmbiguousError)(nil)
		require.ErrorAs(t, err, &ambiguous, text)
		require.Equal(t, want, ambiguous.IDs, text)
	}
	u, err := s.accounts.LookupID(t.Context(), bob.String())
	require.NoError(t, err)
	require.Equal(t, bob, u.ID)
	u, err = s.accounts.LookupName(t.Context(), bob.String())
	require.NoError(t, err)
	require.Equal(t, eve, u.ID)
	u, err = s.accounts.Lookup(t.Context(), "mallory@example.org")
	require.NoError(t, err)
	require.Equal(t, mallory, u.ID)
	_, err = s.accounts.LookupID(t.Context(), "mallory@example.org")
	require.Error(t, err)
}

// The walk over all accounts is done once, and again when another pair of fields
// comes to be.
func TestClashesAreLookedForOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "registration.db")
	clashes := func(s *site) int { return s.logs.FilterMessageSnippet("two accounts answer").Len() }
	s, _, _ := clashingSite(t)
	require.Equal(t, 1, clashes(s))
	s.close()
	s = newSiteAt(t, path, noVerification, loginBy("username"))
	s.member("bob")
	s.rename(uuid.MustParse(s.member("mallory")), "bob@example.org")
	s.close()
	for i, c := range []struct {
		logins []string
		want   int
	}{
		{[]string{"username"}, 0},
		{[]string{"username", "email"}, 1},
		{[]string{"username", "email"}, 0},
		{[]string{"email", "username"}, 0},
		{[]string{"email"}, 0},
		{[]string{"username", "email"}, 1},
	} {
		s = newSiteAt(t, path, noVerification, loginBy(c.logins...))
		require.Equal(t, c.want, clashes(s), "%d: %v", i, c.logins)
		s.close()
	}
}

// A number is a number field's own, whatever the order.
func TestWhoseKindOfFieldItIs(t *testing.T) {
	number := field.Spec{Name: "number", Type: "integer", Unique: true}
	nick := field.Spec{Name: "nick", Type: "text", Unique: true}
	for _, logins := range [][]string{{"username", "number", "nick"}, {"number", "username", "nick"}} {
		t.Run(fmt.Sprint(logins), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "registration.db")
			s := newSiteAt(t, path, noVerification, withFields(number, nick))
			ids := map[string]uuid.UUID{}
			for name, more := range map[string]data{"ada": {"number": 42}, "bob": {"nick": "cyd"}, "cyd": {}, "42": {}} {
				res := s.browser().post("/accounts/register", with(newcomer("x"+name), with(more, data{"username": name})))
				require.Equal(t, http.StatusCreated, res.StatusCode, res.body)
				ids[name] = uuid.MustParse(res.json(t)["id"].(string))
			}
			s.close()
			s = newSiteAt(t, path, noVerification, withFields(number, nick), loginBy(logins...))
			for login, owner := range map[string]string{"ada": "ada", "42": "ada", "0042": "ada", "bob": "bob", "cyd": "cyd"} {
				b := s.browser()
				require.Equal(t, http.StatusOK, b.post("/accounts/login", data{"login": login, "password": testPassword}).StatusCode, login)
				require.Equal(t, ids[owner].String(), b.get("/accounts/profile").json(t)["id"], login)
			}
			logged := map[string]string{}
			for _, e := range s.logs.FilterMessageSnippet("two accounts answer").All() {
				logged[e.ContextMap()["account"].(string)] = e.ContextMap()["field"].(string)
			}
			require.Equal(t, map[string]string{ids["42"].String(): "username", ids["bob"].String(): "nick"}, logged)
		})
	}
}

// While a reload is under way, the old configuration compares by the login fields
// of the new one too.
func TestNoClashIsMadeDuringAReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "registration.db")
	nick := field.Spec{Name: "nick", Type: "text", Unique: true}
	old := newSiteAt(t, path, noVerification, withFields(nick), loginBy("username"))
	old.member("bob")
	fresh := newSiteAt(t, path, noVerification, withFields(nick), loginBy("username", "nick"))
	b := old.browser().problems()
	require.Equal(t, "unique", fieldCodes(t, b.post("/accounts/register", with(newcomer("eve"), data{"nick": "BOB"})), "nick"))
	fresh.close()
	require.Equal(t, http.StatusCreated, b.post("/accounts/register", with(newcomer("eve"), data{"nick": "BOB"})).StatusCode, "the reload failed: it goes on as before")
	again := newSiteAt(t, path, noVerification, withFields(nick), loginBy("username", "nick"))
	require.Equal(t, 1, again.logs.FilterMessageSnippet("two accounts answer").Len(), "what came in between is found")
	old.close()
	require.Zero(t, again.logs.FilterLevelExact(zap.ErrorLevel).Len())
}
