// command_line_test.go: `caddy registration` as an owner types it, and what it says
// where that can't be done.

package accounts_test

import (
	"crypto/sha1"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
	"github.com/seed-928992b0/caddy-registration/internal/pgtest"
)

// TestCommandLineLists: the filters, the pages, and what show says of one account.
func TestCommandLineLists(t *testing.T) {
	s := served.NewServer(t)
	s.Values["listen"] = s.Fill("127.0.0.1:[[admin]]")
	s.Configure(ownerSite)
	for _, args := range [][]string{
		{"create", "ada", "ada@example.com", "--group", "admins"}, {"create", "grace", "--group", "members"}, {"create", "alan", "alan@example.com"}, {"disable", "-y", "alan"},
	} {
		_, errs, err := owner(s, args...)
		require.NoError(t, err, errs)
	}
	for range 2 { // in the store itself, then at the server
		for args, want := range map[string]string{
			"": "ada grace alan", "--state disabled": "alan", "--state active": "ada grace", "--group members": "grace", "--search al": "alan", "--search ALAN@": "alan",
			"--hash-format none": "ada grace alan", "--hash-format argon2id": "", "--state active --group admins": "ada",
		} {
			out, errs, err := owner(s, append([]string{"list"}, strings.Fields(args)...)...)
			require.NoError(t, err, errs)
			require.Empty(t, errs)
			var names []string
			for line := range strings.Lines(out) {
				require.Equal(t, 5, strings.Count(line, "\t"), line)
				names = append(names, strings.Split(line, "\t")[0])
			}
			require.Equal(t, want, strings.Join(names, " "), args)
			out, errs, err = owner(s, append([]string{"list", "--json"}, strings.Fields(args)...)...)
			require.NoError(t, err, errs)
			require.Equal(t, len(names), strings.Count(out, "\n"))
		}
		for args, says := range map[string]string{
			"--state asleep": `there is no state "asleep"; the states are active, unconfirmed, waiting, closing, disabled`, "--hash-format md5": `there is no format "md5"; the formats are `,
		} {
			_, errs, err := owner(s, append([]string{"list"}, strings.Fields(args)...)...)
			require.Error(t, err)
			require.Contains(t, errs, says)
		}
		out, errs, err := owner(s, "show", "ada@example.com")
		require.NoError(t, err, errs)
		require.Contains(t, out, "state\tactive\n")
		require.Contains(t, out, "groups\tadmins\n")
		require.Regexp(t, `act\t[^\t]+Z\taccount_registered\tadmin\t`, out)
		if !s.Running() {
			s.Start()
		}
	}
	// The fields that scripts rest on.
	out, errs, err := owner(s, "list", "--json", "--search", "ada")
	require.NoError(t, err, errs)
	one, errs, err := owner(s, "show", "ada", "--json")
	require.NoError(t, err, errs)
	require.Equal(t, out, one)
	var account map[string]any
	require.NoError(t, json.Unmarshal([]byte(one), &account))
	for name, want := range map[string]any{
		"username": "ada", "email": "ada@example.com", "is_active": true, "is_staff": false, "groups": []any{"admins"}, "last_login": nil,
		"email_verified": true, "awaits_verification": false, "first_name": "", "last_name": "",
	} {
		require.Contains(t, account, name)
		require.Equal(t, want, account[name], name)
	}
	require.Contains(t, account, "id")
	require.Contains(t, account, "date_joined")
}

