// hardening_store_test.go: what a close reading of the store proved: false alarms,
// sessions that come back, records that nobody can read.

package session_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/inside"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
	"github.com/seed-928992b0/caddy-registration/store/bolt"
)

// A file that grows between two looks at its size is not a file that was cut
// short: whoever restores a backup on that word loses what came since.
func TestAGrowingFileIsNotDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	require.NoError(t, os.WriteFile(path, make([]byte, 4096), 0o600))
	h := &bolt.Health{}
	require.NoError(t, h.Watch(path))
	t.Cleanup(func() { _ = h.File.Close() })
	inner := false
	h.Stat = func(f *os.File) (int64, error) {
		size, err := bolt.FileSize(f)
		if !inner { // the file grows behind this look, and another call sees it first
			inner = true
			require.NoError(t, os.Truncate(path, size+4096))
			require.NoError(t, h.Check())
		}
		return size, err
	}
	require.NoError(t, h.Check())
	require.Equal(t, int64(8192), h.Size.Load(), "the larger of the two is kept")
	require.NoError(t, os.Truncate(path, 4096))
	require.ErrorIs(t, h.Check(), bolt.ErrTruncated)
}

// A session that the sweep has ended under a clock that was ahead does not live on
// in memory, where nothing that ends sessions would find it.
func TestASweptSessionStaysEnded(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification)
	s.Member("ada")
	b := s.SignedIn("ada")
	require.Equal(t, http.StatusOK, b.Get("/members/").StatusCode)
	s.Travel(365 * sitetest.Day)
	removed, err := s.Realm.Resources.Sessions.Sweep(t.Context(), s.Realm.Now())
	require.NoError(t, err)
	require.Positive(t, removed)
	s.Travel(-365 * sitetest.Day)
	require.Equal(t, http.StatusUnauthorized, b.Get("/members/").StatusCode)
	require.NoError(t, s.Realm.Resources.Sessions.Flush(t.Context()))
	require.Equal(t, http.StatusUnauthorized, b.Get("/members/").StatusCode)
}

// A reservation that was over while somebody took the address stays over when the
// clock is set back, and in a store where it came back before.
func TestALapsedReservationStaysLapsed(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.User.LoginFields = []string{field.Username, field.Email} })
	id := uuid.MustParse(s.Member("ada"))
	require.Equal(t, http.StatusOK, s.SignedIn("ada").Post("/accounts/register-email", sitetest.Data{"email": "new@example.org"}).StatusCode)
	require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/verify-email", sitetest.LinkOf(s.Mail(), t)).StatusCode)
	undo := sitetest.LinkOf(s.Mail(), t)
	var reserved *store.User
	require.NoError(t, s.Accounts.Store.View(t.Context(), func(tx store.Tx) (err error) { reserved, err = tx.User(id); return err }))
	require.Len(t, reserved.Former, 1)
	in := sitetest.Newcomer("bob")
	in["email"] = "ada@example.org"
	const ahead = 30 * sitetest.Day
	s.Travel(ahead)
	require.Equal(t, http.StatusCreated, s.Browser().Post("/accounts/register", in).StatusCode)
	require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/verify-registration", sitetest.LinkOf(s.Mail(), t)).StatusCode)
	s.Travel(-ahead)
	bob := func() {
		t.Helper()
		b := s.Browser()
		res := b.Post("/accounts/login", sitetest.Data{"login": "ada@example.org", "password": sitetest.Password})
		require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
		require.Equal(t, "bob", b.Get("/accounts/profile").JSON(t)["username"])
		require.Equal(t, http.StatusOK, b.Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"first_name": "Bob"}).StatusCode)
		s.SignedIn("ada")
		require.Equal(t, http.StatusBadRequest, s.Browser().Post("/accounts/undo-email", undo).StatusCode)
	}
	bob()
	// As an older version has left it.
	require.NoError(t, s.Accounts.Store.Update(t.Context(), func(tx store.Tx) error {
		u, err := tx.User(id)
		if err != nil {
			return err
		}
		u.Former = reserved.Former
		return tx.PutUser(u, append(s.Accounts.KeyIndex.KeysOf(u), store.Key{Field: field.FormerEmail, Value: field.EmailKey("ada@example.org")}))
	}))
	bob()
	require.ErrorIs(t, s.Accounts.Store.View(t.Context(), func(tx store.Tx) error {
		_, err := tx.UserByKey(field.FormerEmail, field.EmailKey("ada@example.org"))
		return err
	}), store.ErrNotFound)
}

