// realm_test.go: a realm from its start to its end, as those see it who ask it.

package registration_test

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

func TestWholeTrip(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	stranger := s.Browser()
	require.Equal(t, http.StatusUnauthorized, stranger.Get("/members/").StatusCode)
	b := s.SignedIn("ada")
	res := b.Get("/members/")
	require.Equal(t, sitetest.ProtectedPage, res.Text)
	require.Equal(t, "private, no-cache", res.Header.Get("Cache-Control"))
	require.Equal(t, http.StatusOK, b.Get("/accounts/profile").StatusCode)
	saved := b.Cookie["registration"]
	require.Equal(t, http.StatusOK, b.Post("/accounts/logout", nil).StatusCode)
	b.Cookie["registration"] = saved
	require.Equal(t, http.StatusUnauthorized, b.Get("/members/").StatusCode)
}

func TestRequestsWaitForTheStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	ask := func(s *sitetest.Site) chan int {
		answers := make(chan int, 3)
		for _, path := range []string{"/accounts/profile", "/members/", "/accounts/profile/"} {
			go func() { answers <- s.Browser().Get(path).StatusCode }()
		}
		return answers
	}
	t.Run("that opens", func(t *testing.T) {
		s := sitetest.Unopened(t, path)
		answers := ask(s)
		select {
		case code := <-answers:
			require.Fail(t, "it did not wait", code)
		case <-time.After(50 * time.Millisecond):
		}
		require.NoError(t, s.Realm.Start())
		for range 3 {
			require.Equal(t, http.StatusUnauthorized, <-answers)
		}
		s.Realm.Stop()
	})
	t.Run("that does not", func(t *testing.T) {
		s := sitetest.Unopened(t, path)
		answers := ask(s)
		require.NoError(t, s.Realm.Close())
		for range 3 {
			require.Equal(t, http.StatusServiceUnavailable, <-answers)
		}
	})
}

func TestAccountsOfSchema2GoOn(t *testing.T) {
	s := sitetest.NewAt(t, sitetest.OldStore(t, "schema2"), func(s *registration.Settings) {
		s.Secrets, s.Throttle = []string{"a secret that is long enough for it"}, registration.ThrottleSettings{}
	})
	bob := s.Mail()
	require.Equal(t, "bob@example.org", bob.To)
	ada := s.Browser()
	ada.Cookie[sitetest.SessionCookie] = "cI1EmMUQ9wdIRrcoGQzOO13wpVSMm_vE9KS6xLufc9Q"
	require.Equal(t, "Ada", ada.Get("/accounts/profile").JSON(t)["first_name"])
	require.Equal(t, http.StatusOK, s.Browser().Post("/accounts/verify-registration", sitetest.LinkOf(bob, t)).StatusCode)
	for _, name := range []string{"ada", "bob", "carl"} {
		s.SignedIn(name)
	}
	require.Equal(t, http.StatusOK, ada.Post("/accounts/logout", sitetest.Data{}).StatusCode)
	require.Equal(t, http.StatusUnauthorized, ada.Get("/accounts/profile").StatusCode)
}

// What is over leaves the store.
func TestBudgetsAreSwept(t *testing.T) {
	s := sitetest.New(t, sitetest.Throttled)
	s.Attack("ada")
	ledger, db := s.Realm.Resources.Throttles, s.Accounts.Store
	rows := func() (n int) {
		require.NoError(t, ledger.Flush(t.Context(), registration.NewBudgetStore(db)))
		require.NoError(t, registration.SweepThrottles(t.Context(), ledger, db, s.Accounts.Now()))
		require.NoError(t, db.View(t.Context(), func(tx store.Tx) error {
			list, err := tx.Budgets(time.Unix(0, 0), 100)
			n = len(list)
			return err
		}))
		return n
	}
	require.Equal(t, 1, rows())
	s.Travel(time.Hour)
	require.Zero(t, rows())
}
