// conn_test.go: conversations with servers as they are, step by step.

package smtp_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/mail/smtp"
)

// scripted is a mail server that answers as a test says.
type scripted struct {
	address string
	mu      sync.Mutex
	heard   []string
	mails   int
}

// serve answers each line by reply, "" for the greeting; an empty reply is the usual one.
func serve(t *testing.T, reply func(line string) string) *scripted {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &scripted{address: listener.Addr().String()}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { s.talk(conn, reply) })
		}
	})
	t.Cleanup(func() { _ = listener.Close(); all.Wait() })
	return s
}

func (s *scripted) talk(conn net.Conn, reply func(string) string) {
	defer func() { _ = conn.Close() }()
	lines := bufio.NewReader(conn)
	for line, data := "", false; ; {
		answer := reply(line)
		word, _, _ := strings.Cut(line, " ")
		usual := map[string]string{"": "220 hi", "AUTH": "235 ok", "EHLO": "250-mail.example.com\r\n250-AUTH PLAIN LOGIN\r\n250-SMTPUTF8\r\n250 8BITMIME", "DATA": "354 go on", "QUIT": "221 bye"}[word]
		if usual == "" {
			usual = "250 ok"
		}
		if answer == "" {
			answer = usual
		}
		if line == "." && strings.HasPrefix(answer, "2") {
			s.mu.Lock()
			s.mails++
			s.mu.Unlock()
		}
		if _, err := io.WriteString(conn, answer+"\r\n"); err != nil || word == "QUIT" {
			return
		}
		data = word == "DATA" && strings.HasPrefix(answer, "354")
		for {
			raw, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			if line = strings.TrimRight(raw, "\r\n"); !data || line == "." {
				break
			}
		}
		s.mu.Lock()
		s.heard = append(s.heard, line)
		s.mu.Unlock()
	}
}

func (s *scripted) said(word string) (lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.heard {
		if strings.HasPrefix(l, word) {
			lines = append(lines, l)
		}
	}
	return lines
}

func (s *scripted) sender(t *testing.T, change ...func(*smtp.Server)) *smtp.Sender {
	t.Helper()
	m := &smtp.Sender{Server: smtp.Server{Address: s.address, TLS: smtp.NoTLS, Timeout: time.Minute, Username: "tim", Password: "tanstaaftanstaaf"}}
	for _, c := range change {
		c(&m.Server)
	}
	_, err := m.Server.Split()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

func message() *mail.Message {
	return &mail.Message{ID: "1@example.com", From: "no-reply@example.com", To: "ada@example.org", Subject: "Grüße", Text: "Schöne Grüße\n.\n..\nx", Date: time.Now()}
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestSignIn(t *testing.T) {
	extensions := func(auth string) string { return "250-x\r\n250 " + auth }
	for name, c := range map[string]struct {
		auth    string
		answers map[string]string
		want    []string // that were said
		err     string
	}{
		"PLAIN":                            {auth: "AUTH LOGIN PLAIN", answers: map[string]string{"AUTH PLAIN": "235 ok"}, want: []string{"AUTH PLAIN " + b64("\x00tim\x00tanstaaftanstaaf")}},
		"PLAIN that asks once more":        {auth: "AUTH PLAIN", answers: map[string]string{"AUTH PLAIN": "334 ", b64("\x00tim\x00tanstaaftanstaaf"): "235 ok"}, want: []string{b64("\x00tim\x00tanstaaftanstaaf")}},
		"CRAM-MD5 that would not work":     {auth: "AUTH CRAM-MD5 PLAIN", answers: map[string]string{"AUTH PLAIN": "235 ok", "AUTH CRAM-MD5": "535 no"}, want: []string{"AUTH PLAIN " + b64("\x00tim\x00tanstaaftanstaaf")}},
		"PLAIN that it does not do":        {auth: "AUTH PLAIN LOGIN", answers: map[string]string{"AUTH PLAIN": "504 no", "AUTH LOGIN": "334 " + b64("Username:"), b64("tim"): "334 " + b64("Password:"), b64("tanstaaftanstaaf"): "235 ok"}, want: []string{b64("tim"), b64("tanstaaftanstaaf")}},
		"LOGIN in other words":             {auth: "AUTH LOGIN", answers: map[string]string{"AUTH LOGIN": "334 " + b64("User Name\x00"), b64("tim"): "334 " + b64("Passwort bitte"), b64("tanstaaftanstaaf"): "235 ok"}, want: []string{b64("tim"), b64("tanstaaftanstaaf")}},
		"LOGIN without any":                {auth: "AUTH=LOGIN", answers: map[string]string{"AUTH LOGIN": "334 ", b64("tim"): "334 ", b64("tanstaaftanstaaf"): "235 ok"}, want: []string{b64("tim"), b64("tanstaaftanstaaf")}},
		"LOGIN prompts that are no base64": {auth: "AUTH LOGIN", answers: map[string]string{"AUTH LOGIN": "334 Username:", b64("tim"): "334 Password:", b64("tanstaaftanstaaf"): "235 ok"}, want: []string{b64("tanstaaftanstaaf")}},
		"LOGIN without an end":             {auth: "AUTH LOGIN", answers: map[string]string{"AUTH LOGIN": "334 ", b64("tim"): "334 ", b64("tanstaaftanstaaf"): "334 ", "*": "501 as you like"}, want: []string{"*"}, err: "more than a name and a password"},
		"CRAM-MD5 alone":                   {auth: "AUTH CRAM-MD5", answers: map[string]string{"AUTH CRAM-MD5": "334 " + b64("<1896.697170952@postoffice.reston.mci.net>"), b64("tim b913a602c7eda7a495b4e6e7334d3890"): "235 ok"}, want: []string{"AUTH CRAM-MD5"}},
		"a wrong password is tried once":   {auth: "AUTH PLAIN LOGIN CRAM-MD5", answers: map[string]string{"AUTH PLAIN": "535 5.7.8 no", "AUTH LOGIN": "334 "}, want: []string{"AUTH PLAIN " + b64("\x00tim\x00tanstaaftanstaaf")}, err: "check username and password"},
		"nothing that we know":             {auth: "AUTH GSSAPI XOAUTH2", err: "none of the ways"},
		"no sign-in":                       {auth: "SIZE 1", err: "it offers no sign-in"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(line string) string {
				word, rest, _ := strings.Cut(line, " ")
				if word == "EHLO" {
					return extensions(c.auth)
				}
				if word == "AUTH" {
					mechanism, _, _ := strings.Cut(rest, " ")
					return c.answers["AUTH "+mechanism]
				}
				return c.answers[line]
			})
			err := s.sender(t).Send(t.Context(), message())
			for _, line := range c.want {
				require.Len(t, s.said(line), 1, line)
			}
			if c.err == "" {
				require.NoError(t, err)
				return
			}
			var failed *mail.Error
			require.ErrorAs(t, err, &failed)
			require.True(t, failed.Server)
			require.ErrorContains(t, err, c.err)
			require.LessOrEqual(t, len(s.said("AUTH")), 1)
		})
	}
}

