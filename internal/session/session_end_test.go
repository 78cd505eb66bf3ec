// session_end_test.go: how many sign-ins an account may have, and how all of them
// end at once, however many they are.

package session_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

func withMax(n int) func(*registration.Settings) {
	return func(s *registration.Settings) { s.Session.Max = n }
}

// sessionsOf are the records of an account's sign-ins.
func sessionsOf(s *sitetest.Site, id uuid.UUID) (all []*store.Session) {
	s.T.Helper()
	require.NoError(s.T, s.Accounts.Store.View(s.T.Context(), func(tx store.Tx) (err error) { all, err = tx.Sessions(id, 1<<20); return err }))
	return all
}

// crowd gives an account n sign-ins of a kind that an older version has written,
// the later ones used later, and returns their tokens.
func crowd(s *sitetest.Site, id uuid.UUID, kind store.SessionKind, n int) []string {
	s.T.Helper()
	tokens := make([]string, n)
	for from := 0; from < n; from += 1000 {
		require.NoError(s.T, s.Accounts.Store.Update(s.T.Context(), func(tx store.Tx) error {
			for i := from; i < min(n, from+1000); i++ {
				token, hash := session.NewToken()
				tokens[i] = token
				at := s.Realm.Now().Add(-time.Hour + time.Duration(i)*time.Millisecond).Truncate(time.Second)
				one := &store.Session{Hash: hash, User: id, Kind: kind, Created: at, LastUsed: at, Expires: at.Add(14 * sitetest.Day)}
				if err := tx.PutSession(one); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	return tokens
}

func withCookie(s *sitetest.Site, token string) *sitetest.Browser {
	b := s.Browser()
	b.Cookie[sitetest.SessionCookie] = token
	return b
}

func TestTheLeastRecentlyUsedSignInEnds(t *testing.T) {
	for name, c := range map[string]struct {
		open   func(testing.TB, ...func(*registration.Settings)) *sitetest.Site
		signIn func(*sitetest.Site) *sitetest.Browser
	}{
		"sessions": {sitetest.New, func(s *sitetest.Site) *sitetest.Browser { return s.SignedIn("ada") }},
		"tokens": {func(t testing.TB, configure ...func(*registration.Settings)) *sitetest.Site {
			return sitetest.New(t, append(configure, func(s *registration.Settings) { s.Login.Session, s.Login.Token = sitetest.Off(), sitetest.On() })...)
		}, func(s *sitetest.Site) *sitetest.Browser {
			return s.WithToken(s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).JSON(s.T)["token"].(string))
		}},
		"access tokens": {sitetest.NewJWT, func(s *sitetest.Site) *sitetest.Browser {
			b := s.Browser()
			b.Header.Set("Authorization", "Bearer "+s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).JSON(s.T)["token"].(string))
			return b
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.open(t, sitetest.NoVerification, withMax(3))
			id := uuid.MustParse(s.Member("ada"))
			status := func(b *sitetest.Browser) int { return b.Get("/accounts/profile").StatusCode }
			var all []*sitetest.Browser
			for range 3 {
				all = append(all, c.signIn(s))
				s.Travel(time.Second)
			}
			require.Equal(t, http.StatusOK, status(all[1]), "in memory")
			s.Travel(time.Second)
			require.Equal(t, http.StatusOK, status(all[0]), "the oldest is used; the store doesn't know yet")
			all = append(all, c.signIn(s))
			require.Equal(t, http.StatusUnauthorized, status(all[2]), "never used since it began")
			s.Travel(time.Second)
			all = append(all, c.signIn(s))
			require.Equal(t, http.StatusUnauthorized, status(all[1]), "used before the first one was")
			for _, i := range []int{0, 3, 4} {
				require.Equal(t, http.StatusOK, status(all[i]), i)
			}
			kinds := map[bool]int{}
			for _, one := range sessionsOf(s, id) {
				kinds[one.Kind == store.KindSession]++
			}
			require.LessOrEqual(t, max(kinds[true], kinds[false]), 3)
		})
	}
}

// A sign-in may give a session and a token: each kind has the whole number.
func TestSessionsAndTokensAreCountedApart(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification, withMax(2), sitetest.WithTokens)
	id := uuid.MustParse(s.Member("ada"))
	for range 5 {
		s.SignedIn("ada")
		s.Travel(time.Second)
	}
	count := map[store.SessionKind]int{}
	for _, one := range sessionsOf(s, id) {
		count[one.Kind]++
	}
	require.Equal(t, map[store.SessionKind]int{store.KindSession: 2, store.KindToken: 2}, count)
}

func TestRaceOfSignInsKeepsTheLimit(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification, withMax(5))
	id := uuid.MustParse(s.Member("ada"))
	require.Equal(t, map[int]int{http.StatusOK: sitetest.Hashers}, sitetest.RaceOf(sitetest.Hashers, func(int) int {
		return s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).StatusCode
	}))
	require.Len(t, sessionsOf(s, id), 5)
}

