// hardening_links_test.go: attacks by what an account has handed out: links,
// pending changes and cookies that should have ended.

package registration

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const newTestPassword = "an even longer passphrase"

// changePassword is what the owner does who suspects something.
func (b *browser) changePassword() {
	b.site.t.Helper()
	res := b.post("/accounts/change-password", data{"old_password": testPassword, "password": newTestPassword, "password_confirm": newTestPassword})
	require.Equal(b.site.t, 200, res.StatusCode, res.body)
}

// resetPassword sets a new password by a mail to the account's address.
func (s *site) resetPassword(login, password string) *browser {
	s.t.Helper()
	b := s.browser()
	require.Equal(s.t, 200, b.post("/accounts/send-reset-password-link", data{"login": login}).StatusCode)
	res := b.post("/accounts/reset-password", with(s.mail().link(s.t), data{"password": password}))
	require.Equal(s.t, 200, res.StatusCode, res.body)
	return b
}

// A stranger signs up with somebody's address where nobody confirms one. Its
// owner resets the password by mail, and nothing of the stranger's is left.
func TestAddressOwnerVoidsAStrangersAccount(t *testing.T) {
	for name, tc := range map[string]struct {
		// first is the address that the stranger signs up with; he changes it to
		// the victim's where it is another.
		first string
		// takeBack: the victim gets the account by the mail to the address that the
		// stranger left, and not by a reset.
		takeBack bool
	}{
		"signed up with it":         {first: "victim@example.org"},
		"changed to it":             {first: "stranger@example.net"},
		"left it, and it went back": {first: "victim@example.org", takeBack: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(s *Settings) {
				s.Register.Verification, s.RegisterEmail.Verification, s.Login.Token = off(), off(), on()
			})
			require.Equal(t, 201, s.browser().post("/accounts/register", with(newcomer("stranger"), data{"email": tc.first})).StatusCode)
			stranger := s.browser()
			res := stranger.post("/accounts/login", data{"login": "stranger", "password": testPassword})
			token := "Token " + res.json(t)["token"].(string)
			move := func(to string) data {
				require.Equal(t, 200, stranger.post("/accounts/register-email", data{"email": to}).StatusCode)
				return s.mail().link(t)
			}
			var undo data
			if tc.first != "victim@example.org" {
				undo = move("victim@example.org")
			}
			if tc.takeBack {
				require.Equal(t, 200, s.browser().post("/accounts/undo-email", move("stranger@example.net")).StatusCode)
				fresh := s.mail()
				require.Equal(t, "victim@example.org", fresh.To)
				require.Equal(t, 200, s.browser().post("/accounts/reset-password", with(fresh.link(t), data{"password": newTestPassword})).StatusCode)
			} else {
				s.resetPassword("stranger", newTestPassword)
			}
			require.Equal(t, 401, stranger.get("/accounts/profile").StatusCode)
			withToken := s.browser()
			withToken.header.Set("Authorization", token)
			require.Equal(t, 401, withToken.get("/accounts/profile").StatusCode)
			require.Equal(t, 400, s.browser().post("/accounts/login", data{"login": "stranger", "password": testPassword}).StatusCode)
			if undo != nil {
				requireError(t, s.browser().problems().post("/accounts/undo-email", undo), 400, "signature_invalid")
			}
			u, err := s.accounts.Lookup(t.Context(), "victim@example.org")
			require.NoError(t, err)
			require.True(t, u.EmailVerified)
			require.Empty(t, u.Former)
			require.Equal(t, 200, s.browser().post("/accounts/login", data{"login": "stranger", "password": newTestPassword}).StatusCode)
		})
	}
}

// The other way round: a thief moves a confirmed account to his own address,
// where no change is confirmed, and resets the password by it.
func TestResetOfAThiefLeavesTheWayBack(t *testing.T) {
	s := newSite(t, func(s *Settings) { s.RegisterEmail.Verification = off() })
	s.member("ada")
	thief := s.signedIn("ada")
	require.Equal(t, 200, thief.post("/accounts/register-email", data{"email": "thief@example.net"}).StatusCode)
	undo := s.mail().link(t)
	s.resetPassword("ada", newTestPassword)
	require.Equal(t, 200, s.browser().post("/accounts/undo-email", undo).StatusCode)
	require.Equal(t, "ada", uuidOwner(t, s, "ada@example.org"))
}
