// owner_test.go: what an owner sees of his mail and his site: caddy registration doctor,
// mail test and mail queue, at a server that runs and where none does.

package mailing_test

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// ask runs `caddy registration …` with the server's configuration.
func ask(t *testing.T, s *served.Server, args ...string) (out string, code int) {
	t.Helper()
	cmd := s.Command(append([]string{"registration"}, args...)...)
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return both.String(), exit.ExitCode()
	}
	require.NoError(t, err, both.String())
	return both.String(), 0
}

func TestOwnersMail(t *testing.T) {
	t.Parallel()
	m := served.NewMailServer(t)
	m.Refuse = func(to string, attempt int) *smtp.SMTPError {
		if to == "grey@example.org" && attempt == 1 {
			return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "greylisted"}
		}
		return nil
	}
	s, c := served.MailedServer(t, m)
	out, code := ask(t, s, "doctor")
	require.Zero(t, code, out)
	require.Contains(t, out, "advice\tmailer_untried\t")
	require.Contains(t, out, "fine\troutes\tthe accounts are where base_url says: https://localhost:"+s.Values["port"])

	// Nobody listens.
	out, code = ask(t, s, "mail", "test", "ada@example.org")
	require.Equal(t, 1, code, out)
	require.Contains(t, out, "nothing answers there: check that the mail server runs and the address is right (mailer smtp "+m.Address+")")
	require.NotContains(t, out, "Write:", "the line would be the one that stands there")
	c.Post(http.StatusCreated, "register", served.Newcomer("ada"))
	s.Logged(0, "the mail server can't be used", "connection refused")
	out, code = ask(t, s, "mail", "queue")
	require.Zero(t, code, out)
	require.Regexp(t, `^register\tada@example.org\t20\S+\t20\S+\t-\t.*connection refused`, out)
	out, code = ask(t, s, "doctor")
	require.Equal(t, 2, code, out)
	require.Contains(t, out, "fault\tmailer_failing\tmail can't be delivered since")
	require.Contains(t, out, "it never could be: mail server "+m.Address)

	// It is there, and the waiting ends with the test.
	m.Listen()
	out, code = ask(t, s, "mail", "test", "owner@example.org")
	require.Zero(t, code, out)
	require.Contains(t, out, "> STARTTLS\n< 220 ")
	require.Contains(t, out, "* TLS 1.3, the certificate is of 127.0.0.1, ")
	require.Contains(t, out, "> AUTH PLAIN\n< 235 ")
	require.Contains(t, out, "> RCPT TO:<owner@example.org>\n< 250 ")
	require.NotContains(t, out, served.SmtpPassword)
	got := []*served.Message{m.Next(), m.Next()}
	if got[0].To != "owner@example.org" {
		got[0], got[1] = got[1], got[0]
	}
	require.Equal(t, "Test email from localhost", got[0].Subject)
	require.Equal(t, "ada@example.org", got[1].To)
	require.True(t, served.Eventually(func() bool { out, code := ask(t, s, "mail", "queue"); return out == "" && code == 0 }, 100*time.Millisecond))
	out, code = ask(t, s, "doctor")
	require.Zero(t, code, out)
	require.Contains(t, out, "fine\tmailer\tthe mailer smtp has last delivered a mail at ")
	out, code = ask(t, s, "mail", "queue", "--retry")
	require.Equal(t, "0 mails are tried at once.\n", out)
	require.Zero(t, code)

	out, code = ask(t, s, "mail", "test", "grey@example.org")
	require.Equal(t, 1, code, out)
	require.Contains(t, out, "< 451 4.7.1 greylisted\n")
	require.Contains(t, out, "Nothing is wrong with the configuration")

	// A file that others can read, while the server runs.
	if store := s.Store(); !served.InDatabase() {
		require.NoError(t, os.Chmod(store, 0o644)) //nolint:gosec // that is what is to be found
		out, code = ask(t, s, "doctor", "--json")
		require.Equal(t, 2, code, out)
		require.Contains(t, out, `"level":"fault","code":"store_mode"`)
		require.Contains(t, out, "chmod 600 "+store)
		require.NoError(t, os.Chmod(store, 0o600))
	}

	s.Stop()
	out, code = ask(t, s, "mail", "test", "owner@example.org")
	require.Zero(t, code, out)
	require.Contains(t, out, "Sent. Look whether it arrives at owner@example.org")
	require.Equal(t, "owner@example.org", m.Next().To)
	out, code = ask(t, s, "doctor")
	require.Zero(t, code, out)
	require.Contains(t, out, "advice\troutes\tno server runs")
	out, code = ask(t, s, "mail", "queue", "--retry")
	require.Zero(t, code, out)
	require.Contains(t, out, "0 mails are tried when the server starts.\n")
	out, code = ask(t, s, "doctor", "--realm", "other")
	require.Equal(t, 1, code, "it could not look")
	require.Contains(t, out, "no registration of the realm other")
}

