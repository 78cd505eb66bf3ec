// profile_test.go: the rows of the contract about the profile, passwords
// and the e-mail address: success, refusals, settings.

package self_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
)

func TestContractProfile(t *testing.T) {
	s := sitetest.New(t)
	id := s.Member("ada")
	s.Member("bob")
	b := s.SignedIn("ada")
	require.JSONEq(t, `{"id":"`+id+`","username":"ada","email":"ada@example.org","first_name":"","last_name":""}`, b.Get("/accounts/profile/").Text)
	res := b.Do("PATCH", "/accounts/profile", sitetest.Data{"first_name": " Ada ", "id": "x", "email": "z@example.org", "is_staff": true})
	require.Equal(t, 200, res.StatusCode)
	require.JSONEq(t, `{"id":"`+id+`","username":"ada","email":"ada@example.org","first_name":"Ada","last_name":""}`, res.Text)
	for _, method := range []string{"PUT", "POST"} {
		sitetest.RequireError(t, b.Problems().Do(method, "/accounts/profile", sitetest.Data{"first_name": "x"}), 400, "username:required")
		require.Equal(t, 200, b.Do(method, "/accounts/profile", sitetest.Data{"username": "ada2", "last_name": "L"}).StatusCode)
	}
	sitetest.RequireError(t, b.Do("PATCH", "/accounts/profile", sitetest.Data{"username": "BOB", "first_name": true}), 400, "username:unique first_name:invalid")
	sitetest.RequireError(t, b.Do("PATCH", "/accounts/profile", sitetest.Data{"username": ""}), 400, "username:blank")
	require.Equal(t, 400, s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).StatusCode, "the old name signs nobody in")
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"email": "new@example.org"})), 400, "username:unique")
	for _, method := range []string{"GET", "PUT", "PATCH", "POST"} {
		require.Equal(t, 401, s.Browser().Do(method, "/accounts/profile", nil).StatusCode)
	}
}

func TestContractFieldLists(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) {
		s.User.PublicFields = []string{"username", "email", "is_staff", "groups", "date_joined", "last_login", "is_active"}
		s.User.HiddenFields, s.User.EditableFields = []string{"email"}, []string{"first_name", "username"}
	})
	s.Member("ada")
	b := s.SignedIn("ada")
	res := b.Do("PATCH", "/accounts/profile", sitetest.Data{"first_name": "x", "is_staff": true})
	require.JSONEq(t, `{"username":"ada","is_active":true,"is_staff":false,"groups":[],"date_joined":"2026-11-24T12:00:00Z","last_login":"2026-11-24T12:00:00Z"}`, res.Text)
	u, err := s.Accounts.Lookup(t.Context(), "ada")
	require.NoError(t, err)
	require.Empty(t, u.FirstName, "what is not public can't be edited")
}

func TestContractChangePassword(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.Login.Token = sitetest.On() })
	s.Member("ada")
	b, other := s.SignedIn("ada").Problems(), s.SignedIn("ada")
	token := s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).JSON(t)["token"].(string)
	const fresh = "an even longer passphrase"
	good := sitetest.Data{"old_password": sitetest.Password, "password": fresh, "password_confirm": fresh}
	for name, c := range map[string]struct {
		body sitetest.Data
		want string
	}{
		"nothing":        {sitetest.Data{}, "old_password:required password:required password_confirm:required"},
		"wrong old one":  {sitetest.With(good, sitetest.Data{"old_password": "no"}), "old_password:password_incorrect"},
		"all of it":      {sitetest.With(good, sitetest.Data{"old_password": "no", "password": "12345678", "password_confirm": "x"}), "old_password:password_incorrect password:password_entirely_numeric password:password_too_common password_confirm:passwords_do_not_match"},
		"different":      {sitetest.With(good, sitetest.Data{"password_confirm": "x"}), "password_confirm:passwords_do_not_match"},
		"like the name":  {sitetest.With(good, sitetest.Data{"password": "ada@example.org", "password_confirm": "ada@example.org"}), "password:password_too_similar"},
		"blank":          {sitetest.With(good, sitetest.Data{"password": ""}), "password:blank"},
		"spaces are not": {sitetest.With(good, sitetest.Data{"old_password": sitetest.Password + " "}), "old_password:password_incorrect"},
	} {
		t.Run(name, func(t *testing.T) { sitetest.RequireError(t, b.Post("/accounts/change-password", c.body), 400, c.want) })
	}
	before := b.Cookie["registration"]
	require.Equal(t, 200, b.Post("/accounts/change-password", good).StatusCode)
	require.NotEqual(t, before, b.Cookie["registration"])
	require.Equal(t, 200, b.Get("/accounts/profile").StatusCode)
	require.Equal(t, 401, other.Get("/accounts/profile").StatusCode)
	stale, api := s.Browser(), s.Browser()
	stale.Cookie["registration"] = before
	require.Equal(t, 401, stale.Get("/accounts/profile").StatusCode)
	api.Header.Set("Authorization", "Token "+token)
	require.Equal(t, 401, api.Get("/accounts/profile").StatusCode)
	require.Equal(t, 400, s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).StatusCode)
	require.Equal(t, 200, s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": fresh}).StatusCode)
}

