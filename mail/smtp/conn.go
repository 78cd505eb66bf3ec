// conn.go: one conversation in SMTP (RFC 5321) through go-mail/mail,
// with every step under a deadline and every failure told by whose it is.

package smtp

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	gomail "github.com/go-mail/mail"

	"github.com/seed-928992b0/caddy-registration/internal/boundconn"
	"github.com/seed-928992b0/caddy-registration/mail"
)

func init() {
	gomail.NetDialTimeout = dialSMTP
}

// Conn is a connection that has been greeted and signed in.
type Conn struct {
	client smtpClient
	raw    *boundconn.Conn
	used   time.Time
}

// Bounds of what is read. RFC 5321 allows a reply lines of 512 bytes; it is
// the library that keeps a whole reply, and a list of extensions, in memory.
const (
	// smtpDialBytes is for all that is said up to the sign-in, with the
	// certificates of the server.
	smtpDialBytes = 128 << 10
	// SmtpReplyBytes is for each reply afterwards.
	SmtpReplyBytes = 32 << 10
	// SmtpToldBytes is how much of a server's words is told in an error.
	SmtpToldBytes = 500
)

// smtpClient is what the library's SendCloser also is. Sent step by step, a
// failure is known by its step: a refused sender is not a refused recipient.
type smtpClient interface {
	Extension(name string) (bool, string)
	Mail(from string) error
	Rcpt(to string) error
	Data() (io.WriteCloser, error)
	Quit() error
}

// smtpStep is a part of the conversation.
type smtpStep int

// The steps in their order.
const (
	stepDial smtpStep = iota // up to and with the sign-in
	StepMail                 // the sender
	stepRest                 // the recipient and the message
)

// smtpVerdict is how long a server that has the whole message has to say whether
// it takes it, when the message is cut off: cut off at once, it would be sent
// again though it may have been taken.
const smtpVerdict = 2 * time.Second

// deliver sends one message and says at which step it failed. The end of ctx cuts
// it off.
func (c *Conn) deliver(ctx context.Context, file *mail.File, timeout time.Duration) (smtpStep, error) {
	var mu sync.Mutex
	ended, whole := false, false
	stop := context.AfterFunc(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		if ended = true; whole {
			_ = c.raw.SetDeadline(time.Now().Add(min(smtpVerdict, timeout)))
		} else {
			_ = c.raw.Close()
		}
	})
	defer stop()
	_ = c.raw.SetDeadline(time.Now().Add(timeout)) // fails on a closed connection, as the next step does
	c.raw.Allow(SmtpReplyBytes)
	if err := c.client.Mail(file.From); err != nil {
		return StepMail, err
	}
	c.raw.Allow(SmtpReplyBytes)
	if err := c.client.Rcpt(file.To); err != nil {
		return stepRest, err
	}
	c.raw.Allow(SmtpReplyBytes)
	w, err := c.client.Data()
	if err != nil {
		return stepRest, err
	}
	if _, err := w.Write(file.Content); err != nil {
		return stepRest, err // not closed: that would end, and so send, half a message
	}
	mu.Lock()
	whole = !ended
	mu.Unlock()
	if !whole {
		return stepRest, mail.Stopped(ctx)
	}
	c.raw.Allow(SmtpReplyBytes)
	return stepRest, w.Close()
}

// smtpDial is a dial under way.
//
// The library dials through one function for the whole process, which learns
// nothing but the address; yet it must know ctx, and the connection must be
// known where the library forgets to close it: after a failed greeting, and
// where STARTTLS is missing. So each dial has a number, which goes through the
// library as the port, where nothing but the dialling uses it. Dials neither
// wait for each other, as under a mutex, nor meet, as by their addresses. As a
// by-product, IPv6 addresses work, which the library joins wrongly to a port.
type smtpDial struct {
	ctx     context.Context //nolint:containedctx // it passes under a library that knows none
	address string
	conn    *boundconn.Conn
	keep    func() bool // from then on, the end of ctx no longer closes conn; false: it has
}

var (
	// SMTPDials has the *smtpDial that are under way, by their number as a text.
	SMTPDials   sync.Map
	smtpDialNo  atomic.Int64 // the last number, above firstDialNo
	dialForeign = gomail.NetDialTimeout
)

// firstDialNo is no port, so that no other user of the library in this process
// is mistaken for us.
const firstDialNo = 1 << 16

// dialSMTP opens a connection that has a deadline from its first byte on; the
// library sets none before the server has greeted.
func dialSMTP(network, address string, timeout time.Duration) (net.Conn, error) {
	v, ours := SMTPDials.Load(address[strings.LastIndexByte(address, ':')+1:])
	if !ours {
		return dialForeign(network, address, timeout)
	}
	dial := v.(*smtpDial)
	end := time.Now().Add(timeout)
	conn, err := (&net.Dialer{Deadline: end}).DialContext(dial.ctx, network, dial.address)
	if err != nil {
		return nil, err
	}
	dial.conn, dial.keep = boundconn.New(conn, smtpDialBytes), context.AfterFunc(dial.ctx, func() { _ = conn.Close() })
	return dial.conn, conn.SetDeadline(end)
}

