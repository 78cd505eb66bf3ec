// hardening_names_test.go: names that a file system, a shell, a program or a reader
// would take for something else.

package account_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

func TestNamesThatNobodyCanChoose(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification, func(s *registration.Settings) { s.Register.ReservedNames = []string{"Support", "billing"} })
	s.Member("ada")
	ada := s.SignedIn("ada")
	for name, message := range map[string]string{
		".": "username_start", "..": "username_start", "...": "username_start", "．．": "username_start", ".ssh": "username_start", "-rf": "username_start", "－rf": "username_start",
		"admin": "username_reserved", "ADMIN": "username_reserved", "Ａｄｍｉｎ": "username_reserved", "root": "username_reserved", "postmaster": "username_reserved", "Null": "username_reserved", "undefined": "username_reserved",
		"support": "username_reserved", "ＢＩＬＬＩＮＧ": "username_reserved",
		"01890a5d-ac96-774b-bcce-b302099a8057": "username_reserved", "01890A5DAC96774BBCCEB302099A8057": "username_reserved",
	} {
		body := sitetest.With(sitetest.Newcomer("eve"), sitetest.Data{"username": name})
		sitetest.WantFields(t, s.Browser().Post("/accounts/register", body), sitetest.NotA(message, "username"))
		sitetest.WantFields(t, ada.Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"username": name}), sitetest.NotA(message, "username"))
	}
	// The owner may give them away, and who has one keeps it.
	for _, name := range []string{"postmaster", "Billing"} {
		_, err := s.Accounts.Create(t.Context(), account.NewAccount{Username: name, Password: sitetest.Password})
		require.NoError(t, err)
		s.SignedIn(name)
	}
	for _, name := range []string{"admin", "..", "support"} {
		rename(s, sitetest.UUIDOf(t, s, "ada"), name)
		res := ada.Do(http.MethodPut, "/accounts/profile", sitetest.Data{"username": name, "first_name": "A", "last_name": ""})
		require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
		s.SignedIn(name)
		rename(s, sitetest.UUIDOf(t, s, name), "ada")
	}
}

// Who leaves a name must not hand its rights at an app behind the guard to the next.
func TestALeftNameIsNobodysForAWhile(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification)
	s.Member("ada")
	s.Member("eve")
	ada, eve := s.SignedIn("ada"), s.SignedIn("eve")
	rename := func(b *sitetest.Browser, name string) string {
		s.T.Helper()
		res := b.Problems().Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"username": name, "password": sitetest.Password})
		if res.StatusCode == http.StatusOK {
			return ""
		}
		if res.StatusCode == http.StatusTooManyRequests {
			return "throttled"
		}
		return sitetest.FieldCodes(t, res, "username")
	}
	signUp := func(name string) string {
		res := s.Browser().Problems().Post("/accounts/register", sitetest.With(sitetest.Newcomer("x"+name), sitetest.Data{"username": name}))
		if res.StatusCode == http.StatusCreated {
			return ""
		}
		return sitetest.FieldCodes(t, res, "username")
	}
	require.Empty(t, rename(ada, "lovelace"))
	for _, name := range []string{"ada", "ADA", "ａｄａ"} {
		require.Equal(t, "unique", rename(eve, name), name)
		require.Equal(t, "unique", signUp(name), name)
	}
	require.Empty(t, rename(ada, "Ada"), "its last holder has it back")
	require.Empty(t, rename(ada, "ADA"), "another case is no other name")
	require.Equal(t, "unique", signUp("lovelace"))
	require.NoError(t, s.Accounts.Delete(t.Context(), sitetest.UUIDOf(t, s, "ada")))
	s.Travel(account.NameReserved - time.Second)
	require.Equal(t, "unique", signUp("ada"))
	require.Empty(t, signUp("lovelace-2"))
	s.Travel(time.Second)
	require.Empty(t, signUp("ada"))
	require.Empty(t, signUp("lovelace"))
	account.SweepLeftNames(t.Context(), s.Realm.Courier, s.Accounts.Store)
	require.NoError(t, s.Accounts.Store.View(t.Context(), func(tx store.Tx) error {
		_, err := tx.LeftName(s.Accounts.NameKeys.NameHashes("ada")[0])
		require.ErrorIs(t, err, store.ErrNotFound)
		return nil
	}))

	// An account keeps a few names from others, not any number.
	bob := s.Browser()
	require.Equal(t, http.StatusCreated, bob.Post("/accounts/register", sitetest.Newcomer("bob")).StatusCode)
	bob = s.SignedIn("bob")
	for i := range account.MaxLeftNames {
		require.Empty(t, rename(bob, fmt.Sprint("bob-", i)), i)
	}
	require.Equal(t, "throttled", rename(bob, "bob-last"))
	s.Travel(account.NameReserved)
	bob = s.SignedIn("bob-7")
	require.Empty(t, rename(bob, "bob-last"))
}

// What was never confirmed was never anybody's.
func TestANameThatWasNeverConfirmedIsFreeAtOnce(t *testing.T) {
	s := sitetest.New(t)
	require.Equal(t, http.StatusCreated, s.Browser().Post("/accounts/register", sitetest.Newcomer("ada")).StatusCode)
	require.NoError(t, s.Accounts.Delete(t.Context(), sitetest.UUIDOf(t, s, "ada")))
	require.Equal(t, http.StatusCreated, s.Browser().Post("/accounts/register", sitetest.Newcomer("ada")).StatusCode)
}

// A new secret frees no name as long as the old one is listed; nor does the first one.
func TestLeftNamesOverANewSecret(t *testing.T) {
	const one, two = "the first secret, long enough", "the second secret, long enough"
	path := filepath.Join(t.TempDir(), "registration.db")
	secrets := func(list ...string) func(*registration.Settings) {
		return func(s *registration.Settings) { s.Secrets = list }
	}
	for i, list := range [][]string{nil, {one}, {two, one}} {
		s := sitetest.NewAt(t, path, sitetest.NoVerification, secrets(list...))
		name := fmt.Sprint("name", i)
		s.Member(name)
		require.NoError(t, s.Accounts.Delete(t.Context(), sitetest.UUIDOf(t, s, name)))
		for j := range i + 1 {
			body := sitetest.With(sitetest.Newcomer("x"), sitetest.Data{"username": fmt.Sprint("NAME", j)})
			require.Equal(t, "unique", sitetest.FieldCodes(t, s.Browser().Problems().Post("/accounts/register", body), "username"), "%d %d", i, j)
		}
		require.NoError(t, s.Accounts.Store.View(t.Context(), func(tx store.Tx) error {
			_, err := tx.UserByKey(field.Username, name)
			require.ErrorIs(t, err, store.ErrNotFound)
			return nil
		}))
		s.Close()
	}
}

// A name is left and taken in one moment: never by another.
func TestALeftNameUnderConcurrency(t *testing.T) {
	s := sitetest.New(t, sitetest.NoVerification)
	s.Member("ada")
	ada := s.SignedIn("ada")
	outcomes := sitetest.InParallel(40, func(i int) string {
		if i == 20 {
			return http.StatusText(ada.Do(http.MethodPatch, "/accounts/profile", sitetest.Data{"username": "lovelace"}).StatusCode)
		}
		return http.StatusText(s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer(fmt.Sprint("x", i)), sitetest.Data{"username": "ada"})).StatusCode)
	})
	require.Equal(t, map[string]int{"OK": 1, "Bad Request": 39}, outcomes)
}