// What was signed in under a clock that was ahead counts as signed in when it is
// first seen: it grows stale, and its lifetime ends. A restart changes nothing.
func TestASessionOfTheFutureIsOfNow(t *testing.T) {
	for name, restart := range map[string]bool{"": false, "with a restart": true} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "r.db")
			s := sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.WithTokens)
			s.Member("ada")
			s.Travel(365 * sitetest.Day)
			b := s.Browser()
			token := b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).JSON(t)["token"].(string)
			s.Travel(-365 * sitetest.Day)
			all := []*sitetest.Browser{b, s.WithToken(token)}
			for _, one := range all {
				require.Equal(t, http.StatusOK, one.Get("/accounts/profile").StatusCode)
			}
			if restart {
				now := s.Now.Load()
				s.Close()
				s = sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.WithTokens)
				s.Now.Store(now)
				for _, one := range all {
					one.Site = s
				}
			}
			s.Travel(11 * time.Minute) // beyond max_age
			for _, one := range all {
				one.Problems()
				res := one.Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"username": "eve"})
				require.Equal(t, http.StatusBadRequest, res.StatusCode, res.Text)
				require.Contains(t, res.Text, string(refusal.CodeReauthenticate))
			}
			for range 13 {
				s.Travel(sitetest.Day)
				for _, one := range all {
					require.Equal(t, http.StatusOK, one.Get("/accounts/profile").StatusCode)
				}
			}
			s.Travel(sitetest.Day)
			for _, one := range all {
				require.Equal(t, http.StatusUnauthorized, one.Get("/accounts/profile").StatusCode, "14 days are over")
			}
		})
	}
}

// A use under a clock that was ahead does not keep an idle session for as long.
func TestAUseOfTheFutureIsOfNow(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification, func(s *registration.Settings) { s.Session.Idle = caddy.Duration(2 * time.Hour) })
	s.Member("ada")
	b := s.SignedIn("ada")
	s.Travel(time.Hour)
	require.Equal(t, http.StatusOK, b.Get("/accounts/profile").StatusCode)
	require.NoError(t, s.Realm.Resources.Sessions.Flush(t.Context()))
	s.Travel(-time.Hour)
	require.Equal(t, http.StatusOK, b.Get("/accounts/profile").StatusCode)
	require.NoError(t, s.Realm.Resources.Sessions.Flush(t.Context()))
	s.Travel(2*time.Hour + time.Second)
	require.Equal(t, http.StatusUnauthorized, b.Get("/accounts/profile").StatusCode)
}

// However many groups an account has, its access token is one that we take.
func TestAnAccessTokenIsNeverTooLong(t *testing.T) {
	s := sitetest.NewJWT(t, sitetest.NoVerification)
	id := uuid.MustParse(s.Member("ada"))
	for _, n := range []int{1, 60, 120, account.MaxGroups} {
		groups := make([]string, n)
		for i := range groups {
			groups[i] = fmt.Sprintf("team-%03d-readers-all-of-them", i)
		}
		_, err := s.Accounts.Administer(t.Context(), id, account.AdminChange{Groups: &groups})
		require.NoError(t, err)
		b, _ := s.Tokens("ada")
		token := strings.TrimPrefix(b.Header.Get("Authorization"), "Bearer ")
		require.Equal(t, http.StatusOK, b.Get("/members/").StatusCode, "%d groups", n)
		require.LessOrEqual(t, len(token), session.WideAccessToken)
		raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
		require.NoError(t, err)
		var claims session.AccessClaims
		require.NoError(t, json.Unmarshal(raw, &claims))
		require.NotEqual(t, claims.GroupsOmitted, len(claims.Groups) == n)
		require.Equal(t, n > 100, claims.GroupsOmitted)
	}
	groups := make([]string, account.MaxGroups+1)
	for i := range groups {
		groups[i] = fmt.Sprint("group-", i)
	}
	_, err := s.Accounts.Administer(t.Context(), id, account.AdminChange{Groups: &groups})
	require.Equal(t, refusal.CodeInvalid, web.AsRefusal(err).Fields[0].Code)
}

