// mailer.go: the contract between the outbox and whatever delivers mail, the
// MIME message, and the mailers that there are: two that need no server, and the one that
// speaks SMTP, whose conversation is in mail/smtp.

package registration

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/seed-928992b0/caddy-registration/internal/hostname"
	"github.com/seed-928992b0/caddy-registration/internal/pattern"
	"github.com/seed-928992b0/caddy-registration/mail"
	"github.com/seed-928992b0/caddy-registration/mail/smtp"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(new(LogMailer))
	caddy.RegisterModule(new(FileMailer))
}

// LogMailer writes mail to Caddy's log instead of sending it. It is for
// development only: the links in the mail are secrets, and whoever reads the
// log can confirm accounts and reset passwords with them. It is safe for
// concurrent use.
type LogMailer struct {
	logger *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (*LogMailer) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.registration.mailers.log", New: func() caddy.Module { return new(LogMailer) }}
}

// Provision warns in the log.
func (l *LogMailer) Provision(ctx caddy.Context) error {
	l.use(ctx.Logger())
	return nil
}

func (l *LogMailer) use(logger *zap.Logger) {
	l.logger = logger
	logger.Warn("mail is not sent but written to this log, with the links that confirm accounts and reset passwords; for development only: a real site uses mailer smtp")
}

// UnmarshalCaddyfile sets up the mailer from its line, which is:
//
//	mailer log
func (l *LogMailer) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the module's name
	if d.NextArg() || d.NextBlock(d.Nesting()) {
		return d.Errf("mailer log takes neither a value nor a block; write: mailer log")
	}
	return nil
}

// Send writes one line to the log, "mail", with the text of the mail. It fails
// only when ctx has ended.
func (l *LogMailer) Send(ctx context.Context, m *mail.Message) error {
	if err := mail.Stopped(ctx); err != nil {
		return err
	}
	l.logger.Info("mail", zap.String("to", m.To), zap.String("subject", m.Subject), zap.String("text", m.PlainText()))
	mail.TraceOf(ctx).Tellf("log", "the mail was written to Caddy's log; nobody gets it")
	return nil
}

// Pretend implements Pretender: the text is made, and not written.
func (*LogMailer) Pretend(_ context.Context, m *mail.Message) error {
	_ = m.PlainText()
	return nil
}

// Close does nothing.
func (*LogMailer) Close() error { return nil }

// FileMailer writes each mail as one .eml file (RFC 5322), readable by Caddy's
// user alone. It is safe for concurrent use.
type FileMailer struct {
	// The folder, made where it is missing. Placeholders are replaced when the
	// configuration loads; `{data_dir}` is Caddy's data folder. Required.
	Directory string `json:"directory,omitempty"`

	dir string
}

// CaddyModule returns the Caddy module information.
func (*FileMailer) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.registration.mailers.file", New: func() caddy.Module { return new(FileMailer) }}
}

// Provision finds the folder, and makes it where it is missing.
func (f *FileMailer) Provision(caddy.Context) error {
	repl := caddy.NewReplacer()
	repl.Set("data_dir", caddy.AppDataDir())
	dir, err := repl.ReplaceOrErr(f.Directory, true, true)
	if err != nil {
		return fmt.Errorf("mailer file: directory: %w; set it before Caddy starts, or write the folder itself", err)
	}
	if dir == "" {
		return errors.New("mailer file: directory: it is missing; write for example: mailer file /var/spool/registration")
	}
	if f.dir, err = filepath.Abs(dir); err == nil {
		err = os.MkdirAll(f.dir, 0o700)
	}
	if err != nil {
		return fmt.Errorf("mailer file: directory: %w; name a folder that Caddy's user may write", err)
	}
	return nil
}

// UnmarshalCaddyfile sets up the mailer from its line, which is:
//
//	mailer file <folder>
func (f *FileMailer) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the module's name
	if !d.AllArgs(&f.Directory) || f.Directory == "" || d.NextBlock(d.Nesting()) {
		return d.Errf("mailer file takes one folder and no block; write for example: mailer file /var/spool/registration")
	}
	return nil
}

// Send writes the file. Its name begins with the date of the message and ends
// in a digest of its Message-ID: files sort by time, and a message that is sent
// again overwrites itself. A file is there whole or not at all, and on disk
// when Send returns. A failing disk is a temporary failure of this message.
func (f *FileMailer) Send(ctx context.Context, m *mail.Message) error {
	return f.write(ctx, m, false)
}

// Pretend implements Pretender: the file is written, and removed again.
func (f *FileMailer) Pretend(ctx context.Context, m *mail.Message) error {
	return f.write(ctx, m, true)
}

func (f *FileMailer) write(ctx context.Context, m *mail.Message, pretend bool) error {
	if err := mail.Stopped(ctx); err != nil {
		return err
	}
	file, err := m.Render()
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(m.ID))
	name := m.Date.UTC().Format("20060102T150405.000000000Z") + "-" + hex.EncodeToString(sum[:16]) + ".eml"
	if pretend { // as long, but as hidden as one that is being written
		name = ".mail-" + strings.TrimSuffix(name, ".eml")
	}
	if err := writeMail(f.dir, name, file.Content); err != nil {
		return &mail.Error{Err: fmt.Errorf("the mail can't be kept: %w", err)}
	}
	if pretend {
		return os.Remove(filepath.Join(f.dir, name))
	}
	mail.TraceOf(ctx).Tellf("file", "the mail was written to %s; nobody gets it", filepath.Join(f.dir, name))
	return nil
}

