// errors_test.go: wrong configurations through the built Caddy: adapt,
// validate, run and reload say the same, with file and line and the remedy.

package config_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// A wrongConfig is a configuration that must not be served.
type wrongConfig struct {
	name string
	// site stands in the site block; extra behind it.
	site, extra string
	files       map[string]string // by path below the server's folder
	want        []string
	// adapts: what is wrong lies outside of the Caddyfile (a file, the
	// environment, another site), which `caddy adapt` does not look at.
	adapts bool
}

const goodMail = "from no-reply@example.com\n\t\tmailer log\n"

var wrongConfigs = []wrongConfig{
	{name: "no base_url", site: "registration {\n" + goodMail + "}", want: []string{"base_url: missing", "add: base_url https://example.com"}},
	{name: "no from", site: "registration {\nbase_url https://example.com\nmailer log\n}", want: []string{"from: missing", "add: from no-reply@example.com"}},
	{name: "no mailer", site: "registration {\nbase_url https://example.com\nfrom a@example.com\n}", want: []string{"mailer: missing", "add: mailer smtp mail.example.com:587"}},
	{name: "too many addresses", site: "registration {\nbase_url https://example.com\n" + goodMail + "user {\nmax_emails 21\n}\n}", want: []string{"user.max_emails", "21 is not between 1 and 20"}},
	{name: "several addresses that nobody confirms", site: "registration {\nbase_url https://example.com\n" + goodMail + "user {\nmax_emails 2\n}\nregister_email {\nverification off\n}\n}", want: []string{"user.max_emails", "each has to be confirmed"}},
	{name: "login field that is not unique", site: "registration {\nbase_url https://example.com\n" + goodMail + "user {\nlogin_fields nick\nfield nick text\n}\n}", want: []string{`"nick" is not unique`, "write unique into the block of the field nick"}},
	{name: "field of no type", site: "registration {\nbase_url https://example.com\n" + goodMail + "user {\nfield nick string\n}\n}", want: []string{`"string" is not a type`, "the types are: text, email"}},
	{
		name: "two realms of one name", adapts: true, site: "registration {\nbase_url https://example.com\n" + goodMail + "}",
		extra: "http://127.0.0.2:[[port]] {\nregistration {\nbase_url https://other.example.com\n" + goodMail + "}\n}\n", want: []string{`the realm "default" is defined twice with different settings`, "give one of them another name: realm <name>"},
	},
	{name: "guard for an unknown realm", adapts: true, site: "registration {\nbase_url https://example.com\n" + goodMail + "}\nrequire_login {\nrealm mebmers\n}", want: []string{`require_login guards with the realm "mebmers", which no registration directive defines`, "or name one that exists"}},
	{name: "guard for a group that can't be", adapts: true, site: "registration {\nbase_url https://example.com\n" + goodMail + "}\nrequire_login {\ngroup staff \"a,b\"\n}", want: []string{`group: "a,b" can't be a group's name`, "1 to 64 letters"}},
	{name: "guard without any realm", adapts: true, site: "require_login /members/*", want: []string{`require_login guards with the realm "default", which no registration directive defines`, "add `registration` to a site"}},
	{
		name: "guard in a snippet of another site", adapts: true, site: "registration {\nbase_url https://example.com\n" + goodMail + "}",
		extra: "http://127.0.0.2:[[port]] {\nhandle /x/* {\nroute {\nrequire_login {\nrealm nobody\n}\n}\n}\n}\n", want: []string{`with the realm "nobody"`},
	},
	{
		name: "file of breached passwords that is none", adapts: true, site: "registration {\nbase_url https://example.com\n" + goodMail + "password {\nbreached [[dir]]/pwned.txt\n}\n}",
		files: map[string]string{"pwned.txt": "password\n123456\n"}, want: []string{"password.breached: ", "pwned.txt: a line is not HASH:COUNT", "download the list of SHA-1 hashes"},
	},
	{
		name: "file of breached passwords that isn't there", adapts: true, site: "registration {\nbase_url https://example.com\n" + goodMail + "password {\nbreached [[dir]]/nowhere.txt\n}\n}",
		want: []string{"password.breached: ", "nowhere.txt: no such file"},
	},
	{
		name: "mail template that does not parse", adapts: true, site: "registration {\nbase_url https://example.com\n" + goodMail + "templates [[dir]]/t\n}",
		files: map[string]string{"t/register/subject.txt": "{{.User.Name"}, want: []string{`register/subject.txt`, "unclosed action"},
	},
	{
		name: "mail template with an unknown field", adapts: true, site: "registration {\nbase_url https://example.com\n" + goodMail + "templates [[dir]]/t\n}",
		files: map[string]string{"t/register/subject.txt": "{{.User.Nmae}}"}, want: []string{"register/subject.txt", "can't evaluate field Nmae", "it can mention .Site"},
	},
	{
		name: "mail template with an unknown added field", adapts: true, site: "registration {\nbase_url https://example.com\n" + goodMail + "templates [[dir]]/t\nuser {\nfield nick text\n}\n}",
		files: map[string]string{"t/register/subject.txt": "{{.User.Extra.nikc}}"}, want: []string{`no entry for key "nikc"`, ".Extra.<name>"},
	},
	{
		name: "page template that does not parse", adapts: true, site: "registration {\nbase_url https://example.com\n" + goodMail + "templates [[dir]]/t\n}",
		files: map[string]string{"t/pages/layout.html": "{{if}}"}, want: []string{"layout.html"},
	},
	{
		name: "no such template", adapts: true, site: "registration {\nbase_url https://example.com\n" + goodMail + "templates [[dir]]/t\nregister {\nmail {\nsubject own.txt\n}\n}\n}",
		files: map[string]string{"t/x": ""}, want: []string{"own.txt", "no such file"},
	},
	{
		name: "unreadable store", adapts: true, site: "registration {\nbase_url https://example.com\n" + goodMail + "store bbolt [[dir]]/accounts.db\n}",
		files: map[string]string{"accounts.db": strings.Repeat("no accounts in here\n", 1000)}, want: []string{"accounts.db cannot be opened", "it is not an account file; choose another path"},
	},
	{name: "backup to nowhere", adapts: true, site: "registration {\nbase_url https://example.com\n" + goodMail + "store bbolt {\nbackup {env.NO_SUCH_FOLDER}\n}\n}", want: []string{"store.backup", "env.NO_SUCH_FOLDER", "write the path itself"}},
	{
		name: "backup into a file", adapts: true, site: "registration {\nbase_url https://example.com\n" + goodMail + "store bbolt {\nbackup [[dir]]/f\n}\n}",
		files: map[string]string{"f": ""}, want: []string{"store.backup.folder", "is no folder; name another"},
	},
	{
		name: "two stores whose backups can't be told apart", adapts: true, site: "registration {\nbase_url https://example.com\n" + goodMail + "store bbolt [[dir]]/a/r.db {\nbackup [[dir]]/backups\n}\n}",
		extra: "http://127.0.0.2:[[port]] {\nregistration {\nrealm other\nbase_url https://other.example.com\n" + goodMail + "store bbolt [[dir]]/b/r.db {\nbackup [[dir]]/backups\n}\n}\n}\n",
		want:  []string{`realm "other"`, "is the folder of the backups of", "name another"},
	},
	{name: "secret from nowhere", adapts: true, site: "registration {\nbase_url https://example.com\n" + goodMail + "secret {env.NO_SUCH_SECRET}\n}", want: []string{"secret:", "env.NO_SUCH_SECRET", "set it before Caddy starts"}},
}

