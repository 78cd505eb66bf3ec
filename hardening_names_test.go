// hardening_names_test.go: names that a file system, a shell, a program or a reader
// would take for something else.

package registration

import (
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/field"
	"github.com/seed-928992b0/caddy-registration/store"
)

func TestNamesThatNobodyCanChoose(t *testing.T) {
	s := newSite(t, noVerification, func(s *Settings) { s.Register.ReservedNames = []string{"Support", "billing"} })
	s.member("ada")
	ada := s.signedIn("ada")
	for name, message := range map[string]string{
		".": "username_start", "..": "username_start", "...": "username_start", "．．": "username_start", ".ssh": "username_start", "-rf": "username_start", "－rf": "username_start",
		"admin": "username_reserved", "ADMIN": "username_reserved", "Ａｄｍｉｎ": "username_reserved", "root": "username_reserved", "postmaster": "username_reserved", "Null": "username_reserved", "undefined": "username_reserved",
		"support": "username_reserved", "ＢＩＬＬＩＮＧ": "username_reserved",
		"01890a5d-ac96-774b-bcce-b302099a8057": "username_reserved", "01890A5DAC96774BBCCEB302099A8057": "username_reserved",
	} {
		body := with(newcomer("eve"), data{"username": name})
		wantFields(t, s.browser().post("/accounts/register", body), notA(message, "username"))
		wantFields(t, ada.do(http.MethodPatch, "/accounts/profile", data{"username": name}), notA(message, "username"))
	}
	// The owner may give them away, and who has one keeps it.
	for _, name := range []string{"admin", ".."} {
		s.rename(uuidOf(t, s, "ada"), name)
		res := ada.do(http.MethodPut, "/accounts/profile", data{"username": name, "first_name": "A", "last_name": ""})
		require.Equal(t, http.StatusOK, res.StatusCode, res.body)
		s.signedIn(name)
		s.rename(uuidOf(t, s, name), "ada")
	}
}

// Who leaves a name must not hand its rights at an app behind the guard to the next.
func TestALeftNameIsNobodysForAWhile(t *testing.T) {
	s := newSite(t, noVerification)
	s.member("ada")
	s.member("eve")
	ada, eve := s.signedIn("ada"), s.signedIn("eve")
	rename := func(b *browser, name string) string {
		s.t.Helper()
		res := b.problems().do(http.MethodPatch, "/accounts/profile", data{"username": name, "password": testPassword})
		if res.StatusCode == http.StatusOK {
			return ""
		}
		if res.StatusCode == http.StatusTooManyRequests {
			return "throttled"
		}
		return fieldCodes(t, res, "username")
	}
	signUp := func(name string) string {
		res := s.browser().problems().post("/accounts/register", with(newcomer("x"+name), data{"username": name}))
		if res.StatusCode == http.StatusCreated {
			return ""
		}
		return fieldCodes(t, res, "username")
	}
	require.Empty(t, rename(ada, "lovelace"))
	for _, name := range []string{"ada", "ADA", "ａｄａ"} {
		require.Equal(t, "unique", rename(eve, name), name)
		require.Equal(t, "unique", signUp(name), name)
	}
	require.Empty(t, rename(ada, "Ada"), "its last holder has it back")
	require.Empty(t, rename(ada, "ADA"), "another case is no other name")
	require.Equal(t, "unique", signUp("lovelace"))
	require.NoError(t, s.accounts.Delete(t.Context(), uuidOf(t, s, "ada")))
	s.travel(account.NameReserved - time.Second)
	require.Equal(t, "unique", signUp("ada"))
	require.Empty(t, signUp("lovelace-2"))
	s.travel(time.Second)
	require.Empty(t, signUp("ada"))
	require.Empty(t, signUp("lovelace"))
	account.SweepLeftNames(t.Context(), s.realm.postman, s.accounts.Store)
	require.NoError(t, s.accounts.Store.View(t.Context(), func(tx store.Tx) error {
		_, err := tx.LeftName(s.accounts.NameKeys.NameHashes("ada")[0])
		require.ErrorIs(t, err, store.ErrNotFound)
		return nil
	}))

	// An account keeps a few names from others, not any number.
	bob := s.browser()
	require.Equal(t, http.StatusCreated, bob.post("/accounts/register", newcomer("bob")).StatusCode)
	bob = s.signedIn("bob")
	for i := range account.MaxLeftNames {
		require.Empty(t, rename(bob, fmt.Sprint("bob-", i)), i)
	}
	require.Equal(t, "throttled", rename(bob, "bob-last"))
	s.travel(account.NameReserved)
	bob = s.signedIn("bob-7")
	require.Empty(t, rename(bob, "bob-last"))
}

// What was never confirmed was never anybody's.
func TestANameThatWasNeverConfirmedIsFreeAtOnce(t *testing.T) {
	s := newSite(t)
	require.Equal(t, http.StatusCreated, s.browser().post("/accounts/register", newcomer("ada")).StatusCode)
	require.NoError(t, s.accounts.Delete(t.Context(), uuidOf(t, s, "ada")))
	require.Equal(t, http.StatusCreated, s.browser().post("/accounts/register", newcomer("ada")).StatusCode)
}

// A new secret frees no name as long as the old one is listed; nor does the first one.
func TestLeftNamesOverANewSecret(t *testing.T) {
	const one, two = "the first secret, long enough", "the second secret, long enough"
	path := filepath.Join(t.TempDir(), "registration.db")
	secrets := func(list ...string) func(*Settings) { return func(s *Settings) { s.Secrets = list } }
	for i, list := range [][]string{nil, {one}, {two, one}} {
		s := newSiteAt(t, path, noVerification, secrets(list...))
		name := fmt.Sprint("name", i)
		s.member(name)
		require.NoError(t, s.accounts.Delete(t.Context(), uuidOf(t, s, name)))
		for j := range i + 1 {
			body := with(newcomer("x"), data{"username": fmt.Sprint("NAME", j)})
			require.Equal(t, "unique", fieldCodes(t, s.browser().problems().post("/accounts/register", body), "username"), "%d %d", i, j)
		}
		require.NoError(t, s.accounts.Store.View(t.Context(), func(tx store.Tx) error {
			_, err := tx.UserByKey(field.Username, name)
			require.ErrorIs(t, err, store.ErrNotFound)
			return nil
		}))
		s.close()
	}
}

// A name is left and taken in one moment: never by another.
func TestALeftNameUnderConcurrency(t *testing.T) {
	s := newSite(t, noVerification)
	s.member("ada")
	ada := s.signedIn("ada")
	outcomes := inParallel(40, func(i int) string {
		if i == 20 {
			return http.StatusText(ada.do(http.MethodPatch, "/accounts/profile", data{"username": "lovelace"}).StatusCode)
		}
		return http.StatusText(s.browser().post("/accounts/register", with(newcomer(fmt.Sprint("x", i)), data{"username": "ada"})).StatusCode)
	})
	require.Equal(t, map[string]int{"OK": 1, "Bad Request": 39}, outcomes)
}
