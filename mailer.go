// mailer.go: the contract between the outbox and whatever delivers mail, the
// MIME message, and the two mailers that need no server (the third: mailer_smtp.go).

package registration

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/seed-928992b0/caddy-registration/mail"
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
