// contract_self_test.go: the rows of the contract about the profile, passwords
// and the e-mail address: success, refusals, settings.

package registration

import (
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/seed-928992b0/caddy-registration/internal/account"
)

func uuidOf(t testing.TB, s *site, login string) uuid.UUID {
	t.Helper()
	u, err := s.accounts.Lookup(t.Context(), login)
	require.NoError(t, err)
	return u.ID
}

func TestContractProfile(t *testing.T) {
	s := newSite(t)
	id := s.member("ada")
	s.member("bob")
	b := s.signedIn("ada")
	require.JSONEq(t, `{"id":"`+id+`","username":"ada","email":"ada@example.org","first_name":"","last_name":""}`, b.get("/accounts/profile/").body)
	res := b.do("PATCH", "/accounts/profile", data{"first_name": " Ada ", "id": "x", "email": "z@example.org", "is_staff": true})
	require.Equal(t, 200, res.StatusCode)
	require.JSONEq(t, `{"id":"`+id+`","username":"ada","email":"ada@example.org","first_name":"Ada","last_name":""}`, res.body)
	for _, method := range []string{"PUT", "POST"} {
		requireError(t, b.problems().do(method, "/accounts/profile", data{"first_name": "x"}), 400, "username:required")
		require.Equal(t, 200, b.do(method, "/accounts/profile", data{"username": "ada2", "last_name": "L"}).StatusCode)
	}
	requireError(t, b.do("PATCH", "/accounts/profile", data{"username": "BOB", "first_name": true}), 400, "username:unique first_name:invalid")
	requireError(t, b.do("PATCH", "/accounts/profile", data{"username": ""}), 400, "username:blank")
	require.Equal(t, 400, s.browser().post("/accounts/login", data{"login": "ada", "password": testPassword}).StatusCode, "the old name signs nobody in")
	requireError(t, s.browser().problems().post("/accounts/register", with(newcomer("ada"), data{"email": "new@example.org"})), 400, "username:unique")
	for _, method := range []string{"GET", "PUT", "PATCH", "POST"} {
		require.Equal(t, 401, s.browser().do(method, "/accounts/profile", nil).StatusCode)
	}
}

func TestContractFieldLists(t *testing.T) {
	s := newSite(t, func(s *Settings) {
		s.User.PublicFields = []string{"username", "email", "is_staff", "groups", "date_joined", "last_login", "is_active"}
		s.User.HiddenFields, s.User.EditableFields = []string{"email"}, []string{"first_name", "username"}
	})
	s.member("ada")
	b := s.signedIn("ada")
	res := b.do("PATCH", "/accounts/profile", data{"first_name": "x", "is_staff": true})
	require.JSONEq(t, `{"username":"ada","is_active":true,"is_staff":false,"groups":[],"date_joined":"2026-11-24T12:00:00Z","last_login":"2026-11-24T12:00:00Z"}`, res.body)
	u, err := s.accounts.Lookup(t.Context(), "ada")
	require.NoError(t, err)
	require.Empty(t, u.FirstName, "what is not public can't be edited")
}

func TestContractChangePassword(t *testing.T) {
	s := newSite(t, func(s *Settings) { s.Login.Token = on() })
	s.member("ada")
	b, other := s.signedIn("ada").problems(), s.signedIn("ada")
	token := s.browser().post("/accounts/login", data{"login": "ada", "password": testPassword}).json(t)["token"].(string)
	const fresh = "an even longer passphrase"
	good := data{"old_password": testPassword, "password": fresh, "password_confirm": fresh}
	for name, c := range map[string]struct {
		body data
		want string
	}{
		"nothing":        {data{}, "old_password:required password:required password_confirm:required"},
		"wrong old one":  {with(good, data{"old_password": "no"}), "old_password:password_incorrect"},
		"all of it":      {with(good, data{"old_password": "no", "password": "12345678", "password_confirm": "x"}), "old_password:password_incorrect password:password_entirely_numeric password:password_too_common password_confirm:passwords_do_not_match"},
		"different":      {with(good, data{"password_confirm": "x"}), "password_confirm:passwords_do_not_match"},
		"like the name":  {with(good, data{"password": "ada@example.org", "password_confirm": "ada@example.org"}), "password:password_too_similar"},
		"blank":          {with(good, data{"password": ""}), "password:blank"},
		"spaces are not": {with(good, data{"old_password": testPassword + " "}), "old_password:password_incorrect"},
	} {
		t.Run(name, func(t *testing.T) { requireError(t, b.post("/accounts/change-password", c.body), 400, c.want) })
	}
	before := b.cookie["registration"]
	require.Equal(t, 200, b.post("/accounts/change-password", good).StatusCode)
	require.NotEqual(t, before, b.cookie["registration"])
	require.Equal(t, 200, b.get("/accounts/profile").StatusCode)
	require.Equal(t, 401, other.get("/accounts/profile").StatusCode)
	stale, api := s.browser(), s.browser()
	stale.cookie["registration"] = before
	require.Equal(t, 401, stale.get("/accounts/profile").StatusCode)
	api.header.Set("Authorization", "Token "+token)
	require.Equal(t, 401, api.get("/accounts/profile").StatusCode)
	require.Equal(t, 400, s.browser().post("/accounts/login", data{"login": "ada", "password": testPassword}).StatusCode)
	require.Equal(t, 200, s.browser().post("/accounts/login", data{"login": "ada", "password": fresh}).StatusCode)
}

