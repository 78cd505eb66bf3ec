// moving_test.go: the recipes of docs/moving, each from what its system writes to members
// who sign in with the passwords that they had there. Django and htpasswd are the real
// ones; of the others the files are samples of our making.

package config_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// movingSite has a page for members alone, and one for a group.
var movingSite = served.Site("user {\n\t\t\tfield company text\n\t\t}", "require_login /members/*", "require_login /staff/* {\n\t\tgroup staff\n\t}", served.Greeting)

// fromTool skips a test where a tool is missing, which in CI is there.
func fromTool(t *testing.T, pkg string, args ...string) {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if os.Getenv("CI") == "true" {
		require.NoError(t, err, "%s", out)
	}
	if err != nil {
		t.Skipf("needs %s (apt-get install %s): %v", args[0], pkg, err)
	}
}

// movedIn is a server with a realm into which the last commands of a recipe have
// imported what lies in its folder.
func movedIn(t *testing.T, source string, files map[string]string) *served.Server {
	t.Helper()
	s := served.NewServer(t)
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(s.Dir, name), []byte(text), 0o600))
	}
	return moveIn(s, source)
}

func moveIn(s *served.Server, source string) *served.Server {
	s.Configure(movingSite)
	s.Start()
	commands := shellBlocks(s.T.(*testing.T), filepath.Join("docs", "moving", source+".md"))
	said := run(s, commands[len(commands)-1])
	s.T.Log(said)
	return s
}

// requireMembers signs everybody in with the old password, and again with what has
// become of its hash.
func requireMembers(t *testing.T, s *served.Server, old map[string]string) {
	t.Helper()
	for login, password := range old {
		for range 2 {
			b := s.Client()
			require.Equal(t, http.StatusBadRequest, b.Do(http.MethodPost, "/accounts/login", data{"login": login, "password": "not " + password}).StatusCode, login)
			b.Post(http.StatusOK, "login", data{"login": login, "password": password})
			require.Contains(t, b.Get("/members/").Text, "for members: ", login)
		}
	}
	require.Len(t, namesOf(t, s, "--hash-format argon2id"), len(old))
}

