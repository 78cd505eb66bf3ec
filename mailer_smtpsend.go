// mailer_smtpsend.go: one SMTP server, and the one connection to it. The conversation
// itself is in conn.go.

package registration

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
)

// The values of SMTPMailer.TLS.
const (
	smtpStartTLS = "starttls"
	smtpImplicit = "implicit"
	smtpNoTLS    = "none"
)

// smtpPorts are the default ports (RFC 6409, RFC 8314, RFC 5321), by SMTPMailer.TLS.
var smtpPorts = map[string]string{smtpStartTLS: "587", smtpImplicit: "465", smtpNoTLS: "25"}

const (
	// smtpIdle is how long a connection is kept for the next message: less than
	// any server keeps it.
	smtpIdle = 30 * time.Second
	// smtpGoodbye is how long the server gets to answer QUIT.
	smtpGoodbye = time.Second
)

// smtpSender sends mail through one SMTP server, over one connection that is kept
// for 30 seconds. It is safe for concurrent use, one message at a time.
type smtpSender struct {
	server smtpServer
	now    func() time.Time // nil: time.Now

	mu   sync.Mutex    // held while there is traffic
	conn *smtpConn     // nil: none
	took time.Duration // of the last message that was sent
}

// smtpServer is an SMTPMailer's configuration, with its defaults and, but for
// the check of a Caddyfile, without placeholders.
type smtpServer struct {
	address, username, password, tls, hello, trustedCA string
	timeout                                            time.Duration
	host, port                                         string // of address
	roots                                              *x509.CertPool
}

// split takes the address apart. It returns the setting that is wrong, and why.
func (s *smtpServer) split() (setting string, err error) {
	if s.host, s.port, err = net.SplitHostPort(s.address); err != nil { // no port, or nonsense
		s.host, s.port = strings.TrimSuffix(strings.TrimPrefix(s.address, "["), "]"), smtpPorts[s.tls]
		if bracketed := s.address[:min(1, len(s.address))] == "["; bracketed != strings.HasSuffix(s.address, "]") ||
			strings.Contains(s.host, ":") && net.ParseIP(s.host) == nil {
			s.host = ""
		}
	}
	port, err := strconv.ParseUint(s.port, 10, 16)
	if _, known := smtpPorts[s.tls]; !known {
		return "tls", fmt.Errorf("%q is none of starttls, implicit, none", s.tls)
	}
	if err != nil || port == 0 || s.host == "" || strings.ContainsAny(s.host, " \t\r\n/@{}[]") {
		return "address", fmt.Errorf("%q is no mail server; write for example mail.example.com:587", s.address)
	}
	return "", nil
}

// check returns the setting that is wrong, and why.
func (s *smtpServer) check() (setting string, err error) {
	switch {
	case s.timeout < 0:
		return "timeout", errors.New("it is negative; write for example 10s")
	case strings.ContainsFunc(s.hello, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return "hello", fmt.Errorf("%q is no host name; write for example www.example.com", s.hello)
	case s.username != "" && s.password == "":
		return "username", errors.New("it has no password; add password {env.SMTP_PASSWORD}, or remove username")
	case s.username == "" && s.password != "":
		return "password", errors.New("it has no username; add username <name>, or remove password")
	case s.tls == smtpNoTLS && s.password != "" && !s.local():
		return "tls", fmt.Errorf("none would send the password to %s in the clear; write starttls or implicit, or remove username and password", s.host)
	}
	return "", nil
}

// local reports whether the server is this machine, as net/smtp understands it.
func (s *smtpServer) local() bool {
	return slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, s.host)
}

// Send delivers a message, over the open connection where there is one. A
// connection that the server has closed meanwhile, which is its right, is
// replaced once; any other failure is returned, and the connection dropped.
func (m *smtpSender) Send(ctx context.Context, message *Message) (err error) {
	began := time.Now()
	file, err := message.render()
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	defer func() {
		if err == nil {
			m.took = time.Since(began)
		}
	}()
	if err := stopped(ctx); err != nil {
		return err
	}
	if m.conn != nil && m.time().Sub(m.conn.used) > smtpIdle {
		m.hangUp()
	}
	if m.conn != nil {
		done, err := m.deliver(ctx, file)
		if done {
			return err
		}
	}
	if m.conn, err = m.server.dial(ctx); err != nil {
		return err
	}
	_, err = m.deliver(ctx, file)
	return err
}

// smtpPretence is the longest that a pretended message takes.
const smtpPretence = time.Second

// Pretend implements Pretender: the message is made, nobody is told, and it takes
// as long as the last one that was sent, for then the store is written.
func (m *smtpSender) Pretend(ctx context.Context, message *Message) error {
	began := time.Now()
	if _, err := message.render(); err != nil {
		return err
	}
	m.mu.Lock()
	took := m.took
	m.mu.Unlock()
	timer := time.NewTimer(min(took, smtpPretence) - time.Since(began))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return stopped(ctx)
}

func (m *smtpSender) time() time.Time {
	if m.now != nil {
		return m.now()
	}
	return time.Now()
}

// deliver sends over the open connection, and drops it after a failure. done is
// false where the connection turned out to be dead before the server can have
// accepted anything.
func (m *smtpSender) deliver(ctx context.Context, file *mailFile) (done bool, err error) {
	c := m.conn
	step, err := c.deliver(ctx, file, m.server.timeout)
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
		return true, stopped(ctx)
	}
	return answered || step != stepMail, m.server.failure(step, err)
}

// hangUp says goodbye, with a short time to hear it, and closes the connection.
func (m *smtpSender) hangUp() {
	_ = m.conn.raw.SetDeadline(time.Now().Add(smtpGoodbye))
	m.conn.raw.Allow(smtpReplyBytes)
	_ = m.conn.client.Quit()
	m.drop()
}

func (m *smtpSender) drop() {
	_ = m.conn.raw.Close()
	m.conn = nil
}

// Close ends the connection, if there is one. A message under way is finished
// first; whoever can't wait for it ends its ctx. It never fails and takes a
// second at most with an idle connection.
func (m *smtpSender) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn != nil {
		m.hangUp()
	}
	return nil
}
