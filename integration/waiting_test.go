// waiting_test.go: an account that waits for its confirmation: several for one
// address, an administrator's word on one, and the end of those that nobody confirms.

package integration

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAccountsThatWait(t *testing.T) {
	t.Parallel()
	s := run(t, plainSite)
	c := s.client()
	named := func(name, email string) data {
		body := newcomer(name)
		body["email"] = email
		return body
	}
	const address = "ada@example.org"
	links, names := map[string]data{}, map[string]string{}
	for i, name := range []string{"thief", "ada", "slow"} {
		id, _ := c.post(http.StatusCreated, "register", named(name, address)).json(t)["id"].(string)
		names[id] = name
		s.mail(address, i+1)
	}
	for _, m := range s.mails(address) {
		link := m.link(t)
		links[names[link["user_id"].(string)]] = link
	}
	require.Len(t, links, 3, "each has a mail of his own")
	require.Equal(t, "not_verified", c.code("POST", loginPath, data{"login": "thief", "password": testPassword}))
	require.Equal(t, "login_invalid", c.code("POST", loginPath, data{"login": address, "password": testPassword}))
	require.Equal(t, "200", c.code("POST", "/accounts/verify-registration", links["ada"]))
	for _, late := range []string{"thief", "slow"} {
		require.Equal(t, "signature_invalid", c.code("POST", "/accounts/verify-registration", links[late]))
	}
	require.Equal(t, "200", s.client().code("POST", loginPath, data{"login": address, "password": testPassword}))
	enabled := s.adminRequest("PATCH", "/registration/default/users/thief", "application/json", `{"is_active": true}`)
	require.Equal(t, http.StatusBadRequest, enabled.StatusCode)
	require.Contains(t, enabled.body, "email_already_registered")
	require.Equal(t, http.StatusOK, s.adminRequest("PATCH", "/registration/default/users/slow", "application/json", `{"is_active": false}`).StatusCode)
	require.Equal(t, "disabled", c.code("POST", loginPath, data{"login": "slow", "password": testPassword}))

	// The way back in by the address alone confirms the newest, without its old password.
	c.post(http.StatusCreated, "register", newcomer("bob"))
	first := s.mail("bob@example.org", 1)
	c.post(http.StatusOK, "send-reset-password-link", data{"login": "bob@example.org"})
	reset := s.mail("bob@example.org", 2).link(t)
	if reset["signature"] == first.link(t)["signature"] { // of one second
		reset = s.mails("bob@example.org")[0].link(t)
	}
	reset["password"] = "an even longer passphrase"
	c.post(http.StatusOK, "reset-password", reset)
	require.Equal(t, "login_invalid", c.code("POST", loginPath, data{"login": "bob", "password": testPassword}))
	require.Equal(t, "200", s.client().code("POST", loginPath, data{"login": "bob@example.org", "password": reset["password"]}))

	// A reload with a short lifetime removes who waits, and nobody else.
	res := s.load(strings.Replace(plainSite, "registration {", "registration {\n\t\tregister {\n\t\t\tunconfirmed_lifetime 2s\n\t\t}", 1))
	require.Equal(t, http.StatusOK, res.StatusCode, res.body)
	require.Eventually(t, func() bool {
		return s.adminRequest("GET", "/registration/default/users/thief", "", "").StatusCode == http.StatusNotFound
	}, patience, 100*time.Millisecond)
	for _, name := range []string{"ada", "bob", "slow"} {
		require.Equal(t, http.StatusOK, s.adminRequest("GET", "/registration/default/users/"+name, "", "").StatusCode, name)
	}
	c.post(http.StatusCreated, "register", named("THIEF", "thief@example.org"))
}