// TestCommandLineHoldsNobodyUp: whoever reads a list may go away for hours.
func TestCommandLineHoldsNobodyUp(t *testing.T) {
	s := served.NewServer(t)
	s.Values["listen"] = s.Fill("127.0.0.1:[[admin]]")
	s.Configure(ownerSite)
	s.Start()
	// Some 5 MB of accounts: more than a pipe and the buffers of a connection take.
	var g served.Group
	for worker := range 4 {
		g.Go(func() error {
			for i := worker; i < 2500; i += 4 {
				body := fmt.Sprintf(`{"username": "u%d", "fields": {"first_name": %q, "last_name": %[2]q}}`, i, strings.Repeat("a name of many letters ", 6))
				res, err := http.Post(fmt.Sprintf("http://127.0.0.1:%d/registration/default/users", s.Admin), "application/json", strings.NewReader(body))
				if err != nil {
					return err
				}
				if _ = res.Body.Close(); res.StatusCode != http.StatusOK {
					return fmt.Errorf("account %d: %s", i, res.Status)
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	cmd := s.Command("registration", "list", "--json")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	first := make([]byte, 1)
	_, err = out.Read(first)
	require.NoError(t, err)
	// It has begun, and nobody reads on: accounts are made, a configuration is loaded,
	// and the server stops at once.
	_, errs, err := owner(s, "create", "later")
	require.NoError(t, err, errs)
	reload := s.Command("reload", "--force", "--config", s.ConfigFile())
	said, err := reload.CombinedOutput()
	require.NoError(t, err, string(said))
	_, errs, err = owner(s, "create", "latest")
	require.NoError(t, err, errs)
	all := strings.Builder{}
	buf := make([]byte, 64<<10)
	for n, err := 0, error(nil); err == nil; {
		n, err = out.Read(buf)
		all.Write(buf[:n])
	}
	require.NoError(t, cmd.Wait(), "it goes on at the new server")
	require.GreaterOrEqual(t, strings.Count(all.String(), "\n"), 2500)
	require.Contains(t, all.String(), `"later"`)
}

// TestCommandLineActs: in force at once, told by line, and never guessed.
func TestCommandLineActs(t *testing.T) {
	s := served.NewServer(t)
	s.Values["listen"] = "unix/" + filepath.Join(s.Dir, "a.sock")
	s.Configure(ownerSite)
	s.Start()
	made := map[string]string{}
	for _, name := range []string{"ada", "grace", "alan"} {
		out, errs, err := owner(s, "create", name, name+"@example.com", "--json")
		require.NoError(t, err, errs)
		var u struct{ ID, Username, Email, Link string }
		require.NoError(t, json.Unmarshal([]byte(out), &u), out)
		require.Equal(t, name, u.Username)
		require.Equal(t, name+"@example.com", u.Email)
		require.Contains(t, u.Link, "signature=")
		made[name] = u.ID
	}
	set := s.Command("registration", "set-password", "ada")
	set.Stdin = strings.NewReader(served.TestPassword + "\n")
	said, err := set.CombinedOutput()
	require.NoError(t, err, string(said))
	require.NotContains(t, string(said), served.TestPassword)
	ada := s.Client()
	ada.SignIn("ada")
	out, errs, err := owner(s, "sessions", "ada")
	require.NoError(t, err, errs)
	require.Regexp(t, `^session\t[^\t]+\t[^\t]+\t[^\t]+\t127\.0\.0\.1\t`, out)
	out, errs, err = owner(s, "show", "ada")
	require.NoError(t, err, errs)
	require.Contains(t, out, "\nsession\tsession\t")
	require.Contains(t, out, "\tpassword_changed\tadmin\t")

	out, errs, err = owner(s, "sign-out", "ada", "nobody", "grace")
	require.Error(t, err)
	require.Equal(t, "ada is signed out everywhere.\ngrace is signed out everywhere.\n", out)
	require.Contains(t, errs, "nobody: ")
	require.Contains(t, errs, "1 of 3 not done")
	require.Equal(t, http.StatusUnauthorized, ada.Get("/accounts/profile").StatusCode)

	// A username that is another account's id.
	_, errs, err = owner(s, "set-username", "grace", made["ada"])
	if err == nil {
		_, errs, err = owner(s, "delete", "-y", made["ada"])
		require.Error(t, err)
		require.Contains(t, errs, made["ada"])
		require.Contains(t, errs, made["grace"])
	} else {
		require.Contains(t, errs, "username")
	}
	_, errs, err = owner(s, "delete", "ada")
	require.Error(t, err, "there is no terminal")
	require.Contains(t, errs, "write -y")
	out, errs, err = owner(s, "delete", "--yes", "ada", "alan@example.com")
	require.NoError(t, err, errs)
	require.Equal(t, 2, strings.Count(out, " has been removed.\n"), out)
	out, errs, err = owner(s, "list", "--json")
	require.NoError(t, err, errs)
	require.Equal(t, 1, strings.Count(out, "\n"))
}

// TestCommandLineRestores, by the same door as the other commands.
func TestCommandLineRestores(t *testing.T) {
	served.Embedded(t)
	s := served.NewServer(t)
	s.Values["listen"] = "unix/" + filepath.Join(s.Dir, "a.sock")
	s.Configure(ownerSite)
	_, errs, err := owner(s, "create", "ada")
	require.NoError(t, err, errs)
	copied := filepath.Join(s.Dir, "copy.db")
	_, errs, err = owner(s, "backup", copied)
	require.NoError(t, err, errs)
	s.Start()
	db := filepath.Join(s.DataDir(), "registration.db")
	for name, tc := range map[string]struct{ args, says string }{
		"the configuration's server": {"", "for example by `caddy stop --address unix/" + filepath.Join(s.Dir, "a.sock") + "`"},
		"its file":                   {"--store " + db, "is locked"},
		"two places":                 {"--store " + db + " --config Caddyfile", "are two places; leave one of them out"},
		"another realm":              {"--address 127.0.0.1:1 --realm nobody", "name one by --realm: default"},
	} {
		_, errs, err := owner(s, append([]string{"restore", copied}, strings.Fields(tc.args)...)...)
		require.Error(t, err, name)
		require.Contains(t, errs, tc.says, name)
		require.Equal(t, 1, strings.Count(errs, "\n"), "%s: one line, and nothing of Caddy's log: %s", name, errs)
	}
	s.Stop()
	_, errs, err = owner(s, "create", "later")
	require.NoError(t, err, errs)
	out, errs, err := owner(s, "restore", copied)
	require.NoError(t, err, errs)
	require.Empty(t, errs)
	require.Contains(t, out, db+" has 1 account in 1 realm")
	out, _, err = owner(s, "list")
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(out, "\n"))
}

// TestCommandLineBadInput: what is wrong is named, with how to mend it, in a line, and
// nothing is done.
func TestCommandLineBadInput(t *testing.T) {
	s := served.NewServer(t)
	s.Values["listen"] = s.Fill("127.0.0.1:[[admin]]")
	s.Configure(ownerSite)
	db := filepath.Join(s.DataDir(), "registration.db")
	folder := filepath.Join(s.Dir, "folder")
	require.NoError(t, os.Mkdir(folder, 0o700))
	text := filepath.Join(s.Dir, "text")
	require.NoError(t, os.WriteFile(text, []byte("no store, but a text that is longer than nothing"), 0o600))
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, silent.Close())
	refused := func(t *testing.T, args []string, says string) {
		t.Helper()
		out, errs, err := owner(s, args...)
		require.Error(t, err, out)
		require.Contains(t, errs, says)
		require.Equal(t, 1, strings.Count(errs, "\n"), errs)
		require.NotContains(t, errs, "panic")
		require.Empty(t, out)
	}
	_, err = os.Stat(db)
	require.ErrorIs(t, err, os.ErrNotExist)
	for _, args := range [][]string{{"list"}, {"show", "ada"}, {"delete", "-y", "ada"}, {"backup", filepath.Join(s.Dir, "b.db")}} {
		refused(t, args, s.Store()+"; `caddy registration create` makes it")
		_, err = os.Stat(db)
		require.ErrorIs(t, err, os.ErrNotExist, "a command that reads makes none")
	}
	_, errs, err := owner(s, "create", "ada", "ada@example.com")
	require.NoError(t, err, errs)
	var whole []byte
	if !served.InDatabase() {
		whole = served.ReadFile(t, db)
	}
	for name, tc := range map[string]struct {
		args []string
		says string
	}{
		"unknown command":           {[]string{"destroy"}, `"destroy" is no command of 'caddy registration'`},
		"unknown flag":              {[]string{"create", "eve", "--groups", "a"}, "unknown flag: --groups; 'caddy registration create --help' lists the flags"},
		"unknown short flag":        {[]string{"list", "-x"}, "unknown shorthand flag: 'x' in -x"},
		"too few arguments":         {[]string{"set-email", "ada"}, "needs <address>; write 'caddy registration set-email <account> <address>'"},
		"unknown account":           {[]string{"show", "eve"}, "there is no account eve (user_not_found)"},
		"an account of no letters":  {[]string{"show", ""}, "name one account"},
		"unknown realm":             {[]string{"list", "--realm", "x/../y"}, "has no registration of the realm x/../y; name one by --realm: default"},
		"unknown configuration":     {[]string{"list", "--config", "/no/such/Caddyfile"}, "/no/such/Caddyfile"},
		"a folder as configuration": {[]string{"list", "--config", folder}, folder},
		"unknown adapter":           {[]string{"list", "--config", text, "--adapter", "cobol"}, "cobol"},
		"no configuration":          {[]string{"list", "--config", text, "--adapter", "caddyfile"}, text},
		"unknown store":             {[]string{"list", "--store", filepath.Join(folder, "x.db")}, "there is no store at " + filepath.Join(folder, "x.db")},
		"a folder as store":         {[]string{"list", "--store", folder}, folder},
		"a text as store":           {[]string{"list", "--store", text}, text},
		"store and address":         {[]string{"list", "--store", db, "--address", "localhost:2019"}, "--store " + db + " and --address localhost:2019 are two places; leave one of them out"},
		"a wrong address":           {[]string{"list", "--address", "http://localhost:2019"}, `"http://localhost:2019" is no address of an admin endpoint; write it as localhost:2019 or unix//run/caddy/admin.sock`},
		"an address of many":        {[]string{"list", "--address", "localhost:1-9"}, "is no address of an admin endpoint"},
		"nobody at the address":     {[]string{"list", "--address", silent.Addr().String()}, "no server answers at " + silent.Addr().String()},
		"no such socket":            {[]string{"list", "--address", "unix//no/such.sock"}, "no server answers at unix//no/such.sock"},
		"a taken name":              {[]string{"create", "ada"}, "username: Choose another. This one is already taken. (unique)"},
		"a wrong name":              {[]string{"create", "a b"}, "username: "},
		"a wrong address of mail":   {[]string{"create", "eve", "nowhere"}, "email: "},
		"a wrong group":             {[]string{"create", "eve", "--group", "a,b"}, "the name of a group is"},
		"a weak password":           {[]string{"set-password", "ada"}, "the standard input has no line"},
		"backup into no folder":     {[]string{"backup", "/no/such/folder/b.db"}, "/no/such/folder"},
		"backup over a folder":      {[]string{"backup", folder}, folder + " is not a file; name one"},
		"restore of nothing":        {[]string{"restore", "/no/such.db"}, "there is no backup /no/such.db"},
		"restore of a text":         {[]string{"restore", text}, text},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.args[0] == "restore" {
				served.Embedded(t)
			}
			refused(t, tc.args, tc.says)
		})
	}
	if served.InDatabase() {
		return // it is nobody's alone
	}
	require.Equal(t, string(whole), string(served.ReadFile(t, db)), "nothing has been done")
	s.Start()
	refused(t, []string{"list", "--store", db}, "another process has "+db+" open: leave --store out")
}

// TestCommandLineWithoutRights: a folder that the caller may not write is named, and
// nothing of a file is left.
func TestCommandLineWithoutRights(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs to be root, to be another user")
	}
	served.Embedded(t)
	s := served.NewServer(t)
	s.Values["listen"] = s.Fill("127.0.0.1:[[admin]]")
	s.Configure(ownerSite)
	_, errs, err := owner(s, "create", "ada")
	require.NoError(t, err, errs)
	db := filepath.Join(s.DataDir(), "registration.db")
	const nobody = 65534
	folder, err := os.MkdirTemp("", "rights")
	require.NoError(t, err)
	defer func() { require.NoError(t, os.RemoveAll(folder)) }()
	require.NoError(t, os.Chmod(folder, 0o755))
	readable := filepath.Join(folder, "readable.db")
	require.NoError(t, os.WriteFile(readable, served.ReadFile(t, db), 0o600))
	require.NoError(t, os.Chown(readable, nobody, nobody))
	for name, tc := range map[string]struct {
		args []string
		says string
	}{
		"no right to make a store":   {[]string{"create", "ada", "--store", filepath.Join(folder, "new.db")}, filepath.Join(folder, "new.db") + ": permission denied"},
		"no right to make a folder":  {[]string{"create", "ada", "--store", filepath.Join(folder, "new", "a.db")}, filepath.Join(folder, "new") + ": permission denied"},
		"no right to read a store":   {[]string{"list", "--store", db}, "permission denied"},
		"no right to write a backup": {[]string{"backup", filepath.Join(folder, "b.db"), "--store", readable}, filepath.Join(folder, "b.db") + " can't be written"},
		"no right to restore":        {[]string{"restore", readable, "--store", filepath.Join(folder, "new.db")}, "nothing has been restored: " + filepath.Join(folder, "new.db") + " can't be written"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := s.Command(append([]string{"registration"}, tc.args...)...)
			cmd.Dir = folder
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			out, err := cmd.CombinedOutput()
			if errors.Is(err, os.ErrPermission) {
				t.Skip("another user may not run this Caddy")
			}
			require.Error(t, err)
			require.Contains(t, string(out), tc.says)
			entries, err := os.ReadDir(folder)
			require.NoError(t, err)
			require.Len(t, entries, 1, "nothing is left")
		})
	}
}

