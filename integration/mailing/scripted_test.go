// scripted_test.go: mail servers as they are: each does one thing that servers do in
// the wild, and the mail goes out, once.

package mailing_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/integration/served"
)

// scripted is a mail server that answers as a test says.
type scripted struct {
	address string
	mu      sync.Mutex
	reply   func(line string) string // to each line, "" for the greeting; "": the usual
	heard   []string
	taken   []string // the recipients of the messages that it took in
}

func script(t *testing.T, reply func(line string) string) *scripted {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	m := &scripted{address: listener.Addr().String(), reply: reply}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go m.talk(conn)
		}
	}()
	return m
}

func (m *scripted) talk(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	lines, line, to, data := bufio.NewReader(conn), "", "", false
	for {
		m.mu.Lock()
		reply := m.reply
		m.mu.Unlock()
		word, _, _ := strings.Cut(line, " ")
		answer := reply(line)
		if answer == "" {
			answer = map[string]string{"": "220 hi", "AUTH": "235 ok", "EHLO": "250-mx.example.net\r\n250-AUTH PLAIN LOGIN CRAM-MD5\r\n250-SMTPUTF8\r\n250 8BITMIME", "DATA": "354 go on", "QUIT": "221 bye"}[word]
		}
		if answer == "" {
			answer = "250 ok"
		}
		switch {
		case word == "RCPT":
			to = strings.Trim(strings.TrimPrefix(line, "RCPT TO:"), "<>")
		case line == "." && answer[0] == '2':
			m.mu.Lock()
			m.taken = append(m.taken, to)
			m.mu.Unlock()
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
		m.mu.Lock()
		m.heard = append(m.heard, line)
		m.mu.Unlock()
	}
}

// now changes what it answers.
func (m *scripted) now(reply func(line string) string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reply = reply
}

// took waits until it has taken in mail for these, once each, and no other.
func (m *scripted) took(t *testing.T, to ...string) {
	t.Helper()
	var got []string
	require.True(t, served.Eventually(func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		got = append([]string(nil), m.taken...)
		return len(got) >= len(to)
	}, 10*time.Millisecond), "mail to %v", to)
	require.ElementsMatch(t, to, got)
}

func (m *scripted) said(word string) (lines []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, line := range m.heard {
		if strings.HasPrefix(line, word) {
			lines = append(lines, line)
		}
	}
	return lines
}

// scriptedSite is a site that mails by a scripted server.
const scriptedSite = `{
	admin 127.0.0.1:[[admin]]
	default_bind 127.0.0.1
}
http://127.0.0.1:[[port]] {
	registration {
		throttle off
		base_url https://www.bücher.example
		from no-reply@example.com
		mailer smtp [[smtp]] {
			tls none
			username tim
			password tanstaaftanstaaf
		}
		password {
			argon2id 8KiB 1 1
		}
	}
}
`

func usual(string) string { return "" }

// answer is the usual server, but for lines that begin with a word.
func answer(word, reply string) func(string) string {
	return func(line string) string {
		if strings.HasPrefix(line, word) && (word != "" || line == "") {
			return reply
		}
		return ""
	}
}

func TestMailServersAsTheyAre(t *testing.T) {
	t.Parallel()
	prompts := func(first, second string) func(string) string {
		return func(line string) string {
			switch {
			case strings.HasPrefix(line, "EHLO"):
				return "250-x\r\n250 AUTH LOGIN"
			case line == "AUTH LOGIN":
				return "334 " + first
			case line == "dGlt":
				return "334 " + second
			case line == "dGFuc3RhYWZ0YW5zdGFhZg==":
				return "235 ok"
			}
			return ""
		}
	}
	slow := func(at string, reply string) func(string) string {
		return func(line string) string {
			if line == at {
				time.Sleep(12 * time.Second)
				return reply
			}
			return ""
		}
	}
	for name, reply := range map[string]func(string) string{
		"localhost is refused at EHLO": answer("EHLO localhost", "550 5.7.1 HELO localhost not allowed"),
		"a greeting after 12 s":        slow("", "220 at last"),
		"250 after 12 s":               slow(".", "250 at last"),
		"354 after 12 s":               slow("DATA", "354 at last"),
		"prompts in other words":       prompts("VXNlciBOYW1lAA==", "UGFzc3dvcmQA"),
		"prompts without words":        prompts("", ""),
		"CRAM-MD5 can't be used":       answer("AUTH CRAM-MD5", "535 5.7.8 no"),
		"PLAIN can't be used": func(line string) string {
			if strings.HasPrefix(line, "AUTH PLAIN") {
				return "504 5.5.4 not this one"
			}
			return prompts("VXNlcm5hbWU6", "UGFzc3dvcmQ6")(strings.Replace(line, "EHLO", "OLHE", 1))
		},
		"one line at a time, and many of them": answer("EHLO", "250-"+strings.Repeat("x", 400)+"\r\n250-AUTH=LOGIN\r\n250-AUTH LOGIN PLAIN\r\n250 SIZE"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := script(t, reply)
			s := served.Run(t, scriptedSite, "smtp", m.address)
			for _, person := range []string{"ada", "bob"} {
				promptly(t, func() { s.Client().Post(http.StatusCreated, "register", served.Newcomer(person)) })
			}
			m.took(t, "ada@example.org", "bob@example.org")
			for _, hello := range m.said("EHLO") {
				require.Equal(t, "EHLO www.xn--bcher-kva.example", hello)
			}
			for _, from := range m.said("MAIL") {
				require.NotContains(t, from, "SMTPUTF8")
			}
		})
	}
}