// namesOf are the usernames, or the addresses, of `caddy registration list`.
func namesOf(t *testing.T, s *served.Server, filter string) (names []string) {
	t.Helper()
	for line := range strings.Lines(run(s, "caddy registration list --json "+filter)) {
		var account struct{ Username, Email string }
		require.NoError(t, json.Unmarshal([]byte(line), &account))
		name := account.Username
		if name == "" {
			name = account.Email
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// oldPassword is that of the hashes in these tests: by PHP and by Passlib.
const (
	oldPassword = "correct horse, Ü"
	oldBcrypt   = "$2y$05$CBAN3QRC6tRBtjBd6LUnYeduyEKeVFNEoYdI3WhFh70BhE1bnUdhq"
	oldPHPass   = "$P$BZK6TIR5gFtPev/sKnyk75Olz7soHe."
	oldPBKDF2   = "$pbkdf2-sha512$10000$iVHqnXOOcY6xtpayNqbU2g$mg973agsRRR.ybqP.zK8tZ21JvMu8zgi9He0wOptiE0QzG1Y/L6CCdKvIpQ/3clyK9Conwdv3ZE4OzAYMTMgxw"
	oldCrypt    = "$6$DUTgs86JdcieGfI4$ySES1vhbp2ra2XlkCt7bAkm4X3e0HkzbT/9hoYQY8WdW6VrrXEgGx0ayIf2uY7LB3I6CjoKtTblalkO6Aaqrf0"
)

// keycloakOf is a password as Keycloak has it, of one of Passlib.
func keycloakOf(t *testing.T, hash string) (secret, credential string) {
	part := strings.Split(strings.ReplaceAll(hash, ".", "+"), "$")
	standard := func(text string) string {
		raw, err := base64.RawStdEncoding.DecodeString(text)
		require.NoError(t, err)
		return base64.StdEncoding.EncodeToString(raw)
	}
	quoted := func(text string) string { raw, _ := json.Marshal(text); return string(raw) }
	return quoted(`{"value":"` + standard(part[4]) + `","salt":"` + standard(part[3]) + `"}`), quoted(`{"hashIterations":` + part[2] + `,"algorithm":"` + part[1] + `"}`)
}

func TestMovingFromSamples(t *testing.T) {
	t.Parallel()
	secret, credential := keycloakOf(t, oldPBKDF2)
	recipe := func(source, language string) string {
		return fence(t, string(served.ReadFile(t, filepath.Join(served.RepoRoot, "docs", "moving", source+".md"))), language)
	}
	for source, tt := range map[string]struct {
		files   map[string]string
		members map[string]string
		wrapped []string
		staff   string // who is in the group
	}{
		"authelia": {
			files: map[string]string{"users_database.yml": "users:\n  ada:\n    password: '" + oldPBKDF2 + "'\n    email: ada@example.com\n    groups: [staff]\n" +
				"  bea:\n    displayname: Bea\n    password: '{CRYPT}" + oldCrypt + "'\n  cat:\n    password: '" + oldBcrypt + "'\n"},
			members: map[string]string{"ada": oldPassword, "ada@example.com": oldPassword, "bea": oldPassword, "cat": oldPassword},
			wrapped: []string{"bea"}, staff: "ada",
		},
		"caddy-security": {
			files: map[string]string{"users.json": `{"version": "1", "users": [{"username": "ada", "email_address": {"address": "ada@example.com"}, "roles": [{"name": "staff"}],
				"passwords": [{"purpose": "generic", "algorithm": "bcrypt", "hash": "` + oldBcrypt + `"}]}]}`},
			members: map[string]string{"ada": oldPassword}, staff: "ada",
		},
		"wordpress": {
			files: map[string]string{"users.json": `[{"ID":1,"user_login":"ada","user_email":"ada@example.com","user_pass":"$wp$2y$05$6hQP59WxpxNRDJOSUvnzWOb8GeBN8nIj9o5CQZdv6AJGxjNAFq7KO","roles":"staff"},
				{"ID":2,"user_login":"bea","user_email":"bea@example.com","user_pass":"` + oldPHPass + `","roles":""},{"ID":3,"user_login":"cat","user_email":"cat@example.com","user_pass":"89a382efe7ca0b83a4505028fee80536"}]`},
			members: map[string]string{"ada": oldPassword, "bea": oldPassword, "cat": oldPassword},
			wrapped: []string{"bea", "cat"}, staff: "ada",
		},
		"firebase": {
			files: map[string]string{"hash_config.txt": recipe("firebase", "text"), "users.json": `{"users": [{"localId": "1", "email": "ada@example.com", "emailVerified": true, "createdAt": "1600000000000",
				"passwordHash": "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==", "salt": "42xEC+ixf3L2lw=="}]}`},
			members: map[string]string{"ada@example.com": "user1password"},
		},
		"supabase": {
			files:   map[string]string{"users.csv": "id,email,encrypted_password,email_confirmed_at,raw_user_meta_data\n1,ada@example.com," + oldBcrypt + `,2023-04-05 06:07:08+00,"{""username"": ""ada""}"` + "\n"},
			members: map[string]string{"ada@example.com": oldPassword, "ada": oldPassword},
		},
		"keycloak": {
			files: map[string]string{"shop.json": `{"realm": "shop", "users": [{"username": "ada", "email": "ada@example.com", "enabled": true, "groups": ["/staff"],
				"credentials": [{"type": "password", "secretData": ` + secret + `, "credentialData": ` + credential + `}]}]}`},
			members: map[string]string{"ada": oldPassword}, staff: "ada",
		},
		"csv": {
			files:   map[string]string{"users.csv": strings.Replace(recipe("csv", "csv"), "bea,bea@example.com,false,Bea,,,\n", "", 1)},
			members: map[string]string{"ada": oldPassword, "ada@example.com": oldPassword}, staff: "ada",
		},
	} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			s := movedIn(t, source, tt.files)
			require.Equal(t, tt.wrapped, namesOf(t, s, "--hash-format wrapped"))
			everybody := namesOf(t, s, "")
			for login, password := range tt.members {
				for range 2 {
					b := s.Client()
					require.Equal(t, http.StatusBadRequest, b.Do(http.MethodPost, "/accounts/login", data{"login": login, "password": "not " + password}).StatusCode, login)
					b.Post(http.StatusOK, "login", data{"login": login, "password": password})
					require.Contains(t, b.Get("/members/").Text, "for members: ", login)
					name, _, _ := strings.Cut(login, "@")
					require.Equal(t, name == tt.staff, b.Get("/staff/").StatusCode == http.StatusOK, login)
				}
			}
			require.Equal(t, everybody, namesOf(t, s, "--hash-format argon2id"))
		})
	}
}

func TestMovingFromHtpasswd(t *testing.T) {
	t.Parallel()
	fromTool(t, "apache2-utils", "htpasswd", "-nbs", "ada", "x")
	var file strings.Builder
	old := map[string]string{}
	for name, how := range map[string]string{"bcrypt": "-nbB", "apr1": "-nbm", "sha1": "-nbs", "crypt256": "-nb2", "crypt512": "-nb5", "usual": "-nb"} {
		old[name] = "the password of " + name + " with an ü"
		out, err := exec.Command("htpasswd", how, name, old[name]).Output()
		require.NoError(t, err)
		file.WriteString(strings.TrimSpace(string(out)) + "\n")
	}
	s := movedIn(t, "htpasswd", map[string]string{".htpasswd": file.String()})
	require.Equal(t, []string{"apr1", "crypt256", "crypt512", "sha1", "usual"}, namesOf(t, s, "--hash-format wrapped"))
	requireMembers(t, s, old)
}