// Close does nothing.
func (*FileMailer) Close() error { return nil }

// writeMail writes a file whole and durably, or not at all.
func writeMail(dir, name string, content []byte) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil { // it may have been cleaned away
		return err
	}
	tmp, err := os.CreateTemp(dir, ".mail-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = tmp.Write(content)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	// The new name is on disk when its folder is; not every system can do that.
	if folder, err := os.Open(dir); err == nil { //nolint:gosec // the owner names the folder
		_ = folder.Sync()
		_ = folder.Close()
	}
	return nil
}

// Interface guards
var (
	_ mail.Mailer           = (*LogMailer)(nil)
	_ mail.Mailer           = (*FileMailer)(nil)
	_ mail.Pretender        = (*LogMailer)(nil)
	_ mail.Pretender        = (*FileMailer)(nil)
	_ caddy.Provisioner     = (*LogMailer)(nil)
	_ caddy.Provisioner     = (*FileMailer)(nil)
	_ caddyfile.Unmarshaler = (*LogMailer)(nil)
	_ caddyfile.Unmarshaler = (*FileMailer)(nil)
)

func init() {
	caddy.RegisterModule(new(SMTPMailer))
}

// SMTPMailer sends mail through one SMTP server. A connection is kept for 30
// seconds; what opens a message is said in one go where the server offers that
// (PIPELINING, RFC 2920). It is safe for concurrent use.
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
	// TLS 1.2 at least; a refused certificate is an error. Default: `implicit` at port
	// 465, else `starttls`.
	TLS string `json:"tls,omitempty"`
	// How long connecting to the server may take. Each later step has the minutes of
	// RFC 5321, 4.5.3.2: servers scan mail before they answer. Default: `10s`.
	Timeout caddy.Duration `json:"timeout,omitempty"`
	// The name that we greet the server with (EHLO). Default: the host of `base_url`
	// in ASCII.
	Hello string `json:"hello,omitempty"`
	// A PEM file with the certificates that may vouch for the server's, in the
	// place of the system's: for a mail server with a private CA. Placeholders are
	// replaced when the configuration loads. Default: the system's.
	TrustedCA string `json:"trusted_ca,omitempty"`

	smtp.Sender `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (*SMTPMailer) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.registration.mailers.smtp", New: func() caddy.Module { return new(SMTPMailer) }}
}

// settings returns what is configured, placeholders and all.
func (m *SMTPMailer) settings() smtp.Server {
	s := smtp.Server{
		Address: m.Address, Username: m.Username, Password: m.Password, TLS: m.TLS, Hello: m.Hello, TrustedCA: m.TrustedCA,
		Timeout: time.Duration(m.Timeout),
	}
	if s.Timeout == 0 {
		s.Timeout = 10 * time.Second
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
	}{{"address", &s.Address}, {"username", &s.Username}, {"password", &s.Password}, {"trusted_ca", &s.TrustedCA}} {
		resolved, err := repl.ReplaceOrErr(*v.value, true, true)
		if err != nil {
			if v.setting == "password" && !onePlaceholder().MatchString(*v.value) {
				// The placeholder may be a piece of a password with braces in it.
				err = errors.New(`what stands in braces in it is no placeholder that has a value; write \{ for a brace of the password itself`)
			}
			return fmt.Errorf("mailer smtp: %s: %w; set it before Caddy starts, or write the value itself", v.setting, err)
		}
		*v.value = resolved
	}
	s.Address, s.Hello = hostname.Host(s.Address), hostname.Host(s.Hello)
	if setting, err := s.Split(); err != nil {
		return fmt.Errorf("mailer smtp: %s: %w", setting, err)
	}
	if s.TrustedCA != "" {
		pem, err := os.ReadFile(s.TrustedCA)
		if err != nil {
			return fmt.Errorf("mailer smtp: trusted_ca: %w; name a PEM file that Caddy's user may read", err)
		}
		if s.Roots = x509.NewCertPool(); !s.Roots.AppendCertsFromPEM(pem) {
			return fmt.Errorf("mailer smtp: trusted_ca: %s has no certificate in PEM form; name the file of the CA's certificate", s.TrustedCA)
		}
	}
	m.Server = s
	return nil
}

var onePlaceholder = pattern.Of(`^\{(env|file)\.[^{}]*\}$`)

// Validate checks the settings as they are after Provision.
func (m *SMTPMailer) Validate() error {
	if setting, err := m.Server.Check(); err != nil {
		return fmt.Errorf("mailer smtp: %s: %w", setting, err)
	}
	return nil
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
		"username": "no-reply@example.com", "password": "{env.SMTP_PASSWORD}", "tls": smtp.StartTLS,
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
	setting, err := s.Split()
	if setting == "address" && strings.Contains(s.Address, "{") {
		err, s.Host = nil, "localhost" // what it stands for is seen in Provision
	}
	if err == nil {
		setting, err = s.Check()
	}
	if err != nil {
		return fmt.Errorf("mailer smtp: %s: %w, at %s:%d", setting, err, lines[setting].File, lines[setting].Line)
	}
	return nil
}

// Interface guards
var (
	_ mail.Mailer           = (*SMTPMailer)(nil)
	_ mail.Pretender        = (*SMTPMailer)(nil)
	_ mail.Greeter          = (*SMTPMailer)(nil)
	_ caddy.Provisioner     = (*SMTPMailer)(nil)
	_ caddy.Validator       = (*SMTPMailer)(nil)
	_ caddyfile.Unmarshaler = (*SMTPMailer)(nil)
)
