// admin_test.go: what only an administrator sets and reads, over Caddy's admin
// endpoint.

package accounts_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

func TestAdministratorSetsFields(t *testing.T) {
	s := served.Run(t, served.AdminSite)
	for _, name := range []string{"ada", "grace"} {
		s.Client().Post(http.StatusCreated, "register", data{
			"username": name, "email": name + "@example.com", "password": served.TestPassword, "password_confirm": served.TestPassword,
			"plan": "paid", "seat": "7", "remark": "mine",
		})
	}
	ada := s.Client()
	ada.SignIn("ada")
	profile := func() map[string]any { return ada.Get("/accounts/profile").JSON(t) }
	require.Equal(t, "free", profile()["plan"], "nobody gives himself a plan")
	require.Nil(t, profile()["seat"])

	res := s.Administer(http.MethodPatch, "ada", `{"plan": "paid", "seat": 7, "remark": "since 1843", "is_staff": true}`)
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	require.Equal(t, "paid", profile()["plan"], "at the very next request")
	require.EqualValues(t, 7, profile()["seat"])
	require.NotContains(t, profile(), "remark")
	account := s.Administer(http.MethodGet, "ada", "").JSON(t)
	require.Equal(t, "since 1843", account["remark"])
	require.Equal(t, true, account["is_staff"])

	for body, part := range map[string]string{
		`{"plan": "gold"}`:                  "(invalid_choice)",
		`{"seat": "seven"}`:                 "(invalid)",
		`{"username": "root"}`:              "(invalid)",
		`{"Is_Staff": false}`:               "Is_Staff: ",
		`{"plan": "free", "nothing": 1}`:    "nothing: ",
		`{"groups": "staff"}`:               "cannot unmarshal",
		`{"groups": ["a,admins"]}`:          "1 to 64 letters, digits and - _ . : /",
		`{"groups": ["ok", "x\r\ny"]}`:      "(invalid)",
		`{"groups": ["\u0000"]}`:            "(invalid)",
		`{"groups": [""]}`:                  "(invalid)",
		`null`:                              "not_an_object",
		`{"plan": "free"} {"plan": "free"}`: "after top-level value",
		``:                                  "unexpected end",
	} {
		res := s.Administer(http.MethodPatch, "ada", body)
		require.Equal(t, http.StatusBadRequest, res.StatusCode, body)
		require.Contains(t, res.Text, part, body)
	}
	res = s.Administer(http.MethodPatch, "grace", `{"seat": 7}`)
	require.Equal(t, http.StatusBadRequest, res.StatusCode)
	require.Contains(t, res.Text, "seat: Choose another. This one is already taken. (unique)")
	require.Equal(t, "paid", profile()["plan"], "a refused change changes nothing")
	require.Equal(t, true, s.Administer(http.MethodGet, "ada", "").JSON(t)["is_staff"])
	require.Equal(t, http.StatusOK, s.Administer(http.MethodPatch, "ada", `{"plan": null, "seat": null}`).StatusCode)
	require.Nil(t, profile()["seat"])
	require.Equal(t, http.StatusOK, s.Administer(http.MethodPatch, "grace", `{"seat": 7}`).StatusCode, "the seat is free again")
}

