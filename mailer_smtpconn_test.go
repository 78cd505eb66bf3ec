// mailer_smtpconn_test.go: the SMTP mailer in conversation: success, refusals,
// servers that can't be used, and what is left open afterwards.

package registration_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/mail/smtp"
)

func TestSMTPSend(t *testing.T) {
	for _, kind := range []string{smtp.StartTLS, smtp.ImplicitTLS, smtp.NoTLS} {
		for _, signIn := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, sign-in %t", kind, signIn), func(t *testing.T) {
				p := sitetest.NewPostOffice(t, kind)
				m := &registration.SMTPMailer{Address: p.Address, TLS: kind, TrustedCA: p.CaFile, Timeout: sitetest.FarTimeout, Hello: "www.example.com"}
				if signIn {
					t.Setenv("TEST_SMTP_USER", sitetest.SmtpUser)
					t.Setenv("TEST_SMTP_PASSWORD", sitetest.SmtpPassword)
					m.Username, m.Password = "{env.TEST_SMTP_USER}", "{env.TEST_SMTP_PASSWORD}"
				}
				sitetest.ReadyMailer(t, m)
				for range 3 {
					require.NoError(t, m.Send(t.Context(), sitetest.AMail()))
				}
				p.Require(t, 1, 3)
				checkAMail(t, p.Received[0])
				require.Equal(t, "www.example.com", p.Hello)
				require.Equal(t, map[bool]int{true: 1}[signIn], p.Logins)
				require.NotContains(t, m.Password, sitetest.SmtpPassword, "the configuration stays as it is written")

				require.NoError(t, m.Close())
				require.NoError(t, m.Close())
				require.NoError(t, m.Send(t.Context(), sitetest.AMail()))
				p.Require(t, 2, 4)
			})
		}
	}
}

func TestSMTPRefusals(t *testing.T) {
	const sender, rcpt, data = "MAIL", "RCPT", "DATA"
	for _, c := range []struct {
		at                string
		code              int
		enhanced          gosmtp.EnhancedCode
		server, permanent bool
	}{
		{sender, 451, gosmtp.EnhancedCode{4, 3, 0}, true, false},
		{sender, 550, gosmtp.EnhancedCode{5, 7, 1}, true, false},
		{sender, 530, gosmtp.EnhancedCode{5, 7, 0}, true, false},
		{sender, 421, gosmtp.EnhancedCode{4, 7, 0}, true, false},
		{rcpt, 450, gosmtp.EnhancedCode{4, 2, 0}, false, false},
		{rcpt, 452, gosmtp.EnhancedCode{4, 2, 2}, false, false},
		{rcpt, 550, gosmtp.EnhancedCode{5, 1, 1}, false, true},
		{rcpt, 553, gosmtp.EnhancedCode{5, 1, 7}, false, false},
		{rcpt, 550, gosmtp.EnhancedCode{5, 1, 8}, false, false},
		{rcpt, 530, gosmtp.EnhancedCode{5, 7, 0}, false, false},
		{rcpt, 534, gosmtp.EnhancedCode{5, 7, 9}, false, false},
		{rcpt, 535, gosmtp.EnhancedCode{5, 7, 8}, false, false},
		{rcpt, 538, gosmtp.EnhancedCode{5, 7, 11}, false, false},
		{rcpt, 421, gosmtp.EnhancedCode{4, 3, 2}, false, false},
		{data, 451, gosmtp.EnhancedCode{4, 3, 0}, false, false},
		{data, 554, gosmtp.EnhancedCode{5, 7, 1}, false, false},
		{data, 552, gosmtp.EnhancedCode{5, 3, 4}, false, false},
		{data, 550, gosmtp.EnhancedCode{5, 1, 8}, false, false},
		{data, 421, gosmtp.EnhancedCode{4, 3, 2}, false, false},
	} {
		t.Run(fmt.Sprintf("%s %d %v", c.at, c.code, c.enhanced), func(t *testing.T) {
			p := sitetest.NewPostOffice(t, smtp.NoTLS)
			m := p.Mailer(t)
			require.NoError(t, m.Send(t.Context(), sitetest.AMail())) // so that the next one meets an open connection
			refusal := error(&gosmtp.SMTPError{Code: c.code, EnhancedCode: c.enhanced, Message: "because"})
			p.Set(func() {
				switch c.at {
				case sender:
					p.Mail = refusal
				case rcpt:
					p.Rcpt = refusal
				case data:
					p.Data = refusal
				}
			})
			err := m.Send(t.Context(), sitetest.AMail())
			sitetest.RequireMailError(t, err, c.server, c.permanent)
			var reply *textproto.Error
			require.ErrorAs(t, err, &reply)
			require.Equal(t, c.code, reply.Code)
			require.ErrorContains(t, err, p.Address)
			require.Equal(t, c.permanent, m.Conn != nil, "no connection is used after a failure, but that of an unknown recipient")

			p.Set(func() { p.Mail, p.Rcpt, p.Data = nil, nil, nil })
			require.NoError(t, m.Send(t.Context(), sitetest.AMail()))
			require.Len(t, p.Received, 2)
		})
	}
	p := sitetest.NewPostOffice(t, smtp.NoTLS)
	p.Mail = &gosmtp.SMTPError{Code: 550, Message: "who are you?"}
	require.ErrorContains(t, p.Mailer(t).Send(t.Context(), sitetest.AMail()), "it refuses the sender: check the setting from")
}

