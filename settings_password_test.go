// settings_password_test.go: passwords that are known from a breach, wherever one is set.

package registration_test

import (
	"context"
	"crypto/sha1"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	zapobserver "go.uber.org/zap/zaptest/observer"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/account"
	"github.com/seed-928992b0/caddy-registration/internal/inside"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/store"
)

const leaked = "bookshelf under the stairs"

func sha1Of(password string) string { return fmt.Sprintf("%X", sha1.Sum([]byte(password))) }

func leakedFile(t *testing.T, passwords ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pwned.txt")
	text := ""
	for _, p := range passwords {
		text += sha1Of(p) + ":7\r\n"
	}
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// service is one of the range protocol that knows one password; status other than 200
// is what it answers with nothing else.
func service(t *testing.T, status int) (url string, asked *[]string) {
	t.Helper()
	asked = new([]string)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.URL.Path)
		w.WriteHeader(status)
		if rest, ok := strings.CutPrefix(sha1Of(leaked), strings.TrimPrefix(r.URL.Path, "/")); ok {
			_, _ = fmt.Fprintf(w, "%s:7\r\n", rest)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, asked
}

func breached(b registration.BreachedSettings) func(*registration.Settings) {
	return func(s *registration.Settings) { s.Password.Breached = &b }
}

// Who has such a password since before can go on with it, and the service learns of
// passwords that are set alone: not of those of a sign-in, nor of what is refused anyway.
func TestASignInLooksNothingUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	before := sitetest.NewAt(t, path)
	_, err := before.Accounts.Create(t.Context(), account.NewAccount{Username: "ada", Password: leaked})
	require.NoError(t, err)
	before.Close()
	url, asked := service(t, 200)
	s := sitetest.NewAt(t, path, breached(registration.BreachedSettings{Online: true, URL: url}))
	b := s.Browser()
	require.Equal(t, 200, b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": leaked}).StatusCode)
	require.Equal(t, 400, b.Post("/accounts/login", sitetest.Data{"login": "ada", "password": "wrong"}).StatusCode)
	require.Equal(t, 400, s.Browser().Post("/accounts/register", sitetest.With(sitetest.Newcomer("eve"), sitetest.Data{"password": "1234"})).StatusCode)
	require.Empty(t, *asked)
	require.Equal(t, 201, s.Browser().Post("/accounts/register", sitetest.Newcomer("eve")).StatusCode)
	require.Equal(t, []string{"/" + sha1Of(sitetest.Password)[:5]}, *asked)
	body := sitetest.With(sitetest.Newcomer("carl"), sitetest.Data{"password": leaked, "password_confirm": leaked})
	sitetest.RequireError(t, s.Browser().Problems().Post("/accounts/register", body), 400, "password:password_breached")
}

// What can't be looked up is let through, and the log says so, once a minute.
func TestAListThatFailsRefusesNobody(t *testing.T) {
	url, asked := service(t, 503)
	s := sitetest.New(t, breached(registration.BreachedSettings{Online: true, URL: url}))
	warnings := func() int { return s.Logs.FilterMessageSnippet("known from a breach").Len() }
	for i := range 3 {
		body := sitetest.With(sitetest.Newcomer(fmt.Sprint("ada", i)), sitetest.Data{"password": leaked, "password_confirm": leaked})
		require.Equal(t, 201, s.Browser().Post("/accounts/register", body).StatusCode)
	}
	require.Len(t, *asked, 3)
	require.Equal(t, 1, warnings())
	s.Travel(61e9)
	require.Equal(t, 201, s.Browser().Post("/accounts/register", sitetest.Newcomer("bob")).StatusCode)
	require.Equal(t, 2, warnings())
	for _, line := range s.Logs.All() {
		require.NotContains(t, fmt.Sprint(line), sha1Of(leaked)[:5])
	}
}

// A file that was replaced is another one from the next load on; one that can't be used
// is an error of the load.
func TestTheFileAtALoad(t *testing.T) {
	open := func(file string) error {
		s := sitetest.Settings()
		s.Password.Breached = &registration.BreachedSettings{File: file}
		r, err := inside.Open(inside.Options{Settings: s, Path: filepath.Join(t.TempDir(), "r.db"), Mailer: sitetest.NewMailer(), Logger: zap.NewNop(), Unopened: true})
		if err == nil {
			err = r.Close()
		}
		return err
	}
	t.Setenv("PWNED", leakedFile(t, leaked))
	require.NoError(t, open("{env.PWNED}"))
	for file, want := range map[string]string{
		filepath.Join(t.TempDir(), "none"): "password.breached: ",
		t.TempDir():                        "is no file",
		leakedFile(t):                      "is empty",
		"{env.NO_SUCH_FILE}":               "NO_SUCH_FILE",
	} {
		require.ErrorContains(t, open(file), want, file)
	}
}

func TestBreachedInTheCaddyfile(t *testing.T) {
	adapt := func(line string) (string, error) {
		out, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte("example.com {\n\tregistration {\n\t\tbase_url https://example.com\n\t\tfrom a@example.com\n\t\tmailer log\n\t\tpassword {\n\t\t\t"+line+"\n\t\t}\n\t}\n}\n"), map[string]any{"filename": "Caddyfile"})
		return string(out), err
	}
	for line, want := range map[string]string{
		"breached /p.txt":              `"breached":{"file":"/p.txt"}`,
		"breached online":              `"breached":{"online":true}`,
		"breached online http://a/b/":  `"breached":{"online":true,"url":"http://a/b/"}`,
		"breached online {env.MIRROR}": `"url":"{env.MIRROR}"`,
	} {
		out, err := adapt(line)
		require.NoError(t, err, line)
		require.Contains(t, out, want)
	}
	out, err := adapt("breached off")
	require.NoError(t, err)
	require.NotContains(t, out, "breached")
	for line, want := range map[string]string{
		"breached":                       "takes a file, online or off",
		"breached on":                    "takes a file, online or off",
		"breached /a /b":                 "takes a file, online or off",
		"breached online a b":            "takes a file, online or off",
		"breached online pwned.test":     "is not an absolute http or https URL",
		"breached online https://a/?b=c": "is not an absolute http or https URL",
		"breached /a\nbreached /b":       "stands twice",
	} {
		_, err := adapt(line)
		require.ErrorContains(t, err, want, line)
		require.ErrorContains(t, err, "Caddyfile:")
	}
	for want, wrong := range map[string]registration.BreachedSettings{
		"names neither a file nor online":             {},
		"names a file and online; keep one of them":   {File: "/p.txt", Online: true},
		"names a file and online; keep one of them\n": {File: "/p.txt", URL: "https://a/"},
	} {
		s := sitetest.Settings()
		s.Password.Breached = &wrong
		_, err := inside.Resolve(s)
		require.ErrorContains(t, err, strings.TrimSpace(want))
	}
}

