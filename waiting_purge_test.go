// waiting_purge_test.go: accounts that were never confirmed are removed, those and
// no others, whatever the clock does.

package registration

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/store"
)

// purge moves the clock and makes one round of the sweep.
func (s *site) purge(t testing.TB, d time.Duration) int {
	t.Helper()
	s.travel(d)
	n, err := s.realm.engine.purger.Purge(t.Context(), s.realm.postman)
	require.NoError(t, err)
	return n
}

// wait lets time pass in the steps in which the sweep goes its rounds.
func (s *site) wait(t testing.TB, d time.Duration) (removed int) {
	t.Helper()
	step := 2 * account.PurgeEvery(s.realm.postman.Unconfirmed)
	removed = s.purge(t, 0)
	for ; d > 0; d -= step {
		removed += s.purge(t, min(d, step))
	}
	return removed
}

func shortLived(s *Settings) { s.Register.UnconfirmedLifetime = caddy.Duration(10 * time.Hour) }

func (s *site) exists(t testing.TB, name string) bool {
	t.Helper()
	_, err := s.accounts.Lookup(t.Context(), name)
	if err != nil {
		require.Equal(t, refusal.CodeUserNotFound, web.AsRefusal(err).Code, err)
	}
	return err == nil
}

func TestUnconfirmedAccountsAreRemoved(t *testing.T) {
	s := newSite(t, shortLived)
	s.signUp("ada", "ada@example.org")
	link := linkOf(s.mail(), t)
	require.Zero(t, s.wait(t, 10*time.Hour-time.Second))
	require.True(t, s.exists(t, "ada"))
	require.Equal(t, 1, s.wait(t, time.Second))
	require.False(t, s.exists(t, "ada"))
	require.Equal(t, "signature_invalid", s.problem("verify-registration", link))
	require.Equal(t, "login_invalid", s.problem("login", data{"login": "ada", "password": testPassword}))
	require.Equal(t, "200", s.problem("resend-verification", data{"login": "ada@example.org"}))
	s.noMail()
	s.signUp("ADA", "ada@example.org") // the name is free
	require.Equal(t, "200", s.problem("verify-registration", linkOf(s.mail(), t)))
	require.Zero(t, s.wait(t, 50*time.Hour))
	s.signedIn("ada")
}

// The default is the verification period.
func TestUnconfirmedLifetimeFollowsTheVerificationPeriod(t *testing.T) {
	s := newSite(t, func(s *Settings) { s.Register.VerificationPeriod = caddy.Duration(5 * time.Hour) })
	require.Equal(t, 5*time.Hour, s.realm.postman.Unconfirmed)
	s = newSite(t)
	require.Equal(t, 7*day, s.realm.postman.Unconfirmed)
}

// The time counts from the last mail, three lifetimes at most in all; the row of a
// confirmed address gets just as much.
func TestUnconfirmedLifetimeCountsFromTheLastMail(t *testing.T) {
	for _, kind := range []string{"resend-verification", "send-reset-password-link"} {
		t.Run(kind, func(t *testing.T) {
			s := newSite(t, shortLived)
			s.member("ada")
			s.signUp("eve", "ada@example.org")
			s.signUp("bob", "bob@example.org")
			s.mail()
			s.mail()
			for i := range 3 { // 27 of 30 hours
				require.Zero(t, s.wait(t, 9*time.Hour))
				for _, name := range []string{"bob", "eve"} {
					require.Equal(t, "200", s.problem(kind, data{"login": name}))
				}
				if kind == "resend-verification" || i == 0 {
					s.mail() // bob's
				}
				s.drain(t)
			}
			require.Zero(t, s.wait(t, 3*time.Hour-time.Second))
			require.True(t, s.exists(t, "bob") && s.exists(t, "eve"))
			require.Equal(t, 2, s.wait(t, time.Second))
			require.True(t, s.exists(t, "ada"))
		})
	}
}

