// recipes_test.go: the recipes of docs/recipes.md, run with their own Caddyfiles and commands.

package config_test

import (
	"context"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// recipe is a section of docs/recipes.md.
func recipe(t *testing.T, heading string) string {
	t.Helper()
	_, text, found := strings.Cut(string(served.ReadFile(t, filepath.Join(served.RepoRoot, "docs", "recipes.md"))), "\n## "+heading+"\n")
	require.True(t, found, heading)
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

// fence is the first block of a section in a language.
func fence(t *testing.T, text, language string) string {
	t.Helper()
	_, text, found := strings.Cut(text, "```"+language+"\n")
	require.True(t, found, text)
	text, _, _ = strings.Cut(text, "```")
	return text
}

// recipeSite runs the Caddyfile of a recipe on the ports of a test, with its mails in a folder.
func recipeSite(t *testing.T, heading string) *served.Server {
	t.Helper()
	site := strings.NewReplacer(
		"example.com {", "{\n\tadmin 127.0.0.1:[[admin]]\n}\nhttp://127.0.0.1:[[port]] {",
		"https://example.com", "http://127.0.0.1:[[port]]", "smtp mail.example.com:587", "file [[dir]]/mail", "/srv/site", "[[dir]]/site",
	).Replace(fence(t, recipe(t, heading), "caddyfile"))
	s := served.NewServer(t)
	require.NoError(t, os.MkdirAll(filepath.Join(s.Dir, "site"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(s.Dir, "site", "index.html"), []byte("for members"), 0o600))
	s.Configure(site)
	s.Start()
	return s
}

func run(s *served.Server, script string) string {
	s.T.Helper()
	cmd := shell(s, script)
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	require.NoError(s.T, err, "%s\n%s%s", script, out, &problems)
	return string(out)
}

func TestRecipeWithoutMailServer(t *testing.T) {
	t.Parallel()
	s := recipeSite(t, "No mail server")
	printed := run(s, fence(t, recipe(t, "No mail server"), "sh"))
	links := regexp.MustCompile(`http://\S+signature=\S+`).FindAllString(printed, -1)
	require.Len(t, links, 2, printed)
	require.Contains(t, printed, "invitation=")
	b := s.Client()
	require.Equal(t, http.StatusNotFound, b.Do(http.MethodPost, "/accounts/register", served.Newcomer("eve")).StatusCode)
	setPassword(t, s, links[1])
	require.Equal(t, http.StatusOK, b.Do(http.MethodPost, "/accounts/login", data{"login": "ada", "password": chosenPassword}).StatusCode)
	require.Equal(t, "for members", b.Get("/").Text)
}

func TestRecipeMembersByApproval(t *testing.T) {
	t.Parallel()
	text := recipe(t, "Members only by approval")
	s := recipeSite(t, "Members only by approval")
	b := s.Client()
	newcomer := served.Newcomer("ada")
	require.Equal(t, http.StatusBadRequest, b.Do(http.MethodPost, "/accounts/register", newcomer).StatusCode, "no reason")
	newcomer["reason"] = "I have a garden."
	require.Equal(t, http.StatusCreated, b.Do(http.MethodPost, "/accounts/register", newcomer).StatusCode)
	b.Post(http.StatusOK, "verify-registration", s.Mail(newcomer["email"].(string), 1).Link(t))
	signIn := data{"login": "ada", "password": newcomer["password"]}
	require.Equal(t, "approval_pending", b.Code(http.MethodPost, "/accounts/login", signIn))
	commands := regexp.MustCompile("`(caddy registration [^`]+)`").FindAllStringSubmatch(text, -1)
	require.Len(t, commands, 2)
	require.Contains(t, run(s, commands[0][1]), "ada")
	run(s, commands[1][1]+" -y") // a person is asked on the terminal
	require.Equal(t, http.StatusOK, b.Do(http.MethodPost, "/accounts/login", signIn).StatusCode)
	require.Equal(t, "for members", b.Get("/").Text)
}

func TestRecipeMembersByInvitation(t *testing.T) {
	t.Parallel()
	text := recipe(t, "Members only by invitation")
	s := recipeSite(t, "Members only by invitation")
	commands := regexp.MustCompile("`(caddy registration [^`]+)`").FindAllStringSubmatch(text, -1)
	require.Len(t, commands, 2)
	run(s, commands[0][1])
	mailed, err := url.Parse(regexp.MustCompile(`http://\S+invitation=\S+`).FindString(s.Mail("grace@example.com", 1).Text))
	require.NoError(t, err)
	printed, err := url.Parse(regexp.MustCompile(`http://\S+invitation=\S+`).FindString(run(s, commands[1][1])))
	require.NoError(t, err)
	b := s.Client()
	for name, link := range map[string]*url.URL{"grace": mailed, "barbara": printed, "edsger": printed} {
		newcomer := served.Newcomer(name)
		newcomer["email"] = name + "@example.com"
		require.Equal(t, "invitation_required", b.Code(http.MethodPost, "/accounts/register", newcomer))
		newcomer["invitation"] = link.Query().Get("invitation")
		require.Equal(t, http.StatusCreated, b.Do(http.MethodPost, "/accounts/register", newcomer).StatusCode)
		require.Equal(t, name == "grace", b.Do(http.MethodPost, "/accounts/login", data{"login": name, "password": served.TestPassword}).StatusCode == http.StatusOK)
	}
}

// TestRecipeSubdomains: one sign-in counts for all names below the domain, and a group
// for the one that asks for it.
func TestRecipeSubdomains(t *testing.T) {
	t.Parallel()
	site := fence(t, recipe(t, "Subdomains"), "caddyfile")
	for _, app := range []string{"reverse_proxy localhost:3000", "reverse_proxy localhost:3001"} {
		require.Contains(t, site, app)
		site = strings.Replace(site, app, `respond "for {http.request.header.Remote-User}"`, 1)
	}
	s := served.Run(t, "{\n\tadmin 127.0.0.1:[[admin]]\n\tdefault_bind 127.0.0.1\n}\n"+strings.NewReplacer(
		"\nwiki.example.com {", "\nhttp://wiki.example.com:[[port]] {", "\ngit.example.com {", "\nhttp://git.example.com:[[port]] {",
		"https://example.com", "http://example.com:[[port]]", "smtp mail.example.com:587", "file [[dir]]/mail",
	).Replace(strings.Replace(site, "example.com {", "http://example.com:[[port]] {", 1)))
	run(s, "echo "+chosenPassword+" | caddy registration create ada --password-stdin")
	var dialer net.Dialer
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, "127.0.0.1:"+s.Values["port"])
	}}
	t.Cleanup(transport.CloseIdleConnections)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	browser := &http.Client{Jar: jar, Transport: transport}
	at := func(host, path string) string { return "http://" + host + ":" + s.Values["port"] + path }
	get := func(address string) *served.Answer {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		require.NoError(t, err)
		req.Header.Set("Accept", served.BrowserAccept)
		res, err := browser.Do(req)
		require.NoError(t, err)
		return served.ReadAnswer(t, res)
	}
	page := get(at("wiki.example.com", "/page?a=b"))
	require.Equal(t, at("example.com", "/accounts/login/"), strings.Split(page.Request.URL.String(), "?")[0], "the guard leads to the accounts")
	form := url.Values{"login": {"ada"}, "password": {chosenPassword}, "next": page.Request.URL.Query()["next"]}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at("example.com", "/accounts/login/"), strings.NewReader(form.Encode()))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", served.BrowserAccept)
	req.Header.Set("Origin", at("example.com", ""))
	res, err := browser.Do(req)
	require.NoError(t, err)
	require.Equal(t, "for ada", served.ReadAnswer(t, res).Text)
	require.Equal(t, at("wiki.example.com", "/page?a=b"), res.Request.URL.String())
	require.Equal(t, http.StatusForbidden, get(at("git.example.com", "/")).StatusCode)
	run(s, "caddy registration group add developers ada")
	require.Equal(t, "for ada", get(at("git.example.com", "/")).Text)
}

