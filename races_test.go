// races_test.go: a hundred at once for what only one may have: a name, a link,
// an address; and the write-back of a session against its end.

package registration

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/session"
	"github.com/seed-928992b0/caddy-registration/store"
)

const (
	racers = 100
	// hashers race where each of them hashes a password: what is tried is the store,
	// which so many put to the test as well.
	hashers = 20
)

// race runs try for every racer at one start and counts what they return.
func race(try func(i int) int) map[int]int { return raceOf(racers, try) }

// raceOf is race with so many.
func raceOf(n int, try func(i int) int) map[int]int {
	var wg sync.WaitGroup
	var mu sync.Mutex
	start, count := make(chan struct{}), map[int]int{}
	for i := range n {
		wg.Go(func() {
			<-start
			got := try(i)
			mu.Lock()
			defer mu.Unlock()
			count[got]++
		})
	}
	close(start)
	wg.Wait()
	return count
}

func TestRaceForOneUsername(t *testing.T) {
	s := newSite(t)
	count := race(func(i int) int {
		return s.browser().post("/accounts/register", with(newcomer("ada"), data{"email": fmt.Sprintf("ada%d@example.org", i)})).StatusCode
	})
	require.Equal(t, map[int]int{201: 1, 400: racers - 1}, count)
	s.mail()
	s.noMail()
	users, _ := s.census()
	require.Equal(t, 1, users, "no loser left half an account")
}

func TestRaceForOneEmailAtSignUp(t *testing.T) {
	s := newSite(t)
	count := raceOf(hashers, func(i int) int {
		return s.browser().post("/accounts/register", with(newcomer(fmt.Sprintf("ada%d", i)), data{"email": "ada@example.org"})).StatusCode
	})
	require.Equal(t, map[int]int{http.StatusCreated: hashers}, count, "nobody is told")
	links := make([]data, hashers)
	for i := range links {
		links[i] = linkOf(s.mail(), t)
	}
	s.noMail()
	count = raceOf(hashers, func(i int) int { return s.browser().post("/accounts/verify-registration", links[i]).StatusCode })
	require.Equal(t, map[int]int{200: 1, 400: hashers - 1}, count, "the first to confirm has it")
	winner, err := s.accounts.Lookup(t.Context(), "ada@example.org")
	require.NoError(t, err)
	for i := range hashers {
		u, err := s.accounts.Lookup(t.Context(), fmt.Sprintf("ada%d", i))
		require.NoError(t, err)
		require.Equal(t, u.ID == winner.ID, u.IsActive && u.EmailVerified && !u.EmailPending, "the address is one account's")
	}
}

func TestRaceForOneLink(t *testing.T) {
	for name, c := range map[string]struct {
		path string
		link func(*site) data
		more data
	}{
		"confirmation": {"/accounts/verify-registration", func(s *site) data {
			s.browser().post("/accounts/register", newcomer("bob"))
			return linkOf(s.mail(), s.t)
		}, nil},
		"reset": {"/accounts/reset-password", func(s *site) data {
			s.browser().post("/accounts/send-reset-password-link", data{"login": "ada"})
			return linkOf(s.mail(), s.t)
		}, data{"password": "an even longer passphrase"}},
		"e-mail": {"/accounts/verify-email", func(s *site) data {
			require.Equal(s.t, 200, s.signedIn("ada").post("/accounts/register-email", data{"email": "new@example.org"}).StatusCode)
			return linkOf(s.mail(), s.t)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.member("ada")
			body := with(c.link(s), c.more)
			n := racers
			if c.more != nil { // a new password, which is hashed
				n = hashers
			}
			count := raceOf(n, func(int) int { return s.browser().post(c.path, body).StatusCode })
			require.Equal(t, map[int]int{200: 1, 400: n - 1}, count)
		})
	}
}

