// moving_test.go: accounts out of Django into a realm, whose clients notice nothing, and
// back; and an import that is killed.

package accounts_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// djangoSite is a Django with nothing but users, run by a script that gets `auth` as it is
// in Django.
const djangoSite = `
import os, sys
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"], USE_TZ=True, SECRET_KEY="x",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}}, DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    PASSWORD_HASHERS=["django.contrib.auth.hashers." + h for h in ["PBKDF2PasswordHasher", "PBKDF2SHA1PasswordHasher", "Argon2PasswordHasher", "BCryptSHA256PasswordHasher", "BCryptPasswordHasher"]])
django.setup()
from django.core.management import call_command
from django.contrib.auth.hashers import make_password, check_password
from django.contrib.auth.models import User, Group
call_command("migrate", verbosity=0)
`

// runDjango runs a script in Django, whose database is in a folder.
func runDjango(t *testing.T, dir, script string) string {
	t.Helper()
	if err := exec.Command("/usr/bin/python3", "-c", "import django, argon2, bcrypt").Run(); err != nil {
		t.Skip("Django is not installed: apt-get install python3-django python3-argon2 python3-bcrypt")
	}
	cmd := exec.Command("/usr/bin/python3", "-c", djangoSite+script, filepath.Join(dir, "django.sqlite3"))
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	require.NoError(t, err, errs.String())
	return string(out)
}

// A client that was written for django-rest-registration, unchanged but for its address,
// at a realm that has taken Django's users in: every flow, signed in with Django's hashes.
func TestClientOfDjangoAfterTheMove(t *testing.T) {
	dir := t.TempDir()
	fixture := filepath.Join(dir, "auth.json")
	dumped := runDjango(t, dir, `
choir = Group.objects.create(name="choir")
for name, hasher in {"ada": "pbkdf2_sha256", "bob": "pbkdf2_sha1", "eve": "argon2", "dan": "bcrypt_sha256", "fay": "bcrypt"}.items():
    u = User.objects.create(username=name, email=name + "@example.org", password=make_password("`+served.TestPassword+`", hasher=hasher), first_name=name.title())
    u.groups.add(choir)
User.objects.create(username="off", email="off@example.org", password=make_password("`+served.TestPassword+`"), is_active=False)
User.objects.create(username="none", email="none@example.org", password=make_password(None))
call_command("dumpdata", "auth.group", "auth.user")
`)
	require.NoError(t, os.WriteFile(fixture, []byte(dumped), 0o600))
	s := served.Run(t, served.PlainSite)
	for _, want := range []string{"7 accounts would be added", "7 accounts have been added", "0 accounts have been added, 0 changed; 7 are there with the same"} {
		args := []string{"import", "--format", "django", fixture}
		if strings.Contains(want, "would") {
			args = append(args, "--dry-run")
		}
		out, errs, err := owner(s, args...)
		require.NoError(t, err, errs)
		require.Contains(t, out, want)
	}
	for _, name := range []string{"ada", "bob", "eve", "dan", "fay"} {
		drr(t, s, name)
	}
	refused := s.Client()
	refused.Post(http.StatusBadRequest, "login/", data{"login": "off", "password": served.TestPassword})
	refused.Post(http.StatusBadRequest, "login/", data{"login": "none", "password": "!"})

	// And back: Django takes what the realm has, and people sign in there.
	back := filepath.Join(dir, "back.json")
	_, errs, err := owner(s, "export", "--format", "django", "--with-hashes", back)
	require.NoError(t, err, errs)
	other := t.TempDir()
	said := runDjango(t, other, `
call_command("loaddata", "`+back+`", verbosity=0)
for u in User.objects.order_by("username"):
    print(u.username, u.email, u.is_active, check_password("`+drrPassword+`", u.password), ",".join(g.name for g in u.groups.all()))
`)
	require.Equal(t, strings.Join([]string{
		"ada ada.new@example.org True True choir", "bob bob.new@example.org True True choir", "dan dan.new@example.org True True choir", "eve eve.new@example.org True True choir",
		"fay fay.new@example.org True True choir",
		"new-ada new-ada@example.org True False ", "new-bob new-bob@example.org True False ", "new-dan new-dan@example.org True False ", "new-eve new-eve@example.org True False ", "new-fay new-fay@example.org True False ",
		"none none@example.org True False ", "off off@example.org False False ", "",
	}, "\n"), said)
}

const drrPassword = "another, later passphrase"

