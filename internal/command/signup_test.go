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
	require.EqualError(t, err, "1 of 3 accounts not done")
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
