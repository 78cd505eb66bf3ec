// approval_test.go: an owner lets people in, refuses and invites them, by the command
// line and the mails that follow, and hears of those who come.

package accounts_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// commands runs one that has to succeed.
func commands(t *testing.T, s *served.Server, args ...string) string {
	t.Helper()
	out, errs, err := owner(s, args...)
	require.NoError(t, err, errs)
	return out
}

func TestOwnerApprovesAndRefuses(t *testing.T) {
	t.Parallel()
	s := served.Run(t, with("register {\nmode approve\nreason optional\nnotify owner@example.com\n}"))
	for _, name := range []string{"ada", "bob", "eve"} {
		body := served.Newcomer(name)
		body["reason"] = "I am " + name
		s.Client().Post(201, "register", body)
		require.Equal(t, "200", s.Client().Code("POST", "/accounts/verify-registration", s.Mail(name+"@example.org", 1).Link(t)))
		require.Equal(t, "approval_pending", s.Client().Code("POST", "/accounts/login", data{"login": name, "password": served.TestPassword}))
	}
	require.Contains(t, s.Mail("owner@example.com", 1).Text, "- ada")
	waiting := commands(t, s, "list", "--state", "waiting")
	require.Equal(t, 3, strings.Count(waiting, "\n"))
	require.Regexp(t, `(?m)^ada\tada@example\.org\t[^\t]*\t[^\t]+\tI am ada$`, waiting)
	require.Contains(t, commands(t, s, "show", "ada"), "reason\tI am ada\n")

	require.Equal(t, "ada has been approved.\n", commands(t, s, "approve", "-y", "ada"))
	require.Contains(t, s.Mail("ada@example.org", 2).Text, "/accounts/login/")
	s.Client().Post(200, "login", data{"login": "ada", "password": served.TestPassword})

	out, errs, err := owner(s, "refuse", "-y", "--message", "We are full.\nAsk in spring.", "bob", "ada", "eve")
	require.Error(t, err)
	require.Equal(t, "bob has been refused.\neve has been refused.\n", out)
	require.Contains(t, errs, "ada: not_waiting: ")
	require.Contains(t, s.Mail("bob@example.org", 2).Text, "Ask in spring.")
	require.NotEmpty(t, s.Mail("eve@example.org", 2).Text)
	require.Empty(t, commands(t, s, "list", "--state", "waiting"))
	require.Equal(t, "login_invalid", s.Client().Code("POST", "/accounts/login", data{"login": "bob", "password": served.TestPassword}))
	_, errs, err = owner(s, "approve", "ada")
	require.Error(t, err)
	require.Contains(t, errs, "in a script, write -y")
}

func TestOwnerInvites(t *testing.T) {
	t.Parallel()
	s := served.Run(t, with("register {\nmode closed\n}"))
	require.Equal(t, "not_found", s.Client().Code("POST", "/accounts/register", served.Newcomer("ada")))
	var made struct{ ID, Link string }
	require.NoError(t, json.Unmarshal([]byte(commands(t, s, "invite", "ada@example.org", "--mail", "--group", "choir", "--note", "the tall one", "--json")), &made))
	require.Contains(t, s.Mail("ada@example.org", 1).Text, made.Link)
	page, err := url.Parse(made.Link)
	require.NoError(t, err)
	res := asBrowser(s).Do("GET", page.RequestURI(), nil)
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Contains(t, res.Text, `value="ada@example.org"`)
	require.Contains(t, commands(t, s, "invitations"), made.ID+"\tada@example.org\tchoir\t0 of 1\t")
	body := served.Newcomer("ada")
	body["invitation"] = page.Query().Get("invitation")
	s.Client().Post(201, "register", body)
	s.Client().Post(200, "login", data{"login": "ada", "password": served.TestPassword})
	require.Equal(t, http.StatusNotFound, asBrowser(s).Do("GET", page.RequestURI(), nil).StatusCode, "used up")
	require.Contains(t, commands(t, s, "show", "ada"), "groups\tchoir\n")

	link := commands(t, s, "invite", "--uses", "30", "--expires", "14d")
	require.Contains(t, link, "Whoever opens this link can sign up, until ")
	require.NoError(t, json.Unmarshal([]byte(strings.Split(commands(t, s, "invitations", "--json"), "\n")[1]), &made))
	require.Equal(t, "The invitation "+made.ID+" has ended.\n", commands(t, s, "revoke-invitation", made.ID))
	_, errs, err := owner(s, "revoke-invitation", made.ID)
	require.Error(t, err)
	require.Contains(t, errs, "there is no such invitation")
	_, errs, err = owner(s, "invite", "ada@example.org")
	require.Error(t, err)
	require.Contains(t, errs, "email_already_registered")
	for line := range strings.SplitSeq(s.Log.Since(0), "\n") {
		require.NotContains(t, line, "invitation=")
	}
}
