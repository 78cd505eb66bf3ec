// session_end_test.go: how many sign-ins an account may have, and how all of them
// end at once, however many they are.

package registration

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

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/store"
)

func withMax(n int) func(*Settings) { return func(s *Settings) { s.Session.Max = n } }

func withTokens(s *Settings) { s.Login.Token = on() }

// sessionsOf are the records of an account's sign-ins.
func (s *site) sessionsOf(id uuid.UUID) (all []*store.Session) {
	s.t.Helper()
	require.NoError(s.t, s.accounts.Store.View(s.t.Context(), func(tx store.Tx) (err error) { all, err = tx.Sessions(id, 1<<20); return err }))
	return all
}

// crowd gives an account n sign-ins of a kind that an older version has written,
// the later ones used later, and returns their tokens.
func (s *site) crowd(id uuid.UUID, kind store.SessionKind, n int) []string {
	s.t.Helper()
	tokens := make([]string, n)
	for from := 0; from < n; from += 1000 {
		require.NoError(s.t, s.accounts.Store.Update(s.t.Context(), func(tx store.Tx) error {
			for i := from; i < min(n, from+1000); i++ {
				token, hash := session.NewToken()
				tokens[i] = token
				at := s.realm.Now().Add(-time.Hour + time.Duration(i)*time.Millisecond).Truncate(time.Second)
				one := &store.Session{Hash: hash, User: id, Kind: kind, Created: at, LastUsed: at, Expires: at.Add(14 * day)}
				if err := tx.PutSession(one); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	return tokens
}

func (s *site) withToken(token string) *browser {
	b := s.browser()
	b.header.Set("Authorization", "Token "+token)
	return b
}

func (s *site) withCookie(token string) *browser {
	b := s.browser()
	b.cookie[sessionCookie] = token
	return b
}

func TestTheLeastRecentlyUsedSignInEnds(t *testing.T) {
	for name, c := range map[string]struct {
		open   func(testing.TB, ...func(*Settings)) *site
		signIn func(*site) *browser
	}{
		"sessions": {newSite, func(s *site) *browser { return s.signedIn("ada") }},
		"tokens": {func(t testing.TB, configure ...func(*Settings)) *site {
			return newSite(t, append(configure, func(s *Settings) { s.Login.Session, s.Login.Token = off(), on() })...)
		}, func(s *site) *browser {
			return s.withToken(s.browser().post("/accounts/login", data{"login": "ada", "password": testPassword}).json(s.t)["token"].(string))
		}},
		"access tokens": {newJWTSite, func(s *site) *browser {
			b := s.browser()
			b.header.Set("Authorization", "Bearer "+s.browser().post("/accounts/login", data{"login": "ada", "password": testPassword}).json(s.t)["token"].(string))
			return b
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.open(t, noVerification, withMax(3))
			id := uuid.MustParse(s.member("ada"))
			status := func(b *browser) int { return b.get("/accounts/profile").StatusCode }
			var all []*browser
			for range 3 {
				all = append(all, c.signIn(s))
				s.travel(time.Second)
			}
			require.Equal(t, http.StatusOK, status(all[1]), "in memory")
			s.travel(time.Second)
			require.Equal(t, http.StatusOK, status(all[0]), "the oldest is used; the store doesn't know yet")
			all = append(all, c.signIn(s))
			require.Equal(t, http.StatusUnauthorized, status(all[2]), "never used since it began")
			s.travel(time.Second)
			all = append(all, c.signIn(s))
			require.Equal(t, http.StatusUnauthorized, status(all[1]), "used before the first one was")
			for _, i := range []int{0, 3, 4} {
				require.Equal(t, http.StatusOK, status(all[i]), i)
			}
			kinds := map[bool]int{}
			for _, one := range s.sessionsOf(id) {
				kinds[one.Kind == store.KindSession]++
			}
			require.LessOrEqual(t, max(kinds[true], kinds[false]), 3)
		})
	}
}

// A sign-in may give a session and a token: each kind has the whole number.
func TestSessionsAndTokensAreCountedApart(t *testing.T) {
	s := newSite(t, noVerification, withMax(2), withTokens)
	id := uuid.MustParse(s.member("ada"))
	for range 5 {
		s.signedIn("ada")
		s.travel(time.Second)
	}
	count := map[store.SessionKind]int{}
	for _, one := range s.sessionsOf(id) {
		count[one.Kind]++
	}
	require.Equal(t, map[store.SessionKind]int{store.KindSession: 2, store.KindToken: 2}, count)
}

func TestRaceOfSignInsKeepsTheLimit(t *testing.T) {
	s := newSite(t, noVerification, withMax(5))
	id := uuid.MustParse(s.member("ada"))
	require.Equal(t, map[int]int{http.StatusOK: hashers}, raceOf(hashers, func(int) int {
		return s.browser().post("/accounts/login", data{"login": "ada", "password": testPassword}).StatusCode
	}))
	require.Len(t, s.sessionsOf(id), 5)
}

// An account from before there was a limit is brought down to it by its next
// sign-in, a part at a time; those that stay are the latest used of all.
func TestAnOldAccountIsBroughtDown(t *testing.T) {
	s := newSite(t, noVerification)
	id := uuid.MustParse(s.member("ada"))
	const many = 5000
	tokens := s.crowd(id, store.KindSession, many)
	old := s.withCookie(tokens[many-1])
	require.Equal(t, http.StatusOK, old.get("/accounts/profile").StatusCode)
	forgotten := s.withCookie(tokens[0])
	require.Equal(t, http.StatusOK, forgotten.get("/accounts/profile").StatusCode)
	s.travel(-time.Minute) // memory has the two as used later than they will be in the end
	s.realm.engine.sessions.Live.Drop(hashOf(t, tokens[0]))
	s.travel(time.Minute)
	s.signedIn("ada")
	require.Eventually(t, func() bool { return len(s.sessionsOf(id)) == 50 }, patience, time.Millisecond)
	var used []time.Time
	for _, one := range s.sessionsOf(id) {
		used = append(used, one.LastUsed)
	}
	latest := s.realm.Now().Add(-time.Hour + (many-1)*time.Millisecond).Truncate(time.Second)
	require.False(t, slices.MinFunc(used, time.Time.Compare).Before(latest), "the latest used of all stay")
	require.Equal(t, http.StatusOK, old.get("/accounts/profile").StatusCode)
	require.Equal(t, http.StatusUnauthorized, forgotten.get("/accounts/profile").StatusCode)
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
		act  func(s *site, b *browser, id uuid.UUID)
		// left are the records of the account in the end.
		left int
	}{
		"new password": {store.KindSession, func(s *site, b *browser, _ uuid.UUID) {
			res := b.post("/accounts/change-password", data{"old_password": testPassword, "password": fresh, "password_confirm": fresh})
			require.Equal(s.t, http.StatusOK, res.StatusCode, res.body)
			require.Equal(s.t, http.StatusOK, b.get("/accounts/profile").StatusCode, "who asks stays")
		}, 1},
		"out everywhere else": {store.KindSession, func(s *site, b *browser, _ uuid.UUID) {
			require.Equal(s.t, http.StatusOK, b.post("/accounts/revoke-session", data{"others": true}).StatusCode)
			require.Equal(s.t, http.StatusOK, b.get("/accounts/profile").StatusCode, "who asks stays")
		}, 1},
		"reset": {store.KindToken, func(s *site, _ *browser, _ uuid.UUID) {
			s.browser().post("/accounts/send-reset-password-link", data{"login": "ada"})
			res := s.browser().post("/accounts/reset-password", with(linkOf(s.mail(), s.t), data{"password": fresh}))
			require.Equal(s.t, http.StatusOK, res.StatusCode, res.body)
		}, 0},
		"disabled": {store.KindSession, func(s *site, _ *browser, id uuid.UUID) {
			_, err := s.accounts.Administer(s.t.Context(), id, account.AdminChange{IsActive: off()})
			require.NoError(s.t, err)
			_, err = s.accounts.Administer(s.t.Context(), id, account.AdminChange{IsActive: on()})
			require.NoError(s.t, err)
		}, 0},
		"sign-out with all tokens": {store.KindToken, func(s *site, b *browser, _ uuid.UUID) {
			require.Equal(s.t, http.StatusOK, b.post("/accounts/logout", data{"revoke_token": true}).StatusCode)
		}, 0},
		"deleted": {store.KindSession, func(s *site, _ *browser, id uuid.UUID) {
			require.NoError(s.t, s.accounts.Delete(s.t.Context(), id))
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, noVerification, withTokens)
			id := uuid.MustParse(s.member("ada"))
			b := s.signedIn("ada")
			tokens := s.crowd(id, c.kind, many)
			as := map[store.SessionKind]func(string) *browser{store.KindSession: s.withCookie, store.KindToken: s.withToken}[c.kind]
			for _, token := range tokens[:many/2] {
				require.Equal(t, http.StatusOK, as(token).get("/members/").StatusCode)
			}
			c.act(s, b, id)
			for _, token := range tokens {
				require.NotEqual(t, protectedPage, as(token).get("/members/").body)
			}
			require.Eventually(t, func() bool { return len(s.sessionsOf(id)) == c.left }, patience, time.Millisecond, "%d records are left", len(s.sessionsOf(id)))
		})
	}
}

// The first transaction of such an act is a short one.
func TestEndingManyWritesLittleAtOnce(t *testing.T) {
	s := newSite(t, noVerification)
	id := uuid.MustParse(s.member("ada"))
	s.crowd(id, store.KindSession, 5000)
	s.realm.stop() // nobody removes the rest
	before := len(s.sessionsOf(id))
	require.NoError(t, s.accounts.Update(t.Context(), func(tx *account.Txn) error {
		u, err := tx.User(id)
		if err != nil {
			return err
		}
		if err := tx.EndSessions(u, nil); err != nil {
			return err
		}
		return s.accounts.PutUser(tx, u)
	}))
	require.Equal(t, before-session.SessionChunk, len(s.sessionsOf(id)))
	// They are nobody's: neither listed nor counted.
	b := s.signedIn("ada")
	var list []any
	require.NoError(t, json.Unmarshal([]byte(b.get("/accounts/sessions").body), &list))
	require.Len(t, list, 1)
}

func TestTheListOfSessionsHasPages(t *testing.T) {
	s := newSite(t, noVerification, withMax(120))
	id := uuid.MustParse(s.member("ada"))
	s.crowd(id, store.KindSession, 109)
	b := s.signedIn("ada")
	seen := map[string]bool{}
	for page, want := range map[string]int{"": 50, "?page=1": 50, "?page=2": 50, "?page=3": 10, "?page=4": 0, "?page=99999999999999999999": 50, "?page=9223372036854775807": 0, "?page=-1": 50, "?page=x": 50} {
		var list []map[string]any
		res := b.get("/accounts/sessions" + page)
		require.NoError(t, json.Unmarshal([]byte(res.body), &list), res.body)
		require.Len(t, list, want, page)
		for _, one := range list {
			seen[one["id"].(string)] = true
		}
	}
	require.Len(t, seen, 110)
	b.likeBrowser()
	for page := range 3 {
		res := b.get(fmt.Sprintf("/accounts/sessions/?page=%d", page+1))
		require.Equal(t, page < 2, strings.Contains(res.body, fmt.Sprintf(`href="/accounts/sessions/?page=%d"`, page+2)))
		require.Less(t, len(res.body), 128<<10)
	}
}
