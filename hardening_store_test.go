// hardening_store_test.go: what a close reading of the store proved: false alarms,
// sessions that come back, records that nobody can read.

package registration

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
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
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
	s := newSite(t, noVerification)
	s.member("ada")
	b := s.signedIn("ada")
	require.Equal(t, http.StatusOK, b.get("/members/").StatusCode)
	s.travel(365 * day)
	removed, err := s.realm.engine.sessions.Sweep(t.Context(), s.realm.Now())
	require.NoError(t, err)
	require.Positive(t, removed)
	s.travel(-365 * day)
	require.Equal(t, http.StatusUnauthorized, b.get("/members/").StatusCode)
	require.NoError(t, s.realm.engine.sessions.Flush(t.Context()))
	require.Equal(t, http.StatusUnauthorized, b.get("/members/").StatusCode)
}

// A reservation that was over while somebody took the address stays over when the
// clock is set back, and in a store where it came back before.
func TestALapsedReservationStaysLapsed(t *testing.T) {
	s := newSite(t, func(s *Settings) { s.User.LoginFields = []string{field.Username, field.Email} })
	id := uuid.MustParse(s.member("ada"))
	require.Equal(t, http.StatusOK, s.signedIn("ada").post("/accounts/register-email", data{"email": "new@example.org"}).StatusCode)
	require.Equal(t, http.StatusOK, s.browser().post("/accounts/verify-email", linkOf(s.mail(), t)).StatusCode)
	undo := linkOf(s.mail(), t)
	var reserved *store.User
	require.NoError(t, s.accounts.Store.View(t.Context(), func(tx store.Tx) (err error) { reserved, err = tx.User(id); return err }))
	require.Len(t, reserved.Former, 1)
	in := newcomer("bob")
	in["email"] = "ada@example.org"
	const ahead = 30 * day
	s.travel(ahead)
	require.Equal(t, http.StatusCreated, s.browser().post("/accounts/register", in).StatusCode)
	require.Equal(t, http.StatusOK, s.browser().post("/accounts/verify-registration", linkOf(s.mail(), t)).StatusCode)
	s.travel(-ahead)
	bob := func() {
		t.Helper()
		b := s.browser()
		res := b.post("/accounts/login", data{"login": "ada@example.org", "password": testPassword})
		require.Equal(t, http.StatusOK, res.StatusCode, res.body)
		require.Equal(t, "bob", b.get("/accounts/profile").json(t)["username"])
		require.Equal(t, http.StatusOK, b.do(http.MethodPatch, "/accounts/profile", data{"first_name": "Bob"}).StatusCode)
		s.signedIn("ada")
		require.Equal(t, http.StatusBadRequest, s.browser().post("/accounts/undo-email", undo).StatusCode)
	}
	bob()
	// As an older version has left it.
	require.NoError(t, s.accounts.Store.Update(t.Context(), func(tx store.Tx) error {
		u, err := tx.User(id)
		if err != nil {
			return err
		}
		u.Former = reserved.Former
		return tx.PutUser(u, append(s.accounts.Uniques.KeysOf(u), store.Key{Field: field.FormerEmail, Value: field.EmailKey("ada@example.org")}))
	}))
	bob()
	require.ErrorIs(t, s.accounts.Store.View(t.Context(), func(tx store.Tx) error {
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
			s := newSiteAt(t, path, noVerification, withTokens)
			s.member("ada")
			s.travel(365 * day)
			b := s.browser()
			token := b.post("/accounts/login", data{"login": "ada", "password": testPassword}).json(t)["token"].(string)
			s.travel(-365 * day)
			all := []*browser{b, s.withToken(token)}
			for _, one := range all {
				require.Equal(t, http.StatusOK, one.get("/accounts/profile").StatusCode)
			}
			if restart {
				now := s.now.Load()
				s.close()
				s = newSiteAt(t, path, noVerification, withTokens)
				s.now.Store(now)
				for _, one := range all {
					one.site = s
				}
			}
			s.travel(11 * time.Minute) // beyond max_age
			for _, one := range all {
				one.problems()
				res := one.do(http.MethodPatch, "/accounts/profile", data{"username": "eve"})
				require.Equal(t, http.StatusBadRequest, res.StatusCode, res.body)
				require.Contains(t, res.body, string(refusal.CodeReauthenticate))
			}
			for range 13 {
				s.travel(day)
				for _, one := range all {
					require.Equal(t, http.StatusOK, one.get("/accounts/profile").StatusCode)
				}
			}
			s.travel(day)
			for _, one := range all {
				require.Equal(t, http.StatusUnauthorized, one.get("/accounts/profile").StatusCode, "14 days are over")
			}
		})
	}
}

// A use under a clock that was ahead does not keep an idle session for as long.
func TestAUseOfTheFutureIsOfNow(t *testing.T) {
	s := newSite(t, noVerification, func(s *Settings) { s.Session.Idle = caddy.Duration(2 * time.Hour) })
	s.member("ada")
	b := s.signedIn("ada")
	s.travel(time.Hour)
	require.Equal(t, http.StatusOK, b.get("/accounts/profile").StatusCode)
	require.NoError(t, s.realm.engine.sessions.Flush(t.Context()))
	s.travel(-time.Hour)
	require.Equal(t, http.StatusOK, b.get("/accounts/profile").StatusCode)
	require.NoError(t, s.realm.engine.sessions.Flush(t.Context()))
	s.travel(2*time.Hour + time.Second)
	require.Equal(t, http.StatusUnauthorized, b.get("/accounts/profile").StatusCode)
}