func TestWrongConfigurations(t *testing.T) {
	t.Parallel()
	for _, c := range wrongConfigs {
		t.Run(c.name, func(t *testing.T) {
			s := served.NewServer(t)
			for name, text := range c.files {
				path := filepath.Join(s.Dir, filepath.FromSlash(name))
				require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
				require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
			}
			s.Configure("{\nadmin 127.0.0.1:[[admin]]\n}\nhttp://127.0.0.1:[[port]] {\n" + c.site + "\n}\n" + c.extra)
			for _, command := range []string{"adapt", "validate", "run"} {
				out, err := s.Command(command, "--adapter", "caddyfile", "--config", s.ConfigFile()).CombinedOutput()
				if command == "adapt" && c.adapts {
					require.NoError(t, err, "%s", out)
					continue
				}
				exit := (*exec.ExitError)(nil)
				require.ErrorAs(t, err, &exit, "caddy %s accepted it: %s", command, out)
				text := strings.ReplaceAll(string(out), `\"`, `"`)
				for _, want := range c.want {
					require.Contains(t, text, want, "caddy %s", command)
				}
				require.Regexp(t, `Caddyfile:[1-9][0-9]*`, text, "caddy %s", command)
			}
		})
	}
}

// What is unwise but allowed is a warning, in validate and in run.
func TestUnwiseConfigurations(t *testing.T) {
	t.Parallel()
	s := served.NewServer(t)
	s.Configure("{\nadmin 127.0.0.1:[[admin]]\n}\nhttp://127.0.0.1:[[port]] {\nregistration {\nbase_url https://example.com\n" + goodMail + "register {\none_time_use off\nauto_login on\n}\n}\n}\n")
	const warning = "auto_login without one_time_use"
	out, err := s.Command("validate", "--adapter", "caddyfile", "--config", s.ConfigFile()).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), warning)
	s.Start()
	s.Logged(0, `"level":"warn"`, warning)
}