// A refusal that blames the configuration keeps the mail: after the remedy all of it
// goes out, once. One that blames the recipient ends one message and no other.
func TestRefusedForTheConfiguration(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		reply func(string) string
		all   bool // the queue as a whole waits
	}{
		"relay denied":       {answer("RCPT TO:<ada", "554 5.7.1 <ada@example.org>: Relay access denied"), false},
		"policy, no class":   {answer("RCPT TO:<ada", "550 relaying to <ada@example.org> prohibited by administrator"), false},
		"sender not owned":   {answer("MAIL", "553 5.7.1 <no-reply@example.com>: Sender address rejected: not owned by user tim"), true},
		"blocked network":    {answer("", "554 5.7.1 Service unavailable; client host blocked using zen.spamhaus.org"), true},
		"wrong password":     {answer("AUTH", "535 5.7.8 Error: authentication failed"), true},
		"hello is refused":   {answer("EHLO", "550 5.7.1 go away"), true},
		"at the end of data": {answer(".", "550 5.7.60 SMTP; Client does not have permissions to send as this sender"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := script(t, c.reply)
			s := served.Run(t, scriptedSite, "smtp", m.address)
			s.Client().Post(http.StatusCreated, "register", served.Newcomer("ada"))
			require.True(t, served.Eventually(func() bool {
				return strings.Contains(s.Log.Since(0), "the mail server can't be used") || strings.Contains(s.Log.Since(0), "mail delayed")
			}, 10*time.Millisecond), "the log says what to fix")
			s.Client().Post(http.StatusCreated, "register", served.Newcomer("bob"))
			switch {
			case c.all:
				require.Contains(t, s.Log.Since(0), "the mail server can't be used")
			case !strings.HasPrefix(name, "at"):
				m.took(t, "bob@example.org") // others go on
			}
			m.now(usual)
			require.Equal(t, http.StatusOK, s.Load(strings.Replace(scriptedSite, "throttle off", "throttle off\nlanguage de", 1)).StatusCode)
			m.took(t, "ada@example.org", "bob@example.org")
			require.NotContains(t, s.Log.Since(0), "mail given up")
		})
	}
	for name, data := range map[string]string{"in one go": "503 5.5.1 no valid recipients", "in one go, and it would take what follows": "354 go on"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused := false // by the one connection that there is at a time
			m := script(t, func(line string) string {
				switch {
				case strings.HasPrefix(line, "EHLO"):
					return "250-mx.example.net\r\n250-PIPELINING\r\n250 AUTH PLAIN"
				case strings.HasPrefix(line, "RCPT"):
					if refused = strings.Contains(line, "gone"); refused {
						return "550 5.1.1 unknown"
					}
				case line == "DATA" && refused:
					return data
				}
				return ""
			})
			s := served.Run(t, scriptedSite, "smtp", m.address)
			for _, person := range []string{"ada", "gone", "bob"} {
				s.Client().Post(http.StatusCreated, "register", served.Newcomer(person))
			}
			m.took(t, "ada@example.org", "bob@example.org")
			require.True(t, served.Eventually(func() bool { return strings.Count(s.Log.Since(0), "mail given up") == 1 }, 10*time.Millisecond))
			require.Len(t, m.said("RCPT"), 3)
		})
	}
	t.Run("the recipient", func(t *testing.T) {
		t.Parallel()
		replies := map[string]string{"a": "550 5.1.1 unknown", "b": "550 No such user here", "c": "553 5.1.3 bad address syntax", "d": "550 5.1.10 recipient not found"}
		m := script(t, func(line string) string {
			for name, reply := range replies {
				if strings.HasPrefix(line, "RCPT TO:<gone-"+name) {
					return reply
				}
			}
			return ""
		})
		s := served.Run(t, scriptedSite, "smtp", m.address)
		for name := range replies {
			s.Client().Post(http.StatusCreated, "register", served.Newcomer("gone-"+name))
		}
		s.Client().Post(http.StatusCreated, "register", served.Newcomer("ada"))
		m.took(t, "ada@example.org")
		require.True(t, served.Eventually(func() bool { return strings.Count(s.Log.Since(0), "mail given up") == len(replies) }, 10*time.Millisecond))
		res := s.AdminRequest("GET", "/registration/default/users/gone-a", "", "")
		require.Contains(t, res.Text, "unknown", "the owner is shown what the server said")
		for _, row := range m.said("RCPT TO:<gone") {
			require.Equal(t, 1, strings.Count(strings.Join(m.said("RCPT"), "\n"), row), "asked once: %s", row)
		}
		require.Equal(t, http.StatusOK, s.Client().Do("POST", "/accounts/resend-verification", data{"login": "gone-a"}).StatusCode, "it blocks nothing")
		m.now(usual)
		s.Client().Post(http.StatusOK, "resend-verification", data{"login": "gone-b"})
		require.True(t, served.Eventually(func() bool { return len(m.said(fmt.Sprintf("RCPT TO:<%s", "gone-b"))) == 2 }, 10*time.Millisecond))
	})
}
