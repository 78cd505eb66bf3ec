// evening_test.go: the first evening of an owner, by the commands alone: an empty
// folder, the README's six lines, the first administrator, a guest, a folder that
// nobody else sees. Once with mail, and once without a mail server.

package config_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// typed runs `caddy registration …`, which has to be done; it returns what it printed.
func typed(t *testing.T, s *served.Server, args string) string {
	t.Helper()
	cmd := s.Command(append([]string{"registration"}, strings.Fields(args)...)...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", args, out)
	return string(out)
}

// arrives signs up by the link of an invitation, and is signed in.
func arrives(t *testing.T, s *served.Server, link, name string) *served.Client {
	t.Helper()
	at, err := url.Parse(regexp.MustCompile(`http://\S+`).FindString(link))
	require.NoError(t, err)
	page := s.Client()
	page.Header.Set("Accept", served.BrowserAccept)
	require.Equal(t, http.StatusOK, page.Get(at.RequestURI()).StatusCode)
	guest := served.Newcomer(name)
	guest["email"], guest["invitation"] = name+"@example.com", at.Query().Get("invitation")
	c := s.Client()
	c.Post(http.StatusCreated, "register", guest)
	c.SignIn(name)
	return c
}

func TestFirstEvening(t *testing.T) {
	t.Parallel()
	withMail := readmeSite(t, "Use it")
	_, recipe, found := strings.Cut(string(served.ReadFile(t, filepath.Join(served.RepoRoot, "docs", "recipes.md"))), "## No mail server")
	require.True(t, found)
	_, recipe, _ = strings.Cut(recipe, "```caddyfile\n")
	withoutMail, _, _ := strings.Cut(recipe, "```")
	for _, change := range [][2]string{
		{"example.com {", "{\n\tadmin 127.0.0.1:[[admin]]\n}\nhttp://127.0.0.1:[[port]] {"}, {"base_url https://example.com", "base_url http://127.0.0.1:[[port]]"}, {"/srv/site", "[[dir]]/site"},
		{"mode closed", "mode invite\n\t\t\tverification off"}, // an evening with a guest
	} {
		require.Contains(t, withoutMail, change[0])
		withoutMail = strings.Replace(withoutMail, change[0], change[1], 1)
	}
	for name, site := range map[string]string{"with mail": withMail, "without a mail server": withoutMail} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			s := served.NewServer(t)
			for _, folder := range []string{"members", "board"} {
				require.NoError(t, os.MkdirAll(filepath.Join(s.Dir, "site", folder), 0o700))
				require.NoError(t, os.WriteFile(filepath.Join(s.Dir, "site", folder, "index.html"), []byte("for the "+folder), 0o600))
			}
			// The folder that is protected: a line more.
			require.Contains(t, site, "\troot *")
			s.Configure(strings.Replace(site, "\troot *", "\trequire_login /board/* {\n\t\tgroup admins\n\t}\n\troot *", 1))

			// Before the first start, in the store itself.
			printed := typed(t, s, "create ada ada@example.com --group admins")
			require.Contains(t, printed, "Written to "+s.Store()+"\n")
			s.Start()
			setPassword(t, s, printed)
			ada := s.Client()
			ada.Post(http.StatusOK, "login", data{"login": "ada", "password": chosenPassword})

			// Beside the running server.
			printed = typed(t, s, "create grace grace@example.com --group admins")
			require.NotContains(t, printed, "Written to")
			setPassword(t, s, printed)
			grace := s.Client()
			grace.Post(http.StatusOK, "login", data{"login": "grace", "password": chosenPassword})
			typed(t, s, "doctor")

			// Somebody is invited.
			invitation := typed(t, s, "invite mary@example.com --expires 2d")
			guest := arrives(t, s, invitation, "mary")
			for who, c := range map[string]struct {
				*served.Client
				members, board bool
			}{
				"an administrator": {ada, true, true}, "the other": {grace, true, true}, "the guest": {guest, true, false}, "a stranger": {s.Client(), false, false},
			} {
				require.Equal(t, c.members, strings.Contains(c.Get("/members/").Text, "for the members"), who)
				require.Equal(t, c.board, strings.Contains(c.Get("/board/").Text, "for the board"), who)
			}
			if name == "with mail" {
				typed(t, s, "mail test ada@example.com")
				require.Contains(t, typed(t, s, "create alan alan@example.com --mail"), "is on its way to alan@example.com")
				setPassword(t, s, s.Mail("alan@example.com", 1).URL(t).String())
				alan := s.Client()
				alan.Post(http.StatusOK, "login", data{"login": "alan", "password": chosenPassword})
			} else {
				refused := s.Command("registration", "reset-link", "ada", "--mail")
				out, err := refused.CombinedOutput()
				require.Error(t, err)
				require.Contains(t, string(out), "there is no mailer; hand out the link instead")
			}
			require.Less(t, time.Since(began), 5*time.Minute)
			s.Stop()
		})
	}
}
