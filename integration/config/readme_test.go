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

// readmeSite is the README's six lines, on the ports of a test and with its mails in a folder.
func readmeSite(t *testing.T) string {
	t.Helper()
	raw := string(served.ReadFile(t, filepath.Join(served.RepoRoot, "README.md")))
	_, rest, found := strings.Cut(raw, "```caddyfile\n")
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

// TestReadmeCommands runs every shell block of the README but those that build.
func TestReadmeCommands(t *testing.T) {
	t.Parallel()
	s := served.NewServer(t)
	require.NoError(t, os.MkdirAll(filepath.Join(s.Dir, "site", "members"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(s.Dir, "site", "members", "index.html"), []byte("for members"), 0o600))
	s.Configure(readmeSite(t))
	ran := 0
	for _, block := range shellBlocks(t, "README.md") {
		if strings.Contains(block, "xcaddy") || strings.Contains(block, "make test") {
			continue // TestXcaddyBuild; TestReadmeTry
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
		ran++
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
