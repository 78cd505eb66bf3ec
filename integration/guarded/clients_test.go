// clients_test.go: tokens for programs, brought by the programs that people use: curl,
// Git, and two clients of WebDAV.

package guarded_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/webdav"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// clientsSite guards a WebDAV server, a Git server, and a Git repository of plain files.
var clientsSite = served.Site("", `handle /dav/* {
		require_login {
			group family
			basic
			copy_headers
		}
		reverse_proxy [[dav]]
	}
	handle_path /git/* {
		require_login {
			group family
			basic
			copy_headers
		}
		reverse_proxy [[git]]
	}
	handle_path /static/* {
		require_login {
			group family
			basic
		}
		root * [[dir]]/repositories
		file_server {
			hide nothing
		}
	}
	handle /plain/* {
		require_login {
			group family
		}
		respond "for members: {http.auth.user.username}"
	}`)

// A programClient does with a token what people use a program for, and returns an error
// where it could not.
type programClient struct {
	name  string
	path  string // what it is used on, for the limit of a token
	tools []string
	use   func(b *bench, user, token string) error
}

// bench is where a client works: a home of its own, and the site.
type bench struct {
	t     testing.TB
	home  string
	plain string // http://127.0.0.1:port
	host  string
}

// run starts a program and returns what it has said.
func (b *bench) run(dir, input, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(b.t.Context(), served.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(input)
	cmd.Env = append(os.Environ(), "HOME="+b.home, "XDG_CONFIG_HOME="+b.home, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=true", "LC_ALL=C",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.org", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return string(out), nil
}

// all runs commands one after the other until one fails.
func (b *bench) all(dir string, commands ...[]string) error {
	for _, command := range commands {
		if _, err := b.run(dir, "", command[0], command[1:]...); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) folder() string {
	dir, err := os.MkdirTemp(b.home, "")
	require.NoError(b.t, err)
	return dir
}

func (b *bench) netrc(user, token string) {
	require.NoError(b.t, os.WriteFile(filepath.Join(b.home, ".netrc"), []byte("machine 127.0.0.1 login "+user+" password "+token+"\n"), 0o600))
}

// curl is one with these arguments, which has to get the page for members.
func curl(args ...string) func(b *bench, user, token string) error {
	return func(b *bench, user, token string) error {
		b.netrc(user, token)
		fill := strings.NewReplacer("USER", user, "TOKEN", token, "SITE", b.plain)
		filled := []string{"-sS", "--fail-with-body"}
		for _, arg := range args {
			filled = append(filled, fill.Replace(arg))
		}
		out, err := b.run(b.home, "", "curl", filled...)
		if err == nil && !strings.Contains(out, "for members") {
			return fmt.Errorf("curl has got: %s", out)
		}
		return err
	}
}

// gitPush clones, commits, pushes, and finds it in a second clone, which then fetches.
func gitPush(b *bench, user, token string) error {
	dir := b.folder()
	address := "http://" + url.UserPassword(user, token).String() + "@" + b.host + "/git/project.git"
	return b.all(dir,
		[]string{"git", "clone", "-q", address, "first"},
		[]string{"git", "clone", "-q", address, "second"},
		[]string{"git", "-C", "first", "commit", "-q", "--allow-empty", "-m", "one more"},
		[]string{"git", "-C", "first", "push", "-q", "origin", "HEAD"},
		[]string{"git", "-C", "second", "fetch", "-q"},
		[]string{"git", "-C", "second", "merge", "-q", "--ff-only", "@{upstream}"},
		[]string{"git", "-C", "second", "log", "-1", "--grep", "one more", "--exit-code"},
		[]string{"git", "-C", "first", "diff", "--exit-code", "HEAD", "origin/HEAD"})
}

// gitFiles clones and fetches from a bare repository that a file server serves.
func gitFiles(b *bench, user, token string) error {
	b.netrc(user, token)
	return b.all(b.folder(),
		[]string{"git", "clone", "-q", b.plain + "/static/project.git", "copy"},
		[]string{"git", "-C", "copy", "fetch", "-q"},
		[]string{"git", "-C", "copy", "cat-file", "-e", "HEAD:notes.txt"})
}

// cadaverWorks makes a folder, puts a file, copies, moves and gets it.
func cadaverWorks(b *bench, user, token string) error {
	b.netrc(user, token)
	dir := b.folder()
	require.NoError(b.t, os.WriteFile(filepath.Join(dir, "here.txt"), []byte("for members"), 0o600))
	folder := filepath.Base(dir)
	out, err := b.run(dir, "mkcol "+folder+"\ncd "+folder+"\nput here.txt\ncopy here.txt copied.txt\nmove copied.txt moved.txt\nlock moved.txt\nunlock moved.txt\nget moved.txt back.txt\nls\nquit\n", "cadaver", b.plain+"/dav/")
	if err != nil {
		return err
	}
	if back, err := os.ReadFile(filepath.Join(dir, "back.txt")); err != nil || string(back) != "for members" || strings.Contains(out, "failed") {
		return fmt.Errorf("cadaver: %v: %s", err, out)
	}
	return nil
}

// rclone copies a folder there and back, moves in it and deletes, with these settings.
func rclone(settings string) func(b *bench, user, token string) error {
	return func(b *bench, user, token string) error {
		dir := b.folder()
		require.NoError(b.t, os.MkdirAll(filepath.Join(dir, "there"), 0o700))
		require.NoError(b.t, os.WriteFile(filepath.Join(dir, "there", "notes.txt"), []byte("for members"), 0o600))
		obscured, err := b.run(dir, "", "rclone", "obscure", token)
		require.NoError(b.t, err)
		fill := strings.NewReplacer("USER", user, "TOKEN", token, "OBSCURED", strings.TrimSpace(obscured))
		remote := ":webdav,url='" + b.plain + "/dav/'," + fill.Replace(settings) + ":" + filepath.Base(dir)
		do := func(args ...string) []string {
			return append([]string{"rclone", "--retries", "1", "--low-level-retries", "1"}, args...)
		}
		return b.all(dir,
			do("copy", "there", remote), do("moveto", remote+"/notes.txt", remote+"/moved.txt"), do("copy", remote, "back"),
			[]string{"cmp", "there/notes.txt", "back/moved.txt"}, do("purge", remote))
	}
}

var programClients = []programClient{
	{"curl with Basic", "/dav", []string{"curl"}, curl("-u", "USER:TOKEN", "SITE/dav/notes.txt")},
	{"curl with the address as the name", "/dav", []string{"curl"}, curl("-u", "USER@example.org:TOKEN", "SITE/dav/notes.txt")},
	{"curl with Bearer", "/plain", []string{"curl"}, curl("--oauth2-bearer", "TOKEN", "SITE/plain/x")},
	{"curl with Token", "/plain", []string{"curl"}, curl("-H", "Authorization: Token TOKEN", "SITE/plain/x")},
	{"curl with netrc", "/dav/notes.txt", []string{"curl"}, curl("--netrc", "SITE/dav/notes.txt")},
	{"Git over HTTP", "/git", []string{"git"}, gitPush},
	{"Git from files", "/static/project.git", []string{"git"}, gitFiles},
	{"cadaver", "/dav", []string{"cadaver"}, cadaverWorks},
	{"rclone", "/dav", []string{"rclone"}, rclone("user='USER',pass='OBSCURED'")},
	{"rclone with Bearer", "/dav", []string{"rclone"}, rclone("bearer_token='TOKEN'")},
}

func TestProgramsBringTokens(t *testing.T) {
	t.Parallel()
	s := newClientsSite(t)
	ada, eve := s.Member("ada"), s.Member("eve")
	for _, name := range []string{"ada", "eve"} {
		require.Equal(t, http.StatusOK, s.Administer(http.MethodPatch, name, `{"groups":["family","friends"]}`).StatusCode)
	}
	made := func(c *served.Client, more data) data {
		body := data{"name": "Program"}
		for name, value := range more {
			body[name] = value
		}
		return c.Post(http.StatusCreated, "create-token", body).JSON(t)
	}
	token := func(c *served.Client, more data) string { return made(c, more)["token"].(string) }
	good := token(ada, data{"groups": []string{"family"}, "expires": time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)})
	revoked := made(ada, nil)
	ada.Post(http.StatusOK, "revoke-token", data{"id": revoked["id"]})
	refused := []struct{ why, user, token string }{
		{"revoked", "ada", revoked["token"].(string)},
		{"wrong group", "ada", token(ada, data{"groups": []string{"friends"}})},
		{"wrong path", "ada", token(ada, data{"path": "/da"})},
		{"another's", "eve", token(ada, data{"path": "/nowhere"})},
		{"the account's password", "ada", served.TestPassword},
		{"one letter changed", "ada", good[:len(good)-1] + string(good[len(good)-1]^1)},
		{"expired", "ada", expired(s, ada)},
	}
	require.NotEmpty(t, token(eve, nil))
	for _, client := range programClients {
		t.Run(client.name, func(t *testing.T) {
			t.Parallel()
			for _, tool := range client.tools {
				needTool(t, tool)
			}
			b := &bench{t: t, home: t.TempDir(), plain: s.Base(), host: strings.TrimPrefix(s.Base(), "http://")}
			require.NoError(t, client.use(b, "ada", good))
			require.NoError(t, client.use(b, "ada", token(ada.In(t), data{"path": client.path})), "limited to where it is used")
			for _, c := range refused {
				err := client.use(b, c.user, c.token)
				require.Error(t, err, c.why)
				require.Regexp(t, `401|403|Unauthorized|Forbidden|Authentication failed|Could not authenticate`, err.Error(), c.why)
				require.NotContains(t, err.Error(), "for members", c.why)
			}
		})
	}
	t.Run("a clone that outlives its token", func(t *testing.T) {
		t.Parallel()
		needTool(t, "git")
		b := &bench{t: t, home: t.TempDir(), plain: s.Base()}
		one := made(ada.In(t), nil)
		b.netrc("ada", one["token"].(string))
		dir := b.folder()
		require.NoError(t, b.all(dir, []string{"git", "clone", "-q", b.plain + "/git/project.git", "copy"}))
		ada.In(t).Post(http.StatusOK, "revoke-token", data{"id": one["id"]})
		require.ErrorContains(t, b.all(dir, []string{"git", "-C", "copy", "fetch", "-q"}), "Authentication failed")
	})
}

// newClientsSite runs the site with what stands behind its guards. Who isn't let in gets
// nothing there: the servers themselves ask nobody.
func newClientsSite(t *testing.T) *served.Server {
	s := served.NewServer(t)
	files := webdav.NewMemFS()
	file, err := files.OpenFile(t.Context(), "/notes.txt", os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = file.Write([]byte("for members"))
	require.NoError(t, err)
	require.NoError(t, file.Close())
	dav := httptest.NewServer(&webdav.Handler{Prefix: "/dav", FileSystem: files, LockSystem: webdav.NewMemLS()})
	t.Cleanup(dav.Close)

	repositories := filepath.Join(s.Dir, "repositories")
	git := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		h := &cgi.Handler{Path: "/usr/lib/git-core/git-http-backend", Env: []string{
			"GIT_PROJECT_ROOT=" + repositories, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=" + req.Header.Get("Remote-User"), // who it takes a push from
		}}
		h.ServeHTTP(w, req)
	}))
	t.Cleanup(git.Close)
	s.Values["dav"], s.Values["git"] = dav.Listener.Addr().String(), git.Listener.Addr().String()
	if _, err := exec.LookPath("git"); err == nil {
		b := &bench{t: t, home: t.TempDir()}
		bare, work := filepath.Join(repositories, "project.git"), filepath.Join(b.home, "work")
		require.NoError(t, os.MkdirAll(work, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(work, "notes.txt"), []byte("for members"), 0o600))
		require.NoError(t, b.all(work,
			[]string{"git", "init", "-q", "-b", "main"}, []string{"git", "add", "notes.txt"}, []string{"git", "commit", "-q", "-m", "first"},
			[]string{"git", "clone", "-q", "--bare", work, bare}, []string{"git", "-C", bare, "update-server-info"}))
	}
	s.Configure(clientsSite)
	s.Start()
	return s
}

// expired is a token whose time has passed.
func expired(s *served.Server, c *served.Client) string {
	s.T.Helper()
	for life := 3 * time.Second; ; life *= 2 { // a busy machine makes it too late at first
		at := time.Now().Add(life).Truncate(time.Second)
		res := c.Do(http.MethodPost, "/accounts/create-token", data{"name": "Short", "expires": at.UTC().Format(time.RFC3339)})
		if res.StatusCode != http.StatusCreated {
			require.Less(s.T, life, served.Patience, res.Text)
			continue
		}
		token := res.JSON(s.T)["token"].(string)
		client := s.Client()
		client.Header.Set("Authorization", "Bearer "+token)
		require.True(s.T, served.Eventually(func() bool { return client.Get("/plain/x").StatusCode == http.StatusUnauthorized }, 100*time.Millisecond))
		require.False(s.T, time.Now().Before(at), "it has ended before its time")
		return token
	}
}

// needTool skips where a program is missing, but for CI.
func needTool(t testing.TB, tool string) {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("there is no %s on this machine, and CI must not go without", tool)
		}
		t.Skipf("there is no %s on this machine", tool)
	}
}
