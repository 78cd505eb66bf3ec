// command_test.go: the subcommands at a server that is made up.

package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// madeUp is a connection whose answers are made up, and what it was asked.
type madeUp struct {
	answer func(*http.Request) (status int, body string)
	header http.Header
	asked  []string
	file   string
}

func (m *madeUp) Do(req *http.Request) (*http.Response, error) {
	line := req.Method + " " + strings.TrimPrefix(req.URL.RequestURI(), "/registration/")
	if req.Body != nil {
		raw, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		line += " " + string(raw)
		req.Body = io.NopCloser(bytes.NewReader(raw))
	}
	m.asked = append(m.asked, line)
	status, body := m.answer(req)
	if status == 0 {
		return nil, errors.Join(errors.New(body), req.Context().Err())
	}
	header := m.header
	m.header = nil
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: header, Body: io.NopCloser(strings.NewReader(body))}, nil
}

func (m *madeUp) File() string { return m.file }
func (*madeUp) Close() error   { return nil }

// answers makes an account of each name that is asked for but nobody.
func answers(req *http.Request) (int, string) {
	parts := strings.Split(strings.TrimPrefix(req.URL.Path, "/registration/default/"), "/")
	name := req.URL.Query().Get("name")
	if name == "" && len(parts) > 1 {
		name = parts[1]
	}
	switch {
	case name == "nobody":
		return http.StatusNotFound, `{"error": "there is no such account"}`
	case req.Method == http.MethodDelete:
		return http.StatusNoContent, ""
	case strings.HasSuffix(req.URL.Path, "/reset-link"):
		if raw, err := io.ReadAll(req.Body); err == nil && strings.Contains(string(raw), "true") {
			return http.StatusOK, `{"mailed_to": "` + name + `@example.com"}`
		}
		return http.StatusOK, `{"link": "https://example.com/?signature=s"}`
	case name == "":
		name = "ada"
	}
	return http.StatusOK, `{"id": "id-of-` + name + `", "username": "` + name + `", "email": "` + name + `@example.com"}`
}

// run runs `caddy registration …` at m.
func (m *madeUp) run(t *testing.T, stdin string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	return m.runIn(t.Context(), stdin, args...)
}

func (m *madeUp) runIn(ctx context.Context, stdin string, args ...string) (stdout, stderr string, err error) {
	if m.answer == nil {
		m.answer = answers
	}
	cmd := treeOf(func(context.Context, *Flags) (Connection, error) { return m, nil }, nil)
	var out, errs bytes.Buffer
	root := cmd.Root()
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetIn(strings.NewReader(stdin))
	root.SetArgs(append([]string{"registration"}, args...))
	err = root.ExecuteContext(ctx)
	return out.String(), errs.String(), err
}

func TestCommandsRefuseWhatTheyDontKnow(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		says string
	}{
		"a command":               {[]string{"creat", "ada"}, `"creat" is no command of 'caddy registration'. Did you mean create? 'caddy registration --help' lists them`},
		"a command like none":     {[]string{"frobnicate"}, `"frobnicate" is no command of 'caddy registration'. 'caddy`},
		"a command below another": {[]string{"group", "ad", "x", "ada"}, `"ad" is no command of 'caddy registration group'. Did you mean add?`},
		"help about nothing":      {[]string{"help", "creat"}, `"creat" is no command; 'caddy registration --help' lists them`},
		"help about too much":     {[]string{"help", "create", "ada"}, `"create ada" is no command`},
		"a flag":                  {[]string{"list", "--serch", "a"}, "unknown flag: --serch; 'caddy registration list --help' lists the flags"},
		"a flag without a value":  {[]string{"list", "--realm"}, "flag needs an argument: --realm; 'caddy registration list --help'"},
		"no account":              {[]string{"show"}, "'caddy registration show' needs <account>; write 'caddy registration show <account>', or 'caddy registration show --help' for more"},
		"one argument of two":     {[]string{"group", "add", "x"}, "'caddy registration group add' needs <account>; write 'caddy registration group add <group> <account>…'"},
		"one argument too many":   {[]string{"list", "a"}, "'caddy registration list' doesn't take 1 argument; write 'caddy registration list'"},
	} {
		t.Run(name, func(t *testing.T) {
			m := &madeUp{}
			out, errs, err := m.run(t, "", tc.args...)
			require.ErrorContains(t, err, tc.says)
			require.Empty(t, out)
			require.Equal(t, "Error: "+err.Error()+"\n", errs, "one line, and no usage")
			require.Empty(t, m.asked)
		})
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{nil, {"help"}, {"--help"}} {
		out, _, err := new(madeUp).run(t, "", args...)
		require.NoError(t, err)
		require.Contains(t, out, "Makes, shows and changes the accounts of a site.")
		require.Contains(t, out, "\nTo look:\n")
		require.Contains(t, out, "\n  caddy registration [command]\n")
	}
	for _, args := range [][]string{{"help", "group"}, {"group"}} {
		out, _, err := new(madeUp).run(t, "", args...)
		require.NoError(t, err)
		require.Contains(t, out, "Takes accounts out of a group")
	}
	out, _, err := new(madeUp).run(t, "", "help", "group", "add")
	require.NoError(t, err)
	require.Contains(t, out, "caddy registration group add <group> <account>…")
}

