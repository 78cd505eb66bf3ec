package command

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pages answers with so many accounts, page by page.
func pages(m *madeUp, accounts int) {
	m.answer = func(req *http.Request) (int, string) {
		limit, _ := strconv.Atoi(req.URL.Query().Get("limit"))
		after, _ := strconv.Atoi(req.URL.Query().Get("after"))
		var body strings.Builder
		for i := after + 1; i <= min(after+limit, accounts); i++ {
			fmt.Fprintf(&body, `{"id":"%d","username":"u%d","email":"","groups":["a","b"],"is_active":true,"date_joined":"2026-11-26T23:31:28Z","last_login":null}`+"\n", i, i)
		}
		m.header = http.Header{}
		if after+limit < accounts {
			m.header.Set("Next-After", strconv.Itoa(after+limit))
		}
		return http.StatusOK, body.String()
	}
}

func TestListGoesFromPageToPage(t *testing.T) {
	for name, accounts := range map[string]int{"none": 0, "one": 1, "a page": pageOf, "more": 2*pageOf + 7} {
		t.Run(name, func(t *testing.T) {
			m := &madeUp{}
			pages(m, accounts)
			out, _, err := m.run(t, "", "list")
			require.NoError(t, err)
			require.Equal(t, accounts, strings.Count(out, "\n"))
			if accounts > 0 {
				require.True(t, strings.HasPrefix(out, "u1\t\tactive\ta b\t2026-11-26T23:31:28Z\t\n"), out)
				require.Contains(t, out, fmt.Sprintf("u%d\t", accounts))
			}
			m.asked = nil
			out, _, err = m.run(t, "", "list", "--json", "--state", "active", "--search", "U ä", "--hash-format", "none", "--group", "a")
			require.NoError(t, err)
			require.Equal(t, accounts, strings.Count(out, "\n"))
			require.Len(t, m.asked, max(1, (accounts+pageOf-1)/pageOf))
			require.Equal(t, "GET default/users?group=a&hash_format=none&limit=1000&search=U+%C3%A4&state=active", m.asked[0])
			if len(m.asked) > 1 {
				require.Equal(t, "GET default/users?after=1000&group=a&hash_format=none&limit=1000&search=U+%C3%A4&state=active", m.asked[1])
			}
		})
	}
}

// A list that breaks off doesn't look like a whole one.
func TestListThatBreaksOff(t *testing.T) {
	m := &madeUp{}
	pages(m, 3*pageOf)
	whole := m.answer
	m.answer = func(req *http.Request) (int, string) {
		if req.URL.Query().Get("after") != "" {
			return 0, "the server has gone"
		}
		return whole(req)
	}
	for _, args := range [][]string{{"list"}, {"list", "--json"}} {
		out, errs, err := m.run(t, "", args...)
		require.ErrorContains(t, err, "the server has gone")
		require.Equal(t, pageOf, strings.Count(out, "\n"))
		require.Contains(t, errs, "Error: ")
	}
	m = &madeUp{answer: func(*http.Request) (int, string) { return http.StatusOK, "{}\nnonsense\n" }}
	_, _, err := m.run(t, "", "list")
	require.ErrorContains(t, err, "can't be read")
}

// TestMain has all tests in a zone of an hour ahead. Before any of them begins: what another
// has started may read the clock still.
func TestMain(m *testing.M) {
	time.Local = time.FixedZone("", 3600)
	os.Exit(m.Run())
}

func TestAccountsOnATerminal(t *testing.T) {
	var out bytes.Buffer
	table := tableTo(&out, true, "USERNAME", "E-MAIL", "STATE", "GROUPS", "JOINED", "LAST SIGN-IN")
	require.NoError(t, table.accounts([]byte(`{"username":"ada","email":"ada@example.com","groups":["admins"],"is_active":true,"date_joined":"2026-11-26T23:31:28Z","last_login":"2026-11-27T08:00:00Z"}
{"username":"eve","is_active":false,"awaits_verification":true,"date_joined":"2026-11-26T23:31:28Z"}
{"username":"bob","is_active":false,"awaits_approval":true}
{"username":"tom","is_active":false}
`), false))
	require.Equal(t, `USERNAME  E-MAIL           STATE        GROUPS  JOINED            LAST SIGN-IN
ada       ada@example.com  active       admins  2026-11-27 00:31  2026-11-27 09:00
eve                        unconfirmed          2026-11-27 00:31
bob                        waiting
tom                        disabled
`, out.String())
}