// drr walks through the API as the documentation of django-rest-registration has it:
// its paths with the slash at their end, its bodies, and of the answers what it promises.
func drr(t *testing.T, s *served.Server, name string) {
	t.Helper()
	c := s.Client()
	mails := func(to string) int { return len(s.Mails(to)) }
	detail := func(a *served.Answer) { t.Helper(); require.Contains(t, a.JSON(t), "detail") }

	detail(c.Post(http.StatusBadRequest, "login/", data{"login": name, "password": "wrong"}))
	detail(c.Post(http.StatusOK, "login/", data{"login": name, "password": served.TestPassword}))
	profile := c.Get("/accounts/profile/").JSON(t)
	require.Equal(t, name, profile["username"])
	require.Equal(t, strings.ToUpper(name[:1])+name[1:], profile["first_name"])
	changed := c.Do(http.MethodPatch, "/accounts/profile/", data{"last_name": "Lovelace"})
	require.Equal(t, http.StatusOK, changed.StatusCode, changed.Text)
	put := c.Do(http.MethodPut, "/accounts/profile/", data{"username": name, "first_name": name, "last_name": "L", "email": name + "@example.org"})
	require.Equal(t, http.StatusOK, put.StatusCode, put.Text)

	c.Post(http.StatusBadRequest, "change-password/", data{"old_password": "wrong", "password": drrPassword, "password_confirm": drrPassword})
	detail(c.Post(http.StatusOK, "change-password/", data{"old_password": served.TestPassword, "password": drrPassword + "!", "password_confirm": drrPassword + "!"}))

	detail(c.Post(http.StatusOK, "register-email/", data{"email": name + ".new@example.org"}))
	detail(s.Client().Post(http.StatusOK, "verify-email/", s.Mail(name+".new@example.org", 1).Link(t)))
	c = s.Client()
	detail(c.Post(http.StatusOK, "login/", data{"login": name + ".new@example.org", "password": drrPassword + "!"}))
	detail(c.Post(http.StatusOK, "logout/", data{}))
	require.Equal(t, http.StatusUnauthorized, c.Get("/accounts/profile/").StatusCode)

	before := mails(name + ".new@example.org")
	detail(s.Client().Post(http.StatusOK, "send-reset-password-link/", data{"login": name}))
	link := s.Mail(name+".new@example.org", before+1).Link(t)
	link["password"], link["password_confirm"] = drrPassword, drrPassword
	detail(s.Client().Post(http.StatusOK, "reset-password/", link))
	detail(c.Post(http.StatusOK, "login/", data{"login": name, "password": drrPassword}))

	registered := s.Client().Post(http.StatusCreated, "register/", served.Newcomer("new-"+name)).JSON(t)
	require.Equal(t, "new-"+name, registered["username"])
	detail(s.Client().Post(http.StatusOK, "verify-registration/", s.Mail("new-"+name+"@example.org", 1).Link(t)))
	detail(s.Client().Post(http.StatusOK, "login/", data{"login": "new-" + name, "password": served.TestPassword}))
}

// Before there is a store, a dry run says what an import would do, and leaves none.
func TestDryRunBeforeTheFirstStart(t *testing.T) {
	s := served.NewServer(t)
	s.Configure(served.PlainSite)
	path := filepath.Join(s.Dir, "users.csv")
	require.NoError(t, os.WriteFile(path, []byte("username,email\nada,ada@example.org\na b,\n"), 0o600))
	named := filepath.Join(s.Dir, "none", "other.db")
	temporary := filepath.Join(s.Dir, "tmp")
	require.NoError(t, os.Mkdir(temporary, 0o700))
	for _, args := range [][]string{{}, {"--store", named}} {
		cmd := s.Command(append([]string{"registration", "import", "--dry-run", path}, args...)...)
		cmd.Env = append(cmd.Environ(), "TMPDIR="+temporary)
		out, err := cmd.CombinedOutput()
		require.Error(t, err, "one is refused")
		require.Contains(t, string(out), "1 account would be added, 0 changed; 0 are there with the same, 0 with other values; 1 refused.")
		require.NotContains(t, string(out), "Written to")
		require.NoFileExists(t, filepath.Join(s.DataDir(), "registration.db"))
		require.NoDirExists(t, filepath.Dir(named))
		left, err := os.ReadDir(temporary)
		require.NoError(t, err)
		require.Empty(t, left)
	}
	cmd := s.Command("registration", "import", "--dry-run", path)
	cmd.Env = append(cmd.Environ(), "TMPDIR="+filepath.Join(s.Dir, "nowhere"))
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "there is no store ")
	require.Contains(t, string(out), s.Store()+", and none can be made to try it out: ")
	_, errs, err := owner(s, "import", path)
	require.Error(t, err)
	require.Contains(t, errs, "Written to "+s.Store()+"\n")
}

