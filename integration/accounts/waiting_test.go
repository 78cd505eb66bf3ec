// waiting_test.go: an account that waits for its confirmation: several for one
// address, an administrator's word on one, and the end of those that nobody confirms.

package accounts_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

func TestAccountsThatWait(t *testing.T) {
	t.Parallel()
	s := served.Run(t, served.PlainSite)
	c := s.Client()
	named := func(name, email string) data {
		body := served.Newcomer(name)
		body["email"] = email
		return body
	}
	const address = "ada@example.org"
	links, names := map[string]data{}, map[string]string{}
	for i, name := range []string{"thief", "ada", "slow"} {
		id, _ := c.Post(http.StatusCreated, "register", named(name, address)).JSON(t)["id"].(string)
		names[id] = name
		s.Mail(address, i+1)
	}
	for _, m := range s.Mails(address) {
		link := m.Link(t)
		links[names[link["user_id"].(string)]] = link
	}
	require.Len(t, links, 3, "each has a mail of his own")
	require.Equal(t, "not_verified", c.Code("POST", served.LoginPath, data{"login": "thief", "password": served.TestPassword}))
	require.Equal(t, "login_invalid", c.Code("POST", served.LoginPath, data{"login": address, "password": served.TestPassword}))
	require.Equal(t, "200", c.Code("POST", "/accounts/verify-registration", links["ada"]))
	for _, late := range []string{"thief", "slow"} {
		require.Equal(t, "signature_invalid", c.Code("POST", "/accounts/verify-registration", links[late]))
	}
	require.Equal(t, "200", s.Client().Code("POST", served.LoginPath, data{"login": address, "password": served.TestPassword}))
	enabled := s.AdminRequest("PATCH", "/registration/default/users/thief", "application/json", `{"is_active": true}`)
	require.Equal(t, http.StatusBadRequest, enabled.StatusCode)
	require.Contains(t, enabled.Text, "email_already_registered")
	require.Equal(t, http.StatusOK, s.AdminRequest("PATCH", "/registration/default/users/slow", "application/json", `{"is_active": false}`).StatusCode)
	require.Equal(t, "disabled", c.Code("POST", served.LoginPath, data{"login": "slow", "password": served.TestPassword}))

	// The way back in by the address alone confirms the newest, without its old password.
	c.Post(http.StatusCreated, "register", served.Newcomer("bob"))
	s.Mail("bob@example.org", 1)
	c.Post(http.StatusOK, "send-reset-password-link", data{"login": "bob@example.org"})
	reset := s.MailWithLink("bob@example.org", "/reset-password/").Link(t)
	reset["password"] = "an even longer passphrase"
	c.Post(http.StatusOK, "reset-password", reset)
	require.Equal(t, "login_invalid", c.Code("POST", served.LoginPath, data{"login": "bob", "password": served.TestPassword}))
	require.Equal(t, "200", s.Client().Code("POST", served.LoginPath, data{"login": "bob@example.org", "password": reset["password"]}))

	// A reload with a short lifetime removes who waits, and nobody else.
	res := s.Load(strings.Replace(served.PlainSite, "registration {", "registration {\n\t\tregister {\n\t\t\tunconfirmed_lifetime 2s\n\t\t}", 1))
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	require.Eventually(t, func() bool {
		return s.AdminRequest("GET", "/registration/default/users/thief", "", "").StatusCode == http.StatusNotFound
	}, served.Patience, 100*time.Millisecond)
	for _, name := range []string{"ada", "bob", "slow"} {
		require.Equal(t, http.StatusOK, s.AdminRequest("GET", "/registration/default/users/"+name, "", "").StatusCode, name)
	}
	c.Post(http.StatusCreated, "register", named("THIEF", "thief@example.org"))
}
