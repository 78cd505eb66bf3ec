// admin_test.go: what only an administrator sets and reads, over Caddy's admin
// endpoint.

package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const adminSite = `
{
	admin 127.0.0.1:[[admin]]
}
http://127.0.0.1:[[port]] {
	registration {
		base_url http://127.0.0.1:[[port]]
		from no-reply@example.com
		mailer file [[dir]]/mails
		throttle off
		register {
			verification off
		}
		user {
			field plan choice {
				choices free paid
				default free
				read_only
			}
			field seat integer {
				unique
				read_only
			}
			field remark text {
				hidden
			}
			field home url
			field work email
			field height number
			field born date
			field news boolean
		}
	}
}
`

func TestAdministratorSetsFields(t *testing.T) {
	s := run(t, adminSite)
	for _, name := range []string{"ada", "grace"} {
		s.client().post(http.StatusCreated, "register", data{
			"username": name, "email": name + "@example.com", "password": testPassword, "password_confirm": testPassword,
			"plan": "paid", "seat": "7", "remark": "mine",
		})
	}
	ada := s.client()
	ada.signIn("ada")
	profile := func() map[string]any { return ada.get("/accounts/profile").json(t) }
	require.Equal(t, "free", profile()["plan"], "nobody gives himself a plan")
	require.Nil(t, profile()["seat"])

	res := s.administer(http.MethodPatch, "ada", `{"plan": "paid", "seat": 7, "remark": "since 1843", "is_staff": true}`)
	require.Equal(t, http.StatusOK, res.StatusCode, res.body)
	require.Equal(t, "paid", profile()["plan"], "at the very next request")
	require.EqualValues(t, 7, profile()["seat"])
	require.NotContains(t, profile(), "remark")
	account := s.administer(http.MethodGet, "ada", "").json(t)
	require.Equal(t, "since 1843", account["remark"])
	require.Equal(t, true, account["is_staff"])

	for body, part := range map[string]string{
		`{"plan": "gold"}`:                  "plan invalid_choice",
		`{"seat": "seven"}`:                 "seat invalid",
		`{"username": "root"}`:              "username invalid",
		`{"Is_Staff": false}`:               "Is_Staff invalid",
		`{"plan": "free", "nothing": 1}`:    "nothing invalid",
		`{"groups": "staff"}`:               "cannot unmarshal",
		`{"groups": ["a,admins"]}`:          "1 to 64 letters, digits and - _ . : /",
		`{"groups": ["ok", "x\r\ny"]}`:      "groups invalid",
		`{"groups": ["\u0000"]}`:            "groups invalid",
		`{"groups": [""]}`:                  "groups invalid",
		`null`:                              "not_an_object",
		`{"plan": "free"} {"plan": "free"}`: "after top-level value",
		``:                                  "unexpected end",
	} {
		res := s.administer(http.MethodPatch, "ada", body)
		require.Equal(t, http.StatusBadRequest, res.StatusCode, body)
		require.Contains(t, res.body, part, body)
	}
	res = s.administer(http.MethodPatch, "grace", `{"seat": 7}`)
	require.Equal(t, http.StatusBadRequest, res.StatusCode)
	require.Contains(t, res.body, "seat unique")
	require.Equal(t, "paid", profile()["plan"], "a refused change changes nothing")
	require.Equal(t, true, s.administer(http.MethodGet, "ada", "").json(t)["is_staff"])
	require.Equal(t, http.StatusOK, s.administer(http.MethodPatch, "ada", `{"plan": null, "seat": null}`).StatusCode)
	require.Nil(t, profile()["seat"])
	require.Equal(t, http.StatusOK, s.administer(http.MethodPatch, "grace", `{"seat": 7}`).StatusCode, "the seat is free again")
}

