// trace_test.go: what somebody learns who follows a mail: each step in the server's own
// words, and what to change where it fails.

package smtp_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/mail/smtp"
)

// follow sends a mail and returns its steps, a line each.
func follow(t *testing.T, m mail.Mailer, patience time.Duration) (steps string, failed *mail.Error) {
	t.Helper()
	var lines strings.Builder
	ctx := mail.WithTrace(t.Context(), &mail.Trace{Patience: patience, Step: func(s mail.Step) {
		lines.WriteString(s.Name + "|" + s.Sent + "|" + s.Answer + "\n")
	}})
	err := m.Send(ctx, message())
	if err != nil {
		require.ErrorAs(t, err, &failed)
	}
	require.NotContains(t, lines.String(), "tanstaaftanstaaf")
	require.NotContains(t, lines.String(), b64("\x00tim\x00tanstaaftanstaaf"))
	require.NotContains(t, lines.String(), b64("tanstaaftanstaaf"))
	return lines.String(), failed
}

// secured answers as an honest server does that has a certificate for names.
func securedServer(t *testing.T, implicit bool, names ...string) (address, caFile string) {
	t.Helper()
	caFile, config := sitetest.NewCA(t, names...)
	talk := (&scripted{}).talk
	address, _ = sitetest.ScriptedServer(t, func(conn net.Conn) {
		if implicit {
			talk(tls.Server(conn, config), func(string) string { return "" })
			return
		}
		_, _ = io.WriteString(conn, "220 hi\r\n")
		buf := make([]byte, 512)
		for _, answer := range []string{"250-mail.example.com\r\n250 STARTTLS\r\n", "220 go on\r\n"} {
			if _, err := conn.Read(buf); err != nil {
				return
			}
			if _, err := io.WriteString(conn, answer); err != nil {
				return
			}
		}
		secure := tls.Server(conn, config)
		if _, err := secure.Read(buf); err != nil { // EHLO
			return
		}
		_, _ = io.WriteString(secure, "250-mail.example.com\r\n250 AUTH PLAIN\r\n")
		if n, err := secure.Read(buf); err != nil || !strings.HasPrefix(string(buf[:n]), "AUTH PLAIN ") {
			return
		}
		_, _ = io.WriteString(secure, "535 5.7.8 no such tanstaaftanstaaf\r\n")
		_, _ = secure.Read(buf)
	})
	return address, caFile
}

func TestFollowedMail(t *testing.T) {
	s := serve(t, func(line string) string {
		if line == "." {
			return "250-taken\r\n250 \x1b[31mqueued as 7"
		}
		return ""
	})
	m := s.sender(t)
	require.NoError(t, m.Send(t.Context(), message()), "leaves a connection open")
	steps, failed := follow(t, m, time.Minute)
	require.Nil(t, failed)
	require.Len(t, s.said("EHLO"), 2, "who follows sees a conversation from its beginning")
	lines := strings.Split(steps, "\n")
	require.Equal(t, []string{
		"connect||connected to " + s.address + " at " + s.address, "greeting||220 hi",
		"EHLO|EHLO localhost|250 mail.example.com / AUTH PLAIN LOGIN / SMTPUTF8 / 8BITMIME",
		"tls||no TLS: who stands between can read the mail", "AUTH|AUTH PLAIN|235 ok",
		"MAIL|MAIL FROM:<no-reply@example.com>|250 ok", "RCPT|RCPT TO:<ada@example.org>|250 ok", "DATA|DATA|354 go on",
	}, lines[:8])
	require.Regexp(t, `^message\|\d+ bytes\|250 taken / \?\[31mqueued as 7$`, lines[8], "what a terminal would obey is gone")
	require.Equal(t, "QUIT|QUIT|221 bye", lines[9], "and it is not kept open")

	asks := serve(t, func(line string) string {
		return map[string]string{"EHLO localhost": "250-x\r\n250 AUTH LOGIN", "AUTH LOGIN": "334 " + b64("Username:"), b64("tim"): "334 " + b64("Password:"), b64("tanstaaftanstaaf"): "235 ok"}[line]
	})
	steps, failed = follow(t, asks.sender(t), time.Minute)
	require.Nil(t, failed)
	require.Contains(t, steps, "AUTH|AUTH LOGIN|334\nAUTH||334\nAUTH||235 ok\n", "nothing of what was asked and answered")
}

