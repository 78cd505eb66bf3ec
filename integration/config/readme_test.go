// readme_test.go: the commands of the README do what it says, from an empty folder.

package config_test

import (
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/hotp"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// shellBlocks are the fences of a page that a shell takes.
func shellBlocks(t *testing.T, page string) (blocks []string) {
	t.Helper()
	raw := string(served.ReadFile(t, filepath.Join(served.RepoRoot, page)))
	for _, match := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(raw, -1) {
		blocks = append(blocks, match[1])
	}
	require.NotEmpty(t, blocks, page)
	return blocks
}

// shell has the Caddy of these tests as `caddy`, and nothing of the machine's own.
func shell(s *served.Server, script string) *exec.Cmd {
	cmd := s.Command()
	bin := filepath.Join(s.Dir, "bin")
	require.NoError(s.T, os.MkdirAll(bin, 0o700))
	if _, err := os.Lstat(filepath.Join(bin, "caddy")); err != nil {
		require.NoError(s.T, os.Symlink(cmd.Path, filepath.Join(bin, "caddy")))
	}
	sh := exec.Command("sh", "-ec", script)
	sh.Dir, sh.Env = cmd.Dir, append(cmd.Env, "PATH="+bin+":"+os.Getenv("PATH"))
	return sh
}

// readmeSite is the first Caddyfile of a chapter of the README, on the ports of a test and
// with its mails in a folder.
func readmeSite(t *testing.T, chapter string) string {
	t.Helper()
	raw := string(served.ReadFile(t, filepath.Join(served.RepoRoot, "README.md")))
	_, rest, found := strings.Cut(raw, "\n## "+chapter+"\n")
	require.True(t, found)
	_, rest, found = strings.Cut(rest, "```caddyfile\n")
	require.True(t, found)
	site, _, _ := strings.Cut(rest, "```")
	for _, change := range [][2]string{
		{"example.com {", "{\n\tadmin 127.0.0.1:[[admin]]\n}\nhttp://127.0.0.1:[[port]] {"},
		{"base_url https://example.com", "base_url http://127.0.0.1:[[port]]"},
		{"mailer smtp mail.example.com:587", "mailer file [[dir]]/mail"},
		{"/srv/site", "[[dir]]/site"},
	} {
		require.Contains(t, site, change[0])
		site = strings.Replace(site, change[0], change[1], 1)
	}
	return site
}

// siteFile puts a page into the folder of such a site.
func siteFile(s *served.Server, folder, text string) {
	s.T.Helper()
	dir := filepath.Join(s.Dir, "site", folder)
	require.NoError(s.T, os.MkdirAll(dir, 0o700))
	require.NoError(s.T, os.WriteFile(filepath.Join(dir, "index.html"), []byte(text), 0o600))
}

// TestReadmeCommands runs every shell block of the README but those that build.
func TestReadmeCommands(t *testing.T) {
	t.Parallel()
	s := served.NewServer(t)
	siteFile(s, "members", "for members")
	s.Configure(readmeSite(t, "Use it"))
	ran := 0
	for _, block := range shellBlocks(t, "README.md") {
		if strings.Contains(block, "xcaddy") || strings.Contains(block, "make test") {
			continue // TestXcaddyBuild; TestReadmeTry
		}
		if ran++; strings.Contains(block, "registration backup") && served.InDatabase() {
			continue // it is of the file
		}
		for line := range strings.Lines(block) {
			require.True(t, strings.HasPrefix(line, "caddy registration "), "a command that no test knows: %s", line)
		}
		out, err := shell(s, block).CombinedOutput()
		require.NoError(t, err, "%s\n%s", block, out)
		if strings.Contains(block, "registration create ada") { // before the first start
			s.Start()
			readmeFirstAdministrator(t, s, string(out))
		}
	}
	require.GreaterOrEqual(t, ran, 3)
}

const chosenPassword = "correct horse battery"

// setPassword opens the link that a command has printed, and sets a password.
func setPassword(t *testing.T, s *served.Server, printed string) {
	t.Helper()
	link, err := url.Parse(regexp.MustCompile(`http://\S+`).FindString(printed))
	require.NoError(t, err)
	visitor := s.Client()
	visitor.Header.Set("Accept", served.BrowserAccept)
	page := visitor.Get(link.RequestURI())
	require.Equal(t, http.StatusOK, page.StatusCode, page.Text)
	act := data{"password": chosenPassword}
	for name, values := range link.Query() {
		act[name] = values[0]
	}
	require.Equal(t, http.StatusOK, s.Client().Do(http.MethodPost, strings.TrimSuffix(link.Path, "/"), act).StatusCode)
}

// readmeFirstAdministrator is who follows the printed link.
func readmeFirstAdministrator(t *testing.T, s *served.Server, printed string) {
	t.Helper()
	setPassword(t, s, printed)
	b := s.Client()
	require.Equal(t, http.StatusOK, b.Do(http.MethodPost, "/accounts/login", data{"login": "ada", "password": chosenPassword}).StatusCode)
	require.Contains(t, b.Get("/members/").Text, "for members")
	require.NotContains(t, s.Client().Get("/members/").Text, "for members")
	require.Equal(t, []any{"admins"}, s.Administer(http.MethodGet, "ada", "").JSON(t)["groups"])
}

// TestReadmeTry takes the example as the README says, on another port.
func TestReadmeTry(t *testing.T) {
	t.Parallel()
	command, _, found := strings.Cut(shellBlocks(t, "README.md")[0], "#")
	require.True(t, found)
	args := strings.Fields(command)
	require.Equal(t, []string{"go", "run", "./cmd/caddy", "run", "--config"}, args[:5]) // what the tests build is ./cmd/caddy
	s := served.NewServer(t)
	s.WorkDir = served.RepoRoot
	example := string(served.ReadFile(t, filepath.Join(served.RepoRoot, args[5])))
	require.Contains(t, example, "http://localhost:8080 {")
	example = strings.Replace(example, "{\n", "{\n\tadmin 127.0.0.1:[[admin]]\n\tdefault_bind 127.0.0.1\n", 1)
	example = strings.ReplaceAll(example, "localhost:8080", "127.0.0.1:"+strconv.Itoa(s.Port))
	s.Configure(example)
	s.Start()
	require.Equal(t, http.StatusUnauthorized, s.Client().Get("/members/").StatusCode)
	require.Equal(t, http.StatusOK, s.Client().Get("/").StatusCode)

	// The other command is what runs this test.
	dry := exec.Command("make", "--dry-run", "test")
	dry.Dir = served.RepoRoot
	out, err := dry.CombinedOutput()
	require.NoError(t, err, string(out))
}

// codeAt is what an app shows, some steps from now.
func codeAt(t *testing.T, secret string, ahead int) string {
	t.Helper()
	code, err := hotp.GenerateCode(secret, uint64(time.Now().Unix()/30+int64(ahead)))
	require.NoError(t, err)
	return code
}

// TestReadmeSecondStep goes through what the README says of the site that asks its admins for
// a second step: the first sign-in, one by a recovery code, and one of who has lost all.
func TestReadmeSecondStep(t *testing.T) {
	t.Parallel()
	s := served.NewServer(t)
	s.Env = []string{"REGISTRATION_SECRET=what only this machine knows"}
	siteFile(s, "admin", "for admins")
	s.Configure(readmeSite(t, "Admins need a second step"))
	s.Start()
	out, err := shell(s, "caddy registration create ada ada@example.com --group admins").CombinedOutput()
	require.NoError(t, err, string(out))
	setPassword(t, s, string(out))
	out, err = shell(s, "caddy registration create bob bob@example.com").CombinedOutput()
	require.NoError(t, err, string(out))
	setPassword(t, s, string(out))
	signsIn := func(name string) (*served.Client, data) {
		t.Helper()
		c := s.Client()
		return c, c.Post(http.StatusOK, "login", data{"login": name, "password": chosenPassword}).JSON(t)
	}
	browserOf := func(c *served.Client) *served.Client {
		b := s.Client()
		b.HTTP.Jar = c.HTTP.Jar
		b.Header.Set("Accept", served.BrowserAccept)
		return b
	}
	needed := func(res *served.Answer) {
		t.Helper()
		require.Equal(t, http.StatusUnauthorized, res.StatusCode, res.Text)
		require.Contains(t, res.Header.Get("WWW-Authenticate"), `error="insufficient_user_authentication", acr_values="mfa"`)
	}

	// Everybody else chooses.
	bob, asked := signsIn("bob")
	require.NotContains(t, asked, "challenge")
	require.Equal(t, http.StatusForbidden, bob.Get("/admin/").StatusCode)

	// The first sign-in.
	ada, asked := signsIn("ada")
	require.Equal(t, true, asked["enrol"])
	require.Equal(t, http.StatusUnauthorized, ada.Get("/admin/").StatusCode)
	require.Equal(t, http.StatusUnauthorized, ada.Get("/accounts/profile").StatusCode)
	challenge := data{"challenge": asked["challenge"]}
	secret := ada.Post(http.StatusOK, "enrol-totp", challenge).JSON(t)["secret"].(string)
	codes := ada.Post(http.StatusCreated, "confirm-totp", data{"challenge": asked["challenge"], "code": codeAt(t, secret, 0)}).JSON(t)["recovery_codes"].([]any)
	require.Len(t, codes, 10)
	require.Equal(t, "for admins", ada.Get("/admin/").Text)

	// From then on, each asks for it.
	ada, asked = signsIn("ada")
	require.Equal(t, []any{"totp", "recovery_code"}, asked["factors"])
	require.Equal(t, http.StatusUnauthorized, ada.Get("/admin/").StatusCode)
	ada.Post(http.StatusOK, "login-factor", data{"challenge": asked["challenge"], "totp": codeAt(t, secret, 1)})
	require.Equal(t, "for admins", ada.Get("/admin/").Text)
	require.Equal(t, http.StatusOK, ada.Get("/accounts/admin/accounts").StatusCode)

	// Who is signed in already goes on, and is led to it where it is needed.
	require.Equal(t, http.StatusOK, s.Administer(http.MethodPatch, "bob", `{"groups": ["admins"]}`).StatusCode)
	require.Equal(t, http.StatusOK, bob.Get("/accounts/profile").StatusCode)
	needed(bob.Get("/admin/"))
	page := browserOf(bob)
	to := page.Get("/admin/").Header.Get("Location")
	require.Equal(t, "/accounts/step-up/?factors=2&next=%2Fadmin%2F", to)
	require.Equal(t, "/accounts/enrol-totp/?next=%2Fadmin%2F", page.Get(to).Header.Get("Location"))
	require.Contains(t, page.Get("/accounts/admin/").Header.Get("Location"), "/accounts/enrol-totp/")

	// Who has lost the app.
	ada, asked = signsIn("ada")
	ada.Post(http.StatusOK, "login-factor", data{"challenge": asked["challenge"], "recovery_code": codes[0]})
	needed(ada.Get("/admin/"))
	require.Equal(t, http.StatusUnauthorized, ada.Get("/accounts/admin/accounts").StatusCode)
	lost := ada.Get("/accounts/factors").Text
	fresh := ada.Post(http.StatusOK, "enrol-totp", data{}).JSON(t)["secret"].(string)
	ada.Post(http.StatusCreated, "confirm-totp", data{"code": codeAt(t, fresh, 0)})
	require.Equal(t, "for admins", ada.Get("/admin/").Text)
	id := regexp.MustCompile(`"id":"([^"]+)"`).FindStringSubmatch(lost)[1]
	ada.Post(http.StatusOK, "remove-factor", data{"id": id})
	require.Len(t, ada.Post(http.StatusCreated, "recovery-codes", data{}).JSON(t)["recovery_codes"], 10)

	// Who has lost all.
	out, err = shell(s, "caddy registration reset-factors ada").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, http.StatusUnauthorized, ada.Get("/admin/").StatusCode)
	_, asked = signsIn("ada")
	require.Equal(t, true, asked["enrol"])
}