// A rule is a validator of passwords made of a function.
type rule func(context.Context, *registration.NewPassword) error

func (r rule) ValidatePassword(ctx context.Context, p *registration.NewPassword) error {
	return r(ctx, p)
}

// What a rule is told of a password, and that nothing is taken where one breaks.
func TestRulesOfTheSitesOwnForPasswords(t *testing.T) {
	s := sitetest.New(t)
	const bad = "every friday at noon"
	var seen []registration.NewPassword
	s.Accounts.Policy.PasswordRules = registration.NewPasswordRules(time.Hour, zap.NewNop(), rule(func(_ context.Context, p *registration.NewPassword) error {
		seen = append(seen, *p)
		if strings.Contains(p.Password, "friday") {
			return new(registration.PasswordRefusedError)
		}
		return nil
	}))
	s.Member("ada")
	require.Equal(t, "shop", seen[0].Realm)
	require.Equal(t, "ada", seen[0].Username)
	require.Contains(t, seen[0].Values, "ada@example.org")
	body := sitetest.With(sitetest.Newcomer("eve"), sitetest.Data{"password": bad, "password_confirm": bad})
	require.Contains(t, s.Browser().Post("/accounts/register", body).Text, "Choose another password. This site doesn’t accept this one.")

	logs, log := zapobserver.New(zap.DebugLevel)
	s.Accounts.Policy.PasswordRules = registration.NewPasswordRules(time.Hour, zap.New(logs), rule(func(_ context.Context, p *registration.NewPassword) error { panic(p.Password) }))
	require.Equal(t, 503, s.Browser().Post("/accounts/register", body).StatusCode)
	require.Equal(t, 1, log.Len())
	require.NotContains(t, fmt.Sprint(log.All()), bad)
}

func TestSlowRulesForPasswords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		check := registration.NewPasswordRules(5*time.Second, zap.NewNop(), rule(func(context.Context, *registration.NewPassword) error { <-hang; return nil }))
		began := time.Now()
		done := make(chan error)
		for range 64 {
			go func() { _, err := check(t.Context(), "x", &store.User{}, nil); done <- err }()
		}
		synctest.Wait()
		_, err := check(t.Context(), "x", &store.User{}, nil)
		require.ErrorContains(t, err, "busy")
		for range 64 {
			require.ErrorContains(t, <-done, "too long")
		}
		require.Equal(t, 5*time.Second, time.Since(began))
		close(hang)
		synctest.Wait()
		refused, err := check(t.Context(), "x", &store.User{}, nil)
		require.NoError(t, err)
		require.Empty(t, refused)
	})
}

func TestWordsOfTheSite(t *testing.T) {
	v := &registration.WordsValidator{Words: []string{"Acme"}}
	require.NoError(t, v.Provision(caddy.Context{}))
	require.Error(t, v.ValidatePassword(t.Context(), &registration.NewPassword{Password: "myACMEpass"}))
	require.NoError(t, v.ValidatePassword(t.Context(), &registration.NewPassword{Password: "my pass"}))
	require.ErrorContains(t, (&registration.WordsValidator{Words: []string{"ab"}}).Provision(caddy.Context{}), "too short")
	require.ErrorContains(t, new(registration.WordsValidator).Provision(caddy.Context{}), "there are none")
	require.Contains(t, (&registration.PasswordRefusedError{}).Error(), "without a message")
	for line, want := range map[string]string{"validator": "needs the name of a module", "validator nothing": "there is no", "validator words": "takes words and no block"} {
		_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte("example.com {\nregistration {\nbase_url https://example.com\nfrom a@example.com\nmailer log\npassword {\n"+line+"\n}\n}\n}\n"), map[string]any{"filename": "Caddyfile"})
		require.ErrorContains(t, err, want, line)
	}
}
