// signup_test.go: the subcommands that say who may sign up, at a server that is made up.

package command

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestApprovesAndRefuses(t *testing.T) {
	m := &madeUp{answer: func(req *http.Request) (int, string) {
		switch {
		case strings.Contains(req.URL.Path, "nobody"):
			return http.StatusConflict, `{"error": "not_waiting: it is active already"}`
		case strings.Contains(req.URL.Path, "grace"):
			return http.StatusOK, `{"username": "grace", "mailed": false}`
		}
		return http.StatusOK, `{"username": "ada", "mailed": true}`
	}}
	out, errs, err := m.run(t, "", "approve", "-y", "ada", "nobody", "grace")
	require.EqualError(t, err, "1 of 3 not done")
	require.Equal(t, "ada has been approved.\ngrace has been approved. No mail says so, for want of an address or of a mailer: tell them yourself.\n", out)
	require.Contains(t, errs, "nobody: not_waiting: it is active already\n")
	require.Equal(t, []string{"POST default/users/ada/approve", "POST default/users/nobody/approve", "POST default/users/grace/approve"}, m.asked)

	m.asked = nil
	out, _, err = m.run(t, "", "refuse", "ada", "grace", "--yes", "--json", "--message", "We are full.")
	require.NoError(t, err)
	require.Equal(t, `{"username":"ada","mailed":true}`+"\n"+`{"username":"grace","mailed":false}`+"\n", out)
	require.Equal(t, []string{`POST default/users/ada/refuse {"message":"We are full."}`, `POST default/users/grace/refuse {"message":"We are full."}`}, m.asked)

	for _, verb := range []string{"approve", "refuse"} {
		m = &madeUp{}
		_, _, err = m.run(t, "y\n", verb, "ada")
		require.EqualError(t, err, "this asks on a terminal; in a script, write -y")
		require.Empty(t, m.asked)
	}
}

func TestInvites(t *testing.T) {
	const answer = `{"id": "0199", "email": "ada@example.com", "groups": [], "uses": 1, "used": 0, "expires": "2026-12-03T12:00:00Z", "note": "", "link": "https://example.com/?invitation=x", "mailed": true}` + "\n"
	for line, want := range map[string][2]string{
		"invite ada@example.com --mail": {
			`POST default/invitations {"email":"ada@example.com","uses":1,"expires":"7d","mail":true}`,
			"ada@example.com can sign up by this link, until 2026-12-03T12:00:00Z; a mail with it is on its way:\nhttps://example.com/?invitation=x\n",
		},
		"invite ada@example.com --json": {`POST default/invitations {"email":"ada@example.com","uses":1,"expires":"7d"}`, strings.ReplaceAll(strings.ReplaceAll(answer, ": ", ":"), ", ", ",")},
		"invite ada@example.com --group a --group b --uses 1 --expires 12h --note tall": {
			`POST default/invitations {"email":"ada@example.com","groups":["a","b"],"uses":1,"expires":"12h","note":"tall"}`,
			"ada@example.com can sign up by this link, until 2026-12-03T12:00:00Z:\nhttps://example.com/?invitation=x\n",
		},
	} {
		m := &madeUp{answer: func(*http.Request) (int, string) { return http.StatusOK, answer }}
		out, _, err := m.run(t, "", strings.Fields(line)...)
		require.NoError(t, err, line)
		require.Equal(t, want[1], out)
		require.Equal(t, []string{want[0]}, m.asked)
	}
	m := &madeUp{answer: func(*http.Request) (int, string) { return http.StatusOK, `{"expires": "then", "link": "there"}` }}
	out, _, err := m.run(t, "", "invite")
	require.NoError(t, err)
	require.Equal(t, "Whoever opens this link can sign up, until then:\nthere\n", out)
	m.answer = func(*http.Request) (int, string) { return http.StatusOK, "<html>" }
	_, _, err = m.run(t, "", "invite")
	require.ErrorContains(t, err, "the answer can't be read")
	m.answer = func(*http.Request) (int, string) { return http.StatusConflict, `{"error": "write base_url"}` }
	_, _, err = m.run(t, "", "invite")
	require.EqualError(t, err, "write base_url")
	for line, says := range map[string]string{"invite --mail": "--mail needs an address to mail to", "invite --uses 0": "--uses is a number from 1 on", "invite ada@example.com --uses 3": "an invitation with an address is good for one sign-up", "invite --uses x": "invalid argument", "invite a b": "doesn't take 2 arguments"} {
		m := &madeUp{}
		_, _, err := m.run(t, "", strings.Fields(line)...)
		require.ErrorContains(t, err, says)
		require.Empty(t, m.asked)
	}
}

func TestListsAndEndsInvitations(t *testing.T) {
	m := &madeUp{answer: func(req *http.Request) (int, string) {
		switch {
		case req.Method == http.MethodGet:
			return http.StatusOK, `{"id":"1","email":"ada@example.com","groups":["a","b"],"uses":3,"used":1,"expires":"then","note":"tall\u001b"}` + "\n"
		case strings.HasSuffix(req.URL.Path, "/2"):
			return http.StatusNotFound, `{"error": "there is no such invitation"}`
		}
		return http.StatusNoContent, ""
	}}
	out, _, err := m.run(t, "", "invitations")
	require.NoError(t, err)
	require.Equal(t, "1\tada@example.com\ta b\t1 of 3\tthen\ttall\\x1b\n", out)
	m.asked = nil
	out, errs, err := m.run(t, "", "revoke-invitation", "1", "2")
	require.Error(t, err)
	require.Equal(t, "The invitation 1 has ended.\n", out)
	require.Contains(t, errs, "2: there is no such invitation\n")
	require.Equal(t, []string{"DELETE default/invitations/1", "DELETE default/invitations/2"}, m.asked)
}

func TestListsWhoWaits(t *testing.T) {
	m := &madeUp{answer: func(*http.Request) (int, string) {
		return http.StatusOK, `{"username":"ada","email":"ada@example.com","first_name":"Ada","last_name":"Lovelace","awaits_approval":true,"date_joined":"2026-11-26T12:00:00Z","reason":"I sing.\nAlto."}` + "\n"
	}}
	out, _, err := m.run(t, "", "list", "--state", "waiting")
	require.NoError(t, err)
	require.Equal(t, "ada\tada@example.com\tAda Lovelace\t2026-11-26T12:00:00Z\tI sing.\\nAlto.\n", out)
	out, _, err = m.run(t, "", "list")
	require.NoError(t, err)
	require.Equal(t, "ada\tada@example.com\twaiting\t\t2026-11-26T12:00:00Z\t\n", out)
}