// What is wrong with where the accounts are, as the log has it.
func TestDoctorSeesTheSite(t *testing.T) {
	t.Parallel()
	texts := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(texts, "locales"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(texts, "locales", "ar.json"), []byte(`{"page.login.title": "تسجيل الدخول"}`), 0o600))
	s := served.Run(t, `
{
	admin 127.0.0.1:[[admin]]
}
http://127.0.0.1:[[port]] {
	registration {
		base_url http://localhost:[[port]]
		from no-reply@example.com
		templates [[texts]]
		register {
			verification off
		}
		reset_password {
			enabled off
		}
		register_email {
			verification off
		}
	}
}
http://other.localhost:[[port]] {
	require_login
	respond "for members"
}
`, "texts", texts)
	c := s.Client()
	c.Header.Set("X-Forwarded-For", "203.0.113.7")
	for range 3 {
		c.Do(http.MethodGet, "/accounts/profile", nil)
	}
	out, code := ask(t, s, "doctor")
	require.Equal(t, 2, code, out)
	before, _, _ := strings.Cut(string(served.ReadFile(t, s.ConfigFile())), "require_login")
	guard := strconv.Itoa(1 + strings.Count(before, "\n"))
	for _, part := range []string{
		"fault\tbase_url\t" + s.ConfigFile() + ":6: base_url is http://localhost:", "Write the address that browsers use: base_url http://127.0.0.1:" + s.Values["port"],
		"fault\tguard_blind\t" + s.ConfigFile() + ":" + guard + ": require_login guards other.localhost", "cookie_domain <domain>, in the block session",
		"advice\tmailer_missing\t", "advice\ttrusted_proxies\trequests name another client", "(the last one from 127.0.0.1)",
		"trusted_proxies static <its addresses>, and trusted_proxies_strict", "advice\tsecret\t", "secret {env.REGISTRATION_SECRET}",
		"fine\tversions\tCaddy v2",
		"advice\tsettings\tlocales/ar.json of the templates folder lacks ", "date.day, date.month_1, ", "add them, as templates/locales/en.json has them",
	} {
		require.Contains(t, out, part)
	}
	s.Logged(0, "base_url is http://localhost:", "mails, redirects and cookies go by base_url. Write the address that browsers use")
	s.Logged(0, "locales/ar.json of the templates folder lacks ", " in another language, on pages and in mails that say they are in ar")
	s.Logged(0, "require_login guards other.localhost", "nobody gets in. Add `registration` to that site")
	out, code = ask(t, s, "mail", "test", "ada@example.org")
	require.Equal(t, 1, code, out)
	require.Equal(t, 1, strings.Count(out, "no mailer is configured, so no mail is sent; write"), out)
}

// Each way in which a mailer doesn't fit its server, and the line to write, as an owner
// sees it before the first start.
func TestMailTestSaysWhatToWrite(t *testing.T) {
	t.Parallel()
	honest := served.NewMailServer(t).Listen()
	for name, c := range map[string]struct {
		address string
		block   string // of the mailer
		says    []string
	}{
		"no TLS":           {script(t, usual).address, "", []string{"it does not offer STARTTLS", "Write: tls none"}},
		"STARTTLS refused": {script(t, answers("EHLO", "250-x\r\n250 STARTTLS", "STARTTLS", "454 4.7.0 TLS not available")).address, "", []string{"> STARTTLS\n< 454 4.7.0 TLS not available", "it offers STARTTLS and refuses it", "Write: mailer smtp 127.0.0.1:465"}},
		"a wrong certificate": {honest.Address, "", []string{
			"the certificate is of 127.0.0.1, by test authority", "nobody whom this machine trusts vouches for it", "Write: trusted_ca /etc/ssl/mail-ca.pem",
		}},
		"a refused login": {honest.Address, "trusted_ca " + honest.CaFile + "\nusername caddy\npassword wrong-password-of-caddy", []string{"> AUTH PLAIN\n< 535 ", "check username and password", "Write: username <name> and, below it, password {env.SMTP_PASSWORD}"}},
		"a refused sender": {script(t, answers("MAIL", "553 5.7.1 not owned by caddy")).address, "tls none", []string{
			"> MAIL FROM:<no-reply@example.com>\n< 553 5.7.1 not owned by caddy", "it refuses the sender", "Write: from no-reply@example.com",
		}},
		"greylisting":           {script(t, answers("RCPT", "451 4.7.1 greylisted")).address, "tls none", []string{"< 451 4.7.1 greylisted", "Nothing is wrong with the configuration"}},
		"TLS that it hasn't":    {script(t, usual).address, "tls implicit", []string{"it does not begin with TLS", "Write: tls starttls"}},
		"silence after connect": {silent(t), "", []string{"* connected to 127.0.0.1:", "it takes the connection and says nothing", "Write: mailer smtp 127.0.0.1:465"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := served.NewServer(t)
			s.Values["smtp"], s.Values["block"] = c.address, c.block
			s.Configure("{\nadmin 127.0.0.1:[[admin]]\n}\nhttp://127.0.0.1:[[port]] {\nregistration {\nbase_url http://127.0.0.1:[[port]]\nfrom no-reply@example.com\nmailer smtp [[smtp]] {\nhello www.example.com\n[[block]]\n}\n}\n}\n")
			out, code := ask(t, s, "create", "ada")
			require.Zero(t, code, out)
			out, code = ask(t, s, "mail", "test", "ada@example.org")
			require.Equal(t, 1, code, out)
			for _, part := range c.says {
				require.Contains(t, out, part)
			}
			require.NotContains(t, out, "wrong-password-of-caddy")
			out, _ = ask(t, s, "doctor")
			require.Equal(t, name != "greylisting", strings.Contains(out, "fault\tmailer_failing\t"), "the server's fault, and greylisting is none: %s", out)
		})
	}
}

// answers is the usual server, but for lines that begin with certain words.
func answers(wordsAndReplies ...string) func(string) string {
	return func(line string) string {
		for i := 0; i+1 < len(wordsAndReplies); i += 2 {
			if strings.HasPrefix(line, wordsAndReplies[i]) {
				return wordsAndReplies[i+1]
			}
		}
		return ""
	}
}

// silent takes connections and says nothing.
func silent(t *testing.T) (address string) {
	t.Helper()
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	return script(t, func(string) string { <-end; return "" }).address
}