// an account with all that there can be, its sign-ins and the acts.
func shownAccount(req *http.Request) (int, string) {
	switch {
	case strings.HasSuffix(req.URL.Path, "/sessions"):
		return http.StatusOK, `{"id":"s","kind":"session","created":"2026-11-26T23:31:28Z","last_used":"2026-11-26T23:31:28Z","expires":"2026-12-26T23:31:28Z","address":"::1","user_agent":"Firefox"}` + "\n"
	case strings.HasSuffix(req.URL.Path, "/audit"):
		return http.StatusOK, `{"seq":1,"at":"2026-11-26T23:31:28Z","event":"signed_up","account":"7","username":"ada","actor":"7","address":"::1","agent":"Firefox","details":{}}` + "\n" +
			`{"seq":2,"at":"2026-11-26T23:31:28Z","event":"groups_changed","account":"7","username":"ada","actor":"admin","address":"","agent":"","details":{"b":"2","a":"1"}}` + "\n"
	}
	return http.StatusOK, `{"id":"7","username":"ada","email":"ada@example.com","first_name":"","is_active":true,"is_staff":false,"groups":["a","b"],"date_joined":"2026-11-26T23:31:28Z","last_login":null,"seat":12,"height":1.50,"linked_accounts":[{"id":"l","provider":"google","issuer":"https://accounts.google.com","name":"ada@gmail.example","created":"2026-11-26T23:31:28Z","last_used":"2026-11-26T23:31:28Z"},{"id":"m","provider":null,"issuer":"https://gone.example","name":"","created":"2026-11-26T23:31:28Z","last_used":"2026-11-26T23:31:28Z"}],"email_verified":true,"awaits_verification":false,"awaits_approval":false,"email_unreachable":{"since":"2026-11-26T23:31:28Z"},"terms":{"version":"3","accepted":"2026-11-26T23:31:28Z"}}`
}

func TestShow(t *testing.T) {
	m := &madeUp{answer: shownAccount}
	out, _, err := m.run(t, "", "show", "ada")
	require.NoError(t, err)
	require.Equal(t, strings.Join([]string{
		"state\tactive", "id\t7", "username\tada", "email\tada@example.com", "is_staff\tno", "groups\ta b", "date_joined\t2026-11-26T23:31:28Z",
		"seat\t12", "height\t1.50", "email_verified\tyes", "email_unreachable\tsince 2026-11-26T23:31:28Z", "terms\t3, accepted 2026-11-26T23:31:28Z",
		"linked\tgoogle\tada@gmail.example\t2026-11-26T23:31:28Z\t2026-11-26T23:31:28Z\tl", "linked\thttps://gone.example\t\t2026-11-26T23:31:28Z\t2026-11-26T23:31:28Z\tm",
		"session\tsession\t2026-11-26T23:31:28Z\t2026-11-26T23:31:28Z\t2026-12-26T23:31:28Z\t::1\tFirefox",
		"act\t2026-11-26T23:31:28Z\tsigned_up\t\t::1\t", "act\t2026-11-26T23:31:28Z\tgroups_changed\tadmin\t\ta=1 b=2", "",
	}, "\n"), out)
	require.Equal(t, []string{"GET default/users/ada", "GET default/users/7/sessions", "GET default/audit?account=7&limit=10"}, m.asked)

	out, _, err = m.run(t, "", "show", "ada", "--json")
	require.NoError(t, err)
	_, account := shownAccount(httptest.NewRequest(http.MethodGet, "/", nil))
	require.Equal(t, account+"\n", out)
}

// What fails on the way is not left out.
func TestShowThatFails(t *testing.T) {
	for _, part := range []string{"/sessions", "/audit", "users/ada"} {
		for name, body := range map[string]string{"no answer": "", "no JSON": "nonsense"} {
			m := &madeUp{answer: func(req *http.Request) (int, string) {
				switch {
				case !strings.HasSuffix(req.URL.Path, part):
					return shownAccount(req)
				case body == "":
					return 0, "it has gone"
				}
				return http.StatusOK, body
			}}
			_, _, err := m.run(t, "", "show", "ada")
			require.Error(t, err, part+" "+name)
		}
	}
}
