// waiting_test.go: accounts that were never confirmed are removed, those and
// no others, whatever the clock does; what a mail server says of an address stays with
// its account, until a mail arrives there.

package account_test

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/refusal"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/internal/web"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/store"
)

// purge moves the clock and makes one round of the sweep.
func purge(s *sitetest.Site, t testing.TB, d time.Duration) int {
	t.Helper()
	s.Travel(d)
	n, err := s.Realm.Resources.Purger.Purge(t.Context(), s.Realm.Courier)
	require.NoError(t, err)
	return n
}

// wait lets time pass in the steps in which the sweep goes its rounds.
func wait(s *sitetest.Site, t testing.TB, d time.Duration) (removed int) {
	t.Helper()
	step := 2 * account.PurgeEvery(s.Realm.Courier.Unconfirmed)
	removed = purge(s, t, 0)
	for ; d > 0; d -= step {
		removed += purge(s, t, min(d, step))
	}
	return removed
}

func shortLived(s *registration.Settings) {
	s.Register.UnconfirmedLifetime = caddy.Duration(10 * time.Hour)
}

func exists(s *sitetest.Site, t testing.TB, name string) bool {
	t.Helper()
	_, err := s.Accounts.Lookup(t.Context(), name)
	if err != nil {
		require.Equal(t, refusal.CodeUserNotFound, web.AsRefusal(err).Code, err)
	}
	return err == nil
}

func TestUnconfirmedAccountsAreRemoved(t *testing.T) {
	s := sitetest.New(t, shortLived)
	signUp(s, "ada", "ada@example.org")
	link := sitetest.LinkOf(s.Mail(), t)
	require.Zero(t, wait(s, t, 10*time.Hour-time.Second))
	require.True(t, exists(s, t, "ada"))
	require.Equal(t, 1, wait(s, t, time.Second))
	require.False(t, exists(s, t, "ada"))
	require.Equal(t, "signature_invalid", problem(s, "verify-registration", link))
	require.Equal(t, "login_invalid", problem(s, "login", sitetest.Data{"login": "ada", "password": sitetest.Password}))
	require.Equal(t, "200", problem(s, "resend-verification", sitetest.Data{"login": "ada@example.org"}))
	s.NoMail()
	signUp(s, "ADA", "ada@example.org") // the name is free
	require.Equal(t, "200", problem(s, "verify-registration", sitetest.LinkOf(s.Mail(), t)))
	require.Zero(t, wait(s, t, 50*time.Hour))
	s.SignedIn("ada")
}

// The default is the verification period.
func TestUnconfirmedLifetimeFollowsTheVerificationPeriod(t *testing.T) {
	s := sitetest.New(t, func(s *registration.Settings) { s.Register.VerificationPeriod = caddy.Duration(5 * time.Hour) })
	require.Equal(t, 5*time.Hour, s.Realm.Courier.Unconfirmed)
	s = sitetest.New(t)
	require.Equal(t, 7*sitetest.Day, s.Realm.Courier.Unconfirmed)
}

// The time counts from the last mail, three lifetimes at most in all; the row of a
// confirmed address gets just as much.
func TestUnconfirmedLifetimeCountsFromTheLastMail(t *testing.T) {
	for _, kind := range []string{"resend-verification", "send-reset-password-link"} {
		t.Run(kind, func(t *testing.T) {
			s := sitetest.New(t, shortLived)
			s.Member("ada")
			signUp(s, "eve", "ada@example.org")
			signUp(s, "bob", "bob@example.org")
			s.Mail()
			s.Mail()
			for i := range 3 { // 27 of 30 hours
				require.Zero(t, wait(s, t, 9*time.Hour))
				for _, name := range []string{"bob", "eve"} {
					require.Equal(t, "200", problem(s, kind, sitetest.Data{"login": name}))
				}
				if kind == "resend-verification" || i == 0 {
					s.Mail() // bob's
				}
				drain(s, t)
			}
			require.Zero(t, wait(s, t, 3*time.Hour-time.Second))
			require.True(t, exists(s, t, "bob") && exists(s, t, "eve"))
			require.Equal(t, 2, wait(s, t, time.Second))
			require.True(t, exists(s, t, "ada"))
		})
	}
}

// drain waits until the outbox is empty and drops what came.
func drain(s *sitetest.Site, t testing.TB) {
	t.Helper()
	require.Eventually(t, func() bool { return sitetest.QueueEmpty(s.Accounts.Store) }, sitetest.Patience, time.Millisecond)
	for len(s.Mailer.Sent) > 0 {
		<-s.Mailer.Sent
	}
}

