// mailer_smtp.go: the mailer that speaks SMTP, through go-mail/mail, with every
// step under a deadline and every failure told by its scope.

package registration

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	gomail "github.com/go-mail/mail"
)

func init() {
	caddy.RegisterModule(new(SMTPMailer))
	gomail.NetDialTimeout = dialSMTP
}

// The values of SMTPMailer.TLS.
const (
	tlsStartTLS = "starttls"
	tlsImplicit = "implicit"
	tlsNone     = "none"
)

// SMTPMailer sends mail through an SMTP server (RFC 5321).
type SMTPMailer struct {
	// The server, `host:port`. Default port: 587 with starttls, 465 with
	// implicit, 25 with none. Placeholders are replaced when the configuration
	// loads. Required.
	Address string `json:"address,omitempty"`
	// The sign-in, if the server wants one. Placeholders are replaced when the
	// configuration loads.
	Username string `json:"username,omitempty"`
	// Its password; write it as `{env.SMTP_PASSWORD}` or `{file./path}`.
	Password string `json:"password,omitempty"`
	// `starttls` (RFC 3207, and mandatory: a server without it is an error),
	// `implicit` (RFC 8314) or `none`. Default: `starttls`.
	TLS string `json:"tls,omitempty"`
	// How long the greeting, and then each message, may take. Default: 10s.
	Timeout caddy.Duration `json:"timeout,omitempty"`
	// The name that we greet the server with. Default: `localhost`.
	Hello string `json:"hello,omitempty"`
	// A PEM file with the certificates that the server's is checked against, for
	// a server with a certificate of its own making. Default: the system's.
	TrustedCA string `json:"trusted_ca,omitempty"`

	host               string
	port               int
	username, password string
	roots              *x509.CertPool

	mu   sync.Mutex // held by Send
	conn gomail.SendCloser
	raw  net.Conn
	used time.Time
}

// smtpIdle is how long a connection is kept for the next message; servers hang
// up after a few minutes.
const smtpIdle = 30 * time.Second

// CaddyModule returns the Caddy module information.
func (*SMTPMailer) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.registration.mailers.smtp", New: func() caddy.Module { return new(SMTPMailer) }}
}

// UnmarshalCaddyfile sets up the mailer:
//
//	mailer smtp <host[:port]> {
//		username   <name>
//		password   <password>
//		tls        starttls|implicit|none
//		timeout    <duration>
//		hello      <name>
//		trusted_ca <file>
//	}
func (m *SMTPMailer) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	p := &parser{Dispenser: d, lines: settingLines{}, seen: map[string]bool{}}
	d.Next() // the module's name
	start := d.Token()
	if args := d.RemainingArgs(); len(args) != 1 {
		return d.Errf("the mailer smtp takes the server; write for example: mailer smtp mail.example.com:587")
	} else {
		m.Address = args[0]
	}
	err := p.block("", map[string]option{
		"username":   textOption(&m.Username, "no-reply@example.com"),
		"password":   textOption(&m.Password, "{env.SMTP_PASSWORD}"),
		"tls":        textOption(&m.TLS, tlsStartTLS),
		"timeout":    durationOption(&m.Timeout),
		"hello":      textOption(&m.Hello, "www.example.com"),
		"trusted_ca": textOption(&m.TrustedCA, "/etc/ssl/mail-ca.pem"),
	})
	if err != nil {
		return err
	}
	return p.located(m.check(), start)
}

