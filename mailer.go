// mailer.go: the contract between the outbox and whatever delivers mail, and the
// two mailers that need no server. The SMTP one is in mailer_smtp.go.

package registration

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	gomail "github.com/go-mail/mail"
	"github.com/k3a/html2text"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(new(LogMailer))
	caddy.RegisterModule(new(FileMailer))
}

// A Message is a rendered mail.
type Message struct {
	// ID is the Message-ID without its angle brackets.
	ID string
	// From and ReplyTo are RFC 5322 mailboxes, `a@example.com` or
	// `Name <a@example.com>`; To is a bare address.
	From, ReplyTo, To string
	// Text may be empty where there is HTML: then it is derived from it.
	Subject, Text, HTML string
	Date                time.Time
	// Language is a BCP 47 tag for Content-Language; empty: none.
	Language string
}

// A Mailer delivers messages. Implementations are guest modules in
// http.registration.mailers.
type Mailer interface {
	// Send delivers one message, or returns an error: a *MailError says what it
	// is about; any other is taken as temporary and about this message. Send is
	// called by one goroutine at a time; the end of ctx cuts it off.
	Send(ctx context.Context, m *Message) error
	// Close ends what Send keeps open. Send may be called again afterwards. Close
	// may be called while Send runs.
	Close() error
}

// A MailError is a failed delivery, by its scope.
type MailError struct {
	// Server: the mail server as a whole can't be used (down, no TLS, sign-in
	// refused, sender refused). No message is to blame; all wait.
	Server bool
	// Permanent: this message will never be accepted (5xx to its recipient or
	// its text). Without Server and Permanent it is to be tried again.
	Permanent bool
	Err       error
}

// Error implements error.
func (e *MailError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *MailError) Unwrap() error { return e.Err }

// build makes the MIME message. Whatever could add a header is refused.
func (m *Message) build() (*gomail.Message, error) {
	for _, part := range []string{m.ID, m.From, m.ReplyTo, m.To, m.Subject, m.Language} {
		if strings.ContainsAny(part, "\r\n\x00") {
			return nil, &MailError{Permanent: true, Err: errors.New("a header of the mail has a line break")}
		}
	}
	msg := gomail.NewMessage()
	from, err := mail.ParseAddress(m.From)
	if err != nil {
		return nil, &MailError{Server: true, Err: fmt.Errorf("the sender: %w; mend the setting from", err)}
	}
	msg.SetAddressHeader("From", from.Address, from.Name)
	if m.ReplyTo != "" && m.ReplyTo != m.From {
		reply, err := mail.ParseAddress(m.ReplyTo)
		if err != nil {
			return nil, &MailError{Server: true, Err: fmt.Errorf("the reply address: %w; mend the setting reply_to", err)}
		}
		msg.SetAddressHeader("Reply-To", reply.Address, reply.Name)
	}
	msg.SetHeader("To", m.To)
	msg.SetHeader("Subject", m.Subject)
	msg.SetDateHeader("Date", m.Date)
	msg.SetHeader("Message-ID", "<"+m.ID+">")
	msg.SetHeader("Auto-Submitted", "auto-generated") // RFC 3834: no out-of-office answers
	if m.Language != "" {
		msg.SetHeader("Content-Language", m.Language)
	}
	text := m.Text
	if text == "" && m.HTML != "" {
		text = html2text.HTML2TextWithOptions(m.HTML, html2text.WithUnixLineBreaks(), html2text.WithLinksInnerText())
	}
	msg.SetBody("text/plain", text)
	if m.HTML != "" {
		msg.AddAlternative("text/html", m.HTML)
	}
	return msg, nil
}

// LogMailer writes mail to Caddy's log instead of sending it: for development
// only, because the links in the mail let whoever reads the log in.
type LogMailer struct {
	logger *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (*LogMailer) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.registration.mailers.log", New: func() caddy.Module { return new(LogMailer) }}
}

// Provision warns.
func (l *LogMailer) Provision(ctx caddy.Context) error {
	l.logger = ctx.Logger()
	l.logger.Warn("mail goes to this log, with the links that confirm accounts and reset passwords; for a real site use: mailer smtp")
	return nil
}

// UnmarshalCaddyfile sets up the mailer:
//
//	mailer log
func (l *LogMailer) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the module's name
	if d.NextArg() || d.NextBlock(d.Nesting()) {
		return d.Errf("the mailer log takes no value and no block; write: mailer log")
	}
	return nil
}

// Send implements Mailer.
func (l *LogMailer) Send(_ context.Context, m *Message) error {
	l.logger.Info("mail", zap.String("to", m.To), zap.String("subject", m.Subject), zap.String("text", m.Text))
	return nil
}

// Close implements Mailer.
func (l *LogMailer) Close() error { return nil }

// FileMailer writes each mail as one .eml file.
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

// Provision makes the folder.
func (f *FileMailer) Provision(caddy.Context) error {
	repl := caddy.NewReplacer()
	repl.Set("data_dir", caddy.AppDataDir())
	dir, err := repl.ReplaceOrErr(f.Directory, true, true)
	if err == nil && dir == "" {
		err = errors.New("it is empty")
	}
	if err != nil {
		return settingErrorf("mailer", "the folder: %v; write: mailer file <folder>", err)
	}
	f.dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return settingErrorf("mailer", "the folder can't be made: %v", err)
	}
	return nil
}

// UnmarshalCaddyfile sets up the mailer:
//
//	mailer file <folder>
func (f *FileMailer) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the module's name
	if !d.AllArgs(&f.Directory) || d.NextBlock(d.Nesting()) {
		return d.Errf("the mailer file takes one folder; write for example: mailer file /var/spool/registration")
	}
	return nil
}

// Send implements Mailer. The file's name begins with the date and ends in a
// digest of the Message-ID, so that files sort by time and a second try
// overwrites the first. A file is there whole or not at all.
func (f *FileMailer) Send(_ context.Context, m *Message) error {
	msg, err := m.build()
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if _, err := msg.WriteTo(&out); err != nil {
		return &MailError{Permanent: true, Err: err}
	}
	sum := sha256.Sum256([]byte(m.ID))
	name := m.Date.UTC().Format("20060102T150405Z") + "-" + hex.EncodeToString(sum[:8]) + ".eml"
	if err := writeFile(f.dir, name, out.Bytes()); err != nil {
		return &MailError{Server: true, Err: err}
	}
	return nil
}

// writeFile writes a file whole, and on disk, or not at all.
func writeFile(dir, name string, content []byte) (err error) {
	tmp, err := os.CreateTemp(dir, ".tmp-*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	_, err = tmp.Write(content)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), filepath.Join(dir, name))
}

// Close implements Mailer.
func (f *FileMailer) Close() error { return nil }

// Interface guards
var (
	_ Mailer                = (*LogMailer)(nil)
	_ Mailer                = (*FileMailer)(nil)
	_ caddyfile.Unmarshaler = (*LogMailer)(nil)
	_ caddyfile.Unmarshaler = (*FileMailer)(nil)
)
