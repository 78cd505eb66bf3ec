// mailer_smtp.go: the mailer that speaks SMTP, as a Caddy module: its settings,
// and its one connection. The conversation itself is in mailer_smtpconn.go.

package registration

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func init() {
	caddy.RegisterModule(new(SMTPMailer))
}

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

// SMTPMailer sends mail through one SMTP server, over one connection that is
// kept for 30 seconds. It is safe for concurrent use, one message at a time.
type SMTPMailer struct {
	// The server, `host:port` or `host`. Default port: 587 with `tls` `starttls`,
	// 465 with `implicit`, 25 with `none`. The host is also the name that the
	// server's certificate must have. Placeholders are replaced when the
	// configuration loads. Required.
	Address string `json:"address,omitempty"`
	// The name to sign in with, if the server wants one. Placeholders are replaced
	// when the configuration loads. Default: no sign-in.
	Username string `json:"username,omitempty"`
	// The password to sign in with; keep it out of the configuration with
	// `{env.SMTP_PASSWORD}` or `{file./path}`. Placeholders are replaced when the
	// configuration loads.
	Password string `json:"password,omitempty"`
	// How the connection is encrypted. `starttls` (RFC 3207): mandatory, a server
	// that does not offer it gets no mail; `implicit` (RFC 8314): from the first
	// byte on; `none`: not at all, and with a password only to this machine.
	// TLS 1.2 at least; a refused certificate is an error. Default: `starttls`.
	TLS string `json:"tls,omitempty"`
	// How long reaching the server may take, then greeting it and signing in, then
	// each message. A server that scans mail before it answers may need more.
	// Default: `10s`.
	Timeout caddy.Duration `json:"timeout,omitempty"`
	// The name that we greet the server with (EHLO). Default: `localhost`.
	Hello string `json:"hello,omitempty"`
	// A PEM file with the certificates that may vouch for the server's, in the
	// place of the system's: for a mail server with a private CA. Placeholders are
	// replaced when the configuration loads. Default: the system's.
	TrustedCA string `json:"trusted_ca,omitempty"`

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

// CaddyModule returns the Caddy module information.
func (*SMTPMailer) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.registration.mailers.smtp", New: func() caddy.Module { return new(SMTPMailer) }}
}

// settings returns what is configured, placeholders and all.
func (m *SMTPMailer) settings() smtpServer {
	s := smtpServer{
		address: m.Address, username: m.Username, password: m.Password, tls: m.TLS, hello: m.Hello, trustedCA: m.TrustedCA,
		timeout: time.Duration(m.Timeout),
	}
	if s.tls == "" {
		s.tls = smtpStartTLS
	}
	if s.hello == "" {
		s.hello = "localhost"
	}
	if s.timeout == 0 {
		s.timeout = 10 * time.Second
	}
	return s
}

// Provision replaces the placeholders and reads the CA's file.
func (m *SMTPMailer) Provision(caddy.Context) error {
	s := m.settings()
	repl := caddy.NewReplacer()
	for _, v := range []struct {
		setting string
		value   *string
	}{{"address", &s.address}, {"username", &s.username}, {"password", &s.password}, {"trusted_ca", &s.trustedCA}} {
		resolved, err := repl.ReplaceOrErr(*v.value, true, true)
		if err != nil {
			if v.setting == "password" && !onePlaceholder.MatchString(*v.value) {
				// The placeholder may be a piece of a password with braces in it.
				err = errors.New(`what stands in braces in it is no placeholder that has a value; write \{ for a brace of the password itself`)
			}
			return fmt.Errorf("mailer smtp: %s: %w; set it before Caddy starts, or write the value itself", v.setting, err)
		}
		*v.value = resolved
	}
	if setting, err := s.split(); err != nil {
		return fmt.Errorf("mailer smtp: %s: %w", setting, err)
	}
	if s.trustedCA != "" {
		pem, err := os.ReadFile(s.trustedCA)
		if err != nil {
			return fmt.Errorf("mailer smtp: trusted_ca: %w; name a PEM file that Caddy's user may read", err)
		}
		if s.roots = x509.NewCertPool(); !s.roots.AppendCertsFromPEM(pem) {
			return fmt.Errorf("mailer smtp: trusted_ca: %s has no certificate in PEM form; name the file of the CA's certificate", s.trustedCA)
		}
	}
	m.server = s
	return nil
}