// signUpAndDrain lets nothing of a sign-up be left for later: a mail that goes out
// hours after a clock came back counts from then.
func signUpAndDrain(s *sitetest.Site, t testing.TB, name string) {
	t.Helper()
	signUp(s, name, name+"@example.org")
	drain(s, t)
}

// What an owner made, enabled or disabled, what was confirmed, what ever signed
// in, and what signed up where nobody waits, stays for good.
func TestOnlyWhatASignUpLeftWaitingIsRemoved(t *testing.T) {
	path := t.TempDir() + "/r.db"
	s := sitetest.NewAt(t, path, sitetest.WithoutVerification, shortLived)
	s.Member("unverified")
	s.Close()
	s = sitetest.NewAt(t, path, shortLived)
	s.Member("confirmed")
	for _, name := range []string{"enabled", "disabled", "reset", "left"} {
		signUp(s, name, name+"@example.org")
		s.Mail()
	}
	for name, active := range map[string]*bool{"enabled": sitetest.On(), "disabled": sitetest.Off()} {
		_, err := s.Accounts.Administer(t.Context(), sitetest.UUIDOf(t, s, name), account.AdminChange{IsActive: active})
		require.NoError(t, err)
	}
	require.Equal(t, "200", problem(s, "send-reset-password-link", sitetest.Data{"login": "reset"}))
	require.Equal(t, "200", problem(s, "reset-password", sitetest.With(sitetest.LinkOf(s.Mail(), t), sitetest.Data{"password": "an even longer passphrase"})))
	wait(s, t, 9*time.Hour)
	// As an import or a later version could make them.
	odd := map[string]func(*store.User){
		"signed in once": func(u *store.User) { u.LastLogin = s.Accounts.Time() },
		"active":         func(u *store.User) { u.IsActive = true },
		"confirmed once": func(u *store.User) { u.EmailVerified = true },
		"disabled":       func(u *store.User) { u.AwaitsVerification = false },
		"no time known":  func(u *store.User) { u.WaitingSince, u.WaitingFrom = time.Time{}, time.Time{} },
	}
	ids := map[string]uuid.UUID{}
	require.NoError(t, s.Accounts.Store.Update(t.Context(), func(tx store.Tx) error {
		for name, change := range odd {
			u := &store.User{ID: uuid.Must(uuid.NewV7()), AwaitsVerification: true, WaitingFrom: s.Accounts.Time(), WaitingSince: s.Accounts.Time()}
			change(u)
			ids[name] = u.ID
			if err := tx.PutUser(u, nil); err != nil {
				return err
			}
		}
		return nil
	}))
	wait(s, t, time.Hour)
	for _, name := range []string{"unverified", "confirmed", "enabled", "disabled", "reset"} {
		require.True(t, exists(s, t, name), name)
	}
	require.False(t, exists(s, t, "left"))
	for name, id := range ids {
		require.True(t, exists(s, t, id.String()), name)
	}
	wait(s, t, 10*time.Hour)
	require.False(t, exists(s, t, ids["no time known"].String()), "its time counted from when it was seen")
	delete(ids, "no time known")
	wait(s, t, 50*time.Hour)
	for name, id := range ids {
		require.True(t, exists(s, t, id.String()), name)
	}
}

// A clock that is ahead for a while removes nobody before his time, and one that
// came back lets nobody wait for ever.
func TestPurgeUnderAClockThatJumps(t *testing.T) {
	for name, jump := range map[string]time.Duration{"ahead": 365 * sitetest.Day, "back": -365 * sitetest.Day} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.New(t, shortLived)
			purge(s, t, 0)
			signUpAndDrain(s, t, "before")
			require.Zero(t, purge(s, t, jump))
			signUpAndDrain(s, t, "during")
			require.Zero(t, wait(s, t, 2*time.Hour))
			require.Zero(t, purge(s, t, -jump))
			signUpAndDrain(s, t, "after")
			require.Zero(t, wait(s, t, 4*time.Hour))
			for _, name := range []string{"before", "during", "after"} {
				require.True(t, exists(s, t, name), name)
			}
			require.Equal(t, 3, wait(s, t, 7*time.Hour), "a jump costs or gives a round at most")
		})
	}
	t.Run("nobody looked", func(t *testing.T) { // Caddy was off
		path := t.TempDir() + "/r.db"
		s := sitetest.NewAt(t, path, shortLived)
		purge(s, t, 0)
		signUpAndDrain(s, t, "ada")
		s.Close()
		s = sitetest.NewAt(t, path, shortLived)
		require.Zero(t, purge(s, t, 30*sitetest.Day))
		require.True(t, exists(s, t, "ada"))
		require.Equal(t, 1, wait(s, t, 10*time.Hour))
	})
	t.Run("signed up ahead, before anybody looked", func(t *testing.T) {
		s := sitetest.New(t, shortLived)
		purge(s, t, 0)
		s.Travel(365 * sitetest.Day)
		signUpAndDrain(s, t, "ada")
		s.Travel(-365 * sitetest.Day)
		require.Equal(t, 1, wait(s, t, 11*time.Hour), "what lies in the future counts as now")
	})
}