// drain waits until the outbox is empty and drops what came.
func (s *site) drain(t testing.TB) {
	t.Helper()
	require.Eventually(t, func() bool { return queueEmpty(s.accounts.Store) }, patience, time.Millisecond)
	for len(s.mailer.sent) > 0 {
		<-s.mailer.sent
	}
}

// signUpAndDrain lets nothing of a sign-up be left for later: a mail that goes out
// hours after a clock came back counts from then.
func (s *site) signUpAndDrain(t testing.TB, name string) {
	t.Helper()
	s.signUp(name, name+"@example.org")
	s.drain(t)
}

// What an owner made, enabled or disabled, what was confirmed, what ever signed
// in, and what signed up where nobody waits, stays for good.
func TestOnlyWhatASignUpLeftWaitingIsRemoved(t *testing.T) {
	path := t.TempDir() + "/r.db"
	s := newSiteAt(t, path, withoutVerification, shortLived)
	s.member("unverified")
	s.close()
	s = newSiteAt(t, path, shortLived)
	s.member("confirmed")
	for _, name := range []string{"enabled", "disabled", "reset", "left"} {
		s.signUp(name, name+"@example.org")
		s.mail()
	}
	for name, active := range map[string]*bool{"enabled": on(), "disabled": off()} {
		_, err := s.accounts.Administer(t.Context(), uuidOf(t, s, name), account.AdminChange{IsActive: active})
		require.NoError(t, err)
	}
	require.Equal(t, "200", s.problem("send-reset-password-link", data{"login": "reset"}))
	require.Equal(t, "200", s.problem("reset-password", with(linkOf(s.mail(), t), data{"password": "an even longer passphrase"})))
	s.wait(t, 9*time.Hour)
	// As an import or a later version could make them.
	odd := map[string]func(*store.User){
		"signed in once": func(u *store.User) { u.LastLogin = s.accounts.Time() },
		"active":         func(u *store.User) { u.IsActive = true },
		"confirmed once": func(u *store.User) { u.EmailVerified = true },
		"disabled":       func(u *store.User) { u.AwaitsVerification = false },
		"no time known":  func(u *store.User) { u.WaitingSince, u.WaitingFrom = time.Time{}, time.Time{} },
	}
	ids := map[string]uuid.UUID{}
	require.NoError(t, s.accounts.Store.Update(t.Context(), func(tx store.Tx) error {
		for name, change := range odd {
			u := &store.User{ID: uuid.Must(uuid.NewV7()), AwaitsVerification: true, WaitingFrom: s.accounts.Time(), WaitingSince: s.accounts.Time()}
			change(u)
			ids[name] = u.ID
			if err := tx.PutUser(u, nil); err != nil {
				return err
			}
		}
		return nil
	}))
	s.wait(t, time.Hour)
	for _, name := range []string{"unverified", "confirmed", "enabled", "disabled", "reset"} {
		require.True(t, s.exists(t, name), name)
	}
	require.False(t, s.exists(t, "left"))
	for name, id := range ids {
		require.True(t, s.exists(t, id.String()), name)
	}
	s.wait(t, 10*time.Hour)
	require.False(t, s.exists(t, ids["no time known"].String()), "its time counted from when it was seen")
	delete(ids, "no time known")
	s.wait(t, 50*time.Hour)
	for name, id := range ids {
		require.True(t, s.exists(t, id.String()), name)
	}
}