func TestContractResetPassword(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	const fresh = "an even longer passphrase"
	b := s.SignedIn("ada")
	p := s.Browser().Problems()
	for _, login := range []string{"nobody", "ADA"} {
		require.Equal(t, 200, p.Post("/accounts/send-reset-password-link", sitetest.Data{"login": login}).StatusCode)
	}
	link := sitetest.LinkOf(s.Mail(), t)
	s.NoMail()
	sitetest.RequireError(t, p.Post("/accounts/send-reset-password-link", sitetest.Data{}), 400, "login:required")
	sitetest.RequireError(t, p.Post("/accounts/reset-password", sitetest.With(link, sitetest.Data{"signature": "x", "password": "1"})), 400, "signature_invalid")
	sitetest.RequireError(t, p.Post("/accounts/reset-password", sitetest.With(link, sitetest.Data{"password": "1"})), 400, "password:password_too_short password:password_entirely_numeric password:password_too_common")
	sitetest.RequireError(t, p.Post("/accounts/reset-password", link), 400, "password:required")
	sitetest.RequireError(t, p.Post("/accounts/verify-registration", link), 400, "signature_invalid")
	s.Travel(24*time.Hour + time.Second)
	sitetest.RequireError(t, p.Post("/accounts/reset-password", sitetest.With(link, sitetest.Data{"password": fresh})), 400, "signature_expired")
	s.Travel(-24 * time.Hour)
	var wg sync.WaitGroup
	var mu sync.Mutex
	count := map[int]int{}
	for range 100 {
		wg.Go(func() {
			status := s.Browser().Post("/accounts/reset-password", sitetest.With(link, sitetest.Data{"password": fresh})).StatusCode
			mu.Lock()
			defer mu.Unlock()
			count[status]++
		})
	}
	wg.Wait()
	require.Equal(t, map[int]int{200: 1, 400: 99}, count)
	require.Equal(t, 401, b.Get("/accounts/profile").StatusCode, "every session has ended")
	require.Equal(t, 200, s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": fresh}).StatusCode)
}

func TestContractResetSettings(t *testing.T) {
	t.Run("unknown is told", func(t *testing.T) {
		s := sitetest.New(t, func(s *registration.Settings) { s.ResetPassword.FailWhenUserNotFound = sitetest.On() })
		sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "nobody"}), 400, "user_not_found")
	})
	t.Run("by e-mail, typed twice, more than once", func(t *testing.T) {
		s := sitetest.New(t, func(s *registration.Settings) {
			s.ResetPassword.UseEmail, s.ResetPassword.PasswordConfirm, s.ResetPassword.OneTimeUse = sitetest.On(), sitetest.On(), sitetest.Off()
		})
		s.Member("ada")
		p := s.Browser().Problems()
		sitetest.RequireError(t, p.Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"}), 400, "email:required")
		require.Equal(t, 200, p.Post("/accounts/send-reset-password-link", sitetest.Data{"email": "ADA@EXAMPLE.org"}).StatusCode)
		link := sitetest.LinkOf(s.Mail(), t)
		sitetest.RequireError(t, p.Post("/accounts/reset-password", sitetest.With(link, sitetest.Data{"password": sitetest.Password})), 400, "password_confirm:required")
		for range 2 {
			require.Equal(t, 200, p.Post("/accounts/reset-password", sitetest.With(link, sitetest.Data{"password": sitetest.Password, "password_confirm": sitetest.Password})).StatusCode)
		}
	})
	t.Run("it confirms an account that waits", func(t *testing.T) {
		s := sitetest.New(t)
		s.Browser().Post("/accounts/register", sitetest.Newcomer("ada"))
		verify := sitetest.LinkOf(s.Mail(), t)
		s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"})
		const fresh = "an even longer passphrase"
		require.Equal(t, 200, s.Browser().Post("/accounts/reset-password", sitetest.With(sitetest.LinkOf(s.Mail(), t), sitetest.Data{"password": fresh})).StatusCode)
		require.Equal(t, 400, s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).StatusCode)
		sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/verify-registration", verify), 400, "signature_invalid")
		require.Equal(t, 200, s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": fresh}).StatusCode)
	})
	t.Run("no address, disabled", func(t *testing.T) {
		s := sitetest.New(t, func(s *registration.Settings) { s.Register.Verification = sitetest.Off() })
		s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"email": nil}))
		s.Browser().Post("/accounts/register", sitetest.Newcomer("bob"))
		_, err := s.Accounts.Administer(t.Context(), sitetest.UUIDOf(t, s, "bob"), account.AdminChange{IsActive: sitetest.Off()})
		require.NoError(t, err)
		for _, login := range []string{"ada", "bob"} {
			require.Equal(t, 200, s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": login}).StatusCode)
		}
		s.NoMail()
	})
	t.Run("the link dies with the address", func(t *testing.T) {
		s := sitetest.New(t)
		s.Member("ada")
		b := s.SignedIn("ada")
		b.Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"})
		reset := sitetest.LinkOf(s.Mail(), t)
		b.Post("/accounts/register-email", sitetest.Data{"email": "new@example.org"})
		require.Equal(t, 200, b.Post("/accounts/verify-email", sitetest.LinkOf(s.Mail(), t)).StatusCode)
		sitetest.RequireError(t, b.Problems().Post("/accounts/reset-password", sitetest.With(reset, sitetest.Data{"password": sitetest.Password})), 400, "signature_invalid")
	})
}