// Nothing of ours needs SMTPUTF8 or 8BITMIME, and some servers that offer them pass
// mail on to others that don't have them.
func TestNoExtensionsThatNobodyNeeds(t *testing.T) {
	s := serve(t, func(string) string { return "" })
	m := s.sender(t, func(s *smtp.Server) { s.Username, s.Password, s.Hello = "", "", "www.example.com" })
	for range 2 {
		require.NoError(t, m.Send(t.Context(), message()))
	}
	require.Equal(t, []string{"EHLO www.example.com"}, s.said("EHLO"), "one connection")
	require.Equal(t, []string{"MAIL FROM:<no-reply@example.com>", "MAIL FROM:<no-reply@example.com>"}, s.said("MAIL"))
	require.Equal(t, 2, s.mails)
}

func TestGreetAs(t *testing.T) {
	for host, want := range map[string]string{
		"www.example.com": "www.example.com", "xn--bcher-kva.example": "xn--bcher-kva.example",
		"192.0.2.1": "[192.0.2.1]", "2001:db8::1": "[IPv6:2001:db8::1]", "localhost": "localhost",
	} {
		m := &smtp.Sender{}
		m.GreetAs(host)
		require.Equal(t, want, m.Server.Hello)
		m.GreetAs("other.example")
		require.Equal(t, want, m.Server.Hello)
	}
	s := serve(t, func(line string) string {
		if strings.HasPrefix(line, "EHLO localhost") {
			return "504 5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname"
		}
		return ""
	})
	require.ErrorContains(t, s.sender(t).Send(t.Context(), message()), `it refuses "localhost", the name that it is greeted with: set hello`)
	require.Empty(t, s.said("HELO"), "what refuses a name refuses it in both")
	m := s.sender(t)
	m.GreetAs("www.example.com")
	require.NoError(t, m.Send(t.Context(), message()))
	old := serve(t, func(line string) string {
		if strings.HasPrefix(line, "EHLO") {
			return "502 what?"
		}
		return ""
	})
	require.NoError(t, old.sender(t, func(s *smtp.Server) { s.Username, s.Password = "", "" }).Send(t.Context(), message()))
}