// A whole realm goes to another server with the same secret: who has a second step signs in
// there with his app and with a recovery code, and the record of acts is there once. A file
// that was cut off at the end of a line takes nobody.
func TestRealmMovesToAnotherServer(t *testing.T) {
	site := served.Site("secret the-same-secret-in-both-realms-0123456789\n\t\tfactors\n", "require_login /members/*", served.Greeting)
	s := served.Run(t, site)
	c := s.Member("ada")
	secret, _ := c.Post(http.StatusOK, "enrol-totp", data{}).JSON(t)["secret"].(string)
	code := func(ahead time.Duration) string {
		t.Helper()
		code, err := totp.GenerateCode(secret, time.Now().Add(ahead))
		require.NoError(t, err)
		return code
	}
	recovery, _ := c.Post(http.StatusCreated, "confirm-totp", data{"code": code(0)}).JSON(t)["recovery_codes"].([]any)
	require.NotEmpty(t, recovery)
	file := filepath.Join(s.Dir, "accounts.ndjson")
	out, errs, err := owner(s, "export", "--with-hashes", "--with-audit", file)
	require.NoError(t, err, errs)
	require.Equal(t, file+" has 1 account.\n", out)
	require.Empty(t, errs)

	to := served.Run(t, site)
	cut := filepath.Join(to.Dir, "cut.ndjson")
	whole := strings.TrimSuffix(string(served.ReadFile(t, file)), "\n")
	require.NoError(t, os.WriteFile(cut, []byte(whole[:strings.LastIndex(whole, "\n")+1]), 0o600))
	for _, args := range [][]string{{"--dry-run"}, {}} {
		_, errs, err = owner(to, append([]string{"import", cut}, args...)...)
		require.Error(t, err)
		require.Contains(t, errs, "nobody was taken: it is not whole: its last line is missing")
	}
	out, errs, err = owner(to, "import", file)
	require.NoError(t, err, "%s%s", out, errs)
	require.Contains(t, out, "1 account has been added")
	require.Contains(t, out, " rows of the record of acts have been added.\n")
	out, _, err = owner(to, "audit", "--json", "--account", "ada", "--event", "factor_added")
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(out, "\n"), out)
	out, errs, err = owner(to, "import", file)
	require.NoError(t, err, errs)
	require.Equal(t, "0 accounts have been added, 0 changed; 1 are there with the same, 0 with other values; 0 refused.\n", out, "a second run")

	answer := func(param, value string) int {
		t.Helper()
		c := to.Client()
		challenge := c.Post(http.StatusOK, "login", data{"login": "ada", "password": served.TestPassword}).JSON(t)["challenge"]
		return c.Do(http.MethodPost, "/accounts/login-factor", data{"challenge": challenge, param: value}).StatusCode
	}
	require.Equal(t, http.StatusBadRequest, answer("recovery_code", "AAAA-AAAA-AAAA"))
	require.Equal(t, http.StatusOK, answer("recovery_code", recovery[0].(string)))
	to.Stop() // and after a start
	to.Start()
	require.Equal(t, http.StatusOK, answer("totp", code(30*time.Second)), "the next one: the one that confirmed is used up")
}

// The server is killed in the middle of an import: what is there is whole, the command says
// how to go on, and the same command does. Without a server it opens the store itself.
func TestImportIsKilledAndGoesOn(t *testing.T) {
	s := served.Run(t, served.PlainSite)
	const people = 4000
	var file strings.Builder
	file.WriteString("username,email,password\n")
	for i := range people {
		fmt.Fprintf(&file, "user%d,user%d@example.org,%s\n", i, i, served.TestPassword)
	}
	path := filepath.Join(s.Dir, "users.csv")
	require.NoError(t, os.WriteFile(path, []byte(file.String()), 0o600))
	cmd := s.Command("registration", "import", "--json", path)
	var errs strings.Builder
	cmd.Stderr = &errs
	require.NoError(t, cmd.Start())
	require.True(t, served.Eventually(func() bool {
		return s.AdminRequest(http.MethodGet, "/registration/default/users?limit=1", "", "").Text != ""
	}, 5*time.Millisecond))
	s.Kill()
	if err := cmd.Wait(); err != nil { // else it was done before it could be killed
		require.Contains(t, errs.String(), "accounts have been seen to, and the same command goes on from there")
	}
	report := func(args ...string) (r struct{ Added, Unchanged, Refused int }) {
		t.Helper()
		out, errs, err := owner(s, append([]string{"import", "--json", path}, args...)...)
		require.NoError(t, err, errs)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		var last struct{ Report any }
		last.Report = &r
		require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &last))
		return r
	}
	dry := report("--dry-run") // in the store itself
	require.Equal(t, people, dry.Added+dry.Unchanged)
	require.NotZero(t, dry.Unchanged)
	s.Start()
	done := report()
	require.Equal(t, dry, done)
	require.Equal(t, people, report().Unchanged)
	s.Client().SignIn("user0")
	s.Client().SignIn(fmt.Sprintf("user%d@example.org", people-1))

	// Export, into another realm, export: the same, byte for byte, over the store itself too.
	exported := filepath.Join(s.Dir, "accounts.ndjson")
	said, complaint, err := owner(s, "export", "--with-hashes", exported)
	require.NoError(t, err, complaint)
	require.Equal(t, exported+" has 4000 accounts.\n", said)
	other := filepath.Join(s.Dir, "other.db")
	_, complaint, err = owner(s, "import", "--store", other, exported)
	require.NoError(t, err, complaint)
	require.Equal(t, "Written to "+other+"\n", complaint)
	again, complaint, err := owner(s, "export", "--store", other, "--with-hashes")
	require.NoError(t, err, complaint)
	require.Equal(t, string(served.ReadFile(t, exported)), again)
}