// More accounts than are read at once.
func TestExport(t *testing.T) {
	s := served.Run(t, strings.Replace(served.AdminSite, "from no-reply", "password {\n argon2id 8MiB 1 1\n }\n from no-reply", 1))
	const accounts = 520
	var g served.Group
	for worker := range 4 {
		g.Go(func() error {
			for i := worker; i < accounts; i += 4 {
				body := fmt.Sprintf(`{"username":"u%d","email":"u%d@example.com","password":"%s","password_confirm":"%s"}`, i, i, served.TestPassword, served.TestPassword)
				res, err := http.Post(s.Base()+"/accounts/register", "application/json", strings.NewReader(body))
				if err != nil {
					return err
				}
				_ = res.Body.Close()
				if res.StatusCode != http.StatusCreated {
					return fmt.Errorf("sign-up %d: %s", i, res.Status)
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	valued := map[string]any{
		"plan": "paid", "seat": 12.0, "remark": "since 1843", "home": "https://example.com/ada", "work": "work@example.com",
		"height": 1.65, "born": "1815-12-10", "news": true,
	}
	raw, err := json.Marshal(valued)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, s.Administer(http.MethodPatch, "u7", string(raw)).StatusCode)
	res := s.AdminRequest(http.MethodGet, "/registration/default/users", "", "")
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Equal(t, "application/x-ndjson", res.Header.Get("Content-Type"))
	seen := map[string]bool{}
	last := ""
	for line := range strings.Lines(res.Text) {
		var account map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &account))
		seen[account["username"].(string)] = true
		require.Greater(t, account["id"].(string), last, "in order of id")
		last = account["id"].(string)
		if account["username"] != "u7" {
			require.Equal(t, "free", account["plan"], "an added field that nobody has set")
		} else {
			for name, value := range valued {
				require.Equal(t, value, account[name], name)
			}
		}
	}
	require.Len(t, seen, accounts)
	require.NotContains(t, res.Text, "argon2id", "no hash leaves the store")
	require.Equal(t, http.StatusMethodNotAllowed, s.AdminRequest(http.MethodDelete, "/registration/default/users", "", "").StatusCode)
	require.Equal(t, http.StatusNotFound, s.AdminRequest(http.MethodGet, "/registration/other/users", "", "").StatusCode)
}

// Which account is meant is never guessed: what several answer to is refused with
// their ids, and any name can be said.
func TestAdminNamesOneAccount(t *testing.T) {
	t.Parallel()
	s := served.Run(t, served.AdminSite)
	for _, name := range []string{"ada", "7", "grace"} {
		c := s.Client()
		c.Post(http.StatusCreated, "register", served.Newcomer(name))
	}
	slash := served.Newcomer("slasher")
	slash["email"] = "a/b@example.org"
	s.Client().Post(http.StatusCreated, "register", slash)
	const users = "/registration/default/users"
	ask := func(method, path, body string) *served.Answer {
		return s.AdminRequest(method, path, "application/json", body)
	}
	id := func(path string) string {
		res := ask(http.MethodGet, path, "")
		require.Equal(t, http.StatusOK, res.StatusCode, "%s: %s", path, res.Text)
		return res.JSON(t)["id"].(string)
	}
	seven, grace := id(users+"/7"), id(users+"/grace")
	require.Equal(t, http.StatusOK, ask(http.MethodPatch, users+"/grace", `{"seat": 7}`).StatusCode)
	for _, path := range []string{users + "/7", users + "?name=7", users + "/?name=7"} {
		for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodDelete} {
			res := ask(method, path, `{"is_active": false}`)
			if strings.HasSuffix(path, "/?name=7") {
				require.Equal(t, http.StatusNotFound, res.StatusCode)
				continue
			}
			require.Equal(t, http.StatusConflict, res.StatusCode, "%s %s", method, path)
			require.Contains(t, res.Text, seven)
			require.Contains(t, res.Text, grace)
		}
	}
	require.Equal(t, seven, id(users+"?id="+seven))
	require.Equal(t, grace, id(users+"?name=grace"))
	slasher := id(users + "?name=slasher")
	for _, path := range []string{users + "/a%2Fb@example.org", users + "?name=a/b@example.org", users + "?name=a%2Fb%40example.org"} {
		require.Equal(t, slasher, id(path), path)
	}
	for query, want := range map[string]int{
		"?id=" + strings.ToUpper(seven): http.StatusOK, "?id=7": http.StatusNotFound, "?id=ada": http.StatusNotFound, "?name=" + seven: http.StatusNotFound, "?name=..": http.StatusNotFound, "?name=a%00b": http.StatusNotFound,
		"?nmae=ada": http.StatusBadRequest, "?name=": http.StatusBadRequest, "?id=": http.StatusBadRequest, "?name=ada&name=grace": http.StatusBadRequest, "?name=ada&id=" + seven: http.StatusBadRequest, "/ada?name=grace": http.StatusBadRequest, "?name=%zz": http.StatusBadRequest,
	} {
		for _, method := range []string{http.MethodGet, http.MethodDelete} {
			if want == http.StatusOK && method == http.MethodDelete {
				continue
			}
			want := want
			if query == "?nmae=ada" && method == http.MethodDelete {
				want = http.StatusMethodNotAllowed // all accounts at once have no such method
			}
			res := ask(method, users+query, "")
			require.Equal(t, want, res.StatusCode, "%s %s: %s", method, query, res.Text)
		}
	}
	require.Equal(t, http.StatusMethodNotAllowed, ask(http.MethodDelete, users, "").StatusCode)
	require.Equal(t, http.StatusNoContent, ask(http.MethodDelete, users+"?id="+seven, "").StatusCode)
	require.Equal(t, grace, id(users+"/7"), "what is left has it alone")
	require.Equal(t, 3, strings.Count(ask(http.MethodGet, users, "").Text, "\n"))
}

// What the owner does with accounts is in force at their next request.
func TestAdminActs(t *testing.T) {
	t.Parallel()
	s := served.Run(t, served.AdminSite)
	act := func(status int, path, body string) *served.Answer {
		t.Helper()
		res := s.AdminRequest(http.MethodPost, "/registration/default/users"+path, "application/json", body)
		require.Equal(t, status, res.StatusCode, "%s %s: %s", path, body, res.Text)
		return res
	}
	made := act(http.StatusOK, "", `{"username": "admin", "email": "ada@example.org", "groups": ["admins"], "password": "`+served.TestPassword+`", "fields": {"plan": "paid", "seat": 7}}`).JSON(t)
	require.Equal(t, "paid", made["plan"])
	require.Equal(t, true, made["email_verified"])
	ada := s.Client()
	ada.SignIn("admin")
	for body, part := range map[string]string{
		`{"username": "admin"}`:                        "unique",
		`{"username": "eve", "is_staff": true}`:        "is_staff",
		`{"username": "eve", "password": "secret"}`:    "password_too_short",
		`{"username": "eve", "fields": {"plan": "x"}}`: "invalid_choice",
		`{"username": "eve"`:                           "it is an object like",
		`[]`:                                           "it is an object like",
	} {
		res := act(http.StatusBadRequest, "", body)
		require.Contains(t, res.Text, part)
		require.NotContains(t, res.Text, "secret")
	}
	for _, name := range []string{"set-password", "set-email", "set-username", "groups", "enable", "disable", "sign-out"} {
		act(http.StatusNotFound, "/nobody/"+name, `{}`)
	}
	act(http.StatusOK, "/admin/sign-out", "")
	require.Equal(t, http.StatusUnauthorized, ada.Get("/accounts/profile").StatusCode)
	act(http.StatusOK, "/admin/set-username", `{"username": "countess"}`)
	act(http.StatusOK, "/countess/groups", `{"add": ["a"], "remove": ["admins"]}`)
	act(http.StatusOK, "/countess/disable", "")
	require.Equal(t, []any{"a"}, act(http.StatusOK, "/countess/enable", "").JSON(t)["groups"])
	act(http.StatusOK, "/countess/set-password", `{"password": "another of the eight"}`)
	act(http.StatusOK, "/countess/set-email", `{"email": "lady@example.org"}`)
	require.Equal(t, "lady@example.org", s.Administer(http.MethodGet, "countess", "").JSON(t)["email"])
	document := s.AdminRequest(http.MethodGet, "/registration/openapi.json", "", "").JSON(t)
	require.Contains(t, document["paths"], "/registration/{realm}/users/{account}/set-password")
}

func TestAdminList(t *testing.T) {
	t.Parallel()
	s := served.Run(t, served.AdminSite)
	for _, name := range []string{"ada", "Adam", "grace", "alan"} {
		s.Client().Post(http.StatusCreated, "register", served.Newcomer(name))
	}
	s.Administer(http.MethodPatch, "grace", `{"groups": ["members"], "is_active": false}`)
	res := s.AdminRequest(http.MethodPost, "/registration/default/users", "application/json", `{"username": "linus"}`)
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	names := func(query string) (list []string, next string) {
		t.Helper()
		res := s.AdminRequest(http.MethodGet, "/registration/default/users"+query, "", "")
		require.Equal(t, http.StatusOK, res.StatusCode, "%s: %s", query, res.Text)
		for line := range strings.Lines(res.Text) {
			var account struct{ Username string }
			require.NoError(t, json.Unmarshal([]byte(line), &account))
			list = append(list, account.Username)
		}
		return list, res.Header.Get("Next-After")
	}
	for query, want := range map[string]string{
		"": "ada Adam grace alan linus", "?search=AD": "ada Adam", "?search=alan@": "alan", "?state=disabled": "grace", "?state=active&search=a": "ada Adam alan",
		"?group=members": "grace", "?group=no": "", "?hash_format=none": "linus", "?hash_format=argon2id&search=g": "grace", "?hash_format=bcrypt": "",
	} {
		got, next := names(query)
		require.Equal(t, want, strings.Join(got, " "), query)
		require.Empty(t, next)
	}
	var paged []string
	for after := ""; ; {
		page, next := names("?limit=2&state=active" + after)
		require.LessOrEqual(t, len(page), 2)
		paged = append(paged, page...)
		if next == "" {
			break
		}
		after = "&after=" + next
	}
	require.Equal(t, []string{"ada", "Adam", "alan", "linus"}, paged)
	for _, query := range []string{"?limit=0", "?limit=10001", "?limit=x", "?after=ada", "?state=asleep", "?hash_format=md5", "?sort=name", "?limit=1&limit=2"} {
		require.Equal(t, http.StatusBadRequest, s.AdminRequest(http.MethodGet, "/registration/default/users"+query, "", "").StatusCode, query)
	}
}

// owner runs `caddy registration …` in the server's surroundings.
func owner(s *served.Server, args ...string) (stdout, stderr string, err error) {
	var out, errs strings.Builder
	cmd := s.Command(append([]string{"registration"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

const ownerSite = `
{
	admin [[listen]]
}
http://127.0.0.1:[[port]] {
	registration {
		base_url http://127.0.0.1:[[port]]
		from no-reply@example.com
		mailer log
	}
}
`

// TestCommandLineFindsTheAccounts: before the first start in the store itself, then at
// the server, over TCP and over a unix socket, then in the store again.
func TestCommandLineFindsTheAccounts(t *testing.T) {
	for name, listen := range map[string]string{"TCP": "127.0.0.1:[[admin]]", "unix socket": "unix/[[dir]]/admin.sock"} {
		t.Run(name, func(t *testing.T) {
			s := served.NewServer(t)
			s.Values["listen"] = s.Fill(listen)
			s.Configure(ownerSite)

			out, errs, err := owner(s, "create", "ada", "ada@example.com", "--group", "admins")
			require.NoError(t, err, errs)
			require.Contains(t, out, "/accounts/reset-password/?")
			require.Equal(t, "Written to "+s.Store()+"\n", errs, "and nothing of Caddy's log")

			s.Start()
			out, errs, err = owner(s, "create", "grace", "--config", s.ConfigFile(), "--adapter", "caddyfile")
			require.NoError(t, err, errs)
			require.Contains(t, out, "grace has been created")
			require.Empty(t, errs, "the server has written it")
			out, errs, err = owner(s, "list", "--json")
			require.NoError(t, err, errs)
			require.Equal(t, 2, strings.Count(out, "\n"), out)
			_, errs, err = owner(s, "list", "--realm", "nobody")
			require.Error(t, err)
			require.Contains(t, errs, "there is no realm nobody; there is: default")
			s.Stop()

			args := []string{"list", "--json"}
			if !served.InDatabase() {
				args = append(args, "--store", s.Store())
			}
			out, errs, err = owner(s, args...)
			require.NoError(t, err, errs)
			require.Equal(t, 2, strings.Count(out, "\n"), out)
			require.Empty(t, errs)
			_, errs, err = owner(s, "list", "--realm", "nobody")
			require.Error(t, err)
			require.Contains(t, errs, "name one by --realm: default")
		})
	}
}

// TestCommandLineSaysWhatToDo: where there is neither a server nor a store to open.
func TestCommandLineSaysWhatToDo(t *testing.T) {
	s := served.NewServer(t)
	s.Values["listen"] = s.Fill("127.0.0.1:[[admin]]")
	s.Configure(ownerSite)
	s.Start()
	elsewhere := filepath.Join(t.TempDir(), "Caddyfile")
	s.Values["listen"] = "127.0.0.1:1"
	require.NoError(t, os.WriteFile(elsewhere, []byte(s.Fill(ownerSite)), 0o600))
	bare := served.NewServer(t)
	bare.Configure("{\n\tadmin 127.0.0.1:[[admin]]\n}\nhttp://127.0.0.1:[[port]] {\n}\n")
	bare.Start()
	for name, tc := range map[string]struct {
		args []string
		says string
	}{
		"the store is in use":       {[]string{"--config", elsewhere}, "no server answers at 127.0.0.1:1"},
		"what then":                 {[]string{"--config", elsewhere}, "another process has the store open: name the admin endpoint of the server that runs by --address, or stop the server"},
		"nobody at the address":     {[]string{"--address", "127.0.0.1:1"}, "no server answers at 127.0.0.1:1"},
		"a server without accounts": {[]string{"--address", bare.Fill("127.0.0.1:[[admin]]")}, "without a registration directive"},
		"no such file":              {[]string{"--config", elsewhere + "x"}, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.args[1] == elsewhere {
				served.Embedded(t) // a database is nobody's alone
			}
			_, errs, err := owner(s, append([]string{"list"}, tc.args...)...)
			require.Error(t, err)
			require.Contains(t, errs, tc.says)
			require.Equal(t, 1, strings.Count(errs, "\n"), errs)
		})
	}
}

// TestCommandLineAsRoot: what root makes in somebody's folder is his, and the data
// folder of another user is no place for a store that nobody named.
func TestCommandLineAsRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs to be root, to be another user")
	}
	served.Embedded(t)
	const nobody = 65534
	s := served.NewServer(t)
	s.Values["listen"] = s.Fill("127.0.0.1:[[admin]]")
	s.Configure(ownerSite)
	folder := filepath.Join(s.Dir, "data")
	require.NoError(t, os.Mkdir(folder, 0o700))
	require.NoError(t, os.Chown(folder, nobody, nobody))

	_, errs, err := owner(s, "create", "ada")
	require.Error(t, err)
	require.Contains(t, errs, "sudo -u nobody caddy registration")
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Empty(t, entries, "nothing has been made")

	_, errs, err = owner(s, "create", "ada", "--store", filepath.Join(folder, "new", "a.db"))
	require.NoError(t, err, errs)
	require.NoError(t, filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		require.Equal(t, uint32(nobody), info.Sys().(*syscall.Stat_t).Uid, path)
		return nil
	}))
}
