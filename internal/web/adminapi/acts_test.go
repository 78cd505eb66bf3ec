// acts_test.go: what an owner sends is held to what people send.

package adminapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
)

func TestOwnersBodies(t *testing.T) {
	s := sitetest.New(t)
	s.Member("ada")
	server := ownerOf(s, nil)
	half := `a long enough \ud800 one`
	for name, c := range map[string]struct {
		path, body string
		status     int
		says       string
	}{
		"half a character, password": {"default/users/ada/set-password", `{"password": "` + half + `"}`, http.StatusBadRequest, "half a character"},
		"half a character, new":      {"default/users", `{"username": "bob", "password": "` + half + `"}`, http.StatusBadRequest, "half a character"},
		"half a character, note":     {"default/invitations", `{"note": "` + half + `"}`, http.StatusBadRequest, "half a character"},
		"not UTF-8":                  {"default/users/ada/set-password", "{\"password\": \"a long enough \xff one\"}", http.StatusBadRequest, "not UTF-8"},
		"too long a password":        {"default/users/ada/set-password", `{"password": "` + strings.Repeat("xy9.", 1025) + `"}`, http.StatusBadRequest, "password: Use 4,096 characters or fewer. (max_length)"},
		"a taken name":               {"default/users", `{"username": "ADA"}`, http.StatusBadRequest, "username: Choose another. This one is already taken. (unique)"},
		"all that is wrong":          {"default/users", `{"username": "a b", "email": "nowhere", "password": "x"}`, http.StatusBadRequest, "(invalid); password: Use 8 characters or more. (password_too_short)"},
		"a wrong address":            {"default/users/ada/set-email", `{"email": "ada"}`, http.StatusBadRequest, "email: "},
		"a wrong group":              {"default/users/ada/groups", `{"add": ["a,b"]}`, http.StatusBadRequest, "(invalid); the name of a group is"},
		"nobody":                     {"default/users/eve/set-email", `{"email": "a@example.com"}`, http.StatusNotFound, "there is no account eve (user_not_found)"},
		"unknown member":             {"default/users/ada/set-password", `{"passwort": "a long enough one"}`, http.StatusBadRequest, "an object like"},
		"two objects":                {"default/users/ada/set-password", `{"password": "a long enough one"} {}`, http.StatusBadRequest, "something follows"},
		"too large":                  {"default/users/ada/set-password", `{"password": "` + strings.Repeat("x", 70<<10) + `"}`, http.StatusRequestEntityTooLarge, "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			rec, err := askOwner(t, server, http.MethodPost, c.path, c.body)
			require.NotNil(t, err, rec.Body.String())
			require.Equal(t, c.status, err.Status)
			require.Contains(t, err.Error(), c.says)
			require.NotContains(t, err.Error(), "a long enough \xff")
		})
	}
	require.Equal(t, 200, s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": sitetest.Password}).StatusCode, "nothing has happened")
	rec, err := askOwner(t, server, http.MethodPost, "default/users/ada/set-password", `{"password": "a long enough \ud83d\ude00 one"}`)
	require.Nil(t, err, rec.Body.String())
	require.Equal(t, 200, s.Browser().Post("/accounts/login", sitetest.Data{"login": "ada", "password": "a long enough 😀 one"}).StatusCode)
}