// TestCommandLineJudgesPasswords: what the site says of passwords holds for who sets one
// here, too, with and without a server.
func TestCommandLineJudgesPasswords(t *testing.T) {
	s := served.NewServer(t)
	s.Values["listen"] = s.Fill("127.0.0.1:[[admin]]")
	const bad = "tea in the old observatory"
	list := filepath.Join(s.Dir, "known.txt")
	require.NoError(t, os.WriteFile(list, fmt.Appendf(nil, "%X:2\n", sha1.Sum([]byte(bad))), 0o600))
	s.Configure(strings.Replace(ownerSite, "mailer log", "mailer log\n\t\tpassword {\n\t\t\tbreached "+list+"\n\t\t\tvalidator words harbour\n\t\t}", 1))
	refuses := func(password, code string) {
		t.Helper()
		for _, args := range [][]string{{"create", "eve", "--password-stdin"}, {"set-password", "ada"}} {
			cmd := s.Command(append([]string{"registration"}, args...)...)
			cmd.Stdin = strings.NewReader(password + "\n")
			said, err := cmd.CombinedOutput()
			require.Error(t, err, string(said))
			require.Contains(t, string(said), code)
			require.NotContains(t, string(said), password)
		}
	}
	_, errs, err := owner(s, "create", "ada", "ada@example.com")
	require.NoError(t, err, errs)
	for _, start := range []func(){func() {}, s.Start} {
		start()
		refuses(bad, "(password_breached)")
		refuses("the Harbour at night, in the rain", "(password_refused)")
	}
}

