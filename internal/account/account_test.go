// account_test.go: a hundred at once for what only one may have: a name, a link,
// an address; and the write-back of a session against its end.

package account_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/password"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

func TestRaceForOneUsername(t *testing.T) {
	s := sitetest.New(t)
	count := sitetest.Race(func(i int) int {
		return s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("ada"), sitetest.Data{"email": fmt.Sprintf("ada%d@example.org", i)})).StatusCode
	})
	require.Equal(t, map[int]int{201: 1, 400: sitetest.Racers - 1}, count)
	s.Mail()
	s.NoMail()
	users, _ := s.Census()
	require.Equal(t, 1, users, "no loser left half an account")
}

func TestRaceForOneEmailAtSignUp(t *testing.T) {
	s := sitetest.New(t)
	count := sitetest.RaceOf(sitetest.Hashers, func(i int) int {
		return s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer(fmt.Sprintf("ada%d", i)), sitetest.Data{"email": "ada@example.org"})).StatusCode
	})
	require.Equal(t, map[int]int{http.StatusCreated: sitetest.Hashers}, count, "nobody is told")
	links := make([]sitetest.Data, sitetest.Hashers)
	for i := range links {
		links[i] = sitetest.LinkOf(s.Mail(), t)
	}
	s.NoMail()
	count = sitetest.RaceOf(sitetest.Hashers, func(i int) int { return s.Browser().Post("/accounts/verify-registration", links[i]).StatusCode })
	require.Equal(t, map[int]int{200: 1, 400: sitetest.Hashers - 1}, count, "the first to confirm has it")
	winner, err := s.Accounts.Lookup(t.Context(), "ada@example.org")
	require.NoError(t, err)
	for i := range sitetest.Hashers {
		u, err := s.Accounts.Lookup(t.Context(), fmt.Sprintf("ada%d", i))
		require.NoError(t, err)
		require.Equal(t, u.ID == winner.ID, u.IsActive && u.EmailVerified && !u.EmailPending, "the address is one account's")
	}
}

func TestRaceForOneLink(t *testing.T) {
	for name, c := range map[string]struct {
		path string
		link func(*sitetest.Site) sitetest.Data
		more sitetest.Data
	}{
		"confirmation": {"/accounts/verify-registration", func(s *sitetest.Site) sitetest.Data {
			s.Browser().Post("/accounts/register", sitetest.Newcomer("bob"))
			return sitetest.LinkOf(s.Mail(), s.T)
		}, nil},
		"reset": {"/accounts/reset-password", func(s *sitetest.Site) sitetest.Data {
			s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"})
			return sitetest.LinkOf(s.Mail(), s.T)
		}, sitetest.Data{"password": "an even longer passphrase"}},
		"e-mail": {"/accounts/verify-email", func(s *sitetest.Site) sitetest.Data {
			require.Equal(s.T, 200, s.SignedIn("ada").Post("/accounts/register-email", sitetest.Data{"email": "new@example.org"}).StatusCode)
			return sitetest.LinkOf(s.Mail(), s.T)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t)
			s.Member("ada")
			body := sitetest.With(c.link(s), c.more)
			n := sitetest.Racers
			if c.more != nil { // a new password, which is hashed
				n = sitetest.Hashers
			}
			count := sitetest.RaceOf(n, func(int) int { return s.Browser().Post(c.path, body).StatusCode })
			require.Equal(t, map[int]int{200: 1, 400: n - 1}, count)
		})
	}
}

func TestRaceOfEmailChanges(t *testing.T) {
	s := sitetest.New(t)
	links := make([]sitetest.Data, sitetest.Racers)
	for i := range sitetest.Racers {
		name := fmt.Sprintf("member%d", i)
		s.Member(name)
		require.Equal(t, 200, s.SignedIn(name).Post("/accounts/register-email", sitetest.Data{"email": "one@example.org"}).StatusCode)
		links[i] = sitetest.LinkOf(s.Mail(), t)
	}
	count := sitetest.Race(func(i int) int { return s.Browser().Post("/accounts/verify-email", links[i]).StatusCode })
	require.Equal(t, map[int]int{200: 1, 400: sitetest.Racers - 1}, count)
	moved := 0
	for i := range sitetest.Racers {
		u, err := s.Accounts.Lookup(t.Context(), fmt.Sprintf("member%d", i))
		require.NoError(t, err)
		if u.Email == "one@example.org" {
			moved++
		} else {
			require.Equal(t, fmt.Sprintf("member%d@example.org", i), u.Email, "a loser keeps his address")
		}
	}
	require.Equal(t, 1, moved)
}

