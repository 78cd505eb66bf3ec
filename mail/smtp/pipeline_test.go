// pipeline_test.go: what is said in one go, on servers that offer that, don't offer it, refuse
// a part of it, hang up in its middle, or can't do what they offer.

package smtp_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/mail/smtp"
)

const offersPipelining = "250-mail.example.com\r\n250-PIPELINING\r\n250 8BITMIME"

// offering is a reply to a server that offers pipelining, and else answers by reply.
func offering(reply func(line string) string) func(string) string {
	return func(line string) string {
		if strings.HasPrefix(line, "EHLO") {
			return offersPipelining
		}
		return reply(line)
	}
}

func (s *scripted) plainSender(t *testing.T) *smtp.Sender {
	return s.sender(t, func(s *smtp.Server) { s.Username, s.Password = "", "" })
}

func to(address string) *mail.Message {
	m := message()
	m.To = address
	return m
}

// far is a server 20 ms away: what it is told in one go, it answers in one go. It returns
// how many lines came together each time.
func far(conn net.Conn, extensions string) (together []int) {
	lines := bufio.NewReader(conn)
	if _, err := io.WriteString(conn, "220 hi\r\n"); err != nil {
		return nil
	}
	for data := false; ; {
		answers, n := "", 0
		for first := true; first || lines.Buffered() > 0; first = false {
			raw, err := lines.ReadString('\n')
			if err != nil {
				return together
			}
			line := strings.TrimRight(raw, "\r\n")
			switch {
			case data && line != ".":
				continue
			case strings.HasPrefix(line, "EHLO"):
				answers += extensions + "\r\n"
			case line == "DATA":
				data = true
				answers += "354 go on\r\n"
			default:
				data = false
				answers += "250 ok\r\n"
			}
			n++
		}
		if n == 0 { // a part of a message
			continue
		}
		together = append(together, n)
		time.Sleep(20 * time.Millisecond)
		if _, err := io.WriteString(conn, answers); err != nil {
			return together
		}
	}
}

// Where the server is far away, a message takes two round trips in the place of four; a
// server that offers nothing is told nothing before it has answered.
func TestPipeliningFarAway(t *testing.T) {
	for name, c := range map[string]struct {
		extensions string
		takes      time.Duration
		together   []int
	}{
		"offered":     {offersPipelining, 40 * time.Millisecond, []int{1, 3, 1, 3, 1}},
		"not offered": {"250 mail.example.com", 80 * time.Millisecond, []int{1, 1, 1, 1, 1, 1, 1, 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				var together []int
				var server sync.WaitGroup
				server.Go(func() { together = far(theirs, c.extensions) })
				m := &smtp.Sender{Server: smtp.Server{Host: "mail.example.com", Port: "25", TLS: smtp.NoTLS}}
				m.Server.Dial = func(context.Context, string, string) (net.Conn, error) { return ours, nil }
				require.NoError(t, m.Send(t.Context(), message()))
				began := time.Now()
				require.NoError(t, m.Send(t.Context(), message()))
				require.Equal(t, c.takes, time.Since(began))
				_ = ours.Close()
				server.Wait()
				require.Equal(t, c.together, together)
			})
		})
	}
}

// A recipient that is refused in the middle of a group: its message is never taken, and
// the next one goes out, once.
func TestPipelinedRefusal(t *testing.T) {
	for name, c := range map[string]struct {
		rcpt, data  string // its answers
		connections int
	}{
		"it refuses DATA, too":         {"550 5.1.1 no such user", "503 no valid recipients", 1},
		"it would take what follows":   {"550 5.1.1 no such user", "354 go on", 2},
		"not now":                      {"451 4.7.1 greylisted", "503 no valid recipients", 2},
		"not now, and takes all":       {"451 4.7.1 greylisted", "354 go on", 2},
		"its last word":                {"421 4.7.0 too many errors", "421 4.7.0 too many errors", 2},
		"DATA alone":                   {"250 ok", "554 5.7.1 no", 2},
		"RSET is nothing that it does": {"550 5.1.1 no such user, and no RSET", "503 no valid recipients", 2},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			refusing := false
			s := serve(t, offering(func(line string) string {
				mu.Lock()
				defer mu.Unlock()
				switch {
				case strings.HasPrefix(line, "RCPT"):
					if refusing = strings.Contains(line, "bob@"); refusing {
						return c.rcpt
					}
				case line == "DATA" && refusing:
					return c.data
				case line == "RSET" && strings.HasSuffix(c.rcpt, "RSET"):
					return "502 what?"
				}
				return ""
			}))
			m := s.plainSender(t)
			require.NoError(t, m.Send(t.Context(), to("ada@example.org")))
			var failed *mail.Error
			require.ErrorAs(t, m.Send(t.Context(), to("bob@example.org")), &failed)
			require.False(t, failed.Server, "it is about one message: %v", failed)
			require.Equal(t, strings.Contains(c.rcpt, "5.1.1"), failed.Recipient)
			require.NoError(t, m.Send(t.Context(), to("cyd@example.org")))
			require.Equal(t, 2, s.mails)
			require.Len(t, s.said("EHLO"), c.connections)
			require.Len(t, s.said("RCPT"), 3)
		})
	}
}