func TestSMTPUnusableServer(t *testing.T) {
	_, otherCert := sitetest.NewCA(t, "mail.example.com")
	caFile, cert := sitetest.NewCA(t, "127.0.0.1")
	startTLS := func(config *tls.Config) func(net.Conn) {
		return func(conn net.Conn) {
			r := bufio.NewReader(conn)
			for _, answer := range []string{"220 hi", "250-mail.example.com\r\n250 STARTTLS", "220 go on"} {
				_, _ = io.WriteString(conn, answer+"\r\n")
				_, _ = r.ReadString('\n')
				if answer == "250-mail.example.com\r\n250 STARTTLS" {
					_, _ = io.WriteString(conn, "220 go on\r\n")
					_ = tls.Server(conn, config).Handshake()
					return
				}
			}
		}
	}
	quote := map[string]string{"": "220 hi", "EHLO": "250-mail.example.com\r\n250 AUTH PLAIN", "*": "501 no", "QUIT": "221 bye"}
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + sitetest.SmtpUser + "\x00" + sitetest.SmtpPassword))
	quote["AUTH"] = "535 5.7.8 not with AUTH PLAIN " + plain + " which is " + sitetest.SmtpPassword
	for name, c := range map[string]struct {
		serve    func(net.Conn)
		tls, err string
		signIn   bool
	}{
		"tarpit, starttls":        {serve: sitetest.Tarpit, tls: smtp.StartTLS, err: "i/o timeout"},
		"tarpit, implicit":        {serve: sitetest.Tarpit, tls: smtp.ImplicitTLS, err: "i/o timeout"},
		"tarpit, none":            {serve: sitetest.Tarpit, tls: smtp.NoTLS, err: "i/o timeout"},
		"tarpit after greeting":   {serve: sitetest.Script(map[string]string{"": "220 hi", "EHLO": "silence"}), tls: smtp.NoTLS, err: "i/o timeout"},
		"tarpit at MAIL":          {serve: sitetest.Script(map[string]string{"": "220 hi", "EHLO": sitetest.Hello, "MAIL": "silence"}), tls: smtp.NoTLS, err: "i/o timeout"},
		"tarpit in the handshake": {serve: sitetest.Script(map[string]string{"": "220 hi", "EHLO": "250-x\r\n250 STARTTLS", "STARTTLS": "220 go on", "\x16\x03\x01": "silence"}), tls: smtp.StartTLS, err: ""},
		"refused at the greeting": {serve: sitetest.Script(map[string]string{"": "554 go away"}), tls: smtp.NoTLS, err: "554 go away"},
		"busy at the greeting":    {serve: sitetest.Script(map[string]string{"": "421 later"}), tls: smtp.NoTLS, err: "421 later"},
		"refused at EHLO":         {serve: sitetest.Script(map[string]string{"": "220 hi", "EHLO": "550 not you", "HELO": "550 not you"}), tls: smtp.StartTLS, err: "550 not you"},
		// Whether it is an EOF or a reset depends on what the server had not read yet.
		"hangs up":             {serve: func(net.Conn) {}, tls: smtp.NoTLS, err: ""},
		"speaks nonsense":      {serve: sitetest.Script(map[string]string{"": "HTTP/1.1 400"}), tls: smtp.NoTLS, err: "short response"},
		"nonsense at MAIL":     {serve: sitetest.Script(map[string]string{"": "220 hi", "EHLO": sitetest.Hello, "MAIL": "ok"}), tls: smtp.NoTLS, err: "short response"},
		"out of step at MAIL":  {serve: sitetest.Script(map[string]string{"": "220 hi", "EHLO": sitetest.Hello, "MAIL": "354 ok"}), tls: smtp.NoTLS, err: "354 ok"},
		"no STARTTLS":          {serve: sitetest.Script(map[string]string{"": "220 hi", "EHLO": sitetest.Hello}), tls: smtp.StartTLS, err: "write tls none for a server on this machine, or tls implicit (mostly at port 465)"},
		"STARTTLS refused":     {serve: sitetest.Script(map[string]string{"": "220 hi", "EHLO": "250-x\r\n250 STARTTLS", "STARTTLS": "454 not now"}), tls: smtp.StartTLS, err: "454 not now"},
		"unknown CA, starttls": {serve: startTLS(otherCert), tls: smtp.StartTLS, err: "write in address a name that the certificate has (mail.example.com)"},
		"unknown CA, implicit": {serve: func(c net.Conn) { _ = tls.Server(c, otherCert).Handshake() }, tls: smtp.ImplicitTLS, err: "write in address a name that the certificate has"},
		"hangs up after TLS":   {serve: startTLS(cert), tls: smtp.StartTLS, err: ""},
		"no TLS":               {serve: sitetest.Script(map[string]string{"": "220 hi"}), tls: smtp.ImplicitTLS, err: "write tls starttls"},
		"no AUTH":              {serve: sitetest.Script(map[string]string{"": "220 hi", "EHLO": sitetest.Hello}), tls: smtp.NoTLS, signIn: true, err: "it offers no sign-in (AUTH)"},
		"quotes the password":  {serve: sitetest.Script(quote), tls: smtp.NoTLS, signIn: true, err: "535 5.7.8 not with AUTH PLAIN (password) which is (password); check username and password"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, open := sitetest.ScriptedServer(t, c.serve)
			m := &registration.SMTPMailer{Address: address, TLS: c.tls, TrustedCA: caFile, Timeout: sitetest.FarTimeout}
			if c.signIn {
				m.Username, m.Password = sitetest.SmtpUser, sitetest.SmtpPassword
			}
			sitetest.Hurried(sitetest.ReadyMailer(t, m), 300*time.Millisecond)
			start := time.Now()
			err := m.Send(t.Context(), sitetest.AMail())
			sitetest.RequireMailError(t, err, true, false)
			require.Contains(t, strings.ReplaceAll(err.Error(), `"`, ""), c.err) // some versions of Go quote the server's words
			require.ErrorContains(t, err, "mail server "+address+": ")
			require.NotContains(t, err.Error(), sitetest.SmtpPassword)
			require.NotContains(t, err.Error(), plain)
			require.Less(t, time.Since(start), 20*time.Second)
			require.Eventually(t, func() bool { return open.Load() == 0 }, sitetest.Patience, time.Millisecond, "the connection is closed")
		})
	}
}