// The longest name, address, issuer and audience together.
func TestTheLongestAccessTokenIsTaken(t *testing.T) {
	audience := "https://example.com/?" + strings.Repeat("&", (session.MaxTokenAddress-200)/6)
	s := sitetest.NewJWT(t, sitetest.NoVerification, func(s *registration.Settings) { s.Login.JWT.Audience = []string{audience} })
	u := &store.User{ID: uuid.Must(uuid.NewV7()), Username: strings.Repeat("𝒳", 150), Email: strings.Repeat("&", 242) + "@example.org", Groups: []string{"x"}, IsActive: true}
	now := s.Realm.Now()
	token, _, err := s.Accounts.Access.Sign(t.Context(), now, u, &store.Session{Expires: now.Add(time.Hour)})
	require.NoError(t, err)
	require.Less(t, len(token), session.MaxAccessToken)
	_, _, err = s.Accounts.Access.Verify(t.Context(), now, token)
	require.NoError(t, err)
	wrong := sitetest.Settings()
	sitetest.WithJWT(wrong)
	wrong.Login.JWT.Audience = []string{"https://example.com/" + strings.Repeat("x", session.MaxTokenAddress)}
	_, err = inside.Resolve(wrong)
	require.ErrorContains(t, err, "login.jwt.audience: issuer and audience have more than 2048 bytes together")
}

// A refresh token that is used twice ends its family, whatever time the first use
// was noted with.
func TestARotationOfTheFutureIsNoGrace(t *testing.T) {
	s := sitetest.NewJWT(t, sitetest.NoVerification)
	s.Member("ada")
	_, refresh := s.Tokens("ada")
	s.Travel(time.Hour)
	next := s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": refresh})
	require.Equal(t, http.StatusOK, next.StatusCode)
	s.Travel(-time.Hour)
	require.Equal(t, http.StatusUnauthorized, s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": refresh}).StatusCode)
	require.Equal(t, http.StatusUnauthorized, s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": next.JSON(t)["refresh_token"]}).StatusCode)
}

// A configuration that is loaded and doesn't come to run leaves the keys of the one
// that runs alone; one that ran for a moment too.
func TestAFailedReloadLeavesTheKeys(t *testing.T) {
	for name, runs := range map[string]bool{"loaded": false, "started": true} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "r.db")
			secret := func(c string) func(*registration.Settings) {
				return func(s *registration.Settings) { s.Secrets = []string{strings.Repeat(c, 40)} }
			}
			s := sitetest.NewAt(t, path, sitetest.NoVerification, sitetest.WithJWT, secret("a"))
			s.Member("ada")
			b, refresh := s.Tokens("ada")
			require.Equal(t, http.StatusOK, b.Get("/members/").StatusCode)
			stored := func() string {
				var raw []byte
				require.NoError(t, s.Accounts.Store.View(t.Context(), func(tx store.Tx) (err error) { raw, err = tx.Value(session.AccessKeysValue); return err }))
				return string(raw)
			}
			before := stored()
			other, err := sitetest.Open(path, sitetest.NoVerification, sitetest.WithJWT, secret("b"))
			require.NoError(t, err)
			if runs {
				other.Now = s.Realm.Now
				require.NoError(t, other.Start())
				require.NotEmpty(t, other.Accounts.Load().Access.Current())
			} else {
				require.Equal(t, before, stored(), "nothing is written before the start")
			}
			require.NoError(t, other.Close())
			// Anybody makes the list be read anew, by a token with an unknown key.
			s.Travel(time.Minute)
			_, err = s.Accounts.Access.VerificationKey(t.Context(), s.Realm.Now(), strings.Repeat("A", 22))
			require.ErrorIs(t, err, store.ErrNotFound)
			require.Equal(t, http.StatusOK, b.Get("/members/").StatusCode, "good for minutes yet")
			require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": refresh}).StatusCode)

			// The other's keys go when all that they signed is over.
			s.Travel(40 * sitetest.Day)
			require.NoError(t, s.Accounts.Access.RefreshKeys(t.Context(), s.Realm.Now()))
			var keys []session.AccessKey
			require.NoError(t, json.Unmarshal([]byte(stored()), &keys))
			require.Len(t, keys, len(s.Accounts.Access.Current()))
		})
	}
}