// A sender that is refused makes all mail wait, whatever is said of what came with it.
func TestPipelinedSenderRefused(t *testing.T) {
	s := serve(t, offering(func(line string) string {
		if strings.HasPrefix(line, "MAIL") {
			return "553 5.7.1 not owned by you"
		}
		return map[string]string{"RCPT TO:<ada@example.org>": "550 5.1.1 no such user", "DATA": "503 what?"}[line]
	}))
	var failed *mail.Error
	require.ErrorAs(t, s.plainSender(t).Send(t.Context(), message()), &failed)
	require.True(t, failed.Server)
	require.Zero(t, s.mails)
}

// A server, or what stands before it, that offers pipelining and doesn't bear it gets the
// next connection's commands one by one.
func TestPipeliningThatFails(t *testing.T) {
	for name, answers := range map[string]int{"at the first": 0, "after the first": 1, "after the second": 2} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			var all sync.WaitGroup
			var groups, taken int
			all.Go(func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					groups += hangsUpOnGroups(conn, answers, &taken)
				}
			})
			s := &scripted{address: listener.Addr().String()}
			m := s.plainSender(t)
			require.Error(t, m.Send(t.Context(), message()))
			for range 3 {
				require.NoError(t, m.Send(t.Context(), message()))
			}
			require.NoError(t, m.Close())
			_ = listener.Close()
			all.Wait()
			require.Equal(t, 3, taken)
			require.Equal(t, 1, groups)
		})
	}
}

// hangsUpOnGroups talks until it is told several things in one go: then it answers so many
// and hangs up.
func hangsUpOnGroups(conn net.Conn, answers int, taken *int) (groups int) {
	defer func() { _ = conn.Close() }()
	lines, data := bufio.NewReader(conn), false
	_, _ = io.WriteString(conn, "220 hi\r\n")
	for {
		raw, err := lines.ReadString('\n')
		if err != nil {
			return groups
		}
		line := strings.TrimRight(raw, "\r\n")
		switch {
		case data && line != ".":
			continue
		case lines.Buffered() > 0:
			_, _ = io.WriteString(conn, strings.Repeat("250 ok\r\n", answers))
			return groups + 1
		case line == "DATA":
			data = true
			_, _ = io.WriteString(conn, "354 go on\r\n")
		case strings.HasPrefix(line, "EHLO"):
			_, _ = io.WriteString(conn, offersPipelining+"\r\n")
		default:
			if data {
				*taken++
			}
			data = false
			_, _ = io.WriteString(conn, "250 ok\r\n")
		}
	}
}

// A connection that the server has closed while it lay idle is replaced, and the next one
// pipelines as before.
func TestPipeliningAfterAnIdleConnection(t *testing.T) {
	var mu sync.Mutex
	mails := 0
	s := serve(t, offering(func(line string) string {
		mu.Lock()
		defer mu.Unlock()
		if line == "." {
			mails++
		}
		if strings.HasPrefix(line, "MAIL") && mails == 1 {
			mails++
			return "421 4.4.2 idle for too long"
		}
		return ""
	}))
	m := s.plainSender(t)
	for range 3 {
		require.NoError(t, m.Send(t.Context(), message()))
	}
	require.Len(t, s.said("EHLO"), 2)
	require.Equal(t, 3, s.mails)
}