// check returns what is wrong with the settings, placeholders aside.
func (m *SMTPMailer) check() error {
	if m.TLS != "" && m.TLS != tlsStartTLS && m.TLS != tlsImplicit && m.TLS != tlsNone {
		return settingErrorf("tls", "%q is not one of starttls, implicit, none", m.TLS)
	}
	if (m.Username == "") != (m.Password == "") {
		return settingErrorf("username", "username and password go together; set both or neither")
	}
	if hasPlaceholder(m.Address) {
		return nil
	}
	host, _, err := m.hostPort(m.Address)
	if err != nil {
		return err
	}
	if m.TLS == tlsNone && m.Password != "" && !isLoopback(host) {
		return settingErrorf("tls", "with none the password would cross the network in the clear; use starttls or implicit")
	}
	return nil
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// hostPort splits an address; the port has a default by the kind of TLS.
func (m *SMTPMailer) hostPort(address string) (string, int, error) {
	wrong := settingErrorf("address", "%q is not a server; write for example mail.example.com:587", address)
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		if host, portText, err = net.SplitHostPort(address + ":" + map[string]string{tlsImplicit: "465", tlsNone: "25"}[m.TLS]); err != nil {
			return "", 0, wrong
		}
		if portText == "" {
			portText = "587"
		}
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 || host == "" {
		return "", 0, wrong
	}
	return host, int(port), nil
}

// Provision replaces the placeholders, into unexported fields.
func (m *SMTPMailer) Provision(caddy.Context) error {
	setDefault(&m.TLS, tlsStartTLS)
	setDefault(&m.Timeout, caddy.Duration(10*time.Second))
	repl := caddy.NewReplacer()
	var address, caFile string
	for _, s := range []struct {
		setting, value string
		to             *string
	}{{"address", m.Address, &address}, {"username", m.Username, &m.username}, {"password", m.Password, &m.password}, {"trusted_ca", m.TrustedCA, &caFile}} {
		if s.value == "" {
			continue
		}
		var err error
		if *s.to, err = repl.ReplaceOrErr(s.value, true, true); err != nil {
			return settingErrorf(s.setting, "%v; set it before Caddy starts", err)
		}
	}
	resolved := SMTPMailer{Address: address, Username: m.username, Password: m.password, TLS: m.TLS}
	if err := resolved.check(); err != nil {
		return err
	}
	var err error
	if m.host, m.port, err = m.hostPort(address); err != nil {
		return err
	}
	if caFile == "" {
		return nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return settingErrorf("trusted_ca", "%v", err)
	}
	if m.roots = x509.NewCertPool(); !m.roots.AppendCertsFromPEM(pem) {
		return settingErrorf("trusted_ca", "%s has no certificate in PEM form", caFile)
	}
	return nil
}

// dialing serialises dials: the library's hook for them is one variable for the
// whole process and knows neither a context nor who dials. What it opens is
// remembered here, so that it can be closed where the library forgets to (after
// a failed greeting) and when the context ends.
var dialing struct {
	sync.Mutex
	ctx  context.Context //nolint:containedctx // handed to the hook, for one dial
	last net.Conn
	stop func() bool
}

// dialSMTP opens a connection that has a deadline from its first byte on; the
// library sets none before the server's greeting. It is called under dialing.
func dialSMTP(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx := dialing.ctx
	if ctx == nil { // somebody else in this process uses the library
		return net.DialTimeout(network, address, timeout)
	}
	conn, err := (&net.Dialer{Timeout: timeout}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	dialing.last, dialing.stop = conn, context.AfterFunc(ctx, func() { _ = conn.Close() })
	return conn, nil
}

func (m *SMTPMailer) dial(ctx context.Context) error {
	d := gomail.NewDialer(m.host, m.port, m.username, m.password)
	d.SSL, d.StartTLSPolicy = m.TLS == tlsImplicit, gomail.MandatoryStartTLS
	if m.TLS == tlsNone {
		d.StartTLSPolicy = gomail.NoStartTLS
	}
	d.Timeout, d.RetryFailure, d.LocalName = time.Duration(m.Timeout), false, m.Hello
	d.TLSConfig = &tls.Config{ServerName: m.host, RootCAs: m.roots, MinVersion: tls.VersionTLS12}
	dialing.Lock()
	defer dialing.Unlock()
	dialing.ctx = ctx
	conn, err := d.Dial()
	raw, stop := dialing.last, dialing.stop
	dialing.ctx, dialing.last, dialing.stop = nil, nil, nil
	if stop != nil {
		stop()
	}
	if err == nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		if raw != nil {
			_ = raw.Close()
		}
		if certErr := (*tls.CertificateVerificationError)(nil); errors.As(err, &certErr) {
			err = fmt.Errorf("%w; the address must be the name in the server's certificate, or set trusted_ca to the PEM file of its authority", err)
		}
		return &MailError{Server: true, Err: fmt.Errorf("mail server %s:%d: %w", m.host, m.port, err)}
	}
	m.conn, m.raw = conn, raw
	return nil
}

// Send implements Mailer. A connection that works is kept for the next message.
func (m *SMTPMailer) Send(ctx context.Context, message *Message) error {
	msg, err := message.build()
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn != nil && time.Since(m.used) > smtpIdle {
		m.hangUp()
	}
	fresh := m.conn == nil
	if fresh {
		if err := m.dial(ctx); err != nil {
			return err
		}
	}
	err = m.deliver(ctx, msg)
	if err != nil && !fresh && isNetwork(err) && ctx.Err() == nil {
		// The server hung up between two messages, which is its right.
		m.drop()
		if err := m.dial(ctx); err != nil {
			return err
		}
		err = m.deliver(ctx, msg)
	}
	m.used = time.Now()
	if err == nil {
		return nil
	}
	m.drop()
	return classify(err)
}

// deliver sends over the open connection; the end of ctx closes it.
func (m *SMTPMailer) deliver(ctx context.Context, msg *gomail.Message) error {
	raw := m.raw
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	return gomail.Send(m.conn, msg)
}

// hangUp says goodbye; the server gets a second to hear it.
func (m *SMTPMailer) hangUp() {
	if m.conn == nil {
		return
	}
	_ = m.raw.SetDeadline(time.Now().Add(time.Second))
	_ = m.conn.Close()
	m.drop()
}

func (m *SMTPMailer) drop() {
	if m.raw != nil {
		_ = m.raw.Close()
	}
	m.conn, m.raw = nil, nil
}

// Close implements Mailer. A message under way is finished first.
func (m *SMTPMailer) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hangUp()
	return nil
}

// isNetwork reports whether the failure is the connection's, not a reply.
func isNetwork(err error) bool {
	reply := (*textproto.Error)(nil)
	return !errors.As(sendCause(err), &reply)
}

// sendCause unwraps the library's error, which knows no Unwrap.
func sendCause(err error) error {
	if sendErr := (*gomail.SendError)(nil); errors.As(err, &sendErr) {
		return sendErr.Cause
	}
	return err
}

// senderRefused matches the enhanced status codes (RFC 3463) that blame the
// sender, not the recipient.
var senderRefused = regexp.MustCompile(`^5\.1\.[78]\b`)

// classify tells by the server's reply (RFC 5321, 4.2) whose failure it is.
func classify(err error) error {
	cause := sendCause(err)
	reply := (*textproto.Error)(nil)
	if !errors.As(cause, &reply) {
		return &MailError{Server: true, Err: cause}
	}
	switch code := reply.Code; {
	case code == 421, code == 530, code == 534, code == 535, code == 538, code >= 500 && senderRefused.MatchString(reply.Msg):
		return &MailError{Server: true, Err: cause}
	case code >= 500:
		return &MailError{Permanent: true, Err: cause}
	}
	return &MailError{Err: cause}
}

// Interface guards
var (
	_ Mailer                = (*SMTPMailer)(nil)
	_ caddy.Provisioner     = (*SMTPMailer)(nil)
	_ caddyfile.Unmarshaler = (*SMTPMailer)(nil)
)