// A field that becomes unique over data that breaks it fails at the reload; the
// running configuration goes on. Over good data its keys are there at once.
func TestFieldBecomesUniqueAtReload(t *testing.T) {
	t.Parallel()
	field := func(options string) string {
		return strings.Replace(served.PlainSite, "throttle off", "throttle off\nregister {\nverification off\n}\nuser {\nfield nick text {\n"+options+"\n}\n}", 1)
	}
	s := served.Run(t, field("hidden off"))
	clients := map[string]*served.Client{}
	for _, name := range []string{"ada", "bob"} {
		clients[name] = s.Client()
		body := served.Newcomer(name)
		body["nick"] = "Same"
		clients[name].Post(http.StatusCreated, "register", body)
		clients[name].SignIn(name)
	}
	res := s.Load(field("unique"))
	require.Equal(t, http.StatusBadRequest, res.StatusCode, res.Text)
	require.Contains(t, res.Text, "user.field.nick: it can't be unique, because the accounts ")
	require.NotContains(t, res.Text, "Same")
	clients["ada"].RequireMember()
	require.Equal(t, http.StatusOK, clients["bob"].Do(http.MethodPatch, "/accounts/profile", data{"nick": "other"}).StatusCode)
	res = s.Load(field("unique"))
	require.Equal(t, http.StatusOK, res.StatusCode, res.Text)
	clients["bob"].HTTP.CloseIdleConnections() // the reload ends them at some time, and a PATCH is not sent twice
	require.Equal(t, http.StatusBadRequest, clients["bob"].Do(http.MethodPatch, "/accounts/profile", data{"nick": "SAME"}).StatusCode)
}

// Who may sign up, by Caddy's own means (docs/from-django-rest-registration.md): what
// blocks and, to warn of it, what does not.
func TestStrangersAreKeptFromSignUp(t *testing.T) {
	t.Parallel()
	const site = "{\n\tadmin 127.0.0.1:[[admin]]\n\tdefault_bind 127.0.0.1\n}\nhttp://127.0.0.1:[[port]] {\n\t@strangers {\n\t\tpath /accounts/register*\n\t\tnot remote_ip 10.0.0.0/8\n\t}\n[[rules]]\n\trespond /closed closed\n}\n"
	const accounts = "registration {\nthrottle off\nbase_url http://127.0.0.1:[[port]]\nfrom no-reply@example.com\nmailer file [[dir]]/mail\npassword {\nargon2id 8KiB 1 1\n}\n}\n"
	for name, c := range map[string]struct {
		rules  string
		status int // of a sign-up
	}{
		"redir":                  {"redir @strangers /closed 303\n" + accounts, http.StatusSeeOther},
		"basic_auth":             {"basic_auth /accounts/register* {\nstaff $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n}\n" + accounts, http.StatusUnauthorized},
		"route":                  {"route {\nrespond @strangers 403\n" + accounts + "}\n", http.StatusForbidden},
		"respond does not block": {"respond @strangers 403\n" + accounts, http.StatusCreated},
		"error does not block":   {"error @strangers 403\n" + accounts, http.StatusCreated},
		"handle does not block":  {"handle @strangers {\nrespond 403\n}\n" + accounts, http.StatusCreated},
	} {
		t.Run(name, func(t *testing.T) {
			s := served.Run(t, strings.Replace(site, "[[rules]]", c.rules, 1))
			for i, path := range []string{"/accounts/register", "/accounts/register/", "/accounts/%72egister", "/ACCOUNTS/register", "/accounts/Register/", "//accounts/register", "/accounts//register", "/accounts/./register", "/x/../accounts/register"} {
				// Past the client that knows our answers: these are Caddy's.
				res, err := http.DefaultTransport.RoundTrip(s.Client().Request(http.MethodPost, path, served.Newcomer("ada"+strconv.Itoa(i))))
				require.NoError(t, err)
				require.NoError(t, res.Body.Close())
				status := res.StatusCode
				if i < 2 {
					require.Equal(t, c.status, status, path)
				} else if c.status != http.StatusCreated {
					require.NotEqual(t, http.StatusCreated, status, path)
				}
			}
			require.Equal(t, http.StatusBadRequest, s.Client().Do(http.MethodPost, "/accounts/login", data{"login": "ada", "password": "wrong"}).StatusCode, "who has an account signs in")
		})
	}
}