func TestSMTPServerDown(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	m := sitetest.ReadyMailer(t, &registration.SMTPMailer{Address: listener.Addr().String()})
	err = m.Send(t.Context(), sitetest.AMail())
	sitetest.RequireMailError(t, err, true, false)
	require.ErrorContains(t, err, "connection refused")
}

func TestSMTPWrongPassword(t *testing.T) {
	p := sitetest.NewPostOffice(t, smtp.StartTLS)
	m := sitetest.ReadyMailer(t, &registration.SMTPMailer{Address: p.Address, TrustedCA: p.CaFile, Timeout: sitetest.FarTimeout, Username: sitetest.SmtpUser, Password: "guessed"})
	err := m.Send(t.Context(), sitetest.AMail())
	sitetest.RequireMailError(t, err, true, false)
	require.ErrorContains(t, err, "535")
	require.ErrorContains(t, err, "check username and password")
	require.NotContains(t, err.Error(), "guessed")
}

func TestSMTPRefusesMessageWithoutConnecting(t *testing.T) {
	p := sitetest.NewPostOffice(t, smtp.NoTLS)
	bad := sitetest.AMail()
	bad.To = "ann@example.org>\r\nRCPT TO:<eve@example.net"
	sitetest.RequireMailError(t, p.Mailer(t).Send(t.Context(), bad), false, true)
	p.Require(t, 0, 0)
}