// TestCurl runs docs/api.md: each request is answered with success, its mailed links
// filled in.
func TestCurl(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("needs curl")
	}
	s := served.NewServer(t)
	require.NoError(t, os.MkdirAll(filepath.Join(s.Dir, "site", "members"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(s.Dir, "site", "members", "index.html"), []byte("for members"), 0o600))
	s.Configure(readmeSite(t, "Use it"))
	s.Start()
	mails := map[string]func() *served.Message{ // what the placeholders of a line stand for
		"verify-registration": func() *served.Message { return s.Mail("ada@example.com", 1) },
		"reset-password ":     func() *served.Message { return s.MailWithLink("ada@example.com", "/reset-password/") },
		"verify-email":        func() *served.Message { return s.Mail("ada@example.org", 1) },
	}
	var variables string
	requests := 0
	for line := range strings.Lines(strings.ReplaceAll(strings.Join(shellBlocks(t, "docs/api.md"), ""), "http://localhost:8080", s.Base())) {
		switch {
		case !strings.HasPrefix(line, "curl "):
			variables += line
			continue
		case strings.Contains(line, "…"):
			for act, mail := range mails {
				if !strings.Contains(line, "/"+act) {
					continue
				}
				for name, value := range mail().Link(t) {
					line = strings.Replace(line, `"`+name+`":"…"`, `"`+name+`":"`+value.(string)+`"`, 1)
				}
			}
			require.NotContains(t, line, "…")
		}
		requests++
		run(s, variables+strings.Replace(line, "curl ", "curl --silent --show-error --fail-with-body ", 1))
	}
	require.Greater(t, requests, 10)
}

// caddyUnit is what Caddy's packages install, as far as the drop-in stands on it.
const caddyUnit = `[Unit]
Description=Caddy

[Service]
Type=notify
User=root
ExecStart=/usr/bin/caddy run --environ --config /etc/caddy/Caddyfile
ExecReload=/usr/bin/caddy reload --config /etc/caddy/Caddyfile --force
PrivateTmp=true
ProtectSystem=full
AmbientCapabilities=CAP_NET_ADMIN CAP_NET_BIND_SERVICE
`

func TestRecipeSystemd(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("needs systemd-analyze")
	}
	dir := t.TempDir()
	binary := served.NewServer(t).Command().Path
	dropIn := string(served.ReadFile(t, filepath.Join(served.RepoRoot, "examples", "systemd", "caddy.service.d", "registration.conf")))
	require.Contains(t, dropIn, "/usr/local/bin/caddy run")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "caddy.service.d"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "caddy.service"), []byte(strings.ReplaceAll(caddyUnit, "/usr/bin/caddy", binary)), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "caddy.service.d", "registration.conf"), []byte(strings.ReplaceAll(dropIn, "/usr/local/bin/caddy", binary)), 0o600))
	cmd := exec.Command("systemd-analyze", "verify", filepath.Join(dir, "caddy.service"))
	cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.NotContains(t, string(out), "registration.conf", "a line that systemd doesn't know")
}