func TestRaceOfEmailChanges(t *testing.T) {
	s := newSite(t)
	links := make([]data, racers)
	for i := range racers {
		name := fmt.Sprintf("member%d", i)
		s.member(name)
		require.Equal(t, 200, s.signedIn(name).post("/accounts/register-email", data{"email": "one@example.org"}).StatusCode)
		links[i] = linkOf(s.mail(), t)
	}
	count := race(func(i int) int { return s.browser().post("/accounts/verify-email", links[i]).StatusCode })
	require.Equal(t, map[int]int{200: 1, 400: racers - 1}, count)
	moved := 0
	for i := range racers {
		u, err := s.accounts.Lookup(t.Context(), fmt.Sprintf("member%d", i))
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
	s := newSite(t)
	s.member("ada")
	sessions := s.realm.engine.sessions
	for range racers {
		b := s.signedIn("ada")
		stolen := s.browser()
		stolen.cookie[sessionCookie] = b.cookie[sessionCookie]
		hash, ok := session.HashToken(b.cookie[sessionCookie])
		require.True(t, ok)
		s.travel(6 * time.Minute) // so that the next use is one to write back
		require.Equal(t, http.StatusOK, stolen.get("/accounts/profile").StatusCode)

		var wg sync.WaitGroup
		var flushed error
		status := 0
		wg.Go(func() { flushed = sessions.Flush(t.Context()) })
		wg.Go(func() { stolen.get("/accounts/profile") })
		wg.Go(func() { status = b.post("/accounts/logout", nil).StatusCode })
		wg.Wait()
		require.NoError(t, flushed)
		require.Equal(t, http.StatusOK, status)
		require.NoError(t, sessions.Flush(t.Context()))
		require.Equal(t, http.StatusUnauthorized, stolen.get("/accounts/profile").StatusCode)
		require.ErrorIs(t, s.accounts.Store.View(t.Context(), func(tx store.Tx) error {
			_, err := tx.Session(hash)
			return err
		}), store.ErrNotFound)
	}
}

// A refresh of a sign-in against its end: whoever comes first, nobody is signed
// in afterwards, and of those who refresh one has succeeded at most.
func TestRaceOfRefreshAgainstRevocation(t *testing.T) {
	for name, end := range map[string]func(*site, data) error{
		"disabled": func(s *site, _ data) error {
			_, err := s.accounts.Administer(s.t.Context(), uuidOf(s.t, s, "ada"), account.AdminChange{IsActive: off()})
			return err
		},
		"new password": func(s *site, link data) error {
			res := s.browser().post("/accounts/reset-password", link)
			if res.StatusCode != http.StatusOK {
				return fmt.Errorf("reset: %s", res.Status)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, withJWT)
			s.member("ada")
			s.browser().post("/accounts/send-reset-password-link", data{"login": "ada"})
			link := with(linkOf(s.mail(), t), data{"password": "an even longer passphrase"})
			first := s.browser().post("/accounts/login", data{"login": "ada", "password": testPassword}).json(t)
			var mu sync.Mutex
			granted := []map[string]any{first}
			var ended error
			count := race(func(i int) int {
				if i == racers/2 {
					ended = end(s, link)
					return 0
				}
				res := s.browser().post("/accounts/refresh-token", data{"refresh_token": first["refresh_token"]})
				if res.StatusCode == http.StatusOK {
					mu.Lock()
					granted = append(granted, res.json(t))
					mu.Unlock()
				}
				return res.StatusCode
			})
			require.NoError(t, ended)
			require.LessOrEqual(t, count[http.StatusOK], 1)
			require.Equal(t, 0, count[http.StatusInternalServerError])
			for _, g := range granted {
				b := s.browser()
				b.header.Set("Authorization", "Bearer "+g["token"].(string))
				require.Equal(t, http.StatusUnauthorized, b.get("/members/").StatusCode)
				require.Equal(t, http.StatusUnauthorized, s.browser().post("/accounts/refresh-token", data{"refresh_token": g["refresh_token"]}).StatusCode)
			}
		})
	}
}