func TestContractEmail(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	s.Member("bob")
	b := s.SignedIn("ada").Problems()
	require.Equal(t, 401, s.Browser().Post("/accounts/register-email", sitetest.Data{"email": "x@example.org"}).StatusCode)
	for want, v := range map[string]any{"email:invalid": "x", "email:blank": " ", "email:null": sitetest.NullJSON} {
		sitetest.RequireError(t, b.Post("/accounts/register-email", sitetest.Data{"email": v}), 400, want)
	}
	same := b.Post("/accounts/register-email", sitetest.Data{"email": "bob@example.org"})
	notice := s.Mail()
	require.Equal(t, "bob@example.org", notice.To)
	require.NotRegexp(t, sitetest.LinkInMail, notice.Text)
	free := b.Post("/accounts/register-email", sitetest.Data{"email": "New@EXAMPLE.net"})
	require.Equal(t, same.Text, free.Text, "the answer tells nothing")
	require.Equal(t, same.StatusCode, free.StatusCode)
	m := s.Mail()
	require.Equal(t, "New@example.net", m.To)
	link := sitetest.LinkOf(m, t)
	require.Contains(t, b.Get("/accounts/profile").Text, "ada@example.org")
	sitetest.RequireError(t, b.Post("/accounts/verify-email", sitetest.With(link, sitetest.Data{"email": "evil@example.org"})), 400, "signature_invalid")
	anywhere := s.Browser().Problems()
	require.Equal(t, 200, anywhere.Post("/accounts/verify-email", link).StatusCode)
	require.Contains(t, b.Get("/accounts/profile").Text, "New@example.net", "in force at the next request")
	sitetest.RequireError(t, anywhere.Post("/accounts/verify-email", link), 400, "signature_invalid")
	require.Equal(t, "ada@example.org", s.Mail().To, "the old address is told")
	b.Post("/accounts/register-email", sitetest.Data{"email": "ada@example.org"})
	require.Equal(t, 200, b.Post("/accounts/verify-email", sitetest.LinkOf(s.Mail(), t)).StatusCode)
	sitetest.RequireError(t, anywhere.Post("/accounts/verify-email", link), 400, "signature_invalid")
}

func TestContractEmailRaceAndSettings(t *testing.T) {
	t.Run("two for one address", func(t *testing.T) {
		s := sitetest.New(t)
		var links []sitetest.Data
		for _, name := range []string{"ada", "bob"} {
			s.Member(name)
			s.SignedIn(name).Post("/accounts/register-email", sitetest.Data{"email": "one@example.org"})
			links = append(links, sitetest.LinkOf(s.Mail(), t))
		}
		require.Equal(t, 200, s.Browser().Post("/accounts/verify-email", links[0]).StatusCode)
		sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/verify-email", links[1]), 400, "email_already_registered")
	})
	t.Run("verification off", func(t *testing.T) {
		s := sitetest.New(t, func(s *registration.Settings) {
			s.RegisterEmail.Verification = sitetest.Off()
			s.Register.Verification = sitetest.Off()
		})
		s.Member("ada")
		s.Member("bob")
		b := s.SignedIn("ada")
		require.Equal(t, 200, b.Post("/accounts/register-email", sitetest.Data{"email": "x@example.org"}).StatusCode)
		require.Contains(t, b.Get("/accounts/profile").Text, "x@example.org")
		sitetest.RequireError(t, b.Problems().Post("/accounts/register-email", sitetest.Data{"email": "BOB@example.org"}), 400, "email_already_registered")
		require.Equal(t, 404, b.Post("/accounts/verify-email", sitetest.Data{}).StatusCode)
	})
}