// More accounts than are read at once.
func TestExport(t *testing.T) {
	s := run(t, strings.Replace(adminSite, "from no-reply", "password {\n argon2id 8MiB 1 1\n }\n from no-reply", 1))
	const accounts = 520
	var g group
	for worker := range 4 {
		g.Go(func() error {
			for i := worker; i < accounts; i += 4 {
				body := fmt.Sprintf(`{"username":"u%d","email":"u%d@example.com","password":"%s","password_confirm":"%s"}`, i, i, testPassword, testPassword)
				res, err := http.Post(s.base()+"/accounts/register", "application/json", strings.NewReader(body))
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
	require.Equal(t, http.StatusOK, s.administer(http.MethodPatch, "u7", string(raw)).StatusCode)
	res := s.adminRequest(http.MethodGet, "/registration/default/users", "", "")
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Equal(t, "application/x-ndjson", res.Header.Get("Content-Type"))
	seen := map[string]bool{}
	last := ""
	for line := range strings.Lines(res.body) {
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
	require.NotContains(t, res.body, "argon2id", "no hash leaves the store")
	require.Equal(t, http.StatusMethodNotAllowed, s.adminRequest(http.MethodPost, "/registration/default/users", "", "").StatusCode)
	require.Equal(t, http.StatusNotFound, s.adminRequest(http.MethodGet, "/registration/other/users", "", "").StatusCode)
}

// Which account is meant is never guessed: what several answer to is refused with
// their ids, and any name can be said.
func TestAdminNamesOneAccount(t *testing.T) {
	t.Parallel()
	s := run(t, adminSite)
	for _, name := range []string{"ada", "7", "grace"} {
		c := s.client()
		c.post(http.StatusCreated, "register", newcomer(name))
	}
	slash := newcomer("slasher")
	slash["email"] = "a/b@example.org"
	s.client().post(http.StatusCreated, "register", slash)
	const users = "/registration/default/users"
	ask := func(method, path, body string) *answer { return s.adminRequest(method, path, "application/json", body) }
	id := func(path string) string {
		res := ask(http.MethodGet, path, "")
		require.Equal(t, http.StatusOK, res.StatusCode, "%s: %s", path, res.body)
		return res.json(t)["id"].(string)
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
			require.Contains(t, res.body, seven)
			require.Contains(t, res.body, grace)
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
			require.Equal(t, want, res.StatusCode, "%s %s: %s", method, query, res.body)
		}
	}
	require.Equal(t, http.StatusMethodNotAllowed, ask(http.MethodDelete, users, "").StatusCode)
	require.Equal(t, http.StatusNoContent, ask(http.MethodDelete, users+"?id="+seven, "").StatusCode)
	require.Equal(t, grace, id(users+"/7"), "what is left has it alone")
	require.Equal(t, 3, strings.Count(ask(http.MethodGet, users, "").body, "\n"))
}

// What the owner does with accounts is in force at their next request.
func TestAdminActs(t *testing.T) {
	t.Parallel()
	s := run(t, adminSite)
	act := func(status int, path, body string) *answer {
		t.Helper()
		res := s.adminRequest(http.MethodPost, "/registration/default/users"+path, "application/json", body)
		require.Equal(t, status, res.StatusCode, "%s %s: %s", path, body, res.body)
		return res
	}
	made := act(http.StatusOK, "", `{"username": "admin", "email": "ada@example.org", "groups": ["admins"], "password": "`+testPassword+`", "fields": {"plan": "paid", "seat": 7}}`).json(t)
	require.Equal(t, "paid", made["plan"])
	require.Equal(t, true, made["email_verified"])
	ada := s.client()
	ada.signIn("admin")
	for body, part := range map[string]string{
		`{"username": "admin"}`:                        "unique",
		`{"username": "eve", "is_staff": true}`:        "is_staff",
		`{"username": "eve", "password": "secret"}`:    "password_too_short",
		`{"username": "eve", "fields": {"plan": "x"}}`: "invalid_choice",
		`{"username": "eve"`:                           "it is an object like",
		`[]`:                                           "it is an object like",
	} {
		res := act(http.StatusBadRequest, "", body)
		require.Contains(t, res.body, part)
		require.NotContains(t, res.body, "secret")
	}
	for _, name := range []string{"set-password", "set-email", "set-username", "groups", "enable", "disable", "sign-out"} {
		act(http.StatusNotFound, "/nobody/"+name, `{}`)
	}
	act(http.StatusOK, "/admin/sign-out", "")
	require.Equal(t, http.StatusUnauthorized, ada.get("/accounts/profile").StatusCode)
	act(http.StatusOK, "/admin/set-username", `{"username": "countess"}`)
	act(http.StatusOK, "/countess/groups", `{"add": ["a"], "remove": ["admins"]}`)
	act(http.StatusOK, "/countess/disable", "")
	require.Equal(t, []any{"a"}, act(http.StatusOK, "/countess/enable", "").json(t)["groups"])
	act(http.StatusOK, "/countess/set-password", `{"password": "another of the eight"}`)
	act(http.StatusOK, "/countess/set-email", `{"email": "lady@example.org"}`)
	require.Equal(t, "lady@example.org", s.administer(http.MethodGet, "countess", "").json(t)["email"])
	document := s.adminRequest(http.MethodGet, "/registration/openapi.json", "", "").json(t)
	require.Contains(t, document["paths"], "/registration/{realm}/users/{account}/set-password")
}

func TestAdminList(t *testing.T) {
	t.Parallel()
	s := run(t, adminSite)
	for _, name := range []string{"ada", "Adam", "grace", "alan"} {
		s.client().post(http.StatusCreated, "register", newcomer(name))
	}
	s.administer(http.MethodPatch, "grace", `{"groups": ["members"], "is_active": false}`)
	res := s.adminRequest(http.MethodPost, "/registration/default/users", "application/json", `{"username": "linus"}`)
	require.Equal(t, http.StatusOK, res.StatusCode, res.body)
	names := func(query string) (list []string, next string) {
		t.Helper()
		res := s.adminRequest(http.MethodGet, "/registration/default/users"+query, "", "")
		require.Equal(t, http.StatusOK, res.StatusCode, "%s: %s", query, res.body)
		for line := range strings.Lines(res.body) {
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
	for _, query := range []string{"?limit=0", "?limit=x", "?after=ada", "?state=asleep", "?hash_format=md5", "?sort=name", "?limit=1&limit=2"} {
		require.Equal(t, http.StatusBadRequest, s.adminRequest(http.MethodGet, "/registration/default/users"+query, "", "").StatusCode, query)
	}
}