func TestContractResetPassword(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	const fresh = "an even longer passphrase"
	b := s.signedIn("ada")
	p := s.browser().problems()
	for _, login := range []string{"nobody", "ADA"} {
		require.Equal(t, 200, p.post("/accounts/send-reset-password-link", data{"login": login}).StatusCode)
	}
	link := linkOf(s.mail(), t)
	s.noMail()
	requireError(t, p.post("/accounts/send-reset-password-link", data{}), 400, "login:required")
	requireError(t, p.post("/accounts/reset-password", with(link, data{"signature": "x", "password": "1"})), 400, "signature_invalid")
	requireError(t, p.post("/accounts/reset-password", with(link, data{"password": "1"})), 400, "password:password_too_short password:password_entirely_numeric password:password_too_common")
	requireError(t, p.post("/accounts/reset-password", link), 400, "password:required")
	requireError(t, p.post("/accounts/verify-registration", link), 400, "signature_invalid")
	s.travel(24*time.Hour + time.Second)
	requireError(t, p.post("/accounts/reset-password", with(link, data{"password": fresh})), 400, "signature_expired")
	s.travel(-24 * time.Hour)
	var wg sync.WaitGroup
	var mu sync.Mutex
	count := map[int]int{}
	for range 100 {
		wg.Go(func() {
			status := s.browser().post("/accounts/reset-password", with(link, data{"password": fresh})).StatusCode
			mu.Lock()
			defer mu.Unlock()
			count[status]++
		})
	}
	wg.Wait()
	require.Equal(t, map[int]int{200: 1, 400: 99}, count)
	require.Equal(t, 401, b.get("/accounts/profile").StatusCode, "every session has ended")
	require.Equal(t, 200, s.browser().post("/accounts/login", data{"login": "ada", "password": fresh}).StatusCode)
}

func TestContractResetSettings(t *testing.T) {
	t.Run("unknown is told", func(t *testing.T) {
		s := newSite(t, func(s *Settings) { s.ResetPassword.FailWhenUserNotFound = on() })
		requireError(t, s.browser().problems().post("/accounts/send-reset-password-link", data{"login": "nobody"}), 400, "user_not_found")
	})
	t.Run("by e-mail, typed twice, more than once", func(t *testing.T) {
		s := newSite(t, func(s *Settings) {
			s.ResetPassword.UseEmail, s.ResetPassword.PasswordConfirm, s.ResetPassword.OneTimeUse = on(), on(), off()
		})
		s.member("ada")
		p := s.browser().problems()
		requireError(t, p.post("/accounts/send-reset-password-link", data{"login": "ada"}), 400, "email:required")
		require.Equal(t, 200, p.post("/accounts/send-reset-password-link", data{"email": "ADA@EXAMPLE.org"}).StatusCode)
		link := linkOf(s.mail(), t)
		requireError(t, p.post("/accounts/reset-password", with(link, data{"password": testPassword})), 400, "password_confirm:required")
		for range 2 {
			require.Equal(t, 200, p.post("/accounts/reset-password", with(link, data{"password": testPassword, "password_confirm": testPassword})).StatusCode)
		}
	})
	t.Run("it confirms an account that waits", func(t *testing.T) {
		s := newSite(t)
		s.browser().post("/accounts/register", newcomer("ada"))
		verify := linkOf(s.mail(), t)
		s.browser().post("/accounts/send-reset-password-link", data{"login": "ada"})
		const fresh = "an even longer passphrase"
		require.Equal(t, 200, s.browser().post("/accounts/reset-password", with(linkOf(s.mail(), t), data{"password": fresh})).StatusCode)
		require.Equal(t, 400, s.browser().post("/accounts/login", data{"login": "ada", "password": testPassword}).StatusCode)
		requireError(t, s.browser().problems().post("/accounts/verify-registration", verify), 400, "signature_invalid")
		require.Equal(t, 200, s.browser().post("/accounts/login", data{"login": "ada", "password": fresh}).StatusCode)
	})
	t.Run("no address, disabled", func(t *testing.T) {
		s := newSite(t, func(s *Settings) { s.Register.Verification = off() })
		s.browser().post("/accounts/register", with(newcomer("ada"), data{"email": nil}))
		s.browser().post("/accounts/register", newcomer("bob"))
		_, err := s.accounts.Administer(t.Context(), uuidOf(t, s, "bob"), account.AdminChange{IsActive: off()})
		require.NoError(t, err)
		for _, login := range []string{"ada", "bob"} {
			require.Equal(t, 200, s.browser().post("/accounts/send-reset-password-link", data{"login": login}).StatusCode)
		}
		s.noMail()
	})
	t.Run("the link dies with the address", func(t *testing.T) {
		s := newSite(t)
		s.member("ada")
		b := s.signedIn("ada")
		b.post("/accounts/send-reset-password-link", data{"login": "ada"})
		reset := linkOf(s.mail(), t)
		b.post("/accounts/register-email", data{"email": "new@example.org"})
		require.Equal(t, 200, b.post("/accounts/verify-email", linkOf(s.mail(), t)).StatusCode)
		requireError(t, b.problems().post("/accounts/reset-password", with(reset, data{"password": testPassword})), 400, "signature_invalid")
	})
}

