// hardening_values_test.go: values that mean something else where they arrive:
// a password that a keyboard writes in other bytes, half a character, a switch that
// nobody understands.

package registration

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/seed-928992b0/caddy-registration/internal/account"
)

// One passphrase, as a Mac and as anything else writes it.
const (
	inNFD = "schlu\u0308ssel fu\u0308r Zu\u0308rich"
	inNFC = "schl\u00fcssel\u00a0f\u00fcr Z\u00fcrich"
)

func TestPasswordsInEitherForm(t *testing.T) {
	for _, c := range []struct{ name, set, typed string }{{"set in NFD", inNFD, inNFC}, {"set in NFC", inNFC, inNFD}} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, noVerification)
			b := s.browser().problems()
			res := b.post("/accounts/register", with(newcomer("ada"), data{"password": c.set, "password_confirm": c.typed}))
			require.Equal(t, http.StatusCreated, res.StatusCode, res.body)
			for _, typed := range []string{c.typed, c.set} {
				require.Equal(t, http.StatusOK, b.post("/accounts/login", data{"login": "ada", "password": typed}).StatusCode, typed)
			}
			// Every door that asks for it, and every one that sets it.
			res = b.post("/accounts/change-password", data{"old_password": c.typed, "password": c.typed + "!", "password_confirm": c.set + "!"})
			require.Equal(t, http.StatusOK, res.StatusCode, res.body)
			s.travel(s.realm.Options.RegisterEmail.MaxAge)
			require.Equal(t, http.StatusOK, b.do(http.MethodPatch, "/accounts/profile", data{"username": "ada2", "password": c.set + "!"}).StatusCode)
			require.Equal(t, http.StatusOK, b.post("/accounts/send-reset-password-link", data{"login": "ada2"}).StatusCode)
			res = b.post("/accounts/reset-password", with(linkOf(s.mail(), t), data{"password": c.set}))
			require.Equal(t, http.StatusOK, res.StatusCode, res.body)
			require.Equal(t, http.StatusOK, b.post("/accounts/login", data{"login": "ada2", "password": c.typed}).StatusCode)
		})
	}
}

// A hash that was made of the bytes as they came (by an older version, by Django)
// stays good for who types those bytes, and is renewed by that.
func TestOldHashesOfOtherBytes(t *testing.T) {
	byBcrypt, err := bcrypt.GenerateFromPassword([]byte(inNFD), bcrypt.MinCost)
	require.NoError(t, err)
	for name, hash := range map[string]string{
		// Of NFD: by Python's hashlib, laid out as Django does.
		"Django": "pbkdf2_sha256$1000$seasalt$WL2dLuXJWCeZUVLbqg3+LHjDJoOpuJOxCFa8+Zq6mxE=",
		"bcrypt": string(byBcrypt),
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, noVerification)
			s.member("ada")
			s.setHash("ada", hash)
			b := s.browser().problems()
			login := func(pass string) *answer { return b.post("/accounts/login", data{"login": "ada", "password": pass}) }
			requireError(t, login("schl\u00fcssel f\u00fcr Z\u00fcrich"), http.StatusBadRequest, "login_invalid")
			require.Equal(t, http.StatusOK, login(inNFD).StatusCode)
			require.Equal(t, http.StatusOK, login(inNFC).StatusCode, "the hash has been renewed")
		})
	}
}

// setHash is what an import or an older version has left.
func (s *site) setHash(name, hash string) {
	s.t.Helper()
	require.NoError(s.t, s.accounts.Update(s.t.Context(), func(tx *account.Txn) error {
		u, err := tx.User(uuidOf(s.t, s, name))
		if err != nil {
			return err
		}
		u.PasswordHash = hash
		return s.accounts.PutUser(tx, u)
	}))
}