// Each way in which a configuration doesn't fit its server, and the line to write.
func TestFollowedMailThatFails(t *testing.T) {
	plain := func(answers map[string]string) func(*testing.T) *registration.SMTPMailer {
		return func(t *testing.T) *registration.SMTPMailer {
			s := serve(t, func(line string) string {
				word, _, _ := strings.Cut(line, " ")
				return answers[word]
			})
			return &registration.SMTPMailer{Address: s.address, TLS: smtp.NoTLS, Username: "tim", Password: "tanstaaftanstaaf"}
		}
	}
	withTLS := func(kind string, answers map[string]string) func(*testing.T) *registration.SMTPMailer {
		return func(t *testing.T) *registration.SMTPMailer {
			m := plain(answers)(t)
			m.TLS = kind
			return m
		}
	}
	for name, c := range map[string]struct {
		mailer func(*testing.T) *registration.SMTPMailer
		step   string // told
		says   string
		line   string // {host} is the server's address
	}{
		"no TLS": {withTLS("starttls", nil), "EHLO|EHLO localhost|250 mail", "it does not offer STARTTLS; write tls none for a server on this machine", "tls none"},
		"no TLS elsewhere": {func(t *testing.T) *registration.SMTPMailer {
			m := withTLS("starttls", nil)(t)
			to := m.Address
			m.Address = "mail.example.com"
			m.Server.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, to)
			}
			return m
		}, "EHLO|", "it does not offer STARTTLS; write tls implicit", "mailer smtp mail.example.com:465"},
		"STARTTLS refused": {
			withTLS("starttls", map[string]string{"EHLO": "250-x\r\n250 STARTTLS", "STARTTLS": "454 4.7.0 TLS not available due to local problem"}),
			"STARTTLS|STARTTLS|454 4.7.0 TLS not available", "it offers STARTTLS and refuses it: 454", "mailer smtp 127.0.0.1:465",
		},
		"TLS where there is none": {withTLS("implicit", nil), "tls||no TLS", "it does not begin with TLS: write tls starttls", "tls starttls"},
		"a certificate of another name": {func(t *testing.T) *registration.SMTPMailer {
			address, caFile := securedServer(t, false, "mail.example.com", "a.example", "b.example", "c.example", "d.example")
			return &registration.SMTPMailer{Address: address, TrustedCA: caFile}
		}, "tls||no TLS, the certificate is of mail.example.com, a.example, b.example, c.example, …, by test CA, good until", "a name that the certificate has (mail.example.com, a.example", "mailer smtp mail.example.com:{port}"},
		"a certificate of an address": {func(t *testing.T) *registration.SMTPMailer {
			address, caFile := securedServer(t, true, "192.0.2.1")
			return &registration.SMTPMailer{Address: address, TLS: "implicit", TrustedCA: caFile}
		}, "the certificate is of 192.0.2.1", "a name that the certificate has (192.0.2.1)", ""},
		"a certificate of nobody known": {func(t *testing.T) *registration.SMTPMailer {
			address, _ := securedServer(t, false, "127.0.0.1")
			other, _ := sitetest.NewCA(t, "127.0.0.1")
			return &registration.SMTPMailer{Address: address, TrustedCA: other}
		}, "tls||no TLS, the certificate is of 127.0.0.1", "for a private CA, set trusted_ca", "trusted_ca /etc/ssl/mail-ca.pem"},
		"a wrong password": {func(t *testing.T) *registration.SMTPMailer {
			address, caFile := securedServer(t, false, "127.0.0.1")
			return &registration.SMTPMailer{Address: address, TrustedCA: caFile, Username: "tim", Password: "tanstaaftanstaaf"}
		}, "AUTH|AUTH PLAIN|535 5.7.8 no such (password)", "check username and password", "username <name> and, below it, password {env.SMTP_PASSWORD}"},
		"a refused greeting":   {plain(map[string]string{"EHLO": "504 5.5.2 <localhost>: Helo command rejected"}), "EHLO|EHLO localhost|504", "set hello", "hello www.example.com"},
		"a refused sender":     {plain(map[string]string{"MAIL": "553 5.7.1 not owned by tim"}), "MAIL|MAIL FROM:<no-reply@example.com>|553", "it refuses the sender", "from no-reply@example.com"},
		"a refused relay":      {plain(map[string]string{"RCPT": "554 5.7.1 Relay access denied"}), "RCPT|", "does not pass on our mail", "username <name> and, below it, password {env.SMTP_PASSWORD}"},
		"a refused network":    {plain(map[string]string{"RCPT": "554 5.7.1 Client host blocked using zen.spamhaus.org"}), "RCPT|", "this machine's network", "mailer smtp smtp.example.com:{port}"},
		"an unknown recipient": {plain(map[string]string{"RCPT": "550 5.1.1 no such user"}), "RCPT|RCPT TO:<ada@example.org>|550 5.1.1 no such user", "no such user", ""},
		"greylisting":          {plain(map[string]string{"RCPT": "451 4.7.1 greylisted"}), "RCPT|RCPT TO:<ada@example.org>|451 4.7.1 greylisted", "greylisted", ""},
		"nobody there": {func(t *testing.T) *registration.SMTPMailer {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			require.NoError(t, listener.Close())
			return &registration.SMTPMailer{Address: listener.Addr().String()}
		}, "", "nothing answers there: check that the mail server runs and the address is right (mailer smtp 127.0.0.1:", ""},
		"no such name": {func(*testing.T) *registration.SMTPMailer {
			return &registration.SMTPMailer{Address: "nothing.invalid"}
		}, "", "there is no such name: check that the address is right: mailer smtp nothing.invalid", ""},
		"it hangs up": {func(t *testing.T) *registration.SMTPMailer {
			address, _ := sitetest.ScriptedServer(t, func(net.Conn) {})
			return &registration.SMTPMailer{Address: address}
		}, "connect||connected to", "it hangs up without a word", ""},
		"endless words": {func(t *testing.T) *registration.SMTPMailer {
			address, _ := sitetest.ScriptedServer(t, func(conn net.Conn) { _, _ = io.WriteString(conn, strings.Repeat("x", 2*smtp.MaxReply)) })
			return &registration.SMTPMailer{Address: address, TLS: smtp.NoTLS}
		}, "connect||", "this is no mail server", ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := c.mailer(t)
			m.Timeout = sitetest.FarTimeout
			dial := m.Server.Dial
			sitetest.ReadyMailer(t, m)
			m.Server.Dial = dial
			steps, failed := follow(t, m, time.Minute)
			require.Contains(t, steps, c.step)
			require.NotNil(t, failed)
			require.ErrorContains(t, failed, c.says)
			_, port, _ := net.SplitHostPort(m.Address)
			require.Equal(t, strings.ReplaceAll(c.line, "{port}", port), failed.Line)
		})
	}
}

