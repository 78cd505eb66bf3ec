// hardening_names_test.go: names that a file system, a shell, a program or a reader
// would take for something else.

package registration

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
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
