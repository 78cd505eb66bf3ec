// names_test.go: accounts that answer to one sign-in name: everybody keeps his
// account, the log says who clashes, and no new ones come.

package account_test

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
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/text"
)

// clashingSite has bob, and mallory whose username is bob's address, from the time
// when usernames alone signed in.
func clashingSite(t *testing.T) (s *sitetest.Site, bob, mallory uuid.UUID) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "registration.db")
	s = sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.LoginBy("username"))
	bob = uuid.MustParse(s.Member("bob"))
	mallory = uuid.MustParse(s.Member("mallory"))
	rename(s, mallory, "bob@example.org")
	s.Close()
	return sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.LoginBy("username", "email")), bob, mallory
}

// rename gives an account a username that nobody could choose today.
func rename(s *sitetest.Site, id uuid.UUID, name string) {
	s.T.Helper()
	require.NoError(s.T, s.Accounts.Update(s.T.Context(), func(t *account.Txn) error {
		u, err := t.User(id)
		if err != nil {
			return err
		}
		u.Username = name
		return s.Accounts.PutUser(t, u)
	}))
}

func TestALoginFieldThatIsAddedLocksNobodyOut(t *testing.T) {
	s, bob, mallory := clashingSite(t)
	logged := s.Logs.FilterMessageSnippet("two accounts answer to one sign-in name").All()
	require.Len(t, logged, 1)
	require.Equal(t, map[string]any{"field": "username", "account": mallory.String(), "holder": bob.String()}, logged[0].ContextMap())

	id := func(login sitetest.Data) string {
		b := s.Browser().Problems()
		res := b.Post("/accounts/login", sitetest.With(login, sitetest.Data{"password": sitetest.Password}))
		require.Equal(t, http.StatusOK, res.StatusCode, "%v: %s", login, res.Text)
		return b.Get("/accounts/profile").JSON(t)["id"].(string)
	}
	for _, login := range []sitetest.Data{{"login": "bob"}, {"login": "BOB@example.org"}, {"username": "bob"}, {"email": "bob@example.org"}} {
		require.Equal(t, bob.String(), id(login), login)
	}
	for _, login := range []sitetest.Data{{"login": "mallory@example.org"}, {"email": "mallory@example.org"}, {"username": "bob@example.org"}} {
		require.Equal(t, mallory.String(), id(login), login)
	}
	for _, acct := range []uuid.UUID{bob, mallory} {
		for _, active := range []*bool{sitetest.Off(), sitetest.On()} {
			_, err := s.Accounts.Administer(t.Context(), acct, account.AdminChange{IsActive: active})
			require.NoError(t, err)
		}
	}
	for _, address := range []string{"mallory@example.org", "bob@example.org"} {
		require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"email": address}).StatusCode)
		mail := s.Mail()
		require.Equal(t, address, mail.To)
		res := s.Browser().Problems().Post("/accounts/reset-password", sitetest.With(sitetest.LinkOf(mail, t), sitetest.Data{"password": sitetest.Password}))
		require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	}
}

func TestWhoseSignInNameClashesChoosesAnother(t *testing.T) {
	s, _, _ := clashingSite(t)
	b := s.Browser().Problems()
	res := b.Post("/accounts/login", sitetest.Data{"login": "mallory@example.org", "password": sitetest.Password})
	require.Equal(t, sitetest.Words(text.Say("detail.logged_in_clash")), res.JSON(t)["detail"])
	require.Equal(t, 1, s.Logs.FilterMessageSnippet("asked to choose another").Len())
	// Whatever leaves the name alone is done, a form that keeps it too; nobody
	// else comes to have such a name.
	require.Equal(t, http.StatusOK, b.Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"first_name": "M"}).StatusCode)
	whole := sitetest.Data{"username": "bob@example.org", "first_name": "M", "last_name": ""}
	require.Equal(t, http.StatusOK, b.Do(http.MethodPut, "/accounts/profile", whole).StatusCode)
	s.Member("eve")
	require.Equal(t, "invalid", sitetest.FieldCodes(t, s.SignedIn("eve").Problems().Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"username": "mallory@example.org"}), "username"))
	require.Equal(t, "invalid", sitetest.FieldCodes(t, b.Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"username": "eve@example.org"}), "username"))
	require.Equal(t, http.StatusOK, b.Do(http.MethodPut, "/accounts/profile", sitetest.With(whole, sitetest.Data{"username": "mallory"})).StatusCode)
	for _, login := range []string{"mallory", "mallory@example.org", "bob"} {
		res = s.Browser().Post("/accounts/login", sitetest.Data{"login": login, "password": sitetest.Password})
		require.Equal(t, sitetest.Words(text.Say("detail.logged_in")), res.JSON(t)["detail"], login)
	}
	// The owner of the address may save his profile all the while.
	s, _, _ = clashingSite(t)
	whole["username"] = "bob"
	require.Equal(t, http.StatusOK, s.SignedIn("bob").Do(http.MethodPut, "/accounts/profile", whole).StatusCode)
	// In a browser the profile says so, wherever he wanted to go.
	page := s.Browser().LikeBrowser()
	res = page.Post("/accounts/login/?next=/members/", url.Values{"login": {"mallory@example.org"}, "password": {sitetest.Password}})
	require.Contains(t, res.Header.Get("Location"), "/accounts/profile/")
	require.Contains(t, page.Follow(res).Text, sitetest.Words(text.Say("detail.logged_in_clash")))
}

