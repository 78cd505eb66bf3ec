// hardening_test.go: mail servers (or whoever stands before them) that
// answer without end, fast or slowly, at each step of the conversation.

package smtp_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	registration "github.com/seed-928992b0/caddy-registration"
	"github.com/seed-928992b0/caddy-registration/internal/boundconn"
	"github.com/seed-928992b0/caddy-registration/internal/sitetest"
	"github.com/seed-928992b0/caddy-registration/mail/smtp"
)

// endlessAt is an honest conversation up to a line that begins with verb ("":
// the greeting; ".": the end of a message), which is answered by pieces for as
// long as the client listens, with a pause between them.
func endlessAt(verb, piece string, pause time.Duration, secured *tls.Config) func(net.Conn) {
	answers := map[string]string{
		"": "220 hi", "EHLO": "250-mail.example.com\r\n250 AUTH PLAIN LOGIN", "HELO": "250 hi", "AUTH": "235 welcome", "MAIL": "250 ok", "RCPT": "250 ok",
		"DATA": "354 go on", ".": "250 taken", "QUIT": "221 bye", "RSET": "250 ok", "*": "501 no", "STARTTLS": "220 go on",
	}
	if secured != nil {
		answers["EHLO"] = "250-mail.example.com\r\n250 STARTTLS"
	}
	return func(conn net.Conn) {
		lines := bufio.NewReader(conn)
		for word, inData := "", false; ; {
			if word == verb {
				chunk := []byte(piece)
				if pause == 0 {
					chunk = bytes.Repeat(chunk, 1+(64<<10)/len(chunk))
				}
				for { // until the client closes
					if _, err := conn.Write(chunk); err != nil {
						return
					}
					time.Sleep(pause)
				}
			}
			if _, err := io.WriteString(conn, answers[word]+"\r\n"); err != nil || word == "QUIT" {
				return
			}
			if word == "STARTTLS" {
				inner := tls.Server(conn, secured)
				conn, lines = inner, bufio.NewReader(inner)
				answers["EHLO"] = "250-mail.example.com\r\n250 AUTH PLAIN"
			}
			inData = word == "DATA"
			for {
				line, err := lines.ReadString('\n')
				if err != nil {
					return
				}
				word = strings.ToUpper(strings.Fields(line + " -")[0])
				if !inData || word == "." {
					break
				}
			}
		}
	}
}

// afterSender are the steps at which a failure is about one message: if the server
// can't be used, the next connection says so.
var afterSender = map[string]bool{"RCPT": true, "DATA": true, ".": true}

func TestHardeningSMTPEndlessReplies(t *testing.T) {
	const mebibyte = 1 << 20
	caFile, cert := sitetest.NewCA(t, "127.0.0.1")
	type attack struct {
		name, verb, piece string
		tls               string
		signIn            bool
	}
	var attacks []attack
	for _, step := range []struct{ name, verb, code string }{
		{"greeting", "", "220"},
		{"EHLO", "EHLO", "250"},
		{"AUTH", "AUTH", "334"},
		{"MAIL", "MAIL", "250"},
		{"RCPT", "RCPT", "250"},
		{"DATA", "DATA", "354"},
		{"final dot", ".", "250"},
	} {
		attacks = append(attacks,
			attack{name: step.name + ", one line", verb: step.verb, piece: "x", tls: smtp.NoTLS},
			attack{name: step.name + ", one line that begins well", verb: step.verb, piece: step.code + "-x", tls: smtp.NoTLS},
			attack{name: step.name + ", a list", verb: step.verb, piece: step.code + "-\r\n", tls: smtp.NoTLS},
			attack{name: step.name + ", a list of nonsense", verb: step.verb, piece: step.code + "-\r\nx\r\n", tls: smtp.NoTLS},
		)
	}
	attacks = append(attacks,
		attack{name: "AUTH, challenges without end", verb: "AUTH", piece: "334 VXNlcm5hbWU6\r\n", tls: smtp.NoTLS},
		attack{name: "greeting, NUL", verb: "", piece: "\x00", tls: smtp.NoTLS},
		attack{name: "STARTTLS, one line", verb: "STARTTLS", piece: "x", tls: smtp.StartTLS},
		attack{name: "STARTTLS, a list", verb: "STARTTLS", piece: "220-\r\n", tls: smtp.StartTLS},
		attack{name: "AUTH within TLS", verb: "AUTH", piece: "334-\r\n", tls: smtp.StartTLS},
		attack{name: "final dot within TLS", verb: ".", piece: "250-\r\n", tls: smtp.StartTLS},
	)
	measure := func(work func()) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		work()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			secured := map[string]*tls.Config{smtp.StartTLS: cert}[a.tls]
			address, open := sitetest.ScriptedServer(t, endlessAt(a.verb, a.piece, 0, secured))
			m := &registration.SMTPMailer{Address: address, TLS: a.tls, TrustedCA: caFile, Timeout: sitetest.FarTimeout, Username: sitetest.SmtpUser, Password: sitetest.SmtpPassword}
			sitetest.ReadyMailer(t, m)
			var err error
			used := measure(func() { err = m.Send(t.Context(), sitetest.AMail()) })
			t.Logf("%d KiB", used>>10)
			require.Less(t, used, uint64(6*mebibyte), "memory that one server can make us take")
			sitetest.RequireMailError(t, err, !afterSender[a.verb], false)
			require.Less(t, len(err.Error()), 2*smtp.MaxTold, "in the log")
			require.NotContains(t, err.Error(), sitetest.SmtpPassword)
			require.Eventually(t, func() bool { return open.Load() == 0 }, sitetest.Patience, time.Millisecond, "the connection is closed")
		})
	}
	t.Run("QUIT", func(t *testing.T) {
		address, open := sitetest.ScriptedServer(t, endlessAt("QUIT", "221-\r\n", 0, nil))
		m := sitetest.ReadyMailer(t, &registration.SMTPMailer{Address: address, TLS: smtp.NoTLS, Timeout: sitetest.FarTimeout})
		require.NoError(t, m.Send(t.Context(), sitetest.AMail()))
		require.Less(t, measure(func() { require.NoError(t, m.Close()) }), uint64(mebibyte))
		require.Eventually(t, func() bool { return open.Load() == 0 }, sitetest.Patience, time.Millisecond)
	})
	// A reply that comes byte by byte ends with the time of its step.
	for _, verb := range []string{"", "EHLO", "MAIL", "RCPT", "DATA", "."} {
		t.Run("drop by drop at "+verb, func(t *testing.T) {
			t.Parallel()
			address, open := sitetest.ScriptedServer(t, endlessAt(verb, "2", 5*time.Millisecond, nil))
			m := sitetest.Hurried(sitetest.ReadyMailer(t, &registration.SMTPMailer{Address: address, TLS: smtp.NoTLS, Timeout: sitetest.FarTimeout}), 200*time.Millisecond)
			start := time.Now()
			sitetest.RequireMailError(t, m.Send(t.Context(), sitetest.AMail()), !afterSender[verb], false)
			require.Less(t, time.Since(start), 20*time.Second)
			require.Eventually(t, func() bool { return open.Load() == 0 }, sitetest.Patience, time.Millisecond)
		})
	}
}