func TestHalfACharacterIsRefused(t *testing.T) {
	s := newSite(t, noVerification, func(s *Settings) { s.Login.Token = on() })
	s.member("ada")
	b := s.browser().problems()
	b.header.Set("Content-Type", "application/json")
	for _, half := range map[string]string{
		"high": `\ud800`, "low": `\uDC00`, "high, high, low": `\uD83D\ud83d\ude00`, "low, high": `\ude00\ud83d`,
		"high, letter": `\ud83dx`, "high, other escape": `\ud83d\n`, "high, escaped backslash": `\ud83d\\ude00`, "high at the end of three": `\\\ud800`,
	} {
		for _, body := range map[string]string{
			"sign-up":   `{"username":"eve","email":"eve@example.org","password":"long enough ` + half + `","password_confirm":"long enough ` + half + `"}`,
			"name":      `{"username":"eve","email":"eve@example.org","first_name":"` + half + `","password":"long enough !","password_confirm":"long enough !"}`,
			"member":    `{"` + half + `":1,"username":"eve","email":"eve@example.org","password":"long enough !","password_confirm":"long enough !"}`,
			"in a list": `{"x":["` + half + `"],"username":"eve","email":"eve@example.org","password":"long enough !","password_confirm":"long enough !"}`,
		} {
			requireError(t, b.post("/accounts/register", body), http.StatusBadRequest, "malformed")
		}
		requireError(t, b.post("/accounts/login", `{"login":"ada","password":"`+half+`"}`), http.StatusBadRequest, "malformed")
	}
	for _, whole := range map[string]string{
		"a pair": `\ud83d\ude00`, "two pairs": `\uD83D\uDE00\uD83D\uDE00`, "an escaped backslash": `\\ud800`, "the replacement character itself": `\ufffd`,
	} {
		res := b.post("/accounts/login", `{"login":"ada","password":"`+whole+`"}`)
		requireError(t, res, http.StatusBadRequest, "login_invalid")
	}
	b.header.Set("Content-Type", "application/x-www-form-urlencoded")
	requireError(t, b.post("/accounts/login", "login=ada&password=%ED%A0%80"), http.StatusBadRequest, "malformed")
	requireError(t, b.post("/accounts/login", "login=ada&password=%FF"), http.StatusBadRequest, "malformed")
}

// Where tokens are off, revoke_token is a member that means nothing.
func TestRevokeTokenWithoutTokens(t *testing.T) {
	s := newSite(t, noVerification)
	s.member("ada")
	for _, word := range []any{true, "maybe", []string{}, nil} {
		b := s.signedIn("ada")
		res := b.post("/accounts/logout", data{"revoke_token": word})
		require.Equal(t, http.StatusOK, res.StatusCode, res.body)
		require.Equal(t, http.StatusUnauthorized, b.get("/accounts/profile").StatusCode)
	}
	require.NotContains(t, s.browser().get("/accounts/openapi.json").body, "revoke_token")
}

func TestSwitchesThatNobodyUnderstands(t *testing.T) {
	s := newSite(t, noVerification, func(s *Settings) { s.Login.Token = on() })
	s.member("ada")
	words := map[string]bool{
		`true`: true, `"true"`: true, `"TRUE"`: true, `1`: true, `"1"`: true, `"t"`: true, `"Y"`: true, `"yes"`: true, `" On "`: true,
		`false`: false, `"False"`: false, `0`: false, `"0"`: false, `"f"`: false, `"N"`: false, `"no"`: false, `"off"`: false,
	}
	wrong := map[string]string{
		`"maybe"`: "invalid", `2`: "invalid", `"truely"`: "invalid", `"ja"`: "invalid", `[]`: "invalid", `{"a":true}`: "invalid", `null`: "null", `""`: "blank", `" "`: "blank",
	}
	for word, code := range wrong {
		b := s.signedIn("ada").problems()
		b.header.Set("Content-Type", "application/json")
		require.Equal(t, code, fieldCodes(t, b.post("/accounts/logout", `{"revoke_token":`+word+`}`), "revoke_token"), word)
		require.Equal(t, code, fieldCodes(t, b.post("/accounts/revoke-session", `{"others":`+word+`}`), "others"), word)
		require.Equal(t, http.StatusOK, b.get("/accounts/profile").StatusCode, "nothing has happened")
	}
	for word, on := range words {
		s.signedIn("ada") // has made a token
		b := s.signedIn("ada").problems()
		b.header.Set("Content-Type", "application/json")
		require.Equal(t, http.StatusOK, b.post("/accounts/logout", `{"revoke_token":`+word+`}`).StatusCode, word)
		require.Equal(t, http.StatusUnauthorized, b.get("/accounts/profile").StatusCode)
		// The sign-in that asks has one of its own.
		tokens := strings.Count(s.signedIn("ada").get("/accounts/sessions").body, `"token"`)
		require.Equal(t, on, tokens == 1, "%s: %d tokens", word, tokens)
	}
	b := s.signedIn("ada").problems()
	require.Equal(t, "invalid", fieldCodes(t, b.post("/accounts/logout", url.Values{"revoke_token": {"vielleicht"}}), "revoke_token"), "a form")
	require.Equal(t, http.StatusOK, b.get("/accounts/profile").StatusCode)
}