func TestSMTPConnectionIsReplaced(t *testing.T) {
	t.Run("the server hung up between two messages", func(t *testing.T) {
		p := sitetest.NewPostOffice(t, smtp.StartTLS)
		m := p.Mailer(t)
		require.NoError(t, m.Send(t.Context(), sitetest.AMail()))
		p.HangUp()
		require.NoError(t, m.Send(t.Context(), sitetest.AMail()))
		p.Require(t, 2, 2)
	})
	t.Run("idle for too long", func(t *testing.T) {
		p := sitetest.NewPostOffice(t, smtp.StartTLS)
		m := p.Mailer(t)
		now := time.Now()
		m.Now = func() time.Time { return now }
		for range 2 {
			require.NoError(t, m.Send(t.Context(), sitetest.AMail()))
			now = now.Add(smtp.IdleTime)
		}
		p.Require(t, 1, 2)
		now = now.Add(time.Nanosecond)
		require.NoError(t, m.Send(t.Context(), sitetest.AMail()))
		p.Require(t, 2, 3)
	})
	t.Run("dropped in the middle of a message", func(t *testing.T) {
		p := sitetest.NewPostOffice(t, smtp.NoTLS)
		m := p.Mailer(t)
		require.NoError(t, m.Send(t.Context(), sitetest.AMail()))
		p.Set(func() { p.Data = &gosmtp.SMTPError{Code: 421, Message: "restarting"} })
		sitetest.RequireMailError(t, m.Send(t.Context(), sitetest.AMail()), false, false)
		p.Require(t, 1, 1) // it may have been accepted, so it is not sent again by itself
		p.Set(func() { p.Data = nil })
		require.NoError(t, m.Send(t.Context(), sitetest.AMail()))
		p.Require(t, 2, 2)
	})
	t.Run("hangs up at DATA", func(t *testing.T) {
		var calls atomic.Int64
		address, _ := sitetest.ScriptedServer(t, func(conn net.Conn) {
			calls.Add(1)
			sitetest.Script(map[string]string{"": "220 hi", "EHLO": sitetest.Hello, "MAIL": "250 ok", "RCPT": "250 ok"})(conn)
		})
		m := sitetest.ReadyMailer(t, &registration.SMTPMailer{Address: address, TLS: smtp.NoTLS, Timeout: sitetest.FarTimeout})
		for n := range int64(2) {
			sitetest.RequireMailError(t, m.Send(t.Context(), sitetest.AMail()), false, false)
			require.Equal(t, n+1, calls.Load())
		}
	})
}

// A server that takes the first line of a message and then no more.
func TestSMTPSlowReader(t *testing.T) {
	address, _ := sitetest.ScriptedServer(t, func(conn net.Conn) {
		sitetest.Script(map[string]string{"": "220 hi", "EHLO": sitetest.Hello, "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go on"})(conn)
	})
	m := sitetest.Hurried(sitetest.ReadyMailer(t, &registration.SMTPMailer{Address: address, TLS: smtp.NoTLS, Timeout: sitetest.FarTimeout}), 500*time.Millisecond)
	big := sitetest.AMail()
	big.Text = strings.Repeat(strings.Repeat("x", 70)+"\n", 1<<18)
	sitetest.RequireMailError(t, m.Send(t.Context(), big), false, false)
}

func TestSMTPContext(t *testing.T) {
	t.Run("over before it begins", func(t *testing.T) {
		p := sitetest.NewPostOffice(t, smtp.NoTLS)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := p.Mailer(t).Send(ctx, sitetest.AMail())
		sitetest.RequireMailError(t, err, true, false)
		require.ErrorIs(t, err, context.Canceled)
		p.Require(t, 0, 0)
	})
	for name, c := range map[string]struct {
		before string // what the server has answered when ctx ends
		serve  map[string]string
	}{
		"before the greeting": {"", map[string]string{"": "silence"}},
		"at EHLO":             {"EHLO", map[string]string{"": "220 hi", "EHLO": "silence"}},
		"at MAIL":             {"MAIL", map[string]string{"": "220 hi", "EHLO": sitetest.Hello, "MAIL": "silence"}},
		"at DATA":             {"DATA", map[string]string{"": "220 hi", "EHLO": sitetest.Hello, "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "silence"}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			address, open := sitetest.ScriptedServer(t, func(conn net.Conn) {
				time.AfterFunc(50*time.Millisecond, cancel)
				sitetest.Script(c.serve)(conn)
			})
			m := sitetest.ReadyMailer(t, &registration.SMTPMailer{Address: address, TLS: smtp.NoTLS, Timeout: sitetest.FarTimeout})
			err := m.Send(ctx, sitetest.AMail())
			sitetest.RequireMailError(t, err, true, false)
			require.ErrorIs(t, err, context.Canceled)
			require.Eventually(t, func() bool { return open.Load() == 0 }, sitetest.Patience, time.Millisecond)
			require.Nil(t, m.Conn)
		})
	}
	t.Run("deadline", func(t *testing.T) {
		address, _ := sitetest.ScriptedServer(t, sitetest.Tarpit)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		err := sitetest.ReadyMailer(t, &registration.SMTPMailer{Address: address, Timeout: sitetest.FarTimeout}).Send(ctx, sitetest.AMail())
		sitetest.RequireMailError(t, err, true, false)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestSMTPCloseDoesNotHang(t *testing.T) {
	answers := map[string]string{"": "220 hi", "EHLO": sitetest.Hello, "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go on", ".": "250 ok", "QUIT": "silence"}
	serve := func(conn net.Conn) {
		r := bufio.NewReader(conn)
		_, _ = io.WriteString(conn, "220 hi\r\n")
		for inData := false; ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			verb := strings.Fields(line + " -")[0]
			if inData && verb != "." {
				continue
			}
			inData = verb == "DATA"
			if answers[verb] != "silence" {
				_, _ = io.WriteString(conn, answers[verb]+"\r\n")
			}
		}
	}
	address, open := sitetest.ScriptedServer(t, serve)
	m := sitetest.ReadyMailer(t, &registration.SMTPMailer{Address: address, TLS: smtp.NoTLS, Timeout: sitetest.FarTimeout})
	require.NoError(t, m.Send(t.Context(), sitetest.AMail()))
	start := time.Now()
	require.NoError(t, m.Close())
	require.Less(t, time.Since(start), 20*time.Second)
	require.Eventually(t, func() bool { return open.Load() == 0 }, sitetest.Patience, time.Millisecond)
}

// openFiles counts the descriptors of this process.
func openFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("this system has no /proc")
	}
	return len(entries)
}