// djangoProject has a user model of its own, with a user of each hasher.
var djangoProject = map[string]string{
	"people/__init__.py": "",
	"people/models.py": `from django.contrib.auth.models import AbstractUser
from django.db import models

class Person(AbstractUser):
    company = models.CharField(max_length=50, blank=True)
`,
	"settings.py": `SECRET_KEY = 'x'
INSTALLED_APPS = ['django.contrib.auth', 'django.contrib.contenttypes', 'people']
AUTH_USER_MODEL = 'people.Person'
DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': 'db.sqlite3'}}
DEFAULT_AUTO_FIELD = 'django.db.models.AutoField'
USE_TZ = True
PASSWORD_HASHERS = ['django.contrib.auth.hashers.%sPasswordHasher' % name for name in (
    'PBKDF2', 'PBKDF2SHA1', 'Argon2', 'BCryptSHA256', 'BCrypt', 'MD5', 'SHA1', 'UnsaltedMD5', 'UnsaltedSHA1')]
`,
	"manage.py": `import os, sys
os.environ['DJANGO_SETTINGS_MODULE'] = 'settings'
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
`,
	"fill.py": `import os
os.environ['DJANGO_SETTINGS_MODULE'] = 'settings'
import django
django.setup()
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group
from people.models import Person
staff = Group.objects.create(name='staff')
Group.objects.create(name='читатели')
for hasher in ('pbkdf2_sha256', 'pbkdf2_sha1', 'argon2', 'bcrypt_sha256', 'bcrypt', 'md5', 'sha1', 'unsalted_md5', 'unsalted_sha1'):
    person = Person.objects.create(username=hasher, email=hasher + '@example.com', first_name='Ада', company='Łódź', is_staff=hasher == 'argon2',
        password=make_password('the password of ' + hasher + ' with an ü', hasher=hasher))
    person.groups.add(staff)
Person.objects.create(username='gone', is_active=False, password=make_password('x'))
Person.objects.create(username='nobody', password=make_password(None))
`,
}

func TestMovingFromDjango(t *testing.T) {
	t.Parallel()
	const python = "/usr/bin/python3" // Debian's, for which its packages are
	fromTool(t, "python3-django python3-bcrypt python3-argon2", python, "-c", "import django, bcrypt, argon2")
	s := served.NewServer(t)
	require.NoError(t, os.Mkdir(filepath.Join(s.Dir, "people"), 0o700))
	for name, text := range djangoProject {
		require.NoError(t, os.WriteFile(filepath.Join(s.Dir, name), []byte(text), 0o600))
	}
	run(s, python+" manage.py makemigrations -v0 people && "+python+" manage.py migrate -v0 && "+python+" fill.py")
	dump := shellBlocks(t, "docs/moving/django.md")[0]
	run(s, strings.NewReplacer("python3 ", python+" ", "auth.user", "people.person").Replace(dump))
	moveIn(s, "django")

	require.Equal(t, []string{"md5", "sha1", "unsalted_md5", "unsalted_sha1"}, namesOf(t, s, "--hash-format wrapped"))
	require.Equal(t, []string{"nobody"}, namesOf(t, s, "--hash-format none"))
	require.Equal(t, []string{"gone"}, namesOf(t, s, "--state disabled"))
	require.Len(t, namesOf(t, s, "--group staff"), 9)
	for _, hasher := range []string{"pbkdf2_sha256", "pbkdf2_sha1", "argon2", "bcrypt_sha256", "bcrypt", "md5", "sha1", "unsalted_md5", "unsalted_sha1"} {
		for range 2 {
			b := s.Client()
			b.Post(http.StatusOK, "login", data{"login": hasher, "password": "the password of " + hasher + " with an ü"})
			require.Equal(t, "for members: "+hasher, b.Get("/staff/").Text)
			profile := b.Get("/accounts/profile").JSON(t)
			require.Equal(t, "Ада", profile["first_name"])
			require.Equal(t, "Łódź", profile["company"])
		}
	}
	b := s.Client()
	require.Equal(t, http.StatusBadRequest, b.Do(http.MethodPost, "/accounts/login", data{"login": "gone", "password": "x"}).StatusCode)
	require.Len(t, namesOf(t, s, "--hash-format argon2id"), 9)

	// And back: into a Django that has the hashes of Argon2 as its own.
	run(s, "caddy registration export --with-hashes --format django > back.json")
	run(s, strings.NewReplacer("PY", python).Replace(`sed -i -e 's/people.Person/auth.User/' -e "s/, 'people'//" -e s/db.sqlite3/back.sqlite3/ settings.py
PY manage.py migrate -v0 && PY manage.py loaddata -v0 back.json`))
	require.Equal(t, "argon2 True ['staff'] [True]", strings.TrimSpace(run(s, `DJANGO_SETTINGS_MODULE=settings `+python+` -c "
import django; django.setup()
from django.contrib.auth.models import User
u = User.objects.get(username='md5')
print(u.password.split('\$')[0], u.check_password('the password of md5 with an ü'), [g.name for g in u.groups.all()],
    [u.is_staff for u in User.objects.filter(username='argon2')])"`)))
}