func TestContractRehash(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	old, err := bcrypt.GenerateFromPassword([]byte(sitetest.Password), bcrypt.MinCost)
	require.NoError(t, err)
	set := func(hash string) {
		require.NoError(t, s.Accounts.Update(t.Context(), func(tx *account.Txn) error {
			u, err := tx.User(sitetest.UUIDOf(t, s, "ada"))
			u.PasswordHash = hash
			return errOr(err, s.Accounts.PutUser(tx, u))
		}))
	}
	set(string(old))
	s.SignedIn("ada")
	u, err := s.Accounts.Lookup(t.Context(), "ada")
	require.NoError(t, err)
	require.Contains(t, u.PasswordHash, "$argon2id$")
	s.SignedIn("ada")
	set("nonsense")
	require.Equal(t, 400, s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).StatusCode)
	require.NotZero(t, s.Logs.FilterMessage("request failed").Len(), "the operator sees the cause")
}

func errOr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// A rule that comes after a value judges what is new, not what stays: whoever has
// the value can save his profile as it is, over the API and in a browser.
func TestProfileIsSavedUnchangedWhateverTheRules(t *testing.T) {
	for name, c := range map[string]struct {
		before, after field.Spec
		// has is the account's value, other one that the rule refuses, with its code.
		has, other any
		code       string
		// typed is how the value can be written besides.
		typed any
		// page is what the page must have of it, blocks what it must not have.
		page, blocks string
	}{
		"pattern":    {field.Spec{Type: "text"}, field.Spec{Type: "text", Pattern: "[a-z]+"}, "A 1", "B 2", "invalid", " A 1 ", `value="A 1"`, "pattern="},
		"min_length": {field.Spec{Type: "text"}, field.Spec{Type: "text", MinLength: 5}, "abc", "abd", "min_length", " abc", `value="abc"`, "minlength="},
		"max_length": {field.Spec{Type: "text"}, field.Spec{Type: "text", MaxLength: 2}, "abc", "abd", "max_length", "abc ", `value="abc"`, "maxlength="},
		"required":   {field.Spec{Type: "text"}, field.Spec{Type: "text", Required: true}, "", nil, "null", "  ", `name="extra"`, "required"},
		"choices":    {field.Spec{Type: "choice", Choices: []string{"s", "m"}}, field.Spec{Type: "choice", Choices: []string{"m", "l"}}, "s", "xl", "invalid_choice", " s", `<option value="s" selected>`, `<option value="" selected>`},
		"no choice":  {field.Spec{Type: "choice", Choices: []string{"s"}}, field.Spec{Type: "choice", Choices: []string{"s"}, Required: true}, "", "xl", "invalid_choice", "", `name="extra"`, "required"},
		"max":        {field.Spec{Type: "integer"}, field.Spec{Type: "integer", Max: json.RawMessage("10")}, 12, 13, "max_value", "012", `value="12"`, "max="},
		"min":        {field.Spec{Type: "date"}, field.Spec{Type: "date", Min: json.RawMessage(`"2000-01-01"`)}, "1990-01-01", "1991-01-01", "min_value", " 1990-01-01", `value="1990-01-01"`, "min="},
		"type":       {field.Spec{Type: "text"}, field.Spec{Type: "url"}, "no address", "none", "invalid", " no address", `value="no address"`, `type="url"`},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "registration.db")
			c.before.Name, c.after.Name = "extra", "extra"
			s := sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.WithFields(c.before))
			s.Member("ada")
			require.Equal(t, 200, s.SignedIn("ada").Do("PATCH", "/accounts/profile", sitetest.Data{"extra": c.has}).StatusCode)
			s.Close()
			s = sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.WithFields(c.after))
			b := s.SignedIn("ada").Problems()
			whole := sitetest.Data{"username": "ada", "first_name": "", "last_name": "", "extra": c.has}
			for _, method := range []string{"PUT", "POST", "PATCH"} {
				for _, v := range []any{c.has, c.typed} {
					res := b.Do(method, "/accounts/profile", sitetest.With(whole, sitetest.Data{"extra": v}))
					require.Equal(t, 200, res.StatusCode, res.Text)
				}
			}
			require.Equal(t, c.code, sitetest.FieldCodes(t, b.Do("PATCH", "/accounts/profile", sitetest.Data{"extra": c.other}), "extra"))
			input := regexp.MustCompile(`(?s)<select[^>]*name="extra".*?</select>|<input[^>]*name="extra"[^>]*>`)
			browser := s.SignedIn("ada").LikeBrowser()
			refused := browser.Post("/accounts/profile/", url.Values{"username": {""}, "extra": {fmt.Sprint(c.has)}})
			require.Equal(t, 400, refused.StatusCode, refused.Text)
			for _, page := range []string{browser.Get("/accounts/profile/").Text, refused.Text} {
				shown := input.FindString(page)
				require.Contains(t, shown, c.page)
				require.NotContains(t, shown, c.blocks)
			}
		})
	}
	t.Run("a new account is judged by them all", func(t *testing.T) {
		s := sitetest.New(t, sitetest.NoVerification, sitetest.WithFields(field.Spec{Name: "extra", Type: "text", Required: true}))
		require.Equal(t, "blank", sitetest.FieldCodes(t, s.Browser().Problems().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"extra": ""})), "extra"))
	})
	t.Run("the login fields are others now", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "registration.db")
		s := sitetest.NewAt(t, path, sitetest.NoVerification)
		s.Member("ada")
		b := s.SignedIn("ada")
		s.Close()
		s = sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.WithFields(field.Spec{Name: "nick", Type: "text", Unique: true}), sitetest.LoginBy("nick"))
		b.Site = s
		require.Equal(t, 200, b.Do("PUT", "/accounts/profile", sitetest.Data{"username": "ada", "first_name": "A", "last_name": "", "nick": ""}).StatusCode)
	})
}