// A server may take the minutes of RFC 5321, 4.5.3.2 for every step, and no more.
func TestMinutes(t *testing.T) {
	for at, limit := range map[string]time.Duration{"": 5 * time.Minute, "EHLO": 5 * time.Minute, "AUTH": 5 * time.Minute, "MAIL": 5 * time.Minute, "RCPT": 5 * time.Minute, "DATA": 2 * time.Minute, ".": 10 * time.Minute} {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("at %q, too late %t", at, late), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					pause := limit - time.Second
					if late {
						pause = limit + time.Second
					}
					ours, theirs := net.Pipe()
					s := &scripted{}
					var server sync.WaitGroup
					server.Go(func() {
						s.talk(theirs, func(line string) string {
							word, _, _ := strings.Cut(line, " ")
							if word == at {
								time.Sleep(pause)
							}
							if word == "AUTH" {
								return "235 ok"
							}
							return ""
						})
					})
					m := &smtp.Sender{Server: smtp.Server{Host: "mail.example.com", Port: "25", TLS: smtp.NoTLS, Timeout: 10 * time.Second, Username: "tim", Password: "tanstaaftanstaaf"}}
					m.Server.Dial = func(context.Context, string, string) (net.Conn, error) { return ours, nil }
					began := time.Now()
					err := m.Send(t.Context(), message())
					require.NoError(t, m.Close())
					if late {
						require.ErrorContains(t, err, "timeout")
						require.Equal(t, limit, time.Since(began))
						var failed *mail.Error
						require.ErrorAs(t, err, &failed)
						require.Equal(t, at != "RCPT" && at != "DATA" && at != ".", failed.Server, "then it is about one message")
					} else {
						require.NoError(t, err)
					}
					_ = ours.Close()
					server.Wait()
				})
			})
		}
	}
}

// Where the process goes on with another configuration, a server that has the whole
// message keeps its time to answer: cut off, it would get the message twice.
func TestHandedOverWithTheWholeMessage(t *testing.T) {
	for name, c := range map[string]struct {
		cause error
		takes time.Duration
		sent  bool
	}{
		"handed over":                {mail.ErrHandedOver, 9 * time.Minute, true},
		"the end, heard out":         {context.Canceled, time.Second, true},
		"the end, and it takes long": {context.Canceled, time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				s := &scripted{}
				ctx, cancel := context.WithCancelCause(t.Context())
				var server sync.WaitGroup
				server.Go(func() {
					s.talk(theirs, func(line string) string {
						if line == "." {
							cancel(c.cause)
							time.Sleep(c.takes)
						}
						return ""
					})
				})
				m := &smtp.Sender{Server: smtp.Server{Host: "mail.example.com", Port: "25", TLS: smtp.NoTLS}}
				m.Server.Dial = func(context.Context, string, string) (net.Conn, error) { return ours, nil }
				err := m.Send(ctx, message())
				require.Equal(t, c.sent, err == nil, err)
				_ = ours.Close()
				server.Wait()
			})
		})
	}
}

// A slow message has a connection of its own, and holds up nobody.
func TestSlowMessageIsAlone(t *testing.T) {
	taken, goOn := make(chan struct{}), make(chan struct{})
	var dots atomic.Int64
	s := serve(t, func(line string) string {
		if line == "." && dots.Add(1) == 1 {
			close(taken)
			<-goOn
		}
		return ""
	})
	m := s.sender(t, func(s *smtp.Server) { s.Username, s.Password = "", "" })
	var slow sync.WaitGroup
	slow.Go(func() { require.NoError(t, m.Send(t.Context(), message())) })
	<-taken
	require.NoError(t, m.Send(t.Context(), message()))
	require.NoError(t, m.Send(t.Context(), message()))
	require.Len(t, s.said("EHLO"), 2)
	close(goOn)
	slow.Wait()
	require.Len(t, s.said("MAIL"), 3)
}

// What a server said before TLS began must not count as said within it.
func TestWordsBeforeTLS(t *testing.T) {
	s := serve(t, func(line string) string {
		switch line {
		case "EHLO localhost":
			return "250-x\r\n250 STARTTLS"
		case "STARTTLS":
			return "220 go on\r\n250 AUTH PLAIN"
		}
		return ""
	})
	require.ErrorContains(t, s.sender(t, func(s *smtp.Server) { s.TLS = smtp.StartTLS }).Send(t.Context(), message()), "somebody stands between")
}