// An account from before there was a limit is brought down to it by its next
// sign-in, a part at a time; those that stay are the latest used of all.
func TestAnOldAccountIsBroughtDown(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification)
	id := uuid.MustParse(s.Member("ada"))
	const many = 5000
	tokens := crowd(s, id, store.KindSession, many)
	old := withCookie(s, tokens[many-1])
	require.Equal(t, http.StatusOK, old.Get("/accounts/profile").StatusCode)
	forgotten := withCookie(s, tokens[0])
	require.Equal(t, http.StatusOK, forgotten.Get("/accounts/profile").StatusCode)
	s.Travel(-time.Minute) // memory has the two as used later than they will be in the end
	s.Realm.Resources.Sessions.Live.Drop(hashOf(t, tokens[0]))
	s.Travel(time.Minute)
	s.SignedIn("ada")
	require.Eventually(t, func() bool { return len(sessionsOf(s, id)) == 50 }, sitetest.Patience, time.Millisecond)
	var used []time.Time
	for _, one := range sessionsOf(s, id) {
		used = append(used, one.LastUsed)
	}
	latest := s.Realm.Now().Add(-time.Hour + (many-1)*time.Millisecond).Truncate(time.Second)
	require.False(t, slices.MinFunc(used, time.Time.Compare).Before(latest), "the latest used of all stay")
	require.Equal(t, http.StatusOK, old.Get("/accounts/profile").StatusCode)
	require.Equal(t, http.StatusUnauthorized, forgotten.Get("/accounts/profile").StatusCode)
}

func hashOf(t *testing.T, token string) store.TokenHash {
	t.Helper()
	hash, ok := session.HashToken(token)
	require.True(t, ok)
	return hash
}