// TestCommandLineInADatabase: a command that reads makes no tables, neither does one that
// tries, and what writes says where.
func TestCommandLineInADatabase(t *testing.T) {
	server := pgtest.Start(t, "fsync=off")
	s := served.NewServer(t)
	s.Values["listen"] = s.Fill("127.0.0.1:[[admin]]")
	s.Env = []string{"DATABASE_URL=" + server.URL()}
	s.Configure(strings.Replace(ownerSite, "mailer log", "mailer log\n\t\tstore postgres {env.DATABASE_URL} {\n\t\t\tschema people\n\t\t}", 1))
	users := filepath.Join(s.Dir, "users.csv")
	require.NoError(t, os.WriteFile(users, []byte("username,email\ngrace,grace@example.org\n"), 0o600))
	for range 2 { // the second time shows that the first has made nothing
		for _, args := range [][]string{{"list"}, {"delete", "-y", "ada"}, {"backup", filepath.Join(s.Dir, "b.db")}} {
			out, errs, err := owner(s, args...)
			require.Error(t, err, out)
			require.Contains(t, errs, "there is no store in the schema people of the database; `caddy registration create` makes it")
		}
		out, errs, err := owner(s, "import", "--dry-run", users)
		require.NoError(t, err, errs)
		require.Contains(t, out+errs, "1 account would be added")
	}
	_, errs, err := owner(s, "create", "ada", "ada@example.com")
	require.NoError(t, err, errs)
	require.Equal(t, "Written to the schema people of the database\n", errs)
	_, errs, err = owner(s, "backup", filepath.Join(s.Dir, "b.db"))
	require.Error(t, err)
	require.Contains(t, errs, "use the tools of its own")
	_, errs, err = owner(s, "restore", users)
	require.Error(t, err)
	require.Contains(t, errs, "is postgres, not a file; use the tools of its own")
	s.Start()
	_, errs, err = owner(s, "create", "alan")
	require.NoError(t, err, errs)
	require.Empty(t, errs, "the server has written it")
	s.Stop()
	out, errs, err := owner(s, "list")
	require.NoError(t, err, errs)
	require.Equal(t, 2, strings.Count(out, "\n"), out)
	server.Stop()
	_, errs, err = owner(s, "list")
	require.Error(t, err)
	require.Contains(t, errs, "the database")
	require.Equal(t, 1, strings.Count(errs, "\n"), errs)
}