// However many groups an account has, its access token is one that we take.
func TestAnAccessTokenIsNeverTooLong(t *testing.T) {
	s := newJWTSite(t, noVerification)
	id := uuid.MustParse(s.member("ada"))
	for _, n := range []int{1, 60, 120, account.MaxGroups} {
		groups := make([]string, n)
		for i := range groups {
			groups[i] = fmt.Sprintf("team-%03d-readers-all-of-them", i)
		}
		_, err := s.accounts.Administer(t.Context(), id, account.AdminChange{Groups: &groups})
		require.NoError(t, err)
		b, _ := s.tokens("ada")
		token := strings.TrimPrefix(b.header.Get("Authorization"), "Bearer ")
		require.Equal(t, http.StatusOK, b.get("/members/").StatusCode, "%d groups", n)
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
	_, err := s.accounts.Administer(t.Context(), id, account.AdminChange{Groups: &groups})
	require.Equal(t, refusal.CodeInvalid, web.AsRefusal(err).Fields[0].Code)
}

// The longest name, address, issuer and audience together.
func TestTheLongestAccessTokenIsTaken(t *testing.T) {
	audience := "https://example.com/?" + strings.Repeat("&", (session.MaxTokenAddress-200)/6)
	s := newJWTSite(t, noVerification, func(s *Settings) { s.Login.JWT.Audience = []string{audience} })
	u := &store.User{ID: uuid.Must(uuid.NewV7()), Username: strings.Repeat("𝒳", 150), Email: strings.Repeat("&", 242) + "@example.org", Groups: []string{"x"}, IsActive: true}
	now := s.realm.Now()
	token, _, err := s.accounts.Access.Sign(t.Context(), now, u, &store.Session{Expires: now.Add(time.Hour)})
	require.NoError(t, err)
	require.Less(t, len(token), session.MaxAccessToken)
	_, _, err = s.accounts.Access.Verify(t.Context(), now, token)
	require.NoError(t, err)
	wrong := testSettings()
	withJWT(wrong)
	wrong.Login.JWT.Audience = []string{"https://example.com/" + strings.Repeat("x", session.MaxTokenAddress)}
	_, err = wrong.resolve()
	require.ErrorContains(t, err, "login.jwt.audience: issuer and audience have more than 2048 bytes together")
}

// A refresh token that is used twice ends its family, whatever time the first use
// was noted with.
func TestARotationOfTheFutureIsNoGrace(t *testing.T) {
	s := newJWTSite(t, noVerification)
	s.member("ada")
	_, refresh := s.tokens("ada")
	s.travel(time.Hour)
	next := s.browser().post("/accounts/refresh-token", data{"refresh_token": refresh})
	require.Equal(t, http.StatusOK, next.StatusCode)
	s.travel(-time.Hour)
	require.Equal(t, http.StatusUnauthorized, s.browser().post("/accounts/refresh-token", data{"refresh_token": refresh}).StatusCode)
	require.Equal(t, http.StatusUnauthorized, s.browser().post("/accounts/refresh-token", data{"refresh_token": next.json(t)["refresh_token"]}).StatusCode)
}

// A configuration that is loaded and doesn't come to run leaves the keys of the one
// that runs alone; one that ran for a moment too.
func TestAFailedReloadLeavesTheKeys(t *testing.T) {
	for name, runs := range map[string]bool{"loaded": false, "started": true} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "r.db")
			secret := func(c string) func(*Settings) {
				return func(s *Settings) { s.Secrets = []string{strings.Repeat(c, 40)} }
			}
			s := newSiteAt(t, path, noVerification, withJWT, secret("a"))
			s.member("ada")
			b, refresh := s.tokens("ada")
			require.Equal(t, http.StatusOK, b.get("/members/").StatusCode)
			stored := func() string {
				var raw []byte
				require.NoError(t, s.accounts.Store.View(t.Context(), func(tx store.Tx) (err error) { raw, err = tx.Value(session.AccessKeysValue); return err }))
				return string(raw)
			}
			before := stored()
			other, err := newRealm(resolvedTestSettings(t, noVerification, withJWT, secret("b")), &BoltModule{path: path, logger: zap.NewNop()}, &memoryMailer{}, zap.NewNop())
			require.NoError(t, err)
			if runs {
				other.Now = s.realm.Now
				require.NoError(t, other.start())
				require.NotEmpty(t, other.Accounts.Load().Access.Current())
			} else {
				require.Equal(t, before, stored(), "nothing is written before the start")
			}
			require.NoError(t, other.close())
			// Anybody makes the list be read anew, by a token with an unknown key.
			s.travel(time.Minute)
			_, err = s.accounts.Access.VerificationKey(t.Context(), s.realm.Now(), strings.Repeat("A", 22))
			require.ErrorIs(t, err, store.ErrNotFound)
			require.Equal(t, http.StatusOK, b.get("/members/").StatusCode, "good for minutes yet")
			require.Equal(t, http.StatusOK, s.browser().post("/accounts/refresh-token", data{"refresh_token": refresh}).StatusCode)

			// The other's keys go when all that they signed is over.
			s.travel(40 * day)
			require.NoError(t, s.accounts.Access.RefreshKeys(t.Context(), s.realm.Now()))
			var keys []session.AccessKey
			require.NoError(t, json.Unmarshal([]byte(stored()), &keys))
			require.Len(t, keys, len(s.accounts.Access.Current()))
		})
	}
}