// A clock that is ahead for a while removes nobody before his time, and one that
// came back lets nobody wait for ever.
func TestPurgeUnderAClockThatJumps(t *testing.T) {
	for name, jump := range map[string]time.Duration{"ahead": 365 * day, "back": -365 * day} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, shortLived)
			s.purge(t, 0)
			s.signUpAndDrain(t, "before")
			require.Zero(t, s.purge(t, jump))
			s.signUpAndDrain(t, "during")
			require.Zero(t, s.wait(t, 2*time.Hour))
			require.Zero(t, s.purge(t, -jump))
			s.signUpAndDrain(t, "after")
			require.Zero(t, s.wait(t, 4*time.Hour))
			for _, name := range []string{"before", "during", "after"} {
				require.True(t, s.exists(t, name), name)
			}
			require.Equal(t, 3, s.wait(t, 7*time.Hour), "a jump costs or gives a round at most")
		})
	}
	t.Run("nobody looked", func(t *testing.T) { // Caddy was off
		path := t.TempDir() + "/r.db"
		s := newSiteAt(t, path, shortLived)
		s.purge(t, 0)
		s.signUpAndDrain(t, "ada")
		s.close()
		s = newSiteAt(t, path, shortLived)
		require.Zero(t, s.purge(t, 30*day))
		require.True(t, s.exists(t, "ada"))
		require.Equal(t, 1, s.wait(t, 10*time.Hour))
	})
	t.Run("signed up ahead, before anybody looked", func(t *testing.T) {
		s := newSite(t, shortLived)
		s.purge(t, 0)
		s.travel(365 * day)
		s.signUpAndDrain(t, "ada")
		s.travel(-365 * day)
		require.Equal(t, 1, s.wait(t, 11*time.Hour), "what lies in the future counts as now")
	})
}

// Many are removed in bounded parts; a round that has nothing to do reads no
// account and writes nothing.
func TestPurgeGoesInParts(t *testing.T) {
	s := newSite(t, shortLived)
	s.member("ada")
	s.purge(t, 0)
	before := s.storeFile(t)
	require.Zero(t, s.purge(t, 10*time.Minute))
	require.Equal(t, before, s.storeFile(t), "nobody waits: nothing is written")
	const n = 3*account.PurgeChunk + 7
	require.NoError(t, s.accounts.Store.Update(t.Context(), func(tx store.Tx) error {
		for i := range n {
			u := &store.User{ID: uuid.Must(uuid.NewV7()), Username: fmt.Sprint("w", i), Email: "ada@example.org", EmailPending: true, AwaitsVerification: true}
			u.WaitingFrom = s.accounts.Time()
			u.WaitingSince = u.WaitingFrom
			if err := tx.PutUser(u, s.accounts.Uniques.KeysOf(u)); err != nil {
				return err
			}
		}
		return nil
	}))
	require.Equal(t, n, s.wait(t, 11*time.Hour))
	users, _ := s.census()
	require.Equal(t, 1, users)
}

// The mail of one who was removed is dropped.
func TestMailOfARemovedAccountIsDropped(t *testing.T) {
	s := newSite(t, shortLived)
	s.realm.stop()
	s.signUp("ada", "ada@example.org")
	require.Equal(t, 1, s.wait(t, 11*time.Hour))
	require.NoError(t, s.realm.start())
	s.noMail()
}

// Confirmations against the round that would remove the accounts: each wins, or is
// told that the link is no good; never a half state.
func TestRaceOfConfirmationAgainstPurge(t *testing.T) {
	s := newSite(t, shortLived)
	const n = 60
	links := map[string]data{}
	for i := range n {
		s.signUp(fmt.Sprint("ada", i), fmt.Sprintf("ada%d@example.org", i))
	}
	for range n {
		m := s.mail()
		links[m.To] = linkOf(m, t)
	}
	s.wait(t, 10*time.Hour-time.Second)
	s.travel(time.Second)
	var wg sync.WaitGroup
	var mu sync.Mutex
	removed, status := 0, map[string]int{}
	var err error
	start := make(chan struct{})
	for to, link := range links {
		wg.Go(func() {
			<-start
			got := s.browser().post("/accounts/verify-registration", link).StatusCode
			mu.Lock()
			defer mu.Unlock()
			status[to] = got
		})
	}
	wg.Go(func() {
		<-start
		removed, err = s.realm.engine.purger.Purge(t.Context(), s.realm.postman)
	})
	close(start)
	wg.Wait()
	require.NoError(t, err)
	lost := 0
	for to, got := range status {
		if got == http.StatusOK {
			s.signedIn(to)
			continue
		}
		lost++
		require.Equal(t, http.StatusBadRequest, got)
		require.False(t, s.exists(t, to))
	}
	require.Equal(t, lost, removed)
	t.Logf("%d confirmations of %d won", n-lost, n)
}