// dial connects, greets and signs in. All its errors are the server's.
func (s *Server) dial(ctx context.Context) (*Conn, error) {
	number := firstDialNo + int(smtpDialNo.Add(1))
	dial := &smtpDial{ctx: ctx, address: net.JoinHostPort(s.Host, s.Port)}
	SMTPDials.Store(strconv.Itoa(number), dial)
	defer SMTPDials.Delete(strconv.Itoa(number))

	d := gomail.NewDialer(s.Host, number, s.Username, s.Password) // a new one each time: it keeps its Auth
	d.SSL = s.Tls == SmtpImplicit
	d.StartTLSPolicy = gomail.MandatoryStartTLS
	if s.Tls == SmtpNoTLS {
		d.StartTLSPolicy = gomail.NoStartTLS
	}
	d.TLSConfig = &tls.Config{ServerName: s.Host, RootCAs: s.Roots, MinVersion: tls.VersionTLS12}
	d.LocalName = s.Hello // never empty: without it a refused greeting reads as "no STARTTLS"
	d.Timeout = s.Timeout
	d.RetryFailure = false

	sender, err := d.Dial()
	client, ok := sender.(smtpClient)
	switch {
	case err != nil:
	case !ok:
		err = fmt.Errorf("the library go-mail/mail has changed: %T can't send step by step", sender)
	case s.Username != "":
		if ok, _ := client.Extension("AUTH"); !ok { // the library would go on without signing in
			err = errors.New("it offers no sign-in (AUTH) over this connection; remove username and password, or check address and tls")
		}
	}
	if dial.conn == nil || !dial.keep() {
		if err := mail.Stopped(ctx); err != nil {
			return nil, err
		}
	}
	if err == nil {
		return &Conn{client: client, raw: dial.conn}, nil
	}
	if dial.conn != nil {
		_ = dial.conn.Close()
	}
	return nil, s.Failure(stepDial, err)
}

// codeClosing says that the server is about to close the connection (RFC 5321, 3.8).
const codeClosing = 421

var (
	// signInCodes are the replies that ask for another way to sign in (RFC 4954, 6).
	signInCodes = []int{530, 534, 535, 538}
	// senderRefused matches the enhanced status codes (RFC 3463, 3.2) that blame
	// the sender.
	senderRefused = regexp.MustCompile(`^5\.1\.[78]\b`)
)

// Failure tells by the step and the server's reply whose failure err is, and
// names the mend where one is known.
func (s *Server) Failure(step smtpStep, err error) error {
	out := &mail.Error{}
	reply := (*textproto.Error)(nil)
	switch {
	case step == stepDial || !errors.As(err, &reply) || reply.Code == codeClosing || reply.Code < 400:
		out.Server = true
	case reply.Code < 500:
	case step == StepMail || slices.Contains(signInCodes, reply.Code) || senderRefused.MatchString(reply.Msg):
		out.Server = true
	default:
		out.Permanent = true
	}
	told := &smtpError{cause: err}
	said := s.redact(err.Error())
	if said != err.Error() {
		told.cause = nil // its text has the secret
	}
	told.text = fmt.Sprintf("mail server %s: %s%s", net.JoinHostPort(s.Host, s.Port), shortened(said), s.mend(step, err))
	out.Err = told
	return out
}

// smtpError is a failure as it is told: without secrets, and in bounds, whatever
// the server said.
type smtpError struct {
	text  string
	cause error // nil where its text is not to be told
}

func (e *smtpError) Error() string { return e.text }
func (e *smtpError) Unwrap() error { return e.cause }

// shortened cuts a text that is too long for a line of the log.
func shortened(text string) string {
	if len(text) <= SmtpToldBytes {
		return text
	}
	return strings.ToValidUTF8(text[:SmtpToldBytes], "") + "…"
}

// mend returns what to do about err, or nothing.
func (s *Server) mend(step smtpStep, err error) string {
	var (
		refused  *tls.CertificateVerificationError
		noTLS    tls.RecordHeaderError
		noStart  gomail.StartTLSUnsupportedError
		tooLong  *boundconn.TooLongError
		reply    *textproto.Error
		netError net.Error
	)
	switch {
	case errors.As(err, &refused):
		return "; its certificate is refused: write in address a name that the certificate has or, for a private CA, set trusted_ca to the PEM file of that CA"
	case errors.As(err, &noTLS):
		return "; it does not begin with TLS: write tls starttls, or check the port"
	case errors.As(err, &noStart):
		return "; write tls implicit (mostly at port 465) or, only where nobody can listen in, tls none"
	case errors.As(err, &tooLong):
		return "; this is no mail server, or somebody stands between: check address, port and tls"
	case errors.As(err, &reply) && slices.Contains(signInCodes, reply.Code):
		return "; check username and password"
	case errors.As(err, &reply) && step == StepMail && reply.Code >= 500:
		return "; it refuses the sender: check the setting from, and whether it wants username and password"
	case s.Tls != SmtpImplicit && s.Port == smtpPorts[SmtpImplicit] && errors.As(err, &netError) && netError.Timeout():
		return "; servers at port 465 mostly want tls implicit"
	}
	return ""
}

// signatureInText matches the part of a mailed link that makes it one.
var signatureInText = regexp.MustCompile(`(?i)(signature(?:=|%3d)(?:3d)?)[^\s&"'<>]+`)

// redact takes the password out of a text, as it is and as it went out, and the
// signatures of links: some servers quote what they refuse.
func (s *Server) redact(text string) string {
	text = signatureInText.ReplaceAllString(text, "$1(signature)")
	if s.Password == "" {
		return text
	}
	plain := "\x00" + s.Username + "\x00" + s.Password // RFC 4616
	for _, secret := range []string{base64.StdEncoding.EncodeToString([]byte(plain)), base64.StdEncoding.EncodeToString([]byte(s.Password)), s.Password} {
		text = strings.ReplaceAll(text, secret, "(password)")
	}
	return text
}
