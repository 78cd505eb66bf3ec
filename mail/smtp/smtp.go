// smtp.go: one SMTP server, and the one connection to it. The conversation
// itself is in conn.go.

package smtp

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/seed-928992b0/caddy-registration/mail"
)

// The values of SMTPMailer.TLS.
const (
	SmtpStartTLS = "starttls"
	SmtpImplicit = "implicit"
	SmtpNoTLS    = "none"
)

// smtpPorts are the default ports (RFC 6409, RFC 8314, RFC 5321), by SMTPMailer.TLS.
var smtpPorts = map[string]string{SmtpStartTLS: "587", SmtpImplicit: "465", SmtpNoTLS: "25"}

const (
	// SmtpIdle is how long a connection is kept for the next message: less than
	// any server keeps it.
	SmtpIdle = 30 * time.Second
	// smtpGoodbye is how long the server gets to answer QUIT.
	smtpGoodbye = time.Second
)

// Sender sends mail through one SMTP server, over one connection that is kept
// for 30 seconds. It is safe for concurrent use, one message at a time.
type Sender struct {
	Server Server
	Now    func() time.Time // nil: time.Now

	mu   sync.Mutex    // held while there is traffic
	Conn *Conn         // nil: none
	Took time.Duration // of the last message that was sent
}

// Server is an SMTPMailer's configuration, with its defaults and, but for
// the check of a Caddyfile, without placeholders.
type Server struct {
	Address, Username, Password, Tls, Hello, TrustedCA string
	Timeout                                            time.Duration
	Host, Port                                         string // of address
	Roots                                              *x509.CertPool
}

// Split takes the address apart. It returns the setting that is wrong, and why.
func (s *Server) Split() (setting string, err error) {
	if s.Host, s.Port, err = net.SplitHostPort(s.Address); err != nil { // no port, or nonsense
		s.Host, s.Port = strings.TrimSuffix(strings.TrimPrefix(s.Address, "["), "]"), smtpPorts[s.Tls]
		if bracketed := s.Address[:min(1, len(s.Address))] == "["; bracketed != strings.HasSuffix(s.Address, "]") ||
			strings.Contains(s.Host, ":") && net.ParseIP(s.Host) == nil {
			s.Host = ""
		}
	}
	port, err := strconv.ParseUint(s.Port, 10, 16)
	if _, known := smtpPorts[s.Tls]; !known {
		return "tls", fmt.Errorf("%q is none of starttls, implicit, none", s.Tls)
	}
	if err != nil || port == 0 || s.Host == "" || strings.ContainsAny(s.Host, " \t\r\n/@{}[]") {
		return "address", fmt.Errorf("%q is no mail server; write for example mail.example.com:587", s.Address)
	}
	return "", nil
}

// Check returns the setting that is wrong, and why.
func (s *Server) Check() (setting string, err error) {
	switch {
	case s.Timeout < 0:
		return "timeout", errors.New("it is negative; write for example 10s")
	case strings.ContainsFunc(s.Hello, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return "hello", fmt.Errorf("%q is no host name; write for example www.example.com", s.Hello)
	case s.Username != "" && s.Password == "":
		return "username", errors.New("it has no password; add password {env.SMTP_PASSWORD}, or remove username")
	case s.Username == "" && s.Password != "":
		return "password", errors.New("it has no username; add username <name>, or remove password")
	case s.Tls == SmtpNoTLS && s.Password != "" && !s.local():
		return "tls", fmt.Errorf("none would send the password to %s in the clear; write starttls or implicit, or remove username and password", s.Host)
	}
	return "", nil
}

// local reports whether the server is this machine, as net/smtp understands it.
func (s *Server) local() bool {
	return slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, s.Host)
}

// Send delivers a message, over the open connection where there is one. A
// connection that the server has closed meanwhile, which is its right, is
// replaced once; any other failure is returned, and the connection dropped.
func (m *Sender) Send(ctx context.Context, message *mail.Message) (err error) {
	began := time.Now()
	file, err := message.Render()
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	defer func() {
		if err == nil {
			m.Took = time.Since(began)
		}
	}()
	if err := mail.Stopped(ctx); err != nil {
		return err
	}
	if m.Conn != nil && m.time().Sub(m.Conn.used) > SmtpIdle {
		m.hangUp()
	}
	if m.Conn != nil {
		done, err := m.deliver(ctx, file)
		if done {
			return err
		}
	}
	if m.Conn, err = m.Server.dial(ctx); err != nil {
		return err
	}
	_, err = m.deliver(ctx, file)
	return err
}

// smtpPretence is the longest that a pretended message takes.
const smtpPretence = time.Second

// Pretend implements Pretender: the message is made, nobody is told, and it takes
// as long as the last one that was sent, for then the store is written.
func (m *Sender) Pretend(ctx context.Context, message *mail.Message) error {
	began := time.Now()
	if _, err := message.Render(); err != nil {
		return err
	}
	m.mu.Lock()
	took := m.Took
	m.mu.Unlock()
	timer := time.NewTimer(min(took, smtpPretence) - time.Since(began))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return mail.Stopped(ctx)
}

func (m *Sender) time() time.Time {
	if m.Now != nil {
		return m.Now()
	}
	return time.Now()
}

// deliver sends over the open connection, and drops it after a failure. done is
// false where the connection turned out to be dead before the server can have
// accepted anything.
func (m *Sender) deliver(ctx context.Context, file *mail.File) (done bool, err error) {
	c := m.Conn
	step, err := c.deliver(ctx, file, m.Server.Timeout)
	if c.used = m.time(); err == nil && ctx.Err() == nil {
		return true, nil
	}
	reply := (*textproto.Error)(nil)
	answered := errors.As(err, &reply) && reply.Code != codeClosing
	if answered && ctx.Err() == nil {
		m.hangUp()
	} else {
		m.drop()
	}
	switch {
	case err == nil: // though ctx ended meanwhile
		return true, nil
	case ctx.Err() != nil && !answered:
		return true, mail.Stopped(ctx)
	}
	return answered || step != StepMail, m.Server.Failure(step, err)
}

// hangUp says goodbye, with a short time to hear it, and closes the connection.
func (m *Sender) hangUp() {
	_ = m.Conn.raw.SetDeadline(time.Now().Add(smtpGoodbye))
	m.Conn.raw.Allow(SmtpReplyBytes)
	_ = m.Conn.client.Quit()
	m.drop()
}

func (m *Sender) drop() {
	_ = m.Conn.raw.Close()
	m.Conn = nil
}

// Close ends the connection, if there is one. A message under way is finished
// first; whoever can't wait for it ends its ctx. It never fails and takes a
// second at most with an idle connection.
func (m *Sender) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.Conn != nil {
		m.hangUp()
	}
	return nil
}