// A field that is set once is its owner's to set, and then nobody's but an owner's of the site.
func TestFieldThatIsSetOnce(t *testing.T) {
	s := sitetest.New(t, sitetest.WithFields(
		field.Spec{Name: "born", Type: "date", Once: true, Required: true},
		field.Spec{Name: "rules", Type: "boolean", Label: "I keep the [rules](/rules)", Once: true},
		field.Spec{Name: "number", Type: "integer", Once: true, Unique: true},
	), sitetest.WithoutVerification, func(s *registration.Settings) { s.User.LoginFields = []string{"username", "number"} })
	page := s.Browser().LikeBrowser().Get("/accounts/register/").Text
	require.Contains(t, page, `id="born-hint">You can set this once`)
	require.Equal(t, 201, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"born": "1815-12-10"})).StatusCode)
	b := s.SignedIn("ada")
	change := func(method string, body sitetest.Data) map[string]any {
		res := b.Do(method, "/accounts/profile", body)
		sitetest.WantJSON(t, res, 200)
		return res.JSON(t)
	}
	got := change("PATCH", sitetest.Data{"born": "1900-01-01", "first_name": "Ada"})
	require.Equal(t, []any{"1815-12-10", "Ada", false}, []any{got["born"], got["first_name"], got["rules"]})
	require.Equal(t, false, change("PATCH", sitetest.Data{"rules": false})["rules"])
	require.Equal(t, true, change("PATCH", sitetest.Data{"rules": true})["rules"], "false is as good as nothing")
	require.Equal(t, true, change("PATCH", sitetest.Data{"rules": false})["rules"])
	require.EqualValues(t, 7, change("PATCH", sitetest.Data{"number": 7})["number"])
	s.Travel(time.Hour) // no password is asked for what doesn't change
	require.EqualValues(t, 7, change("PATCH", sitetest.Data{"number": 8})["number"])
	require.Equal(t, "1815-12-10", change("PUT", sitetest.Data{"username": "ada"})["born"], "what can't be changed needn't be there")

	page = s.SignedIn("ada").LikeBrowser().Get("/accounts/profile/").Text
	for _, name := range []string{"born", "rules", "number"} {
		require.NotContains(t, page, `name="`+name+`"`)
	}
	require.Contains(t, page, "<dt>I keep the rules</dt>")
	require.Contains(t, page, "1815")

	_, err := sitetest.Open(t.TempDir()+"/r.db", sitetest.WithFields(field.Spec{Name: "plan", Type: "text", Once: true, ReadOnly: true}))
	require.ErrorContains(t, err, "user.field.plan.once")
}