// Many are removed in bounded parts; a round that has nothing to do reads no
// account and writes nothing.
func TestPurgeGoesInParts(t *testing.T) {
	s := sitetest.New(t, shortLived)
	s.Member("ada")
	purge(s, t, 0)
	before := s.StoreFile(t)
	require.Zero(t, purge(s, t, 10*time.Minute))
	require.Equal(t, before, s.StoreFile(t), "nobody waits: nothing is written")
	const n = 3*account.PurgeChunk + 7
	require.NoError(t, s.Accounts.Store.Update(t.Context(), func(tx store.Tx) error {
		for i := range n {
			u := &store.User{ID: uuid.Must(uuid.NewV7()), Username: fmt.Sprint("w", i), Email: "ada@example.org", EmailPending: true, AwaitsVerification: true}
			u.WaitingFrom = s.Accounts.Time()
			u.WaitingSince = u.WaitingFrom
			if err := tx.PutUser(u, s.Accounts.KeyIndex.KeysOf(u)); err != nil {
				return err
			}
		}
		return nil
	}))
	require.Equal(t, n, wait(s, t, 11*time.Hour))
	users, _ := s.Census()
	require.Equal(t, 1, users)
}

// The mail of one who was removed is dropped.
func TestMailOfARemovedAccountIsDropped(t *testing.T) {
	s := sitetest.New(t, shortLived)
	s.Realm.Stop()
	signUp(s, "ada", "ada@example.org")
	require.Equal(t, 1, wait(s, t, 11*time.Hour))
	require.NoError(t, s.Realm.Start())
	s.NoMail()
}

// Confirmations against the round that would remove the accounts: each wins, or is
// told that the link is no good; never a half state.
func TestRaceOfConfirmationAgainstPurge(t *testing.T) {
	s := sitetest.New(t, shortLived)
	const n = 60
	links := map[string]sitetest.Data{}
	for i := range n {
		signUp(s, fmt.Sprint("ada", i), fmt.Sprintf("ada%d@example.org", i))
	}
	for range n {
		m := s.Mail()
		links[m.To] = sitetest.LinkOf(m, t)
	}
	wait(s, t, 10*time.Hour-time.Second)
	s.Travel(time.Second)
	var wg sync.WaitGroup
	var mu sync.Mutex
	removed, status := 0, map[string]int{}
	var err error
	start := make(chan struct{})
	for to, link := range links {
		wg.Go(func() {
			<-start
			got := s.Browser().Post("/accounts/verify-registration", link).StatusCode
			mu.Lock()
			defer mu.Unlock()
			status[to] = got
		})
	}
	wg.Go(func() {
		<-start
		removed, err = s.Realm.Resources.Purger.Purge(t.Context(), s.Realm.Courier)
	})
	close(start)
	wg.Wait()
	require.NoError(t, err)
	lost := 0
	for to, got := range status {
		if got == http.StatusOK {
			s.SignedIn(to)
			continue
		}
		lost++
		require.Equal(t, http.StatusBadRequest, got)
		require.False(t, exists(s, t, to))
	}
	require.Equal(t, lost, removed)
	t.Logf("%d confirmations of %d won", n-lost, n)
}

func TestUnreachableAddressIsMarked(t *testing.T) {
	s := sitetest.New(t)
	id := s.Member("ada")
	ask := func() {
		t.Helper()
		require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/send-reset-password-link", sitetest.Data{"login": "ada"}).StatusCode)
	}
	mark := func() store.Unreachable { return s.Stored(id).Unreachable }
	s.FailWith(func(*mail.Message) error {
		return &mail.Error{Permanent: true, Recipient: true, Err: errors.New("550 5.1.1 no such user here")}
	})
	ask()
	require.Eventually(t, func() bool { return mark() != store.Unreachable{} }, sitetest.Patience, sitetest.Patience/1000)
	require.Equal(t, "ada@example.org", mark().Email)
	require.Contains(t, mark().Words, "5.1.1")
	s.SignedIn("ada") // nothing is blocked
	s.FailWith(nil)
	ask()
	s.Mail()
	require.Eventually(t, func() bool { return mark() == store.Unreachable{} }, sitetest.Patience, sitetest.Patience/1000)
}
