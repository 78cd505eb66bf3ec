// smtp.go: one SMTP server, and the connections to it. The conversation itself is
// in conn.go.

package smtp

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
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
	StartTLS    = "starttls"
	ImplicitTLS = "implicit"
	NoTLS       = "none"
)

// smtpPorts are the default ports (RFC 6409, RFC 8314, RFC 5321), by SMTPMailer.TLS.
var smtpPorts = map[string]string{StartTLS: "587", ImplicitTLS: "465", NoTLS: "25"}

const (
	// IdleTime is how long a connection is kept for the next message: less than
	// any server keeps it.
	IdleTime = 30 * time.Second
	// smtpGoodbye is how long the server gets to answer QUIT.
	smtpGoodbye = time.Second
)

// Sender sends mail through one SMTP server. A connection is kept for 30 seconds;
// messages that are sent at the same time have one each. It is safe for concurrent
// use.
type Sender struct {
	Server Server
	Now    func() time.Time // nil: time.Now

	mu    sync.Mutex
	Conn  *Conn         // that nobody uses; nil: none
	Took  time.Duration // of the last message that was sent
	epoch int           // counts Close
	// careful: a server, or what stands before it, was silent when it was sent several
	// commands at once. The next connection goes one by one.
	careful bool
}

// Server is an SMTPMailer's configuration, with its defaults and, but for
// the check of a Caddyfile, without placeholders.
type Server struct {
	Address, Username, Password, TLS, Hello, TrustedCA string
	// Timeout is for connecting.
	Timeout time.Duration
	Limits  Limits // zero: DefaultLimits
	// Dial connects; nil: net.Dialer.DialContext with Timeout.
	Dial       func(ctx context.Context, network, address string) (net.Conn, error)
	Host, Port string // of address
	Roots      *x509.CertPool
}

// greeting is the name for EHLO.
func (s *Server) greeting() string {
	if s.Hello == "" {
		return "localhost"
	}
	return s.Hello
}

// Split takes the address apart. It returns the setting that is wrong, and why.
func (s *Server) Split() (setting string, err error) {
	host, port, err := net.SplitHostPort(s.Address)
	if s.TLS == "" {
		if s.TLS = StartTLS; err == nil && port == smtpPorts[ImplicitTLS] {
			s.TLS = ImplicitTLS
		}
	}
	if err != nil { // no port, or nonsense
		host, port = strings.TrimSuffix(strings.TrimPrefix(s.Address, "["), "]"), smtpPorts[s.TLS]
		if bracketed := s.Address[:min(1, len(s.Address))] == "["; bracketed != strings.HasSuffix(s.Address, "]") ||
			strings.Contains(host, ":") && net.ParseIP(host) == nil {
			host = ""
		}
	}
	s.Host, s.Port = host, port
	number, err := strconv.ParseUint(s.Port, 10, 16)
	if _, known := smtpPorts[s.TLS]; !known {
		return "tls", fmt.Errorf("%q is none of starttls, implicit, none", s.TLS)
	}
	if err != nil || number == 0 || s.Host == "" || strings.ContainsFunc(s.Host, func(r rune) bool { return r > '~' || strings.ContainsRune(" \t\r\n/@{}[]", r) }) {
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
	case s.TLS == NoTLS && s.Password != "" && !s.local():
		return "tls", fmt.Errorf("none would send the password to %s in the clear; write starttls or implicit, or remove username and password", s.Host)
	}
	return "", nil
}

// local reports whether the server is this machine, as net/smtp understands it.
func (s *Server) local() bool {
	return slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, s.Host)
}

// GreetAs implements mail.Greeter: it is the default of the name for EHLO. An IP
// address becomes a literal (RFC 5321, 4.1.3).
func (m *Sender) GreetAs(host string) {
	if m.Server.Hello != "" {
		return
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if host = "[" + host + "]"; ip.Is6() {
			host = "[IPv6:" + host[1:]
		}
	}
	m.Server.Hello = host
}

// Send delivers a message, over the open connection where there is one. A
// connection that the server has closed meanwhile, which is its right, is
// replaced once; any other failure is returned, and the connection dropped,
// but for a recipient that the server doesn't know.
func (m *Sender) Send(ctx context.Context, message *mail.Message) error {
	began := time.Now()
	file, err := message.Render()
	if err != nil {
		return err
	}
	if err := mail.Stopped(ctx); err != nil {
		return err
	}
	c, epoch := m.take(ctx)
	if c != nil {
		done, err := m.deliver(ctx, c, epoch, file, began)
		if done {
			return err
		}
	}
	if c, err = m.Server.dial(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	c.oneByOne, m.careful = m.careful, false
	m.mu.Unlock()
	_, err = m.deliver(ctx, c, epoch, file, began)
	return err
}

// take returns the connection that nobody uses, if there is one that the server
// has not closed by now. Who follows a message wants to see all of the conversation.
func (m *Sender) take(ctx context.Context) (*Conn, int) {
	m.mu.Lock()
	if mail.TraceOf(ctx) != nil {
		defer m.mu.Unlock()
		return nil, m.epoch
	}
	c, epoch := m.Conn, m.epoch
	m.Conn = nil
	m.mu.Unlock()
	if c != nil && m.time().Sub(c.used) > IdleTime {
		c.hangUp()
		c = nil
	}
	return c, epoch
}

// keep puts a connection by for the next message, unless there is one or the sender
// was closed meanwhile. took is how long a message took that was sent; 0: none was.
func (m *Sender) keep(c *Conn, epoch int, took time.Duration) {
	m.mu.Lock()
	c.used, c.proven = m.time(), true
	if took > 0 {
		m.Took = took
	}
	if m.Conn == nil && m.epoch == epoch && c.trace == nil {
		m.Conn, c = c, nil
	}
	m.mu.Unlock()
	if c != nil {
		c.hangUp()
	}
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

// deliver sends over a connection, and drops it after a failure. done is false
// where the connection turned out to be dead before the server can have accepted
// anything.
func (m *Sender) deliver(ctx context.Context, c *Conn, epoch int, file *mail.File, began time.Time) (done bool, err error) {
	step, err := c.deliver(ctx, file)
	if err == nil && ctx.Err() == nil {
		m.keep(c, epoch, time.Since(began))
		return true, nil
	}
	reply := (*textproto.Error)(nil)
	answered := errors.As(err, &reply) && reply.Code != codeClosing
	switch {
	case !answered || ctx.Err() != nil:
		_ = c.raw.Close()
		m.mu.Lock()
		m.careful = m.careful || c.pipelines() && !c.proven && reply == nil && ctx.Err() == nil
		m.mu.Unlock()
	case unreachable(step, reply) && c.reset(): // it is about the recipient alone
		m.keep(c, epoch, 0)
	default:
		c.hangUp()
	}
	switch {
	case err == nil: // though ctx ended meanwhile
		return true, nil
	case ctx.Err() != nil && !answered:
		return true, mail.Stopped(ctx)
	}
	return answered || step != StepMail, m.Server.Failure(step, err)
}

// Close ends the connection that nobody uses, if there is one, which takes a second
// at most; the others end with their message. It never fails.
func (m *Sender) Close() error {
	m.mu.Lock()
	c := m.Conn
	m.Conn = nil
	m.epoch++
	m.mu.Unlock()
	if c != nil {
		c.hangUp()
	}
	return nil
}