var onePlaceholder = regexp.MustCompile(`^\{(env|file)\.[^{}]*\}$`)

// Validate checks the settings as they are after Provision.
func (m *SMTPMailer) Validate() error {
	if setting, err := m.server.check(); err != nil {
		return fmt.Errorf("mailer smtp: %s: %w", setting, err)
	}
	return nil
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

// UnmarshalCaddyfile sets up the mailer from its block, which is:
//
//	mailer smtp <host>[:<port>] {
//		username   <name>
//		password   <password>
//		tls        starttls|implicit|none
//		timeout    <duration>
//		hello      <name>
//		trusted_ca <file>
//	}
func (m *SMTPMailer) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the module's name
	lines := map[string]caddyfile.Token{"address": d.Token()}
	if !d.AllArgs(&m.Address) {
		return d.Errf("mailer smtp takes one server; write for example: mailer smtp mail.example.com:587")
	}
	texts := map[string]*string{"username": &m.Username, "password": &m.Password, "tls": &m.TLS, "hello": &m.Hello, "trusted_ca": &m.TrustedCA}
	examples := map[string]string{ //nolint:gosec // no credentials, but examples for errors
		"username": "no-reply@example.com", "password": "{env.SMTP_PASSWORD}", "tls": smtpStartTLS,
		"timeout": "10s", "hello": "www.example.com", "trusted_ca": "/etc/ssl/mail-ca.pem",
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		example, known := examples[name]
		if !known {
			return d.Errf("mailer smtp has no setting %q; its settings are: username, password, tls, timeout, hello, trusted_ca", name)
		}
		if _, twice := lines[name]; twice {
			return d.Errf("mailer smtp: %s stands twice; keep one of them", name)
		}
		lines[name] = d.Token()
		var value string
		if !d.AllArgs(&value) || value == "" {
			return d.Errf("mailer smtp: %s takes one value; write for example: %s %s", name, name, example)
		}
		if to := texts[name]; to != nil {
			*to = value
			continue
		}
		timeout, err := caddy.ParseDuration(value)
		if err != nil || timeout <= 0 {
			return d.Errf("mailer smtp: timeout: %q is no duration; write for example: timeout 10s", value)
		}
		m.Timeout = caddy.Duration(timeout)
	}
	s := m.settings()
	setting, err := s.split()
	if setting == "address" && strings.Contains(s.address, "{") {
		err, s.host = nil, "localhost" // what it stands for is seen in Provision
	}
	if err == nil {
		setting, err = s.check()
	}
	if err != nil {
		return fmt.Errorf("mailer smtp: %s: %w, at %s:%d", setting, err, lines[setting].File, lines[setting].Line)
	}
	return nil
}

// Send delivers a message, over the open connection where there is one. A
// connection that the server has closed meanwhile, which is its right, is
// replaced once; any other failure is returned, and the connection dropped.
func (m *SMTPMailer) Send(ctx context.Context, message *Message) (err error) {
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
func (m *SMTPMailer) Pretend(ctx context.Context, message *Message) error {
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

func (m *SMTPMailer) time() time.Time {
	if m.now != nil {
		return m.now()
	}
	return time.Now()
}

// deliver sends over the open connection, and drops it after a failure. done is
// false where the connection turned out to be dead before the server can have
// accepted anything.
func (m *SMTPMailer) deliver(ctx context.Context, file *mailFile) (done bool, err error) {
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
func (m *SMTPMailer) hangUp() {
	_ = m.conn.raw.SetDeadline(time.Now().Add(smtpGoodbye))
	m.conn.raw.Allow(smtpReplyBytes)
	_ = m.conn.client.Quit()
	m.drop()
}

func (m *SMTPMailer) drop() {
	_ = m.conn.raw.Close()
	m.conn = nil
}

// Close ends the connection, if there is one. A message under way is finished
// first; whoever can't wait for it ends its ctx. It never fails and takes a
// second at most with an idle connection.
func (m *SMTPMailer) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn != nil {
		m.hangUp()
	}
	return nil
}

// Interface guards
var (
	_ Mailer                = (*SMTPMailer)(nil)
	_ Pretender             = (*SMTPMailer)(nil)
	_ caddy.Provisioner     = (*SMTPMailer)(nil)
	_ caddy.Validator       = (*SMTPMailer)(nil)
	_ caddyfile.Unmarshaler = (*SMTPMailer)(nil)
)