func TestSMTPNoDescriptorLeak(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collected connection would close itself
	_, otherCert := sitetest.NewCA(t, "mail.example.com")
	ways := []struct {
		tls   string
		serve func(net.Conn)
	}{
		{smtp.NoTLS, sitetest.Tarpit},
		{smtp.ImplicitTLS, sitetest.Tarpit},
		{smtp.NoTLS, sitetest.Script(map[string]string{"": "554 go away"})},
		{smtp.NoTLS, sitetest.Script(map[string]string{"": "220 hi", "EHLO": "550 no", "HELO": "550 no"})},
		{smtp.StartTLS, sitetest.Script(map[string]string{"": "220 hi", "EHLO": sitetest.Hello, "QUIT": "silence"})},
		{smtp.ImplicitTLS, func(c net.Conn) { _ = tls.Server(c, otherCert).Handshake() }},
		{smtp.NoTLS, sitetest.Script(map[string]string{"": "220 hi", "EHLO": sitetest.Hello, "MAIL": "250 ok", "RCPT": "550 no", "QUIT": "221 bye"})},
		{smtp.NoTLS, sitetest.Script(map[string]string{"": "220 hi", "EHLO": sitetest.Hello, "MAIL": "250 ok"})},
	}
	var mailers []*registration.SMTPMailer
	var opens []*atomic.Int64
	for _, way := range ways {
		address, open := sitetest.ScriptedServer(t, way.serve)
		opens = append(opens, open)
		mailers = append(mailers, sitetest.Hurried(sitetest.ReadyMailer(t, &registration.SMTPMailer{Address: address, TLS: way.tls, Timeout: sitetest.FarTimeout}), 20*time.Millisecond))
	}
	require.Error(t, mailers[0].Send(t.Context(), sitetest.AMail())) // what the runtime opens once is open now
	before := openFiles(t)
	for range 50 {
		for _, m := range mailers {
			require.Error(t, m.Send(t.Context(), sitetest.AMail()))
		}
	}
	require.Eventually(t, func() bool {
		for _, open := range opens {
			if open.Load() != 0 {
				return false
			}
		}
		return openFiles(t) <= before
	}, 10*time.Second, 10*time.Millisecond, "open before: %d, now: %d", before, openFiles(t))
}

// Realms dial at the same time, to the same address too, and a tarpit holds up
// nobody else.
func TestSMTPConcurrentMailers(t *testing.T) {
	p := sitetest.NewPostOffice(t, smtp.StartTLS)
	pit, _ := sitetest.ScriptedServer(t, sitetest.Tarpit)
	ctx, cancel := context.WithCancel(t.Context())
	var stuck, all sync.WaitGroup
	stuckMailer := sitetest.ReadyMailer(t, &registration.SMTPMailer{Address: pit, Timeout: sitetest.FarTimeout})
	stuck.Go(func() { _ = stuckMailer.Send(ctx, sitetest.AMail()) })
	errs := make([]error, 8)
	for i := range errs {
		m := p.Mailer(t)
		all.Go(func() {
			for range 3 {
				errs[i] = errors.Join(errs[i], m.Send(t.Context(), sitetest.AMail()), m.Close())
			}
		})
	}
	all.Wait()
	require.NoError(t, errors.Join(errs...))
	p.Require(t, 24, 24)
	cancel()
	stuck.Wait()
}