func TestCompletion(t *testing.T) {
	for line, want := range map[string]string{
		"c": "create\tMakes an account", "help cr": "create\t", "group r": "remove\t", "list --j": "--json\t", "show a": ":4\n", "list --realm ": ":4\n", "restore ": ":0\n", "list --store ": ":0\n",
	} {
		words := strings.Split(line, " ")
		cmd := tree().Root()
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetArgs(append([]string{"__complete", "registration"}, words...))
		require.NoError(t, cmd.Execute(), line)
		require.Contains(t, out.String(), want, line)
	}
}

func TestActsWithSeveralAccounts(t *testing.T) {
	m := &madeUp{file: "/var/lib/r.db"}
	out, errs, err := m.run(t, "", "disable", "-y", "ada", "nobody", "a/b", "..")
	require.EqualError(t, err, "1 of 4 not done")
	require.Equal(t, "ada can't sign in any more.\na/b can't sign in any more.\n.. can't sign in any more.\n", out)
	require.Equal(t, "nobody: there is no such account\nWritten to /var/lib/r.db\nError: 1 of 4 not done\n", errs)
	require.Equal(t, []string{
		"POST default/users/ada/disable", "POST default/users/nobody/disable", "POST default/users/disable?name=a%2Fb", "POST default/users/disable?name=..",
	}, m.asked)

	m = &madeUp{}
	out, errs, err = m.run(t, "", "group", "add", "members", "ada", "nobody", "--json")
	require.Error(t, err)
	require.Equal(t, `{"id":"id-of-ada","username":"ada","email":"ada@example.com"}`+"\n"+`{"account":"nobody","error":"there is no such account"}`+"\n", out)
	require.Equal(t, "Error: 1 of 2 not done\n", errs)
	require.Equal(t, `POST default/users/ada/groups {"add":["members"]}`, m.asked[0])

	out, errs, err = new(madeUp).run(t, "", "group", "remove", "members", "ada", "grace")
	require.NoError(t, err)
	require.Equal(t, "ada is no longer in members.\ngrace is no longer in members.\n", out)
	require.Empty(t, errs)

	_, errs, err = new(madeUp).run(t, "", "enable", "nobody")
	require.EqualError(t, err, "there is no such account")
	require.Equal(t, "Error: there is no such account\n", errs, "said once")

	out, _, err = new(madeUp).run(t, "", "delete", "ada", "--yes", "--json")
	require.NoError(t, err)
	require.Equal(t, `{"username":"ada"}`+"\n", out)
}

func TestAsksOnATerminalAlone(t *testing.T) {
	for _, args := range [][]string{{"delete", "ada"}, {"disable", "ada"}} {
		m := &madeUp{}
		_, _, err := m.run(t, "y\n", args...)
		require.EqualError(t, err, "this asks on a terminal; in a script, write -y")
		require.Empty(t, m.asked)
	}
	require.Equal(t, "a, b", called([]string{"a", "b"}))
	require.Equal(t, "1, 2, 3, 4, 5 and 2 more accounts", called(strings.Fields("1 2 3 4 5 6 7")))
}

// What has begun is done, what has not is named.
func TestInterruptedBetweenAccounts(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m := &madeUp{}
	m.answer = func(req *http.Request) (int, string) {
		cancel()
		if req.Context().Err() != nil {
			return 0, "broken off"
		}
		return answers(req)
	}
	out, _, err := m.runIn(ctx, "", "sign-out", "ada", "grace", "alan")
	require.EqualError(t, err, "interrupted: not done for grace alan; run it again with these")
	require.Equal(t, "ada is signed out everywhere.\n", out)
	require.Len(t, m.asked, 1)

	ctx, cancel = context.WithCancel(t.Context())
	m = &madeUp{}
	m.answer = func(req *http.Request) (int, string) {
		cancel()
		require.NoError(t, req.Context().Err(), "what has begun is not broken off")
		return answers(req)
	}
	_, _, err = m.runIn(ctx, "", "create", "ada")
	require.EqualError(t, err, "ada has been created, but interrupted; 'caddy registration reset-link ada' makes the link")

	ctx, cancel = context.WithCancel(t.Context())
	m = &madeUp{answer: func(*http.Request) (int, string) { cancel(); return 0, "broken off" }}
	_, _, err = m.runIn(ctx, "", "show", "ada")
	require.EqualError(t, err, "interrupted")
}