// An administrator acts on the one that he means or on none.
func TestLookupIsNeverAGuess(t *testing.T) {
	s, bob, mallory := clashingSite(t)
	eve := uuid.MustParse(s.Member("eve"))
	rename(s, eve, bob.String())
	for text, want := range map[string][]uuid.UUID{"bob@example.org": {mallory, bob}, bob.String(): {bob, eve}} {
		_, err := s.Accounts.Lookup(t.Context(), text)
		ambiguous := (*account.AmbiguousError)(nil)
		require.ErrorAs(t, err, &ambiguous, text)
		require.Equal(t, want, ambiguous.IDs, text)
	}
	u, err := s.Accounts.LookupID(t.Context(), bob.String())
	require.NoError(t, err)
	require.Equal(t, bob, u.ID)
	u, err = s.Accounts.LookupName(t.Context(), bob.String())
	require.NoError(t, err)
	require.Equal(t, eve, u.ID)
	u, err = s.Accounts.Lookup(t.Context(), "mallory@example.org")
	require.NoError(t, err)
	require.Equal(t, mallory, u.ID)
	_, err = s.Accounts.LookupID(t.Context(), "mallory@example.org")
	require.Error(t, err)
}

// The walk over all accounts is done once, and again when another pair of fields
// comes to be.
func TestClashesAreLookedForOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "registration.db")
	clashes := func(s *sitetest.Site) int { return s.Logs.FilterMessageSnippet("two accounts answer").Len() }
	s, _, _ := clashingSite(t)
	require.Equal(t, 1, clashes(s))
	s.Close()
	s = sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.LoginBy("username"))
	s.Member("bob")
	rename(s, uuid.MustParse(s.Member("mallory")), "bob@example.org")
	s.Close()
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
		s = sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.LoginBy(c.logins...))
		require.Equal(t, c.want, clashes(s), "%d: %v", i, c.logins)
		s.Close()
	}
}

// A number is a number field's own, whatever the order.
func TestWhoseKindOfFieldItIs(t *testing.T) {
	number := field.Spec{Name: "number", Type: "integer", Unique: true}
	nick := field.Spec{Name: "nick", Type: "text", Unique: true}
	for _, logins := range [][]string{{"username", "number", "nick"}, {"number", "username", "nick"}} {
		t.Run(fmt.Sprint(logins), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "registration.db")
			s := sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.WithFields(number, nick))
			ids := map[string]uuid.UUID{}
			for name, more := range map[string]sitetest.Data{"ada": {"number": 42}, "bob": {"nick": "cyd"}, "cyd": {}, "42": {}} {
				res := s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("x"+name), sitetest.With(more, sitetest.Data{"username": name})))
				require.Equal(t, http.StatusCreated, res.StatusCode, res.Text)
				ids[name] = uuid.MustParse(res.JSON(t)["id"].(string))
			}
			s.Close()
			s = sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.WithFields(number, nick), sitetest.LoginBy(logins...))
			for login, owner := range map[string]string{"ada": "ada", "42": "ada", "0042": "ada", "bob": "bob", "cyd": "cyd"} {
				b := s.Browser()
				require.Equal(t, http.StatusOK, b.Post("/accounts/login", sitetest.Data{"login": login, "password": sitetest.Password}).StatusCode, login)
				require.Equal(t, ids[owner].String(), b.Get("/accounts/profile").JSON(t)["id"], login)
			}
			logged := map[string]string{}
			for _, e := range s.Logs.FilterMessageSnippet("two accounts answer").All() {
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
	old := sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.WithFields(nick), sitetest.LoginBy("username"))
	old.Member("bob")
	fresh := sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.WithFields(nick), sitetest.LoginBy("username", "nick"))
	b := old.Browser().Problems()
	require.Equal(t, "unique", sitetest.FieldCodes(t, b.Post("/accounts/register", sitetest.With(sitetest.Newcomer("eve"), sitetest.Data{"nick": "BOB"})), "nick"))
	fresh.Close()
	require.Equal(t, http.StatusCreated, b.Post("/accounts/register", sitetest.With(sitetest.Newcomer("eve"), sitetest.Data{"nick": "BOB"})).StatusCode, "the reload failed: it goes on as before")
	again := sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.WithFields(nick), sitetest.LoginBy("username", "nick"))
	require.Equal(t, 1, again.Logs.FilterMessageSnippet("two accounts answer").Len(), "what came in between is found")
	old.Close()
	require.Zero(t, again.Logs.FilterLevelExact(zap.ErrorLevel).Len())
}