// Bounds are per reply: an honest conversation of any length goes on.
func TestHardeningSMTPBoundsAreByReply(t *testing.T) {
	talkative := strings.Repeat("250-"+strings.Repeat("x", 500)+"\r\n", 50)
	answers := map[string]string{"": "220 hi", "EHLO": sitetest.Hello, "MAIL": talkative + "250 ok", "RCPT": talkative + "250 ok", "DATA": "354 go on", ".": talkative + "250 ok", "QUIT": talkative + "221 bye"}
	require.Less(t, len(talkative), smtp.MaxReply)
	address, _ := sitetest.ScriptedServer(t, func(conn net.Conn) {
		lines := bufio.NewReader(conn)
		_, _ = io.WriteString(conn, answers[""]+"\r\n")
		for inData := false; ; {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			word := strings.Fields(line + " -")[0]
			if inData && word != "." {
				continue
			}
			inData = word == "DATA"
			_, _ = io.WriteString(conn, answers[word]+"\r\n")
		}
	})
	m := sitetest.ReadyMailer(t, &registration.SMTPMailer{Address: address, TLS: smtp.NoTLS, Timeout: sitetest.FarTimeout})
	for range 20 {
		require.NoError(t, m.Send(t.Context(), sitetest.AMail()))
	}
}

// What a server quotes of a message must not bring a live link into the log.
func TestHardeningSMTPServerQuotesALink(t *testing.T) {
	for name, quoted := range map[string]string{
		"plain":            "https://example.com/accounts/reset-password/?signature=s3cret-Sig_nature&user_id=1",
		"quoted-printable": "https://example.com/?timestamp=3D1&signature=3Ds3cret-Sig_nature",
		"in a query":       "https://filter.example/?url=https%3A%2F%2Fexample.com%3Fsignature%3Ds3cret-Sig_nature",
	} {
		t.Run(name, func(t *testing.T) {
			address, _ := sitetest.ScriptedServer(t, sitetest.Script(map[string]string{"": "220 hi", "EHLO": sitetest.Hello, "MAIL": "250 ok", "RCPT": "554 5.7.1 spam: " + quoted, "QUIT": "221 bye"}))
			m := sitetest.ReadyMailer(t, &registration.SMTPMailer{Address: address, TLS: smtp.NoTLS, Timeout: sitetest.FarTimeout})
			err := m.Send(t.Context(), sitetest.AMail())
			sitetest.RequireMailError(t, err, false, false)
			require.NotContains(t, fmt.Sprintf("%+v", err), "s3cret")
			require.ErrorContains(t, err, "5.7.1 spam: https://", "the rest is told")
		})
	}
}

func TestHardeningSMTPErrorsAreShort(t *testing.T) {
	s := smtp.Server{Host: "mail.example.com", Port: "25"}
	err := s.Failure(smtp.StepMail, fmt.Errorf("%s: %w", strings.Repeat("ä", smtp.MaxTold), &boundconn.TooLongError{Bytes: 1 << 20}))
	require.Less(t, len(err.Error()), 2*smtp.MaxTold)
	require.ErrorContains(t, err, "…; this is no mail server, or somebody stands between")
}