// The last use is written back in the background: it must not put back a
// session that has ended meanwhile, nor may a lookup that has read it keep it.
func TestRaceOfLastUseAgainstRevocation(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	sessions := s.Realm.Resources.Sessions
	for range sitetest.Racers {
		b := s.SignedIn("ada")
		stolen := s.Browser()
		stolen.Cookie[sitetest.SessionCookie] = b.Cookie[sitetest.SessionCookie]
		hash, ok := session.HashToken(b.Cookie[sitetest.SessionCookie])
		require.True(t, ok)
		s.Travel(6 * time.Minute) // so that the next use is one to write back
		require.Equal(t, http.StatusOK, stolen.Get("/accounts/profile").StatusCode)

		var wg sync.WaitGroup
		var flushed error
		status := 0
		wg.Go(func() { flushed = sessions.Flush(t.Context()) })
		wg.Go(func() { stolen.Get("/accounts/profile") })
		wg.Go(func() { status = b.Post("/accounts/logout", nil).StatusCode })
		wg.Wait()
		require.NoError(t, flushed)
		require.Equal(t, http.StatusOK, status)
		require.NoError(t, sessions.Flush(t.Context()))
		require.Equal(t, http.StatusUnauthorized, stolen.Get("/accounts/profile").StatusCode)
		require.ErrorIs(t, s.Accounts.Store.View(t.Context(), func(tx store.Tx) error {
			_, err := tx.Session(hash)
			return err
		}), store.ErrNotFound)
	}
}

// A refresh of a sign-in against its end: whoever comes first, nobody is signed
// in afterwards, and of those who refresh one has succeeded at most.
func TestRaceOfRefreshAgainstRevocation(t *testing.T) {
	for name, end := range map[string]func(*sitetest.Site, sitetest.Data) error{
		"disabled": func(s *sitetest.Site, _ sitetest.Data) error {
			_, err := s.Accounts.Administer(s.T.Context(), sitetest.UUIDOf(s.T, s, "ada"), account.AdminChange{IsActive: sitetest.Off()})
			return err
		},
		"new password": func(s *sitetest.Site, link sitetest.Data) error {
			res := s.Browser().Post("/accounts/reset-password", link)
			if res.StatusCode != http.StatusOK {
				return fmt.Errorf("reset: %s", res.Status)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, sitetest.WithJWT)
			s.Member("ada")
			s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"})
			link := sitetest.With(sitetest.LinkOf(s.Mail(), t), sitetest.Data{"password": "an even longer passphrase"})
			first := s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).JSON(t)
			var mu sync.Mutex
			granted := []map[string]any{first}
			var ended error
			count := sitetest.Race(func(i int) int {
				if i == sitetest.Racers/2 {
					ended = end(s, link)
					return 0
				}
				res := s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": first["refresh_token"]})
				if res.StatusCode == http.StatusOK {
					mu.Lock()
					granted = append(granted, res.JSON(t))
					mu.Unlock()
				}
				return res.StatusCode
			})
			require.NoError(t, ended)
			require.LessOrEqual(t, count[http.StatusOK], 1)
			require.Equal(t, 0, count[http.StatusInternalServerError])
			for _, g := range granted {
				b := s.Browser()
				b.Header.Set("Authorization", "Bearer "+g["token"].(string))
				require.Equal(t, http.StatusUnauthorized, b.Get("/members/").StatusCode)
				require.Equal(t, http.StatusUnauthorized, s.Browser().Post("/accounts/refresh-token", sitetest.Data{"refresh_token": g["refresh_token"]}).StatusCode)
			}
		})
	}
}

// Who finds the machine too busy with hashes comes again when others don't.
func TestBusyIsSpread(t *testing.T) {
	seen := map[time.Duration]int{}
	for range 1000 {
		refused := (*refusal.Error)(nil)
		require.ErrorAs(t, account.HashError(fmt.Errorf("%w: many are waiting", password.ErrBusy)), &refused)
		seen[refused.RetryAfter]++
	}
	require.Len(t, seen, 7)
	for wait, times := range seen {
		require.True(t, wait >= 2*time.Second && wait <= 8*time.Second && wait%time.Second == 0, "%v", wait)
		require.Less(t, times, 250, "%v", wait)
	}
}