func TestPasswordsComeFromTheInput(t *testing.T) {
	m := &madeUp{}
	out, _, err := m.run(t, " a pass phrase \r\nmore\n", "set-password", "ada")
	require.NoError(t, err)
	require.Equal(t, `POST default/users/ada/set-password {"password":" a pass phrase "}`, m.asked[0])
	require.Equal(t, "ada has a new password, and is signed out everywhere.\n", out)

	m = &madeUp{}
	out, _, err = m.run(t, "a pass phrase", "create", "ada", "ada@example.com", "--group", "a", "--group", "b", "--password-stdin")
	require.NoError(t, err)
	var body map[string]any
	require.NoError(t, json.Unmarshal([]byte(strings.TrimPrefix(m.asked[0], "POST default/users ")), &body))
	require.Equal(t, map[string]any{"username": "ada", "email": "ada@example.com", "password": "a pass phrase", "groups": []any{"a", "b"}}, body)
	require.Equal(t, "ada has been created.\n", out)
	for _, args := range [][]string{{"set-password", "ada"}, {"create", "ada", "--password-stdin"}} {
		m = &madeUp{}
		_, _, err = m.run(t, "", args...)
		require.EqualError(t, err, "the standard input has no line; write the password into it")
		require.Empty(t, m.asked)
		_, _, err = m.run(t, "p\xe4ssphrase of Latin-1\n", args...) // JSON would make another password of it
		require.EqualError(t, err, "the password is not UTF-8, look at the terminal's encoding; nothing has been changed")
		require.Empty(t, m.asked)
	}
}

func TestSingleActs(t *testing.T) {
	for line, want := range map[string][2]string{
		"create ada":                    {"POST default/users", "ada has been created. Whoever opens this link sets the password, once:\nhttps://example.com/?signature=s\n"},
		"create ada --json":             {"POST default/users", `{"id":"id-of-ada","username":"ada","email":"ada@example.com","link":"https://example.com/?signature=s"}` + "\n"},
		"create ada a@b.example --mail": {"POST default/users", "ada has been created. The link to set a password is on its way to id-of-ada@example.com.\n"},
		"reset-link ada --mail --json":  {`POST default/users/ada/reset-link {"mail":true}`, `{"mailed_to":"ada@example.com"}` + "\n"},
		"reset-link ada":                {"POST default/users/ada/reset-link", "https://example.com/?signature=s\n"},
		"set-email ada a@b.example":     {`POST default/users/ada/set-email {"email":"a@b.example"}`, "ada has the address ada@example.com, and is signed out everywhere.\n"},
		"unlink ada 7":                  {`POST default/users/ada/unlink {"id":"7"}`, "The account elsewhere is unlinked, and ada signed out everywhere.\n"},
		"set-username ada countess":     {`POST default/users/ada/set-username {"username":"countess"}`, "The account is called ada.\n"},
	} {
		m := &madeUp{}
		out, errs, err := m.run(t, "", strings.Fields(line)...)
		require.NoError(t, err, line)
		require.Equal(t, want[1], out, line)
		require.Contains(t, m.asked[0], want[0], line)
		require.Empty(t, errs, line)
	}
	for _, line := range []string{"reset-link nobody", "set-email nobody a@b.example", "set-username nobody x", "set-password nobody", "show nobody", "sessions nobody"} {
		_, _, err := new(madeUp).run(t, "a pass phrase", strings.Fields(line)...)
		require.EqualError(t, err, "there is no such account", line)
	}
}

func TestMailedLinks(t *testing.T) {
	m := &madeUp{}
	_, _, err := m.run(t, "", "create", "ada", "--mail")
	require.ErrorContains(t, err, "--mail needs an address")
	_, _, err = m.run(t, "", "create", "ada", "a@b.example", "--mail", "--password-stdin")
	require.ErrorContains(t, err, "mail password-stdin")
	require.Empty(t, m.asked, "nothing has been done")
	m = &madeUp{file: "/r.db"}
	out, _, err := m.run(t, "", "reset-link", "ada", "--mail")
	require.NoError(t, err)
	require.Equal(t, "The link to set a password goes to ada@example.com once the server runs.\n", out, "there is none that sends it")
	m.answer = func(req *http.Request) (int, string) {
		if strings.HasSuffix(req.URL.Path, "reset-link") {
			return http.StatusConflict, `{"error": "there is no page"}`
		}
		return answers(req)
	}
	_, _, err = m.run(t, "", "create", "ada")
	require.EqualError(t, err, "ada has been created, but there is no page; 'caddy registration reset-link ada' makes the link")
}

// What is no answer of the operations is not taken for one.
func TestAnswersThatAreNone(t *testing.T) {
	for name, tc := range map[string]struct {
		status     int
		body, says string
	}{
		"no plugin":             {http.StatusNotFound, "404 page not found", "has no registration plugin"},
		"something else":        {http.StatusBadGateway, "<html>", `the server answered Bad Gateway: "<html>"`},
		"an act without JSON":   {http.StatusOK, "<html>", "the answer can't be read"},
		"no server":             {0, "connection refused", "connection refused"},
		"a refusal of no words": {http.StatusConflict, `{"error": ""}`, "the server answered Conflict"},
	} {
		t.Run(name, func(t *testing.T) {
			m := &madeUp{answer: func(*http.Request) (int, string) { return tc.status, tc.body }}
			_, _, err := m.run(t, "", "enable", "ada")
			require.ErrorContains(t, err, tc.says)
			_, _, err = m.run(t, "", "list")
			if tc.status == http.StatusOK {
				require.ErrorContains(t, err, "can't be read")
			} else {
				require.ErrorContains(t, err, tc.says)
			}
		})
	}
}