// Whatever ends all sign-ins of an account ends each of many thousands before its
// answer, in memory or not, while their records go in parts.
func TestManySignInsEndAtOnce(t *testing.T) {
	const many = 3000
	const fresh = "an even longer passphrase"
	for name, c := range map[string]struct {
		kind store.SessionKind
		act  func(s *sitetest.Site, b *sitetest.Browser, id uuid.UUID)
		// left are the records of the account in the end.
		left int
	}{
		"new password": {store.KindSession, func(s *sitetest.Site, b *sitetest.Browser, _ uuid.UUID) {
			res := b.Post("/accounts/change-password", sitetest.Data{"old_password": sitetest.Password, "password": fresh, "password_confirm": fresh})
			require.Equal(s.T, http.StatusOK, res.StatusCode, res.Text)
			require.Equal(s.T, http.StatusOK, b.Get("/accounts/profile").StatusCode, "who asks stays")
		}, 1},
		"out everywhere else": {store.KindSession, func(s *sitetest.Site, b *sitetest.Browser, _ uuid.UUID) {
			require.Equal(s.T, http.StatusOK, b.Post("/accounts/revoke-session", sitetest.Data{"others": true}).StatusCode)
			require.Equal(s.T, http.StatusOK, b.Get("/accounts/profile").StatusCode, "who asks stays")
		}, 1},
		"reset": {store.KindToken, func(s *sitetest.Site, _ *sitetest.Browser, _ uuid.UUID) {
			s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"})
			res := s.Browser().Post("/accounts/reset-password", sitetest.With(sitetest.LinkOf(s.Mail(), s.T), sitetest.Data{"password": fresh}))
			require.Equal(s.T, http.StatusOK, res.StatusCode, res.Text)
		}, 0},
		"disabled": {store.KindSession, func(s *sitetest.Site, _ *sitetest.Browser, id uuid.UUID) {
			_, err := s.Accounts.Administer(s.T.Context(), id, account.AdminChange{IsActive: sitetest.Off()})
			require.NoError(s.T, err)
			_, err = s.Accounts.Administer(s.T.Context(), id, account.AdminChange{IsActive: sitetest.On()})
			require.NoError(s.T, err)
		}, 0},
		"sign-out with all tokens": {store.KindToken, func(s *sitetest.Site, b *sitetest.Browser, _ uuid.UUID) {
			require.Equal(s.T, http.StatusOK, b.Post("/accounts/logout", sitetest.Data{"revoke_token": true}).StatusCode)
		}, 0},
		"deleted": {store.KindSession, func(s *sitetest.Site, _ *sitetest.Browser, id uuid.UUID) {
			require.NoError(s.T, s.Accounts.Delete(s.T.Context(), id))
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, sitetest.NoVerification, sitetest.WithTokens)
			id := uuid.MustParse(s.Member("ada"))
			b := s.SignedIn("ada")
			tokens := crowd(s, id, c.kind, many)
			as := map[store.SessionKind]func(string) *sitetest.Browser{store.KindSession: func(token string) *sitetest.Browser { return withCookie(s, token) }, store.KindToken: s.WithToken}[c.kind]
			for _, token := range tokens[:many/2] {
				require.Equal(t, http.StatusOK, as(token).Get("/members/").StatusCode)
			}
			c.act(s, b, id)
			for _, token := range tokens {
				require.NotEqual(t, sitetest.ProtectedPage, as(token).Get("/members/").Text)
			}
			require.Eventually(t, func() bool { return len(sessionsOf(s, id)) == c.left }, sitetest.Patience, time.Millisecond, "%d records are left", len(sessionsOf(s, id)))
		})
	}
}

// The first transaction of such an act is a short one.
func TestEndingManyWritesLittleAtOnce(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification)
	id := uuid.MustParse(s.Member("ada"))
	crowd(s, id, store.KindSession, 5000)
	s.Realm.Stop() // nobody removes the rest
	before := len(sessionsOf(s, id))
	require.NoError(t, s.Accounts.Update(t.Context(), func(tx *account.Txn) error {
		u, err := tx.User(id)
		if err != nil {
			return err
		}
		if err := tx.EndSessions(u, nil); err != nil {
			return err
		}
		return s.Accounts.PutUser(tx, u)
	}))
	require.Equal(t, before-session.SessionChunk, len(sessionsOf(s, id)))
	// They are nobody's: neither listed nor counted.
	b := s.SignedIn("ada")
	var list []any
	require.NoError(t, json.Unmarshal([]byte(b.Get("/accounts/sessions").Text), &list))
	require.Len(t, list, 1)
}

func TestTheListOfSessionsHasPages(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification, withMax(120))
	id := uuid.MustParse(s.Member("ada"))
	crowd(s, id, store.KindSession, 109)
	b := s.SignedIn("ada")
	seen := map[string]bool{}
	for page, want := range map[string]int{"": 50, "?page=1": 50, "?page=2": 50, "?page=3": 10, "?page=4": 0, "?page=99999999999999999999": 50, "?page=9223372036854775807": 0, "?page=-1": 50, "?page=x": 50} {
		var list []map[string]any
		res := b.Get("/accounts/sessions" + page)
		require.NoError(t, json.Unmarshal([]byte(res.Text), &list), res.Text)
		require.Len(t, list, want, page)
		for _, one := range list {
			seen[one["id"].(string)] = true
		}
	}
	require.Len(t, seen, 110)
	b.LikeBrowser()
	for page := range 3 {
		res := b.Get(fmt.Sprintf("/accounts/sessions/?page=%d", page+1))
		require.Equal(t, page < 2, strings.Contains(res.Text, fmt.Sprintf(`href="/accounts/sessions/?page=%d"`, page+2)))
		require.Less(t, len(res.Text), 128<<10)
	}
}