func TestContractEmail(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	s.member("bob")
	b := s.signedIn("ada").problems()
	require.Equal(t, 401, s.browser().post("/accounts/register-email", data{"email": "x@example.org"}).StatusCode)
	for want, v := range map[string]any{"email:invalid": "x", "email:blank": " ", "email:null": nullJSON} {
		requireError(t, b.post("/accounts/register-email", data{"email": v}), 400, want)
	}
	same := b.post("/accounts/register-email", data{"email": "bob@example.org"})
	notice := s.mail()
	require.Equal(t, "bob@example.org", notice.To)
	require.NotRegexp(t, linkInMail, notice.Text)
	free := b.post("/accounts/register-email", data{"email": "New@EXAMPLE.net"})
	require.Equal(t, same.body, free.body, "the answer tells nothing")
	require.Equal(t, same.StatusCode, free.StatusCode)
	m := s.mail()
	require.Equal(t, "New@example.net", m.To)
	link := linkOf(m, t)
	require.Contains(t, b.get("/accounts/profile").body, "ada@example.org")
	requireError(t, b.post("/accounts/verify-email", with(link, data{"email": "evil@example.org"})), 400, "signature_invalid")
	anywhere := s.browser().problems()
	require.Equal(t, 200, anywhere.post("/accounts/verify-email", link).StatusCode)
	require.Contains(t, b.get("/accounts/profile").body, "New@example.net", "in force at the next request")
	requireError(t, anywhere.post("/accounts/verify-email", link), 400, "signature_invalid")
	require.Equal(t, "ada@example.org", s.mail().To, "the old address is told")
	b.post("/accounts/register-email", data{"email": "ada@example.org"})
	require.Equal(t, 200, b.post("/accounts/verify-email", linkOf(s.mail(), t)).StatusCode)
	requireError(t, anywhere.post("/accounts/verify-email", link), 400, "signature_invalid")
}

func TestContractEmailRaceAndSettings(t *testing.T) {
	t.Run("two for one address", func(t *testing.T) {
		s := newSite(t)
		var links []data
		for _, name := range []string{"ada", "bob"} {
			s.member(name)
			s.signedIn(name).post("/accounts/register-email", data{"email": "one@example.org"})
			links = append(links, linkOf(s.mail(), t))
		}
		require.Equal(t, 200, s.browser().post("/accounts/verify-email", links[0]).StatusCode)
		requireError(t, s.browser().problems().post("/accounts/verify-email", links[1]), 400, "email_already_registered")
	})
	t.Run("verification off", func(t *testing.T) {
		s := newSite(t, func(s *Settings) { s.RegisterEmail.Verification = off(); s.Register.Verification = off() })
		s.member("ada")
		s.member("bob")
		b := s.signedIn("ada")
		require.Equal(t, 200, b.post("/accounts/register-email", data{"email": "x@example.org"}).StatusCode)
		require.Contains(t, b.get("/accounts/profile").body, "x@example.org")
		requireError(t, b.problems().post("/accounts/register-email", data{"email": "BOB@example.org"}), 400, "email_already_registered")
		require.Equal(t, 404, b.post("/accounts/verify-email", data{}).StatusCode)
	})
}

func TestContractRehash(t *testing.T) {
	s := newSite(t)
	s.member("ada")
	old, err := bcrypt.GenerateFromPassword([]byte(testPassword), bcrypt.MinCost)
	require.NoError(t, err)
	set := func(hash string) {
		require.NoError(t, s.accounts.Update(t.Context(), func(tx *account.Txn) error {
			u, err := tx.User(uuidOf(t, s, "ada"))
			u.PasswordHash = hash
			return errOr(err, s.accounts.PutUser(tx, u))
		}))
	}
	set(string(old))
	s.signedIn("ada")
	u, err := s.accounts.Lookup(t.Context(), "ada")
	require.NoError(t, err)
	require.Contains(t, u.PasswordHash, "$argon2id$")
	s.signedIn("ada")
	set("nonsense")
	require.Equal(t, 400, s.browser().post("/accounts/login", data{"login": "ada", "password": testPassword}).StatusCode)
	require.NotZero(t, s.logs.FilterMessage("request failed").Len(), "the operator sees the cause")
}

func errOr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