// What can be wrong with a certificate beside its name and who vouches for it.
func TestOtherCertificates(t *testing.T) {
	s := smtp.Server{Host: "mail.example.com", Port: "587", TLS: smtp.StartTLS}
	for says, cause := range map[string]error{
		"its time is over, or has not begun":        x509.CertificateInvalidError{Reason: x509.Expired},
		"a name that the certificate has or, for a": errors.New("something else"),
		"a name that the certificate has (no name)": x509.HostnameError{Certificate: &x509.Certificate{}, Host: "mail.example.com"},
	} {
		var failed *mail.Error
		require.ErrorAs(t, s.Failure(smtp.StepConnect, &tls.CertificateVerificationError{Err: cause}), &failed)
		require.ErrorContains(t, failed, says)
		require.Empty(t, failed.Line)
	}
}

// Who waits for an answer is told after a minute that there is none, and what that may be.
func TestFollowedMailToASilentServer(t *testing.T) {
	for name, c := range map[string]struct {
		server     smtp.Server
		says, line string
	}{
		"after it took the connection": {smtp.Server{Address: "mail.example.com", TLS: smtp.StartTLS}, "it takes the connection and says nothing", "mailer smtp mail.example.com:465"},
		"starttls at port 465":         {smtp.Server{Address: "mail.example.com:465", TLS: smtp.StartTLS}, "servers at port 465 mostly want tls implicit", "tls implicit"},
		"the default of port 465":      {smtp.Server{Address: "mail.example.com:465"}, "it takes the connection and says nothing", "mailer smtp mail.example.com:465"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				go func() { _, _ = io.Copy(io.Discard, theirs) }()
				m := &smtp.Sender{Server: c.server}
				_, err := m.Server.Split()
				require.NoError(t, err)
				m.Server.Dial = func(context.Context, string, string) (net.Conn, error) { return ours, nil }
				began := time.Now()
				_, failed := follow(t, m, time.Minute)
				require.Equal(t, time.Minute, time.Since(began))
				require.NotNil(t, failed)
				require.ErrorContains(t, failed, c.says)
				require.Equal(t, c.line, failed.Line)
				_ = theirs.Close()
			})
		})
	}
}

// A server that speaks TLS from the first byte on is what port 465 means by default; here
// it is at another port, since that one is not for tests.
func TestFollowedMailWithin(t *testing.T) {
	address, caFile := securedServer(t, true, "127.0.0.1")
	m := &registration.SMTPMailer{Address: address, TLS: "implicit", TrustedCA: caFile, Timeout: sitetest.FarTimeout}
	steps, failed := follow(t, sitetest.ReadyMailer(t, m), time.Minute)
	require.Nil(t, failed)
	require.Contains(t, steps, "tls||TLS 1.3, the certificate is of 127.0.0.1, by test CA, good until 2")
	byDefault := &smtp.Server{Address: "mail.example.com:465"}
	_, err := byDefault.Split()
	require.NoError(t, err)
	require.Equal(t, smtp.ImplicitTLS, byDefault.TLS)
}
